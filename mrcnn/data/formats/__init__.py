"""Annotation files of other tools, as `Dataset`s: COCO, VIA, labelme, mask images and label maps.

`open_dataset` finds out which it is; `coco.CocoJson`, `via.Via`, `labelme.Labelme`,
`mask_png.MaskPng` and `label_maps.LabelMaps` say more, and can be subclassed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mrcnn.common.files import AnyPath
from mrcnn.common.json_files import no_garbage_collection, parse_once
from mrcnn.data.formats.registry import FORMATS, find_format

if TYPE_CHECKING:
    from mrcnn.data.dataset import Dataset


@no_garbage_collection()
@parse_once()
def open_dataset(
    path: AnyPath,
    format: str = "auto",
    subset: str | None = None,
    image_dir: AnyPath | None = None,
    classes: Sequence[str] | None = None,
    mask_dir: AnyPath | None = None,
    **options: Any,
) -> Dataset:
    """A prepared Dataset of annotated images, in any of the formats.

    ============  ===============================================================================
    format        what ``path`` may be
    ============  ===============================================================================
    coco          a COCO json file; or a folder with one, or with
                  annotations/instances_<subset>*.json
    via           a VIA json file, or a folder with one
    labelme       a folder of labelme json files
    id_masks      a folder with images and one mask for each, in two folders: images and masks,
                  img and label, PNGImages and PedMasks and their like, with parts such as
                  images/train and masks/train; or, with ``mask_dir``, a folder of images
    object_masks  a folder of folders <id>/images and <id>/masks, as in the Data Science Bowl 2018
    labels        a folder with images and one label map for each, in two folders: of Pascal VOC,
                  with the lists of ImageSets/Segmentation as subsets, Cityscapes, CamVid, ADE, or
                  with a list of the classes; or one of VOC's lists. Only where ``format`` says so:
                  objects of a class that touch are one in a label map
    ============  ===============================================================================

    Args:
        path: a file or a folder.
        format: a name of the table, or "auto" to tell it by the contents.
        subset: part of the data, such as "train": the folder of that name in ``path``, or the
            annotation file that has it in its name. None: ``path`` itself.
        image_dir: folder of the images (coco, via, labelme; id_masks and labels with ``mask_dir``);
            None: where such a file's images usually are.
        classes: names of the classes. Give those of the training data when opening the validation
            data, so that both number them alike. None: all that are found.
        mask_dir: folder of the masks (id_masks, labels), where it has another name; its images are
            in ``image_dir`` or ``path``. Where it has a folder ``subset``, the masks in that.
        options: further arguments of the format's ``load_...`` method, such as skip_missing or, of
            mask files, split_pieces; or other_classes, which all formats take.

    Returns:
        `coco.CocoJson`, `via.Via`, `labelme.Labelme`, `mask_png.MaskPng` or `label_maps.LabelMaps`,
        prepared.

    Raises:
        FileNotFoundError: no such file, folder or subset; no mask has an image's name.
        ValueError: contents that are none of the formats, or of which there are several.
    """
    if format not in ("auto", *FORMATS):
        raise ValueError(f"format is {format!r}; use 'auto' or one of {', '.join(FORMATS)}")
    found = find_format(path, format, subset, mask_dir, image_dir)
    dataset = FORMATS[found.format](found.place, found.image_dir or image_dir, classes, options)
    dataset.prepare()
    return dataset
