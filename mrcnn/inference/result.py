"""What `detect` returns: the dict that matterport's returns, with methods.

``result["rois"]`` and the other keys are as they were, and so is whatever else a dict does:
``len(result)`` is the number of keys, ``result.count`` that of objects.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrcnn.common.files import AnyPath
from mrcnn.common.json_files import write_json
from mrcnn.config.classes import class_ids, numbered_names
from mrcnn.data.coco_json import coco_detections
from mrcnn.data.contours import mask_polygons
from mrcnn.data.drawing import as_rgb, draw_instances, instance_colors, save_instances
from mrcnn.data.labels import LabelMap, RegionMasks, labels_of_parts, parts_of_masks, void_label
from mrcnn.data.masks import binary_masks
from mrcnn.visualize.instances import display_instances

if TYPE_CHECKING:
    import supervision
    from matplotlib.axes import Axes


# How classes are chosen: an id or a name, or several of them.
Classes: TypeAlias = int | str | Iterable[int | str]
# Version of the file format, which labelme compares with its own.
_LABELME_VERSION = "5.5.0"


class Result(dict):
    """The objects found in one image, best score first.

    Keys:
        rois: int32 [n, 4] of (y1, x1, y2, x2) px, y2 and x2 exclusive.
        class_ids: int32 [n].
        scores: float32 [n].
        masks: bool [h, w, n] (float64 where n is 0, as the original has it).

    Attributes:
        image: the image given to `detect`, [h, w] or [h, w, c], or None.
        class_names: list of names by class id, the first of them for the background, or None.
        at_limit: whether there were as many detections as DETECTION_MAX_INSTANCES allows, so that
            more may be cut off.
        boxes: float32 [n, 4] px, the rois before they were rounded, which evaluation and `to_coco`
            take; the rois themselves where nothing else is known, as where ``result["rois"]`` has
            been set to others.

    The methods that draw take ``image`` in place of an image that the result has not got. To keep
    many results and not their images, set ``result.image = None``.

    Example:
        >>> result = model.detect([image])[0].filter(classes=["dog"], min_confidence=0.9)
        >>> result.save("dogs.png")
    """

    image: np.ndarray | None = None
    class_names: Sequence[str] | None = None
    at_limit: bool = False
    # a copy of the rois, and the boxes that they were rounded from
    _rounded: tuple[np.ndarray, np.ndarray] | None = None

    def __init__(
        self,
        rois: NDArray[np.int32],
        class_ids: NDArray[np.int32],
        scores: NDArray[np.float32],
        masks: np.ndarray | RegionMasks,
        image: np.ndarray | None = None,
        class_names: Sequence[str] | None = None,
        at_limit: bool = False,
        boxes: NDArray[np.float32] | None = None,
    ) -> None:
        super().__init__(rois=rois, class_ids=class_ids, scores=scores, masks=masks)
        self.image, self.class_names, self.at_limit = image, class_names, at_limit
        if boxes is not None:
            self._rounded = np.array(rois), np.asarray(boxes, np.float32)

    def copy(self) -> Result:
        """A `Result` of the same arrays."""
        return type(self)(
            **self,
            image=self.image,
            class_names=self.class_names,
            at_limit=self.at_limit,
            boxes=self.boxes,
        )

    # === What was found ===

    @property
    def boxes(self) -> NDArray[np.float32]:
        """See the class."""
        if self._rounded is not None and np.array_equal(self["rois"], self._rounded[0]):
            return self._rounded[1]
        # they were changed since
        return np.asarray(self["rois"], np.float32).reshape(-1, 4)

    @property
    def count(self) -> int:
        """Number of objects."""
        return len(self["scores"])

    @property
    def names(self) -> list[str]:
        """Name of the class of each object; "class 7" where there are no names."""
        known = self._known_names()
        return [known[class_id] for class_id in self["class_ids"]]

    @property
    def counts(self) -> dict[str, int]:
        """{name of the class: number of objects}, the most frequent first."""
        names = self.names
        return {
            name: names.count(name)
            for name in sorted(set(names), key=lambda name: (-names.count(name), name))
        }

    @property
    def area(self) -> NDArray[np.int64]:
        """int64 [n], pixels of each mask."""
        masks = self["masks"]
        return np.array([np.count_nonzero(masks[..., n]) for n in range(self.count)], np.int64)

    def select(self, index: int | slice | Sequence[int] | np.ndarray) -> Result:
        """Some of the objects.

        Args:
            index: int, slice, list of int or bool [n], as NumPy takes them.

        Returns:
            `Result` of the objects, with the same image.

        Raises:
            IndexError: there is no such object.
        """
        chosen = np.atleast_1d(np.arange(self.count)[index])
        # by rows, so that each mask stays in one piece in memory
        masks = np.moveaxis(np.moveaxis(self["masks"], -1, 0)[chosen], 0, -1)
        return type(self)(
            self["rois"][chosen],
            self["class_ids"][chosen],
            self["scores"][chosen],
            masks,
            self.image,
            self.class_names,
            self.at_limit,
            self.boxes[chosen],
        )

    def filter(self, classes: Classes | None = None, min_confidence: float | None = None) -> Result:
        """The objects of some classes and of at least some score.

        Args:
            classes: class id or name, or a list of them; None for all.
            min_confidence: least score; None for all.

        Raises:
            ValueError: an unknown class.
        """
        keep = np.ones(self.count, bool)
        if classes is not None:
            keep &= np.isin(self["class_ids"], class_ids(classes, self.class_names))
        if min_confidence is not None:
            keep &= self["scores"] >= min_confidence
        return self.select(keep)

    # === Pictures; by default every class has its own colour, the same in all of them ===

    def plot(
        self,
        image: ArrayLike | None = None,
        title: str = "",
        figsize: tuple[float, float] = (16, 16),
        ax: Axes | None = None,
        show_mask: bool = True,
        show_bbox: bool = True,
        captions: Sequence[str] | None = None,
        color_by: str = "class",
        labels: bool = True,
    ) -> None:
        """Show the objects with matplotlib, in a notebook or a window; see
        `visualize.display_instances`, and `data.drawing.draw_instances` for ``color_by`` and
        ``labels``.
        """
        names = self._known_names()
        if not labels:
            captions = [""] * self.count
        display_instances(
            self._image(image),
            self["rois"],
            self["masks"],
            self["class_ids"],
            names,
            self["scores"],
            title=title,
            figsize=figsize,
            ax=ax,
            show_mask=show_mask,
            show_bbox=show_bbox,
            colors=instance_colors(self["class_ids"], len(names), color_by),
            captions=captions,
        )

    def draw(
        self,
        image: ArrayLike | None = None,
        alpha: float = 0.5,
        color_by: str = "class",
        labels: bool = True,
    ) -> NDArray[np.uint8]:
        """The picture as pixels, uint8 [h, w, 3]; see `data.drawing.draw_instances`."""
        style: dict[str, Any] = {"alpha": alpha, "color_by": color_by, "labels": labels}
        return draw_instances(self._image(image), *self._drawn(), **style)

    def save(
        self,
        path: AnyPath,
        image: ArrayLike | None = None,
        alpha: float = 0.5,
        color_by: str = "class",
        labels: bool = True,
    ) -> str:
        """Write the picture to a .png, .jpg or .jpeg file; see `data.drawing.save_instances`.

        Returns:
            the path, as str.
        """
        style: dict[str, Any] = {"alpha": alpha, "color_by": color_by, "labels": labels}
        return save_instances(path, self._image(image), *self._drawn(), **style)

    def crop(
        self, mask: bool = False, padding: int = 0, image: ArrayLike | None = None
    ) -> list[np.ndarray]:
        """The part of the image in the box of each object.

        Args:
            mask: True adds the mask as alpha: 255 on the object, 0 around it.
            padding: px around the box, as far as the image goes.
            image: see the class.

        Returns:
            list of n arrays, copies: [h, w] or [h, w, c] of the image's own type, or with ``mask``
            uint8 [h, w, 4] (red, green, blue, alpha).
        """
        return list(self.each_crop(mask, padding, image))

    def each_crop(
        self, mask: bool = False, padding: int = 0, image: ArrayLike | None = None
    ) -> Iterator[np.ndarray]:
        """As `crop`, one at a time."""
        image = self._image(image)
        pixels = as_rgb(image) if mask else np.asarray(image)
        for index, (y1, x1, y2, x2) in enumerate(self["rois"].tolist()):
            part = (
                slice(max(y1 - padding, 0), y2 + padding),
                slice(max(x1 - padding, 0), x2 + padding),
            )
            crop = pixels[part]
            if mask:
                alpha = (self["masks"][..., index][part] > 0) * np.uint8(255)
                crop = np.dstack([crop, alpha])
            yield np.array(crop)

    # === Other forms ===

    def polygons(
        self, tolerance: float = 0.0, holes: str = "bridge"
    ) -> list[list[NDArray[np.float64]]]:
        """The outlines of each mask.

        Args:
            tolerance: px by which a polygon may be simplified; 0 follows every pixel.
            holes: "bridge" or "fill"; see `data.contours.mask_polygons`.

        Returns:
            list of n lists of float64 [points, 2] of (x, y) px, one for each part of a mask.
        """
        return [
            mask_polygons(self["masks"][..., index], tolerance, holes)
            for index in range(self.count)
        ]

    def to_coco(
        self,
        image_id: int,
        category_ids: Mapping[int, int] | None = None,
        polygons: bool = False,
        tolerance: float = 0.0,
    ) -> list[dict[str, Any]]:
        """The objects in the form of COCO's results.

        Args:
            image_id: int, the id that the image has in its annotations.
            category_ids: {class id: category id}; None takes the class ids.
            polygons: True gives polygons (see `polygons`) in place of run lengths, but for an
                object without a pixel, which has none.
            tolerance: of the polygons.

        Returns:
            list of n dicts of image_id, category_id, bbox [x, y, width, height] px (of ``boxes``,
            not rounded), score, area (px of the mask) and segmentation, ready for `json.dump`.

        Raises:
            ValueError: ``category_ids`` lacks a class that was found.
        """
        found = coco_detections(image_id, self)
        for entry, area in zip(found, self.area.tolist()):
            if category_ids is not None:
                if entry["category_id"] not in category_ids:
                    raise ValueError(
                        f"category_ids has no entry for class id {entry['category_id']}; "
                        f"it has those of {sorted(category_ids)}"
                    )
                entry["category_id"] = int(category_ids[entry["category_id"]])
            entry["area"] = float(area)
        if polygons:
            for entry, parts in zip(found, self.polygons(tolerance)):
                if parts:
                    entry["segmentation"] = [part.ravel().tolist() for part in parts]
        return found

    def to_labelme(
        self, image_path: AnyPath, path: AnyPath | None = None, tolerance: float = 1.0
    ) -> dict[str, Any]:
        """The objects as labelme has them, to be looked at and corrected there.

        Polygons of one object with several parts have the same group_id; the score is in the
        description.

        Args:
            image_path: path of the image, which labelme opens; the pixels are not put into the
                file.
            path: .json file to write too, by custom beside the image and of its name.
            tolerance: px by which polygons are simplified; 0 gives a point for every step of a
                slanted edge.

        Returns:
            dict, what is in the file.
        """
        shapes = []
        for number, (parts, name, score) in enumerate(
            zip(self.polygons(tolerance), self.names, self["scores"])
        ):
            shapes += [
                {
                    "label": name,
                    "points": part.tolist(),
                    "group_id": number if len(parts) > 1 else None,
                    "description": f"score {score:.3f}",
                    "shape_type": "polygon",
                    "flags": {},
                    "mask": None,
                }
                for part in parts
            ]
        if path is not None:
            image_path = os.path.relpath(image_path, os.path.dirname(os.path.abspath(path)))
        height, width = self["masks"].shape[:2]
        content: dict[str, Any] = {
            "version": _LABELME_VERSION,
            "flags": {},
            "shapes": shapes,
            "imagePath": os.fspath(image_path),
            "imageData": None,
            "imageHeight": int(height),
            "imageWidth": int(width),
        }
        if path is not None:
            write_json(path, content, indent=2, durable=False)  # it can be made again
        return content

    def to_labels(self, min_score: float = 0.0, overlap: str = "score") -> LabelMap:
        """The class of each pixel. Where objects overlap, the one of higher score has the pixel.

        `data.labels.regions` takes such a map apart again: objects of a class that touch are then
        one.

        Args:
            min_score: objects of a lower score are left out.
            overlap: "score"; or "smaller" or "ignore" of `data.labels.labels_of_masks`, which do
                not look at the score.

        Returns:
            [h, w], uint8: 0 background, 1 and more the class ids, 255 void. Of more than 254
            classes uint16, and 65535 void. Only "ignore" makes pixels void.

        Raises:
            ValueError: another ``overlap``.
        """
        if overlap not in ("score", "smaller", "ignore"):
            raise ValueError(f"overlap is {overlap!r}; use 'score', 'smaller' or 'ignore'")
        # from the lowest to the highest; of equal scores the first is on top
        order = np.argsort(-self["scores"], kind="stable")[::-1]
        rows = order[self["scores"][order] >= min_score]
        masks = binary_masks(self["masks"])
        return labels_of_parts(
            parts_of_masks(masks, rows),
            self["class_ids"][rows],
            masks.shape,
            "last" if overlap == "score" else overlap,
            void=void_label(len(self._known_names())),
        )

    def to_supervision(self) -> supervision.Detections:
        """The objects as `supervision.Detections`, for its trackers, zones and annotators.

        Raises:
            ImportError: the package ``supervision`` is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            raise ImportError(
                "to_supervision needs the package supervision: pip install supervision"
            ) from error
        y1, x1, y2, x2 = self.boxes.T
        return supervision.Detections(
            xyxy=np.stack([x1, y1, x2, y2], axis=1).astype(np.float32),
            mask=np.moveaxis(self["masks"], -1, 0).astype(bool),
            confidence=self["scores"],
            class_id=self["class_ids"].astype(int),
            data={"class_name": np.array(self.names, dtype=str)},
        )

    # === Inside ===

    def _known_names(self):
        if self.class_names is not None:
            return self.class_names
        return numbered_names(int(self["class_ids"].max(initial=0)) + 1)

    def _drawn(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, Sequence[str], np.ndarray]:
        return self["rois"], self["masks"], self["class_ids"], self._known_names(), self["scores"]

    def _image(self, image):
        return image_of_size(self.image if image is None else image, self["masks"].shape[:2])


def image_of_size(image: ArrayLike | None, size: tuple[int, ...]) -> ArrayLike:
    """The image to draw a result in, checked.

    Args:
        image: [h, w] or [h, w, c], or None.
        size: (height, width) of the result in pixels.

    Raises:
        ValueError: there is no image, or it has another size.
    """
    if image is None:
        raise ValueError("the result has no image: give the one it was found in, as image=...")
    given = np.shape(image)[:2]
    if given != size:
        raise ValueError(
            f"the result is of an image of {size[1]} x {size[0]} px (width x height), the image "
            f"given has {' x '.join(map(str, reversed(given)))} px"
        )
    return image
