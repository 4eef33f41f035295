r"""The AP that masks could reach at most: a network that predicts exactly what it is trained on.

    python benchmarks/mask_ceiling.py --dataset PennFudanPed --size 384
    python benchmarks/mask_ceiling.py --dataset instances.json --images coco/train2017 --size 320 \
        --set MASK_TARGETS=soft

Each object's own box is a region, whose target mask, by the fields of the modern preset and of
``--set``, is pasted into the photo. What is lost is lost by mini masks, by the number of cells of a
mask and by how they are sampled (MASK_TARGETS).
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import numpy as np


def ceiling(dataset: Any, config: Any) -> dict[str, float]:
    """AP, AP50 and AP75 of boxes and masks, as `mrcnn.evaluation.evaluate_detections` has them."""
    from mrcnn.evaluation.collect import evaluate_detections

    numbers = iter(dataset.image_ids)
    found = evaluate_detections(
        dataset, lambda images: [targets_of(dataset, next(numbers), config)], progress=False
    )
    return {
        f"{kind}_{name}": round(found[kind][name], 3)
        for kind in ("bbox", "segm")
        for name in ("AP", "AP50", "AP75")
    }


def targets_of(dataset: Any, image_id: int, config: Any) -> dict[str, np.ndarray]:
    """The targets of an image's objects as a result of `MaskRCNN.detect`."""
    from mrcnn.data.load import load_image_gt
    from mrcnn.data.paste import paste_masks
    from mrcnn.networks.mask_rcnn.targets import DetectionTargetLayer
    from mrcnn.ops.boxes_np import norm_boxes
    from mrcnn.ops.image_meta import parse_image_meta

    molded, meta, class_ids, boxes, masks = load_image_gt(
        dataset, config, image_id, use_mini_mask=config.USE_MINI_MASK
    )
    parts = parse_image_meta(meta[np.newaxis])
    height, width = parts["original_image_shape"][0][:2]
    y1, x1 = parts["window"][0][:2]
    wanted = class_ids > 0
    shape = molded.shape[:2]
    normalised = norm_boxes(boxes[wanted], shape)[np.newaxis]
    rois, ids, _, targets = DetectionTargetLayer(config, shuffle=False)(
        [
            normalised.astype(np.float32),
            class_ids[wanted].astype(np.int32)[np.newaxis],
            normalised.astype(np.float32),
            masks[np.newaxis][..., wanted],
        ]
    )
    positive = ids.numpy()[0] > 0
    pixels = rois.numpy()[0, positive] * (np.array([*shape] * 2) - 1) + [0, 0, 1, 1]
    found = ((pixels - [y1, x1, y1, x1]) / parts["scale"][0]).astype(np.float32)
    return {
        "rois": found,
        "class_ids": ids.numpy()[0, positive],
        "scores": np.ones(positive.sum(), np.float32),
        "masks": paste_masks(targets.numpy()[0, positive], found, (height, width)),
    }


def main() -> int:
    """Measure and print."""
    from mrcnn.config import ModernConfig
    from mrcnn.config.file import parse_settings
    from mrcnn.data import open_dataset

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--dataset", required=True, metavar="PATH", help="as `mrcnn train` takes it"
    )
    parser.add_argument("--images", metavar="FOLDER", help="of a COCO json")
    parser.add_argument("--size", type=int, default=320, metavar="PX")
    parser.add_argument("--set", nargs="+", default=[], metavar="FIELD=VALUE")
    args = parser.parse_args()
    dataset = open_dataset(args.dataset, image_dir=args.images)
    fields = {
        "NUM_CLASSES": dataset.num_classes,
        "IMAGE_MIN_DIM": args.size,
        "IMAGE_MAX_DIM": args.size,
        # each object once: all regions are positive
        "TRAIN_ROIS_PER_IMAGE": 1000,
        "ROI_POSITIVE_RATIO": 1.0,
        "ROI_ADD_GT": False,
        **parse_settings(args.set),
    }
    config = type("Chosen", (ModernConfig,), fields)()
    print(json.dumps(ceiling(dataset, config)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
