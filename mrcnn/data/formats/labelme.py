"""labelme json (https://github.com/wkentaro/labelme): a file for each image."""

import base64
import math
import os
from collections.abc import Sequence

import numpy as np

from mrcnn.common.files import AnyPath
from mrcnn.common.json_files import read_json
from mrcnn.data.formats import shapes
from mrcnn.data.formats.files import json_files
from mrcnn.data.formats.left_out import UNREADABLE_IMAGE
from mrcnn.data.formats.regions import (
    FEW_POINTS,
    NO_PIXEL,
    UNREADABLE_OBJECT,
    Instance,
    RegionDataset,
    names_on_one_line,
)
from mrcnn.data.images import decode_image, image_size
from mrcnn.data.masks import mask_of_picture
from mrcnn.data.rle import Rle, encode_parts, merge_rles

WITHOUT_AREA = ("point", "points", "line", "linestrip")
# Polygons of four corners: of labelme, and two of X-AnyLabeling.
FOUR_CORNERS = ("oriented_rectangle", "rotation", "quadrilateral")
WITH_AREA = ("polygon", "rectangle", "circle", "mask", *FOUR_CORNERS)
# Labels of labelme's own that are no classes: regions that nobody annotated, and no object.
IGNORED, BACKGROUND = "__ignore__", "_background_"


class Labelme(RegionDataset):
    """Images annotated in labelme, versions 3 to 6, or X-AnyLabeling: polygon, rectangle, circle,
    mask, oriented_rectangle, rotation and quadrilateral.

    labelme counts from the corner of the first pixel, whose centre is thus (0.5, 0.5); a pixel
    belongs to a shape where its centre does, by the rules of scikit-image's ``draw``. So a mask
    that was written as polygons along the edges of its pixels comes back as it was. Shapes of one
    label and one group_id are one object. Points and lines have no area and are left out.

    A shape of the label __ignore__ is a crowd of every class, as COCO's iscrowd is of one: what it
    covers is neither learned nor background, and what is found in it neither right nor wrong.
    Shapes of the label _background_ are left out. Where ``classes`` lists one of these labels it is
    a class like any other.

    Example:
        >>> dataset = Labelme()
        >>> dataset.load_labelme("train", classes=["cat", "dog"])
        >>> dataset.prepare()
    """

    @names_on_one_line()
    def load_labelme(
        self,
        folder: AnyPath,
        classes: Sequence[str] | None = None,
        source: str = "labelme",
        keep_empty: bool = False,
        skip_missing: bool = False,
        other_classes: bool = False,
        collect_errors: bool = False,
        image_dir: AnyPath | None = None,
    ) -> None:
        """Add the images and classes of a folder of json files.

        The image is the one that the file names, relative to the file; where there is none, the
        copy that labelme keeps in the file (imageData).

        Args:
            folder: of the json files.
            classes: labels in the order of their class ids, from 1; give the same list for training
                and validation. Shapes of other labels are left out. None: the labels found, sorted.
            source: name for ``add_class`` and ``add_image``.
            keep_empty: also add images without a shape.
            skip_missing: leave images out that are not there; else they are an error.
            image_dir: folder of the images; None: where the files say, relative to themselves.
            collect_errors: count images and objects that cannot be read in `left_out`, for `check`,
                which then finds all of them; else the first one is an error.
            other_classes: add the classes that the list lacks after those that it has, for data to
                measure a model on that does not know them; else their shapes are left out.

        Raises:
            FileNotFoundError: no folder, no json files in it, or a missing image.
            ValueError: not a labelme file, two files of one image, or a shape that makes no sense.
        """
        self._start_loading(collect_errors)
        files = {}
        file_of: dict[str, str] = {}
        for path in _annotation_files(folder):
            with self._counting(UNREADABLE_IMAGE):
                data = _read(path)
                other = file_of.setdefault(data["imagePath"], path)
                if other != path:
                    raise ValueError(
                        f"{other} and {path} are both of {data['imagePath']}: delete the older one"
                    )
                files[path] = data
        no_classes = {IGNORED, BACKGROUND} - set(classes or ())
        labels = {
            label
            for data in files.values()
            for shape in data["shapes"]
            if (label := _label(shape)) and _shape_type(shape) in WITH_AREA
        }
        numbers: dict[str, int | None] = {
            **self._add_named_classes(source, labels - no_classes, classes, other_classes)
        }
        if IGNORED in no_classes:
            numbers[IGNORED] = None  # of every class
        first = len(self.image_info)
        for path, data in files.items():
            if not data["shapes"] and not keep_empty:
                self.left_out.add("images without shapes", path)
                continue
            with self._counting(UNREADABLE_IMAGE):
                places = [os.path.dirname(path) if image_dir is None else os.fspath(image_dir)]
                image_path = self._find_image(places, data["imagePath"], folder)
                if image_path is None and data["imageData"]:
                    image_path = path
                elif image_path is None:
                    image_path = self._image_path(places, data["imagePath"], path, skip_missing)
                    if image_path is None:
                        continue
                height, width = _size(data, image_path, path)
                self.add_image(
                    source,
                    data["imagePath"],
                    image_path,
                    height=height,
                    width=width,
                    annotations=path,
                    instances=self._instances(data["shapes"], numbers, (height, width), path),
                )
        self._report(folder, first)

    def crowd_words(self) -> tuple[str, str]:
        """As `Dataset.crowd_words`."""
        return f"label {IGNORED}", ""

    def load_image(self, image_id: int) -> np.ndarray:
        """As `RegionDataset.load_image`; reads the image in a json file where there is no other."""
        info = self._info(image_id)
        if info["path"] is not None and info["path"] == info.get("annotations"):
            stored = _embedded_image(info["path"], as_stored=self.image_range is not None)
            return self._as_rgb(stored, info["path"])
        return super().load_image(image_id)

    def _instances(self, file_shapes, numbers, size, path):
        """The objects of one file; what is left out is counted."""
        groups: dict[tuple, list[Rle]] = {}  # by label and group
        places: dict[tuple, str] = {}
        for number, shape in enumerate(file_shapes):
            with self._counting(UNREADABLE_OBJECT):
                rle = self._outline(shape, numbers, size, f"{path}: shape {number}")
                if rle is not None:
                    group = shape.get("group_id")
                    key = (shape["label"], ("group", group) if group is not None else number)
                    groups.setdefault(key, []).append(rle)
                    places.setdefault(key, f"shape {number}")
        return [
            Instance(
                numbers[label],
                merge_rles(rles),
                places[label, group],
                crowd=numbers[label] is None,
            )
            for (label, group), rles in groups.items()
        ]

    def _outline(self, shape, numbers, size, place):
        """The run lengths of a shape, or None where it is left out, which is counted."""
        _check_shape(shape, place)
        label = shape["label"]
        try:
            part, reason = _draw(shape, *size)
        except ValueError as error:
            raise ValueError(f"{place} ({label!r}): {error}") from error
        if not label:
            reason = "without a label"
        elif part is not None and label not in numbers:
            reason = (
                f"of the label {label!r}, which are no objects"
                if label == BACKGROUND
                else f"of the label {label!r}, which classes does not list"
            )
        elif part is not None and not part[0].any():
            reason = NO_PIXEL
        if reason:
            self.left_out.add(f"shapes {reason}", place)
            return None
        return encode_parts([part], size)[0]


def _annotation_files(folder):
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{folder} is no folder; labelme's json files should be in it")
    paths = json_files(folder)
    if not paths:
        raise FileNotFoundError(f"{folder} has no json files; labelme writes one for each image")
    return paths


def _read(path):
    """What is needed of a file, checked; of the image that it may hold, only that it does."""
    data = read_json(path, "a labelme file", ("shapes", "imagePath"))
    if not isinstance(data["imagePath"], str) or not isinstance(data["shapes"], list):
        raise ValueError(f"{path}: 'imagePath' must be text and 'shapes' a list")
    return {key: data.get(key) for key in ("shapes", "imagePath", "imageHeight", "imageWidth")} | {
        "imageData": bool(data.get("imageData"))
    }


def _check_shape(shape, place):
    """Raise a ValueError of a shape without the fields that every one must have."""
    if not isinstance(shape, dict) or not {"label", "points"} <= set(shape):
        raise ValueError(f"{place} needs a 'label' and 'points': {str(shape)[:100]}")
    if not isinstance(shape["label"], str):
        raise ValueError(f"{place} has the label {str(shape['label'])[:60]}; it must be text")
    if not isinstance(shape.get("group_id"), (int, float, str, type(None))):
        raise ValueError(f"{place} has the group_id {shape['group_id']!r}; it must be a number")


def _label(shape):
    """The label of a shape, "" of one that has none that can be read."""
    label = shape.get("label") if isinstance(shape, dict) else ""
    return label if isinstance(label, str) else ""


def _size(data, image_path, path):
    """(height, width) px of the image, which must be what labelme wrote."""
    if not all(
        isinstance(data[side], (int, float, type(None))) for side in ("imageHeight", "imageWidth")
    ):
        raise ValueError(
            f"{path}: imageHeight and imageWidth are {data['imageHeight']!r} and "
            f"{data['imageWidth']!r}; they must be numbers of px"
        )
    size = _embedded_image(path).shape[:2] if image_path == path else image_size(image_path)
    written = data["imageHeight"] or size[0], data["imageWidth"] or size[1]
    if written != size:
        width, height = (str(side)[:60] for side in written[::-1])
        raise ValueError(
            f"{path} was made for an image of {width} x {height} px (width x height), but "
            f"{image_path} is {size[1]} x {size[0]} px, turned as its EXIF data say"
        )
    return size


def _embedded_image(path, as_stored=False):
    """The image that a json file holds, as `read_image` gives that of a file."""
    text = read_json(path, "a labelme file")["imageData"]
    return _picture(text, f"{path}: imageData", as_stored)


def _picture(text, what, as_stored=False):
    """The pixels, as `read_image` gives them, of the base64 text of an image file."""
    try:
        return decode_image(base64.b64decode(text, validate=True), what, as_stored)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} must be an image file as base64 text: {error}") from error


def _shape_type(shape):
    return shape.get("shape_type") or "polygon"  # before version 3.3 there were polygons only


def _draw(shape, height, width):
    """The part of the image that a shape covers, or None and why it has none."""
    kind = _shape_type(shape)
    if kind in WITHOUT_AREA:
        return None, f"of the type {kind!r}, which has no area"
    if kind not in WITH_AREA:
        return None, f"of the type {kind!r}, which is unknown here"
    points = shape["points"]
    if not isinstance(points, list) or not all(
        isinstance(point, list) and len(point) == 2 for point in points
    ):
        raise ValueError(f"its points must be a list of [x, y], got {str(points)[:60]}")
    xs, ys = (
        shapes.coordinates([point[axis] for point in points], "points") - 0.5 for axis in (0, 1)
    )
    if kind == "mask":
        if not len(xs):
            raise ValueError("a mask needs the point of its upper left corner")
        pixels = mask_of_picture(_picture(shape.get("mask"), "its mask"))
        return shapes.bitmap(
            pixels, round(xs.min() + 0.5), round(ys.min() + 0.5), height, width
        ), None
    # some tools write all four corners
    if kind == "polygon" or (kind == "rectangle" and len(xs) == 4):
        return (None, FEW_POINTS) if len(xs) < 3 else (shapes.polygon(xs, ys, height, width), None)
    if kind in FOUR_CORNERS:
        if len(xs) != 4:
            raise ValueError(f"a shape of the type {kind!r} needs four points, it has {len(xs)}")
        return shapes.polygon(xs, ys, height, width), None
    if len(xs) != 2:
        raise ValueError(f"a {kind} needs two points, it has {len(xs)}")
    if kind == "rectangle":
        return shapes.rectangle(xs[0], ys[0], xs[1], ys[1], height, width), None
    radius = math.hypot(xs[1] - xs[0], ys[1] - ys[0])
    return shapes.ellipse(xs[0], ys[0], radius, radius, 0.0, height, width), None
