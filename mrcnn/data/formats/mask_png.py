"""Masks in image files: one id for each object, or one file for each object."""

import contextlib
import os
from collections.abc import Collection, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mrcnn.common.files import AnyPath
from mrcnn.common.words import option_or_argument
from mrcnn.data.dataset import Dataset
from mrcnn.data.formats.regions import NO_PIXEL, LeftOut, class_numbers, logger
from mrcnn.data.images import IMAGE_TYPES, image_size, read_image
from mrcnn.data.masks import foreground, has_soft_edges, mask_of_picture, number_pieces

MASK_SUFFIXES = ("", "_mask", "_masks")
LOSSY = (".jpg", ".jpeg")  # the pixels beside an edge have other values than were saved
# Masks that are looked at when a data set is opened; `check` looks at all.
LOOKED_AT = 20
# Objects of a mask of ids, at most.
MOST_OBJECTS = 10_000
SOFT_EDGES = "mask of ids with soft edges"
CUT_AT_HALF = "mask with soft edges"
IN_PIECES = "object in separate pieces"


class MaskPng(Dataset):
    """Images whose objects are masks in image files (png or any other without loss).

    The masks are read when they are wanted, not while loading. Objects that overlap keep all their
    pixels, a file without a pixel of its object is left out and counted in `left_out`.

    When images are added, and by `check`, masks are looked at that may mean something else: a file
    of ids whose edges are soft, so that each shade is an object, and objects in separate pieces,
    which may be several objects. With ``split_pieces`` each piece is an object of its own.

    Example:
        >>> dataset = MaskPng()
        >>> dataset.load_id_masks("PennFudanPed/PNGImages", "PennFudanPed/PedMasks", "person")
        >>> dataset.prepare()
    """

    def __init__(self, class_map: None = None) -> None:
        super().__init__(class_map)
        self.left_out = LeftOut()

    # === Loading ===

    def load_id_masks(
        self,
        image_dir: AnyPath,
        mask_dir: AnyPath,
        class_name: str,
        source: str = "mask",
        ignore: Collection[int] = (),
        skip_missing: bool = False,
        split_pieces: bool = False,
    ) -> None:
        """Add images with one mask file each, in which a pixel's value is the number of its object.

        The mask of ``a.png`` is ``a``, ``a_mask`` or ``a_masks`` with any ending, as in Penn-Fudan.
        0 is the background; numbers need not be contiguous, nor an object in one piece.

        Args:
            image_dir, mask_dir: folders.
            class_name: of all objects.
            source: name for ``add_class`` and ``add_image``.
            ignore: values that are no object either, such as 255 for the borders in Pascal VOC.
            skip_missing: leave images without a mask file out; else they are an error.
            split_pieces: make an object of each connected piece of a value. A mask with soft edges
                is then one of background and foreground, see `masks.foreground`.

        Raises:
            FileNotFoundError: a folder or a mask is missing, or there are no images.
            ValueError: both folders are one, or have two files that differ in their ending only;
                masks are JPEG.
        """
        class_id = class_numbers(self, source, [class_name])[class_name]
        images, masks = _by_stem(image_dir), _by_stem(mask_dir)
        if not images:
            raise FileNotFoundError(f"{image_dir} has no images ({', '.join(IMAGE_TYPES)})")
        if os.path.realpath(image_dir) == os.path.realpath(mask_dir):
            raise ValueError(
                f"image_dir and mask_dir are both {image_dir}: images and masks must be in two "
                "folders"
            )
        first, unused = len(self.image_info), dict(masks)
        for stem, name in images.items():
            mask = next(
                (masks[stem + suffix] for suffix in MASK_SUFFIXES if stem + suffix in masks), None
            )
            path = os.path.join(image_dir, name)
            if mask is None:
                self._missing(
                    f"{mask_dir} has no mask for {path}: it should be {stem}.png or "
                    f"{stem}_mask.png",
                    "images without a mask file",
                    path,
                    skip_missing,
                )
                continue
            unused.pop(os.path.splitext(mask)[0], None)
            mask_path = os.path.join(mask_dir, mask)
            _refuse_lossy(mask_path)
            self.add_image(
                source,
                stem,
                path,
                mask_path=mask_path,
                ignore=tuple(ignore),
                class_id=class_id,
                split_pieces=split_pieces,
            )
        for name in unused.values():
            self.left_out.add("mask files without an image", os.path.join(mask_dir, name))
        self._tell(image_dir, first)

    def load_object_masks(
        self,
        folder: AnyPath,
        class_name: str,
        source: str = "mask",
        image_ids: Sequence[str] | None = None,
        skip_missing: bool = False,
        split_pieces: bool = False,
    ) -> None:
        """Add images with one mask file for each object: ``<id>/images/<id>.png`` and
        ``<id>/masks/*.png``.

        This is the layout of the Data Science Bowl 2018. A mask is where its file is not black or,
        with soft edges, at least half white, see `masks.foreground`; a file that is transparent in
        part is as white as it is opaque. Where no image has a folder of masks, as in a test set,
        the images are added without objects.

        Args:
            folder: of the folders, one for each image.
            class_name: of all objects.
            source: name for ``add_class`` and ``add_image``.
            image_ids: list of names of folders; None: all.
            skip_missing: leave folders without image or masks out; else they are an error.
            split_pieces: make an object of each connected piece of a mask.

        Raises:
            FileNotFoundError: the folder, an image or its masks are missing.
        """
        class_id = class_numbers(self, source, [class_name])[class_name]
        if not os.path.isdir(folder):
            raise FileNotFoundError(
                f"{folder} is no folder; it should have a folder for each image"
            )
        ids = sorted(
            name
            for name in os.listdir(folder)
            if os.path.isdir(os.path.join(folder, name)) and not name.startswith(".")
        )
        if image_ids is not None:
            unknown = sorted(set(image_ids) - set(ids))
            if unknown:
                raise FileNotFoundError(
                    f"{folder} has no folder {unknown[0]!r} (of {len(unknown)} image_ids)"
                )
            ids = list(image_ids)
        annotated = any(os.path.isdir(os.path.join(folder, image_id, "masks")) for image_id in ids)
        first = len(self.image_info)
        for image_id in ids:
            images_dir, masks_dir = (
                os.path.join(folder, image_id, name) for name in ("images", "masks")
            )
            images = _images(images_dir) if os.path.isdir(images_dir) else []
            if len(images) != 1:
                self._missing(
                    f"{images_dir} must have one image, it has {len(images)}",
                    "folders without an image",
                    images_dir,
                    skip_missing,
                )
                continue
            if annotated and not os.path.isdir(masks_dir):
                self._missing(
                    f"{masks_dir} is missing, though other images have masks",
                    "images without masks",
                    images_dir,
                    skip_missing,
                )
                continue
            self.add_image(
                source,
                image_id,
                os.path.join(images_dir, images[0]),
                mask_dir=masks_dir if annotated else None,
                class_id=class_id,
                split_pieces=split_pieces,
            )
        if len(self.image_info) == first:
            raise FileNotFoundError(f"{folder} has no images as <id>/images/<id>.png")
        self._tell(folder, first)

    # === Asking ===

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """The masks of one image, in the order of their ids or files.

        Returns:
            masks: bool [height, width, instances]; instances may be 0.
            class_ids: int32 [instances].

        Raises:
            ValueError: a mask file that is no mask, or of another size than the image.
        """
        info = self._info(image_id)
        if not _is_own(info):
            return super().load_mask(image_id)
        size = image_size(info["path"])
        found = (mask for _, mask in self._objects(info, size))
        if info.get("split_pieces"):
            found = (piece for mask in found for piece in _pieces(mask))
        # without a list of them, which would take the memory twice
        masks = np.moveaxis(np.fromiter(found, np.dtype((bool, size))), 0, -1)
        class_id = self.map_source_class_id(f"{info['source']}.{info['class_id']}")
        return masks, np.full(masks.shape[-1], class_id, np.int32)

    def image_reference(self, image_id: int) -> str:
        """The path of the image."""
        return str(self._info(image_id)["path"])

    def mask_doubts(self, image_id: int) -> list[tuple[str, str]]:
        """Soft edges of masks, and objects in separate pieces, as (kind, where)."""
        info = self._info(image_id)
        if not _is_own(info):
            return super().mask_doubts(image_id)
        if info.get("split_pieces"):
            return []
        size, soft = image_size(info["path"]), []
        if "mask_path" in info:
            ids = _ids_of(info, size)
            if shades := _shades_of_edges(ids):
                return [
                    (
                        SOFT_EDGES,
                        f"{info['mask_path']}: {len(shades)} of its {len(_objects_of(ids))} values "
                        "occur in edges only, and each is an object; save the mask without "
                        "smoothing or, where the pieces are the objects, use --split-pieces",
                    )
                ]
            parted = [
                (f"{info['mask_path']}: value {value}", count)
                for value, count in _pieces_of_values(ids)
                if count > 1
            ]
        else:
            parted = [
                (path, count)
                for path, mask in self._objects(info, size)
                if (count := number_pieces(mask)[1]) > 1
            ]
            paths = [os.path.join(info["mask_dir"] or "", name) for name in _names_of(info)]
            soft = [path for path in paths if has_soft_edges(read_image(path))]
        more = f"; {len(parted) - 1} more objects have several" if len(parted) > 1 else ""
        return [
            (CUT_AT_HALF, f"{path} ends where half of its range is reached") for path in soft[:1]
        ] + [
            (
                IN_PIECES,
                f"{place} has {count} pieces, one object unless pieces are split "
                f"(--split-pieces){more}",
            )
            for place, count in parted[:1]
        ]

    def _objects(self, info, size) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        """(where it is, mask [height, width]) of each object, in the order of ids or files."""
        if "mask_path" in info:
            ids = _ids_of(info, size)
            if info.get("split_pieces") and _shades_of_edges(ids):
                ids = foreground(ids)
            for value in _objects_of(ids):
                yield f"{info['mask_path']}: value {value}", ids == value
            return
        for name in _names_of(info):
            path = os.path.join(info["mask_dir"], name)
            mask = _read_object(path)
            _check_size(mask, path, size, info["path"])
            if mask.any():
                yield path, mask
            else:
                self.left_out.add(f"masks {NO_PIXEL}", path)

    def _missing(self, message, reason, place, skip_missing):
        if not skip_missing:
            raise FileNotFoundError(
                f"{message}. Leave such images out with "
                + option_or_argument("--skip-missing", "skip_missing=True")
            )
        self.left_out.add(reason, place)

    def _tell(self, folder, first_image):
        """One line on what was added since ``image_info`` had ``first_image`` images."""
        level = "warning" if len(self.left_out) else "info"
        left_out = f"; left out so far: {self.left_out}" if len(self.left_out) else ""
        getattr(logger, level)(
            "%s: %d images%s", folder, len(self.image_info) - first_image, left_out
        )
        self._tell_doubts(folder, first_image)

    def _tell_doubts(self, folder, first_image):
        """A warning of what looks wrong in a few of the masks added."""
        added = len(self.image_info) - first_image
        looked_at = range(first_image, len(self.image_info), -(-added // LOOKED_AT) or 1)
        doubts = LeftOut()
        for image_id in looked_at:
            with contextlib.suppress(OSError, ValueError):  # raised where the mask is wanted
                for kind, place in self.mask_doubts(image_id):
                    doubts.add(kind, place)
        if len(doubts):
            logger.warning("%s: of the masks of %d images, %s", folder, len(looked_at), doubts)


def _images(folder):
    """Names of the image files in a folder, sorted; files that start with a dot are not."""
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{folder} is no folder; it should have image files")
    return sorted(
        name
        for name in os.listdir(folder)
        if os.path.splitext(name)[1].lower() in IMAGE_TYPES and not name.startswith(".")
    )


def _by_stem(folder):
    """{name without its ending: name} of the image files in a folder, sorted."""
    found: dict[str, str] = {}
    for name in _images(folder):
        other = found.setdefault(os.path.splitext(name)[0], name)
        if other != name:
            raise ValueError(
                f"{folder} has {other} and {name}: images and masks belong together by their names "
                "without the ending, so that one of the two must go"
            )
    return found


def _names_of(info):
    """The names of an image's files of one object each."""
    return _images(info["mask_dir"]) if info["mask_dir"] else []


def _is_own(info):
    """Whether `MaskPng` added an image, not a subclass."""
    return "mask_path" in info or "mask_dir" in info


def _refuse_lossy(path):
    if path.lower().endswith(LOSSY):
        raise ValueError(
            f"{path} is JPEG, which changes the values of a mask: save masks as PNG, from the tool "
            "that made them"
        )


def _read_ids(path):
    """The values of a mask file, int [height, width]; of a palette's colours, their numbers."""
    ids = read_image(path, as_stored=True, indices=True)
    if ids.ndim == 3:
        colours = ids[..., : 1 if ids.shape[2] == 2 else 3]  # not alpha
        # grey that was saved as RGB has three equal channels
        ids = ids[..., 0] if (colours == colours[..., :1]).all() else ids
    if ids.ndim != 2 or ids.dtype.kind not in "biu":
        raise ValueError(
            f"{path} must have one whole number a pixel, the id of its object; it is "
            f"{ids.dtype} of shape {ids.shape}"
        )
    return ids.astype(np.uint8) if ids.dtype == bool else ids


def _ids_of(info, size):
    """The `_read_ids` of an image, with 0 for the values that are no object."""
    ids = _read_ids(info["mask_path"])
    _check_size(ids, info["mask_path"], size, info["path"])
    ids = np.where(np.isin(ids, info["ignore"]), 0, ids) if info["ignore"] else ids
    if (count := len(_objects_of(ids))) > MOST_OBJECTS:
        raise ValueError(
            f"{info['mask_path']} has {count} different values, each an object: more than "
            f"{MOST_OBJECTS} are no ids, but perhaps depths or the pixels of a photo"
        )
    return ids


def _objects_of(ids):
    """The different values but 0, ascending."""
    return [value for value in _values(ids) if value]


def _shades_of_edges(ids):
    """The values of a mask of ids that are only shades between objects and the background.

    Anti-aliasing, a resize or JPEG leave many values along the edge of an object. None of them has
    a pixel whose four neighbours have its value too, as a real object has unless it is a line. Two
    of them at least, and at least half of all values, are no chance.
    """
    framed = np.pad(ids, 1, mode="edge")
    inside = (
        (ids == framed[:-2, 1:-1])
        & (ids == framed[2:, 1:-1])
        & (ids == framed[1:-1, :-2])
        & (ids == framed[1:-1, 2:])
    )
    values, real = _objects_of(ids), _objects_of(ids[inside])
    thin = len(values) - len(real)
    if thin < 2 or 2 * thin < len(values):  # as nearly always
        return []
    numbers, _ = number_pieces(ids != 0)
    beside_real = np.isin(numbers, numbers[np.isin(ids, real)])
    shades = set(_objects_of(ids[beside_real])) - set(real)
    return sorted(shades) if len(shades) >= 2 and 2 * len(shades) >= len(values) else []


def _pieces_of_values(ids):
    """(value, number of its pieces) of every object, by one look at all."""
    numbers, count = number_pieces(ids)
    value_of = np.zeros(count + 1, ids.dtype)
    value_of[numbers] = ids
    values, counts = np.unique(value_of[1:], return_counts=True)
    return zip(values.tolist(), counts.tolist())


def _pieces(mask):
    numbers, count = number_pieces(mask)
    return (numbers == number for number in range(1, count + 1))


def _read_object(path):
    """The mask of a file of one object, bool [height, width]."""
    pixels = read_image(path)
    if path.lower().endswith(LOSSY) and pixels.max(initial=0) < 128:
        _refuse_lossy(path)  # too dark to be told from what JPEG adds
    return mask_of_picture(pixels)


def _values(ids):
    """The different values, ascending; counting is ten times as fast as sorting."""
    if ids.dtype in (np.uint8, np.uint16):
        return np.flatnonzero(np.bincount(ids.ravel())).tolist()
    return np.unique(ids).tolist()


def _check_size(mask, path, size, image_path):
    if mask.shape != tuple(size):
        raise ValueError(
            f"{path} is {mask.shape[1]} x {mask.shape[0]} px (width x height), its image "
            f"{image_path} is {size[1]} x {size[0]} px"
        )
