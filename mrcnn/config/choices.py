"""The names that fields of `Config` choose from."""

# Of IMAGE_RESIZE_MODE; `data.images.resize_image` does what they say.
RESIZE_MODES = ("square", "rect", "pad64", "crop", "none")
