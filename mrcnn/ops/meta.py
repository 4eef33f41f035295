"""The image's meta vector inside the graph: its layout is ``data.meta.compose_image_meta``'s."""

# id (1), original shape (3), molded shape (3), window (4), scale (1), then one flag per class
PARTS = {
    "image_id": 0,
    "original_image_shape": slice(1, 4),
    "image_shape": slice(4, 7),
    "window": slice(7, 11),
    "scale": 11,
    "active_class_ids": slice(12, None),
}
IMAGE_SHAPE, WINDOW, ACTIVE_CLASS_IDS = PARTS["image_shape"], PARTS["window"], PARTS["active_class_ids"]


def parse_image_meta(meta):
    """The parts of meta vectors [b, 12 + classes], by name."""
    return {name: meta[:, part] for name, part in PARTS.items()}
