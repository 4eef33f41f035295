"""Which objects of a data set are not learned: crowds, and those beyond a limit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from mrcnn.common.words import some
from mrcnn.data.crowds import SEVERAL_CLASSES

if TYPE_CHECKING:
    from mrcnn.config import Config, SegmentationConfig
    from mrcnn.data.dataset import Dataset


def why_no_object(dataset: Dataset, images: int, crowds: int) -> str:
    """Why images without an object other than crowds have none, as a part of a sentence.

    Args:
        dataset: a prepared Dataset.
        images: number of its images that were looked at.
        crowds: number of the crowds on them.
    """
    if not images:
        why = f"{type(dataset).__name__} has no images"
    elif crowds:
        mark, remedy = dataset.crowd_words()
        why = (
            f"all {crowds} objects are crowds ({mark}), which are neither learned nor searched for"
            + (f"; {remedy}" if remedy else "")
        )
    else:
        classes = some(dataset.class_names[1:]) or "any class"
        why = f"none of the {images} images of {type(dataset).__name__} has an object of {classes}"
    left_out = str(getattr(dataset, "left_out", ""))
    return f"{why}. Left out when they were loaded: {left_out}" if left_out else why


def require_objects(
    dataset: Dataset, image_ids: Iterable[int] | None = None, purpose: str = "learn"
) -> None:
    """Refuse a data set without an object, or with objects without a mask, before time is spent on
    it.

    Images are measured up to the first that has one. Where one of them cannot be read nothing is
    refused: whoever loads it says what is wrong.

    Args:
        dataset: a prepared Dataset.
        image_ids: list of ids; None: all.
        purpose: what the objects are for, a verb for the message.

    Raises:
        ValueError: none of the images has an object of a pixel or more (crowds are none), or a
            reader left out annotations whose objects would then count as background.
    """
    image_ids = list(dataset.image_ids if image_ids is None else image_ids)
    found, crowds = _search(dataset, image_ids, _is_object)
    if found is None:
        return
    if not found:
        raise ValueError(
            f"there is nothing to {purpose}: {why_no_object(dataset, len(image_ids), crowds)}"
        )
    require_masks(dataset)


def require_labels(
    dataset: Dataset,
    config: SegmentationConfig,
    image_ids: Iterable[int] | None = None,
    purpose: str = "learn",
) -> None:
    """Refuse a data set without a pixel of a class above 0, as `require_objects` does one without
    an object.

    Args:
        config: CROWDS is read, which says whether crowds are of a class or void.
        (others): as of `require_objects`.

    Raises:
        ValueError: as of `require_objects`.
    """
    image_ids = list(dataset.image_ids if image_ids is None else image_ids)
    is_labelled = _has_class if config.CROWDS == "class" else _is_object
    found, crowds = _search(dataset, image_ids, is_labelled)
    if found is None:
        return
    if not found:
        why = why_no_object(dataset, len(image_ids), crowds)
        if crowds and config.CROWDS != "class":
            why += "; CROWDS = 'class' gives their pixels their class"
        raise ValueError(f"there is nothing to {purpose}: {why}")
    require_masks(dataset)


def _is_object(class_ids):
    return class_ids > 0


def _has_class(class_ids):
    return class_ids != SEVERAL_CLASSES


def _search(dataset, image_ids, is_wanted):
    """Whether one of the images has a wanted object of a pixel or more, None where one cannot be
    read; and the number of crowds on those before it.

    Args:
        is_wanted: function of class ids int [N] that gives bool [N].
    """
    crowds = 0
    for image_id in image_ids:
        try:
            _, class_ids, areas = dataset.measure_objects(image_id)
            found = (is_wanted(class_ids) & (areas > 0)).any()
        except Exception:  # a user's load_mask can raise any
            return None, crowds
        if found:
            return True, crowds
        crowds += int((class_ids < 0).sum())
    return False, crowds


def require_masks(dataset: Dataset) -> None:
    """Refuse a data set of which a reader left out objects that would count as background.

    Raises:
        ValueError: there are such, as boxes without a mask.
    """
    left_out: Any = getattr(dataset, "left_out", None)
    for reason in getattr(left_out, "spoiling", ()):
        places = left_out.places[reason]
        raise ValueError(
            f"{len(places)} {reason}, so that their objects would count as background: "
            f"{some(places, 3)}"
        )


# Images that `count_empty` loads.
LOOKED_AT = 20


def count_empty(dataset: Dataset, config: SegmentationConfig) -> tuple[int, int]:
    """How many images have no object, of those that are looked at: all whose objects are known
    without loading masks, or else some from all over the data set.

    Args:
        dataset: a prepared Dataset.
        config: CROWDS is read, as in `require_labels`.

    Returns:
        (images without an object, images looked at). One that cannot be read is not counted.
    """
    is_labelled = _has_class if config.CROWDS == "class" else _is_object
    image_ids = list(dataset.image_ids)
    found = [dataset.known_class_ids(image_id) for image_id in image_ids]
    known = [bool(is_labelled(class_ids).any()) for class_ids in found if class_ids is not None]
    if not known:
        for image_id in image_ids[:: -(-len(image_ids) // LOOKED_AT) or 1]:
            labelled, _ = _search(dataset, [image_id], is_labelled)
            known += [] if labelled is None else [labelled]
    return known.count(False), len(known)


def not_learned(dataset: Dataset, config: Config) -> list[str]:
    """Sentences on the objects that training passes over, of images whose objects are known without
    loading their masks.

    Args:
        dataset: a prepared Dataset.
        config: MAX_GT_INSTANCES is read.
    """
    known = [dataset.known_class_ids(image_id) for image_id in dataset.image_ids]
    class_ids = [ids for ids in known if ids is not None]
    crowds = np.array([int((ids < 0).sum()) for ids in class_ids], int)
    said = []
    if crowds.any():
        mark, remedy = dataset.crowd_words()
        said.append(
            f"{crowds.sum()} crowds ({mark}) on {np.count_nonzero(crowds)} images are neither "
            "objects nor background" + (f"; {remedy}" if remedy else "")
        )
    said += beyond_limit([len(ids) for ids in class_ids], config.MAX_GT_INSTANCES)
    return said


def beyond_limit(counts: Iterable[int], limit: int) -> list[str]:
    """A sentence on the images with more objects than training takes of one, where there are some.

    Args:
        counts: objects of each image.
        limit: MAX_GT_INSTANCES.
    """
    beyond = [count for count in counts if count > limit]
    if not beyond:
        return []
    return [
        f"{len(beyond)} images have more than MAX_GT_INSTANCES = {limit} objects, up to "
        f"{max(beyond)}: training takes {limit} of them at random each time; "
        f"MAX_GT_INSTANCES={max(beyond)} takes all, with more memory"
    ]
