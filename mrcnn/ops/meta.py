"""The image's meta vector inside the graph: its layout is ``data.meta.compose_image_meta``'s."""

# id (1), original shape (3), molded shape (3), window (4), scale (1), then one flag per class
IMAGE_SHAPE = slice(4, 7)
WINDOW = slice(7, 11)
ACTIVE_CLASS_IDS = slice(12, None)
