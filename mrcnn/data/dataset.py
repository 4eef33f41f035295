"""The Dataset class: what is in a set of images, and how to load one of them.

Subclass it, call `add_class` and `add_image` in a loader of your own, override
`load_mask` (and `load_image` where the pixels are not in a plain image file),
and call `prepare()` before use.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mrcnn.common.files import AnyPath
from mrcnn.common.words import some
from mrcnn.data.class_labels import class_labels
from mrcnn.data.crowds import distinct_regions
from mrcnn.data.image_range import FewBits
from mrcnn.data.images import as_uint8_range, fit_channels, read_image
from mrcnn.data.labels import call_load_labels, load_labels, masks_of_labels
from mrcnn.data.load import call_load_mask, checked_class_ids, checked_mask
from mrcnn.data.noting import Noting
from mrcnn.data.survey.check import check_dataset
from mrcnn.data.survey.summary import summarize

if TYPE_CHECKING:
    from mrcnn.data.survey.check import CheckReport
    from mrcnn.data.survey.summary import Summary


logger = logging.getLogger(__name__)


class Dataset(Noting):
    """A set of images with classes from one or several sources.

    Each class and image belongs to a source ("coco", "balloon", ...) and keeps
    the id it has there; inside, both are numbered from 0 in the order in which
    they were added. Class 0 is the background, "BG", of every source.

    Attributes:
        image_info: list of dicts with id, source, path and what `add_image` was given.
        class_info: list of dicts with source, id, name and, where it must not be cut, whole_name.
        source_class_ids: {source: [class ids, 0 included]}, after `prepare`.
        own_image_range: (black, white) of the images as ``image_range`` was set; None.
        config_image_range: IMAGE_RANGE of the config that the images were last read with; None.
        few_bits: `FewBits`, the images met that may hold fewer bits than they are taken for.
        noted: names of the attributes that loading an image adds to, see `noting`.

    After `prepare`: num_classes, class_ids, class_names, num_images, image_ids,
    class_from_source_map {"source.id": class id}, image_from_source_map, sources.

    Example:
        >>> class Cells(Dataset):
        ...     def load_cells(self, folder):
        ...         self.add_class("cells", 1, "cell")
        ...         self.add_image("cells", "a", path=f"{folder}/a.png")
    """

    num_classes: int
    class_ids: NDArray[np.integer]
    class_names: list[str]
    num_images: int
    class_from_source_map: dict[str, int]
    image_from_source_map: dict[str, int]
    sources: list[str]

    def __init__(self, class_map: None = None) -> None:
        _refuse_class_map(class_map)
        self._image_ids: NDArray[np.integer] | list[int] = []
        self.image_info: list[dict[str, Any]] = []
        self.class_info: list[dict[str, Any]] = [{"source": "", "id": 0, "name": "BG"}]
        self.source_class_ids: dict[str, list[int]] = {}
        self.own_image_range: Sequence[float] | None = None
        self.config_image_range: Sequence[float] | None = None
        self.few_bits = FewBits()

    # === Filling ===

    def add_class(
        self, source: str, class_id: int | str, class_name: str, whole_name: bool = False
    ) -> None:
        """Add a class; one that this source already has is left as it is.

        Args:
            source: name without a dot.
            class_id: the id the class has in its source.
            class_name: cut at the first comma by `prepare`, unless that would make it the name of
                another class of the source.
            whole_name: never cut it.

        Raises:
            ValueError: a dot in `source`, which separates source and id in "source.id".
        """
        if "." in source:
            raise ValueError(
                f"The source name {source!r} must not contain a dot: "
                f"use {source.replace('.', '_')!r}"
            )
        for info in self.class_info:
            if info["source"] == source and info["id"] == class_id:
                if info["name"] != class_name:
                    logger.warning(
                        "Class %s.%s is already named %r; the name %r is not used",
                        source,
                        class_id,
                        info["name"],
                        class_name,
                    )
                return
        info = {"source": source, "id": class_id, "name": class_name}
        cuttable = "," in class_name
        self.class_info.append({**info, "whole_name": True} if whole_name and cuttable else info)

    def add_image(
        self, source: str, image_id: int | str, path: AnyPath | None, **kwargs: Any
    ) -> None:
        """Add an image: `image_id` is its id in its source, `kwargs` go into its info."""
        self.image_info.append({"id": image_id, "source": source, "path": path, **kwargs})

    def prepare(self, class_map: None = None) -> None:
        """Number classes and images and build the maps; call again after adding more."""
        _refuse_class_map(class_map)
        self.num_classes = len(self.class_info)
        self.class_ids = np.arange(self.num_classes)
        self.class_names = class_labels(self.class_info)
        self.num_images = len(self.image_info)
        self._image_ids = np.arange(self.num_images)
        self.class_from_source_map = _source_map(self.class_info)
        self.image_from_source_map = _source_map(self.image_info)
        self.sources = list(dict.fromkeys(info["source"] for info in self.class_info))
        self.source_class_ids = {
            source: [
                i for i, info in enumerate(self.class_info) if i == 0 or info["source"] == source
            ]
            for source in self.sources
        }

    # === Asking ===

    @property
    def image_range(self) -> Sequence[float] | None:
        """(black, white) that the images are read with: one that was set here, which a config must
        then have too, or else IMAGE_RANGE of the config that last read them.
        """
        return self.config_image_range if self.own_image_range is None else self.own_image_range

    @image_range.setter
    def image_range(self, black_and_white: Sequence[float] | None) -> None:
        self.own_image_range = black_and_white

    @property
    def image_ids(self) -> NDArray[np.integer] | list[int]:
        """int [num_images], 0, 1, 2 ...; an empty list before `prepare`."""
        return self._image_ids

    def map_source_class_id(self, source_class_id: str) -> int:
        """The class id of "source.id", such as "coco.12".

        Raises:
            ValueError: there is no such class, or `prepare` was not called.
        """
        known = self._prepared("class_from_source_map")
        if source_class_id not in known:
            raise ValueError(
                f"There is no class {source_class_id!r}: the classes are "
                f'{some(known)}, each as "source.id"'
            )
        return known[source_class_id]

    def get_source_class_id(self, class_id: int, source: str) -> int | str:
        """The id that class `class_id` has in its source.

        Raises:
            ValueError: no such class, or it is from another source.
        """
        if not 0 <= class_id < len(self.class_info):
            raise ValueError(
                f"There is no class {class_id}: class ids are 0 to {len(self.class_info) - 1}"
            )
        info = self.class_info[class_id]
        if info["source"] != source:
            raise ValueError(
                f"Class {class_id} ({info['name']!r}) is from source {info['source']!r}, "
                f"not {source!r}"
            )
        return info["id"]

    def image_reference(self, image_id: int) -> str:
        """A link or note that helps to find the image at its source; to be overridden."""
        return ""

    def source_image_link(self, image_id: int) -> AnyPath | None:
        """The path or URL of the image."""
        return self._info(image_id)["path"]

    # === Loading ===

    def load_image(self, image_id: int) -> np.ndarray:
        """Read the pixels of one image file.

        Grey becomes RGB and alpha is dropped; 16-bit values are scaled to
        0..255 and the EXIF orientation is applied (the original did neither).
        Override it for other numbers of channels.

        Args:
            image_id: 0 to num_images - 1.

        Returns:
            [height, width, 3], uint8 (float where the file holds floats). More
            than 4 channels stay as they are.

        Raises:
            FileNotFoundError: the file is missing.
            ValueError: no such image id, no path, or an unreadable file.
        """
        info = self._info(image_id)
        path = info["path"]
        if path is None:
            raise ValueError(
                f"Image {image_id} ({info['source']}.{info['id']}) was added without a path: "
                f"override load_image in {type(self).__name__}"
            )
        return self._as_rgb(read_image(path, as_stored=self.image_range is not None), path)

    def _as_rgb(self, pixels, path):
        """What `load_image` returns of the pixels of a file."""
        if self.image_range is None:
            self.few_bits.look_at(pixels, str(path))
        try:
            image = as_uint8_range(pixels, self.image_range)
        except ValueError as err:
            raise ValueError(f"{path}: {err}") from err
        return image if image.ndim == 3 and image.shape[2] > 4 else fit_channels(image, 3)

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """The masks of one image; to be overridden, or else `load_labels`.

        With a `load_labels` of the subclass's own there is one mask for each class that the image
        shows. Without, there is none, and a warning.

        Args:
            image_id: 0 to num_images - 1.

        Returns:
            masks: bool [height, width, instances], or numbers, of which `masks.foreground` says
                where the object is.
            class_ids: int32 [instances], negative for a crowd.
        """
        if self.knows_labels(image_id):
            return masks_of_labels(call_load_labels(self, image_id), len(self.class_info))
        logger.warning(
            "%s has no load_mask of its own, so image %s has no instances",
            type(self).__name__,
            image_id,
        )
        return np.empty([0, 0, 0]), np.empty([0], np.int32)

    def load_labels(
        self, image_id: int, overlap: str = "smaller", crowds: str = "ignore"
    ) -> NDArray[np.uint8 | np.uint16]:
        """The label map of one image, a class for each pixel; this one is made of its masks.

        A subclass whose classes are known by pixel overrides it, and may leave ``overlap`` and
        ``crowds`` out.

        Args:
            image_id: 0 to num_images - 1.
            overlap: "smaller", "last" or "ignore", see `labels.labels_of_masks`.
            crowds: "ignore" for void, or "class" for their class.

        Returns:
            [height, width], uint8: 0 background, 1 and more the class ids, 255 void. Of more than
            254 classes uint16, and 65535 void.
        """
        return load_labels(self, image_id, overlap, crowds)

    def knows_labels(self, image_id: int) -> bool:
        """Whether the label map of an image is what is known of it, and not made of its masks."""
        return type(self).load_labels is not Dataset.load_labels

    # === Looking it over ===

    def is_labelled(self, class_id: int) -> bool:
        """Whether the objects of a class are marked in the images. False where it is known that
        nobody looked for them: then an object that is found is neither right nor wrong.
        """
        return True

    def known_class_ids(self, image_id: int) -> NDArray[np.int32] | None:
        """The class ids of an image's objects, negative for a crowd, as `measure_objects` returns
        them; None where they are known only once the masks are loaded.
        """
        return None

    def crowd_words(self) -> tuple[str, str]:
        """What makes an object a crowd, and how to make objects of crowds ("" if there is no way);
        for messages.
        """
        return "a negative class id", ""

    def known_objects(self, image_id: int) -> dict[str, Any]:
        """All that is known of an image and its objects without reading a file, as a dict with the
        items of its ``image_info``; a cache is compared by it.
        """
        return self._info(image_id)

    def measure_objects(
        self, image_id: int
    ) -> tuple[tuple[int, int], np.ndarray, NDArray[np.int64]]:
        """The size of an image and its objects; the readers of `data.formats` know it without
        drawing.

        Returns:
            size: (height, width) px, (0, 0) where `load_mask` returns no masks.
            class_ids: int [instances], negative for a crowd. A crowd of several classes, which
                `load_mask` gives once for each, is there once, as `crowds.SEVERAL_CLASSES`.
            areas: int64 [instances] px.

        Raises:
            ValueError: the masks or class ids are wrong.
        """
        masks, class_ids = call_load_mask(self, image_id)
        on = checked_mask(masks, class_ids, masks.shape)
        rows, class_ids = distinct_regions(on, checked_class_ids(class_ids, limit=None))
        areas = [np.count_nonzero(on[..., row]) for row in rows]
        return masks.shape[:2], class_ids, np.array(areas, np.int64)

    def mask_doubts(self, image_id: int) -> list[tuple[str, str]]:
        """What looks wrong with the masks of an image though they can be drawn; for `check`.

        Returns:
            list of (kind, what exactly); a Dataset that does not know how its masks came to be has
            none.
        """
        return []

    def summary(
        self, image_ids: Iterable[int] | None = None, progress: bool = True, workers: int = 1
    ) -> Summary:
        """Images, objects, classes, sizes and areas: a `data.survey.summary.Summary`; print it.

        Args:
            image_ids: list of image ids; None: all.
            progress: show a progress bar on stderr.
            workers: processes or threads that measure, as of `check`.

        Raises:
            ValueError: no such image, workers below 1, or `prepare` was not called.
            TypeError: workers is not an int, or `noted` names what is no collection.
            ChildProcessError: a process could not be started, was killed, or crashed.
        """
        return summarize(self, self._chosen(image_ids), progress, workers)

    def check(
        self, image_ids: Iterable[int] | None = None, progress: bool = True, workers: int = 1
    ) -> CheckReport:
        """Open every image and draw every mask: a `data.survey.check.CheckReport`; print it.

        Args:
            image_ids: list of image ids; None: all.
            progress: show a progress bar on stderr.
            workers: processes that do it, or threads where processes cannot be forked (other
                systems than Linux, after TensorFlow was imported, beside other threads or an open
                file, pipe or socket) and for few images. With more than one, `load_image` and
                `load_mask` must be thread-safe; what they keep in the dataset is lost unless
                `noted` names it.

        Raises:
            ValueError: no such image, workers below 1, or `prepare` was not called.
            TypeError: workers is not an int, or `noted` names what is no collection.
            ChildProcessError: a process could not be started, was killed, or crashed.
        """
        return check_dataset(self, self._chosen(image_ids), progress, workers)

    def _chosen(self, image_ids):
        """A list of image ids, checked; for None all of them."""
        self._prepared("class_names")
        chosen = [
            int(image_id)
            for image_id in (range(len(self.image_info)) if image_ids is None else image_ids)
        ]
        for image_id in chosen:
            self._info(image_id)
        return chosen

    def _info(self, image_id):
        if not 0 <= image_id < len(self.image_info):
            raise ValueError(
                f"There is no image {image_id} in {type(self).__name__}: it has "
                f"{len(self.image_info)} images, numbered from 0"
            )
        return self.image_info[image_id]

    def _prepared(self, name):
        if not hasattr(self, name):
            raise ValueError(f"Call prepare() on the {type(self).__name__} first")
        return getattr(self, name)


def _source_map(infos):
    return {f"{info['source']}.{info['id']}": i for i, info in enumerate(infos)}


def _refuse_class_map(class_map):
    if class_map is not None:
        raise ValueError(
            "class_map is not supported (nor was it in the original, which ignored it): "
            "add the classes of one source under the names and ids you want"
        )
