"""The network as a detector to be measured."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from mrcnn.data.class_checks import check_classes
from mrcnn.data.image_range import use_image_range
from mrcnn.evaluation.evaluator import evaluate
from mrcnn.inference.detect import detect
from mrcnn.inference.views import views

if TYPE_CHECKING:
    from mrcnn.config import Config
    from mrcnn.data.dataset import Dataset
    from mrcnn.evaluation import Evaluation


# AP counts detections of low score too. Those below this one change it by some tenths of a
# percent, and would make the mask head run for the most that DETECTION_MAX_INSTANCES allows.
MIN_CONFIDENCE = 0.05
# Least score for precision and recall where the config's DETECTION_MIN_CONFIDENCE is made for AP.
MIN_SCORE = 0.5


def evaluate_network(
    predict: Callable[..., tuple[np.ndarray, np.ndarray]],
    config: Config,
    dataset: Dataset,
    image_ids: Iterable[int] | None = None,
    *,
    min_confidence: float | None = None,
    min_score: float | None = None,
    batch_size: int | None = None,
    **options: Any,
) -> Evaluation:
    """`evaluate` a network; see `MaskRCNN.evaluate`.

    Args:
        predict: callable (molded_images, image_metas, min_confidence) -> detections, masks, as
            `MaskRCNN.predict`.
        config: the network's ``Config``.
        dataset, image_ids, min_confidence, min_score, batch_size, options: see `MaskRCNN.evaluate`.

    Returns:
        `Evaluation`.

    Raises:
        ValueError: the classes of dataset and network differ, a min_confidence outside 0..1, or
            what `evaluate` refuses.
    """
    check_classes(dataset, config, more=True)
    use_image_range(dataset, config)
    built_with = config.DETECTION_MIN_CONFIDENCE or 0
    if min_confidence is None:
        min_confidence = min(MIN_CONFIDENCE, built_with)
    if not 0 <= min_confidence <= 1:
        raise ValueError(f"min_confidence is {min_confidence}; it must lie in 0..1")
    if min_score is None:
        min_score = built_with if built_with > min_confidence else MIN_SCORE
    ways = len(views(config))
    config = copy.copy(config)
    config.DETECTION_MIN_CONFIDENCE = min_confidence
    if batch_size is not None:
        config.BATCH_SIZE = batch_size
    return evaluate(
        dataset,
        partial(detect, partial(predict, min_confidence=min_confidence), config=config),
        image_ids,
        batch_size=config.BATCH_SIZE,
        min_score=min_score,
        settings={
            "network": config.NAME,
            "min_confidence": min_confidence,
            "network_classes": config.NUM_CLASSES,
            "most_detections": config.DETECTION_MAX_INSTANCES,
            **({"views_of_an_image": ways} if ways > 1 else {}),
        },
        **options,
    )
