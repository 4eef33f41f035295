"""One image of a cache as bytes: a `tf.train.Example`.

============================  ====================================================================
feature                       is
============================  ====================================================================
image/data                    the pixels inside the window, "raw" (rows of pixels) or a PNG
image/encoding, image/dtype   "raw" or "png"; such as "uint8"
image/shape                   (height, width, channels) of what is in image/data
image/padded                  (height, width) of the network's input
image/window                  (y1, x1, y2, x2) px, where image/data lies in it
image/fill                    [channels] of the pixels around it, without the feature 0
image/original_shape          (height, width, channels) of the image as it was loaded
image/scale                   of the resize, as text, which keeps all digits
objects/class_ids             [N], below 0 for crowds
objects/boxes                 [N * 4], (y1, x1, y2, x2) px of each
objects/masks                 [N] bytes: the mask inside its box, rows of pixels, 8 px a byte
source, id                    of the image, as text
============================  ====================================================================
"""

import io

import numpy as np
import tensorflow as tf

from mrcnn.common.words import option_or_argument
from mrcnn.data.load import Prepared
from mrcnn.data.masks import boxed_masks

ENCODINGS = ("raw", "png")


def encode(prepared, source, image_id, encoding="raw"):
    """A `data.load.Prepared` as bytes.

    Args:
        source, image_id: of the image.
        encoding: "raw", or "png", which takes half of the space and thirty times as long to read;
            both keep every pixel.

    Raises:
        ValueError: a PNG cannot hold these pixels.
    """
    y1, x1, y2, x2 = prepared.window
    pixels = np.ascontiguousarray(prepared.image[y1:y2, x1:x2])
    boxes, parts = boxed_masks(prepared.mask)
    # every mode that pads does so below and on the right
    padded = (y2, x2) != prepared.image.shape[:2]
    fill = prepared.image[-1, -1] if padded else np.zeros(0)
    return tf.train.Example(
        features=tf.train.Features(
            feature={
                **({"image/fill": _floats(fill)} if fill.any() else {}),
                "image/data": _bytes([_png(pixels) if encoding == "png" else pixels.tobytes()]),
                "image/encoding": _text(encoding),
                "image/dtype": _text(pixels.dtype.name),
                "image/shape": _ints(pixels.shape),
                "image/padded": _ints(prepared.image.shape[:2]),
                "image/window": _ints(prepared.window),
                "image/original_shape": _ints(prepared.original_shape),
                "image/scale": _text(repr(float(prepared.scale))),
                "objects/class_ids": _ints(prepared.class_ids),
                "objects/boxes": _ints(boxes.ravel()),
                "objects/masks": _bytes([np.packbits(part).tobytes() for part in parts]),
                "source": _text(source),
                "id": _text(image_id),
            }
        )
    ).SerializeToString()


def decode(record, source, image_id):
    """The `Prepared` of what `encode` returned; None of a record of another image."""
    feature = tf.train.Example.FromString(record).features.feature
    if (_read_text(feature["source"]), _read_text(feature["id"])) != (str(source), str(image_id)):
        return None
    window = tuple(feature["image/window"].int64_list.value)
    shape, padded = (
        feature["image/shape"].int64_list.value,
        feature["image/padded"].int64_list.value,
    )
    dtype = np.dtype(_read_text(feature["image/dtype"]))
    data = feature["image/data"].bytes_list.value[0]
    pixels = (
        _read_png(data)
        if _read_text(feature["image/encoding"]) == "png"
        else np.frombuffer(data, dtype)
    )
    y1, x1, y2, x2 = window
    image = np.zeros((*padded, shape[2]), dtype)
    if "image/fill" in feature:
        image[:] = feature["image/fill"].float_list.value
    image[y1:y2, x1:x2] = pixels.reshape(shape)

    boxes = np.array(feature["objects/boxes"].int64_list.value, np.int64).reshape(-1, 4)
    masks = np.zeros((len(boxes), *padded), bool)
    for mask, box, bits in zip(masks, boxes.tolist(), feature["objects/masks"].bytes_list.value):
        y1, x1, y2, x2 = box
        size = y2 - y1, x2 - x1
        mask[y1:y2, x1:x2] = np.unpackbits(
            np.frombuffer(bits, np.uint8), count=size[0] * size[1]
        ).reshape(size)
    class_ids = np.array(feature["objects/class_ids"].int64_list.value, np.int32)
    original_shape = tuple(feature["image/original_shape"].int64_list.value)
    return Prepared(
        image,
        np.moveaxis(masks, 0, -1),
        class_ids,
        original_shape,
        window,
        float(_read_text(feature["image/scale"])),
    )


def _bytes(values):
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def _text(value):
    return _bytes([str(value).encode()])


def _ints(values):
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[int(value) for value in values]))


def _floats(values):
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))


def _read_text(feature):
    return feature.bytes_list.value[0].decode()


def _png(pixels):
    from PIL import Image

    if pixels.dtype != np.uint8 or pixels.shape[2] not in (1, 3, 4):
        raise ValueError(
            f"a PNG holds uint8 pixels of 1, 3 or 4 channels, these are {pixels.dtype} of "
            f"{pixels.shape[2]}: take " + option_or_argument("--encoding raw", "encoding='raw'")
        )
    file = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(
        file, "PNG", compress_level=1
    )
    return file.getvalue()


def _read_png(data):
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)))
