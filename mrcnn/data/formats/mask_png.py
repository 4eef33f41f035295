"""Masks in image files: one id for each object, or one file for each object."""

import contextlib
import os
from collections.abc import Collection, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mrcnn.common.files import AnyPath
from mrcnn.common.words import option_or_argument
from mrcnn.data.dataset import Dataset
from mrcnn.data.formats.files import image_files, near_miss
from mrcnn.data.formats.left_out import LeftOut, Reader, logger, report_loaded
from mrcnn.data.formats.mask_files import (
    check_size,
    count_pieces,
    ids_of,
    objects_of,
    pieces,
    pieces_of_values,
    read_object,
    refuse_lossy,
    shades_of_edges,
)
from mrcnn.data.formats.mask_pairs import expected_mask, hint_of_case, pair_files
from mrcnn.data.formats.regions import NO_PIXEL, class_numbers
from mrcnn.data.images import image_size
from mrcnn.data.masks import foreground, has_soft_edges

# Masks that are looked at when a data set is opened; `check` looks at all.
LOOKED_AT = 20
SOFT_EDGES = "mask of ids with soft edges"
CUT_AT_HALF = "mask with soft edges"
IN_PIECES = "object in separate pieces"


class MaskPng(Reader):
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
        collect_errors: bool = False,
    ) -> None:
        """Add images with one mask file each, in which a pixel's value is the number of its object.

        The mask of ``a.png`` is ``a``, ``a_mask``, ``a_gt``, ``a-label`` or the like with any
        ending, see `mask_pairs.pair_files`. 0 is the background; numbers need not be contiguous,
        nor an object in one piece.

        Args:
            image_dir, mask_dir: folders.
            class_name: of all objects.
            source: name for ``add_class`` and ``add_image``.
            ignore: values that are no object either, such as 255 for the borders in Pascal VOC.
            skip_missing: leave images without a mask file out; else they are an error.
            split_pieces: make an object of each connected piece of a value. A mask with soft edges
                is then one of background and foreground, see `masks.foreground`.
            collect_errors: count images that cannot be used in `left_out`, for `check`, which then
                finds all of them; else the first one is an error.

        Raises:
            FileNotFoundError: a folder or a mask is missing, or there are no images.
            ValueError: both folders are one, or have two files that differ in their ending only;
                an image has several masks; masks are JPEG.
        """
        class_id = class_numbers(self, source, [class_name])[class_name]
        self.collects_errors = collect_errors
        pairs, unused = pair_files(image_dir, mask_dir, self._counting)
        first = len(self.image_info)
        for stem, name, mask in pairs:
            path = os.path.join(image_dir, name)
            if mask is None and skip_missing:
                self.left_out.add("images without a mask file", path)
                continue
            with self._counting():
                if mask is None:
                    raise missing_file(
                        f"{mask_dir} has no mask for {path}: it should be {expected_mask(stem)}"
                        f"{hint_of_case(stem, unused)}"
                    )
                mask_path = os.path.join(mask_dir, mask)
                refuse_lossy(mask_path)
                self.add_image(
                    source,
                    stem,
                    path,
                    mask_path=mask_path,
                    ignore=tuple(ignore),
                    class_id=class_id,
                    split_pieces=split_pieces,
                )
        for name in unused:
            self.left_out.add("mask files without an image", os.path.join(mask_dir, name))
        report_masks(self, image_dir, first, self.left_out)

    def load_object_masks(
        self,
        folder: AnyPath,
        class_name: str,
        source: str = "mask",
        image_ids: Sequence[str] | None = None,
        skip_missing: bool = False,
        split_pieces: bool = False,
        collect_errors: bool = False,
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
            collect_errors: count images that cannot be used in `left_out`, for `check`, which then
                finds all of them; else the first one is an error.

        Raises:
            FileNotFoundError: the folder, an image or its masks are missing.
        """
        self.collects_errors = collect_errors
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
            images = image_files(images_dir) if os.path.isdir(images_dir) else []
            without_masks = annotated and not os.path.isdir(masks_dir)
            if skip_missing and (len(images) != 1 or without_masks):
                reason = "folders without an image" if len(images) != 1 else "images without masks"
                self.left_out.add(reason, images_dir)
                continue
            with self._counting():
                if len(images) != 1:
                    raise missing_file(
                        f"{images_dir} must have one image, it has {len(images)}"
                        f"{_hint_of_folder(images_dir)}"
                    )
                if without_masks:
                    raise missing_file(
                        f"{masks_dir} is missing, though other images have masks"
                        f"{_hint_of_folder(masks_dir)}"
                    )
                self.add_image(
                    source,
                    image_id,
                    os.path.join(images_dir, images[0]),
                    mask_dir=masks_dir if annotated else None,
                    class_id=class_id,
                    split_pieces=split_pieces,
                )
        if len(self.image_info) == first and not self.left_out.spoiling:
            raise FileNotFoundError(f"{folder} has no images as <id>/images/<id>.png")
        report_masks(self, folder, first, self.left_out)

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
        found = (mask for _, mask, _ in self._objects(info, size))
        if info.get("split_pieces"):
            found = (piece for mask in found for piece in pieces(mask))
        # without a list of them, which would take the memory twice
        masks = np.moveaxis(np.fromiter(found, np.dtype((bool, size))), 0, -1)
        class_id = self.map_source_class_id(f"{info['source']}.{info['class_id']}")
        return masks, np.full(masks.shape[-1], class_id, np.int32)

    def mask_doubts(self, image_id: int) -> list[tuple[str, str]]:
        """Soft edges of masks, and objects in separate pieces, as (kind, where)."""
        info = self._info(image_id)
        if not _is_own(info):
            return super().mask_doubts(image_id)
        if info.get("split_pieces"):
            return []
        size = image_size(info["path"])
        soft: list[str] = []
        if "mask_path" in info:
            ids = ids_of(info, size)
            if shades := shades_of_edges(ids):
                return [
                    (
                        SOFT_EDGES,
                        f"{info['mask_path']}: {len(shades)} of its {len(objects_of(ids))} values "
                        "occur in edges only, and each is an object; save the mask without "
                        "smoothing or, where the pieces are the objects, use "
                        + option_or_argument("--split-pieces", "split_pieces=True"),
                    )
                ]
            parted = [
                (f"{info['mask_path']}: value {value}", count)
                for value, count in pieces_of_values(ids)
                if count > 1
            ]
        else:
            parted = []
            for path, mask, pixels in self._objects(info, size):
                if (count := count_pieces(mask)) > 1:
                    parted.append((path, count))
                if not soft and has_soft_edges(pixels):
                    soft.append(path)
        more = f"; {len(parted) - 1} more objects have several" if len(parted) > 1 else ""
        return [
            (CUT_AT_HALF, f"{path} ends where half of its range is reached") for path in soft[:1]
        ] + [
            (
                IN_PIECES,
                f"{place} has {count} pieces, one object unless pieces are split "
                f"({option_or_argument('--split-pieces', 'split_pieces=True')}){more}",
            )
            for place, count in parted[:1]
        ]

    def _objects(self, info, size) -> Iterator[tuple[str, NDArray[np.bool_], np.ndarray]]:
        """(where it is, mask [height, width], pixels of its file) of each object, in the order of
        ids or files.
        """
        if "mask_path" in info:
            ids = ids_of(info, size)
            if info.get("split_pieces") and shades_of_edges(ids):
                ids = foreground(ids)
            for value in objects_of(ids):
                yield f"{info['mask_path']}: value {value}", ids == value, ids
            return
        for name in _names_of(info):
            path = os.path.join(info["mask_dir"], name)
            mask, pixels = read_object(path)
            check_size(mask, path, size, info["path"])
            if mask.any():
                yield path, mask, pixels
            else:
                self.left_out.add(f"masks {NO_PIXEL}", path)


def report_masks(dataset: Dataset, folder: AnyPath, first_image: int, left_out: LeftOut) -> None:
    """Report what was added since ``image_info`` had ``first_image`` images, and what looks wrong
    in a few of the masks.
    """
    added = len(dataset.image_info) - first_image
    looked_at = range(first_image, len(dataset.image_info), -(-added // LOOKED_AT) or 1)
    doubts = LeftOut()
    for image_id in looked_at:
        with contextlib.suppress(OSError, ValueError):  # raised where the mask is wanted
            for kind, place in dataset.mask_doubts(image_id):
                doubts.add(kind, place)
    report_loaded(folder, f"{added} images", left_out)
    if len(doubts):
        logger.warning("%s: of the masks of %d images, %s", folder, len(looked_at), doubts)


def missing_file(message: str) -> FileNotFoundError:
    """The error of a missing file, with the way to skip such images."""
    return FileNotFoundError(
        f"{message}. Skip such images with "
        + option_or_argument("--skip-missing", "skip_missing=True")
    )


def _hint_of_folder(path):
    return (
        ""
        if os.path.isdir(path)
        else near_miss([os.path.dirname(path)], os.path.basename(path), "rename it")
    )


def _names_of(info):
    """The names of an image's files of one object each."""
    return image_files(info["mask_dir"]) if info["mask_dir"] else []


def _is_own(info):
    """Whether `MaskPng` added an image, not a subclass."""
    return "mask_path" in info or "mask_dir" in info
