"""What the readers have in common: images whose objects are outlined in an annotation file.

All of them treat objects alike:

- Outlines are cut off at the image's edges.
- An object that covers no pixel (outside of the image, less than a pixel, fewer than three
  points, a point) is left out. It is counted, and told when loading ends or, of polygons that are
  drawn later, by `Dataset.check`.
- Objects that overlap keep all their pixels: a pixel can belong to several masks.
- What makes no sense (no number where one is due, an unknown class) is a ValueError that names the
  file, the image and the region.

Outlines become run lengths (RLE) while a file is read; the polygons of COCO json, of which there
can be hundreds of thousands, when their image is first asked for. That way a polygon is drawn once
and not in every epoch, and a data set takes little memory.
"""

import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mrcnn.common.words import on_one_line, option_or_argument, some
from mrcnn.data.class_labels import classes_called
from mrcnn.data.crowds import SEVERAL_CLASSES
from mrcnn.data.dataset import Dataset
from mrcnn.data.formats.files import find_image, near_miss
from mrcnn.data.formats.left_out import Reader, report_loaded
from mrcnn.data.labels import labels_of_parts, void_label
from mrcnn.data.noting import Made
from mrcnn.data.rle import Rle, decode_masks, decode_parts, mask_areas, merge_rles

logger = logging.getLogger(__name__)

# The class of objects without a class, where no name is given.
CLASS_OF_ALL = "object"
# Bytes of the masks of one image from which on a warning says what they take.
LARGE = 2_000_000_000
NO_PIXEL = "covering no pixel of the image"
UNREADABLE_OBJECT = "objects that cannot be read"
UNREADABLE_CLASS = "categories that cannot be read"
FEW_POINTS = "with fewer than three points"


def class_numbers(
    dataset: Dataset, source: str, names: Iterable[str], whole_names: bool = False
) -> dict[str, int]:
    """Add classes that have names only, numbered on from those that the source has.

    A name that the source has keeps its number, so that several files can be loaded into one
    dataset.

    Args:
        dataset: `Dataset`.
        source: of the classes.
        names: str, in the order to number them in, the first of a new source from 1.
        whole_names: of `Dataset.add_class`.

    Returns:
        {name: class id in the source}.
    """
    numbers = {info["name"]: info["id"] for info in dataset.class_info if info["source"] == source}
    for name in names:
        if name not in numbers:
            numbers[name] = max(numbers.values(), default=0) + 1
            dataset.add_class(source, numbers[name], name, whole_names)
    return {name: numbers[name] for name in names}


@contextlib.contextmanager
def names_on_one_line() -> Iterator[None]:
    """Raise errors with names and values out of an annotation file as they may be shown."""
    try:
        yield
    except (ValueError, OSError) as error:
        text = on_one_line(str(error))
        if text == str(error):
            raise
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
        raise kind(text) from error


Outline: TypeAlias = "Rle | tuple[bytes, ...]"


class Instance(NamedTuple):
    """One object of an image."""

    class_id: int | str | None  # of its source; None, of a crowd alone: every class of it
    # an RLE of the image's size that covers a pixel; or polygons, each the bytes of float64
    # [x, y, x, y ...] px of three points or more, which are drawn when the image is first asked
    # for: a file may have hundreds of thousands, and drawing would take most of the time of opening
    # it. Python's collector of garbage does not look into bytes, as it does into arrays
    outline: Outline
    place: str  # where the annotation file has it, such as "region 3"
    crowd: bool = False


def _draw(polygons, height, width):
    """The run lengths of all pixels of some polygons."""
    from pycocotools import mask as coco_mask

    rings = [np.frombuffer(ring) for ring in polygons]
    rle = merge_rles(coco_mask.frPyObjects(rings, height, width))
    counts = rle["counts"]
    return {
        "size": [height, width],
        "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts,
    }


class RegionDataset(Reader):
    """Images with `Instance`s, as the readers of COCO, VIA and labelme files add them.

    ``image_info`` has, beside id, source and path, height and width (px, as ``load_image`` gives
    the image) and instances (list of `Instance`).
    """

    def __init__(self, class_map: None = None) -> None:
        super().__init__(class_map)
        self._told_of_size = False
        # {(source, name of a list of classes): the names in the annotations that it stands for}
        self._called: dict[tuple[str, str], list[str]] = {}
        # {path: the name that the annotations which are being loaded have for it}
        self._image_names: dict[str | None, str] = {}

    def load_image(self, image_id: int) -> np.ndarray:
        """As `Dataset.load_image`.

        Raises:
            ValueError: the image's size is not that of the annotations, besides its causes there.
        """
        image = super().load_image(image_id)
        info = self.image_info[image_id]
        if "instances" in info and image.shape[:2] != (info["height"], info["width"]):
            raise ValueError(
                f"{info['path']} is {image.shape[1]} x {image.shape[0]} px (width x height, turned "
                f"as its EXIF data say), but was annotated as {info['width']} x {info['height']} "
                "px: resize or turn the image, or annotate this one"
            )
        return image

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """The masks of one image.

        Args:
            image_id: 0 to num_images - 1.

        Returns:
            masks: bool [height, width, instances]; instances may be 0.
            class_ids: int32 [instances], negative for a crowd.
        """
        info = self._info(image_id)
        if "instances" not in info:  # added by a subclass, from another source
            return super().load_mask(image_id)
        shape = info["height"], info["width"]
        rles, class_ids = self._with_class_ids(info, self._drawn(info))
        self._tell_of_size(info, len(rles) * shape[0] * shape[1])
        return decode_masks(rles, shape), class_ids

    def load_labels(
        self, image_id: int, overlap: str = "smaller", crowds: str = "ignore"
    ) -> NDArray[np.uint8 | np.uint16]:
        """As `Dataset.load_labels`, without the memory of all masks."""
        info = self._info(image_id)
        if "instances" not in info or type(self).load_mask is not RegionDataset.load_mask:
            return super().load_labels(image_id, overlap, crowds)
        shape, instances = (info["height"], info["width"]), self._drawn(info)
        parts = list(decode_parts([one.outline for one in instances], shape))
        class_ids, void = self._class_ids(info, instances), void_label(len(self.class_info))
        return labels_of_parts(parts, class_ids, shape, overlap, crowds, void)

    def knows_labels(self, image_id: int) -> bool:
        """As `Dataset.knows_labels`: never, outlines are what is known."""
        return False

    def _tell_of_size(self, info, size):
        """Warn, once, of masks that may be more than the memory holds."""
        if size >= LARGE and not self._told_of_size:
            self._told_of_size = True
            logger.warning(
                "%s: the masks of its %d objects, of %d x %d px each, take %.1f GB of memory while "
                "it is loaded. Smaller images, or parts of them, take less",
                info["path"],
                len(info["instances"]),
                info["height"],
                info["width"],
                size / 1e9,
                extra={"once": True},  # of all processes
            )

    def known_class_ids(self, image_id: int) -> NDArray[np.int32] | None:
        """As `Dataset.known_class_ids`: an annotation file has them. Nothing is drawn for it, so
        that polygons are among them which may turn out to cover no pixel.
        """
        info = self._info(image_id)
        if "instances" not in info:
            return None
        return self._class_ids(info, info["instances"])

    def measure_objects(
        self, image_id: int
    ) -> tuple[tuple[int, int], np.ndarray, NDArray[np.int64]]:
        """As `Dataset.measure_objects`, without drawing a mask."""
        info = self._info(image_id)
        if "instances" not in info:
            return super().measure_objects(image_id)
        instances = self._drawn(info)
        areas = mask_areas([one.outline for one in instances])
        return (info["height"], info["width"]), self._class_ids(info, instances), areas

    def _class_ids(self, info, instances):
        """Class ids of instances, int32; `SEVERAL_CLASSES` for a crowd of every class."""
        self._prepared("sources")
        numbers = []
        for one in instances:
            if one.class_id is None:
                numbers.append(SEVERAL_CLASSES)
            else:
                number = self.map_source_class_id(f"{info['source']}.{one.class_id}")
                numbers.append(-number if one.crowd else number)
        return np.array(numbers, np.int32)

    def _with_class_ids(self, info, instances):
        """The outlines and the class ids, int32, of an image's instances. A crowd of every class is
        among them once for each, so that no detection in it counts as false.
        """
        every = [-one for one in self.source_class_ids.get(info["source"], [])[1:]]
        outlines: list[Outline] = []
        class_ids: list[int] = []
        for instance, number in zip(instances, self._class_ids(info, instances).tolist()):
            numbers = every if number == SEVERAL_CLASSES else [number]
            outlines += [instance.outline] * len(numbers)
            class_ids += numbers
        return outlines, np.array(class_ids, np.int32)

    def _drawn(self, info):
        """The `Instance`s of an image, all as run lengths, without those that cover no pixel."""
        found = info["instances"]
        if not any(isinstance(one.outline, tuple) for one in found):
            return found
        size = info["height"], info["width"]
        found = [
            one._replace(outline=_draw(one.outline, *size))
            if isinstance(one.outline, tuple)
            else one
            for one in found
        ]
        areas = mask_areas([one.outline for one in found])
        for one, area in zip(found, areas):
            if not area:
                self.left_out.add(f"annotations {NO_PIXEL}", f"{info['path']}, {one.place}")
        # several threads may do this, with the same result
        info["instances"] = [one for one, area in zip(found, areas) if area]
        return info["instances"]

    def known_objects(self, image_id: int) -> dict[str, Any]:
        """As `Dataset.known_objects`."""
        info = self._info(image_id)
        return {**info, "instances": self._drawn(info)} if "instances" in info else info

    def noting(self, function: Callable[[int], Made], image_id: int) -> tuple[Made, dict[str, Any]]:
        """As `Dataset.noting`; the outlines that were drawn are among the notes."""
        info, told = self._info(image_id), self._told_of_size
        before = info.get("instances")
        made, notes = super().noting(function, image_id)
        if info.get("instances") is not before:
            notes["instances"], info["instances"] = info["instances"], before
        if self._told_of_size != told:
            notes["told_of_size"] = True
        return made, notes

    def add_notes(self, image_id: int, notes: dict[str, Any]) -> None:
        """As `Dataset.add_notes`."""
        if "instances" in notes:
            self._info(image_id)["instances"] = notes.pop("instances")
        self._told_of_size |= notes.pop("told_of_size", False)
        super().add_notes(image_id, notes)

    # === For the readers ===

    def _add_named_classes(self, source, found, classes, other_classes):
        """Add classes that have names only, see `class_numbers`.

        Args:
            source: of the classes.
            found: names in the annotations.
            classes: names in the order to number them in, also as `prepare` cuts them, before the
                first comma, see `_names_meant`; None: those found, sorted.
            other_classes: add those found that are not listed after them, sorted.

        Returns:
            {name: class id in the source}, of the names found that are among the classes.
        """
        if classes is not None and (
            isinstance(classes, str)
            or len(set(classes)) != len(classes)
            or not all(isinstance(name, str) for name in classes)
        ):
            raise ValueError(f"classes must be a list of different names, got {classes!r}")
        if classes is None:
            return class_numbers(self, source, sorted(found))
        names, meant = self._names_meant(source, set(found), classes)
        if other_classes:
            others = sorted(set(found) - set(meant))
            names, meant = [*names, *others], {**meant, **dict(zip(others, others))}
        numbers = class_numbers(self, source, names, whole_names=True)
        return {name: numbers[meant[name]] for name in found if name in meant}

    def _names_meant(self, source, found, classes):
        """The names of the classes that a list of names asks for, and {name found: that of its
        class}. A name that only others begin with, up to their first comma, stands for them: for
        one, which is then called so, or for several, which keep their names.
        """
        names: list[str] = []
        meant: dict[str, str] = {}
        spellings = {name: ((name,), (name.split(",")[0],)) for name in sorted(found)}
        for asked, (called, _) in zip(classes, classes_called(classes, spellings)):
            before = self._called.setdefault((source, asked), called) if called else called
            if before != called:
                raise ValueError(
                    f"classes has {asked!r}, which is {some(map(repr, called))} here and was "
                    f"{some(map(repr, before))} in what was loaded before as {source!r}: give the "
                    "whole names, or load it with another source"
                )
            own = [asked] if len(called) < 2 else called
            names += own
            meant.update(zip(called, own))
        return names, meant

    def _start_loading(self, collect_errors):
        """Forget what is of the annotations that were loaded before."""
        self.collects_errors = collect_errors
        self._image_names.clear()

    def _find_image(self, folders, name, annotations):
        """As `find_image`; an error where the annotations have two names that both end at one
        image.
        """
        path = find_image(folders, name)
        other = self._image_names.setdefault(path, name)
        if path is not None and other != name:
            raise ValueError(
                f"{annotations} names {other!r} and {name!r}, of which there is only {path}: put "
                "the images into the folders that it names, or give the folder that has these"
            )
        return path

    def _image_path(self, folders, name, annotations, skip_missing):
        """The path of an image; None for a missing one that may be left out."""
        path = self._find_image(folders, name, annotations)
        if path is None:
            if not skip_missing:
                if name.replace("\\", "/").rpartition("/")[2].strip() in ("", os.curdir, os.pardir):
                    raise ValueError(
                        f"{annotations} has an image of the name {name!r}, which is that of no file"
                    )
                raise FileNotFoundError(
                    f"{os.path.join(folders[0], name)} is missing, though {annotations} has "
                    "annotations of it: put it there, give the folder of the images with "
                    + option_or_argument("--images", "image_dir")
                    + ", or skip what is missing with "
                    + option_or_argument("--skip-missing", "skip_missing=True")
                    + near_miss(folders, name, "rename it, or change its name in the annotations")
                )
            self.left_out.add("images missing", f"{annotations}: {name}")
        return path

    def _report(self, annotations, first_image):
        """Report what was read since ``image_info`` had ``first_image`` images."""
        added = self.image_info[first_image:]
        count = sum(len(info["instances"]) for info in added)
        report_loaded(
            annotations,
            f"{len(added)} images with {count} instances of {len(self.class_info) - 1} classes",
            self.left_out,
        )
