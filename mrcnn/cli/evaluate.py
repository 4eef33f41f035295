"""Measure a model on annotated images.

Prints COCO AP and AR of boxes and masks, AP, precision, recall and F1 of each class; of a network
that labels pixels mIoU, Dice, accuracies and the IoU of each class. --report adds an HTML page with
curves, confusions and the worst images.
"""

from __future__ import annotations

import argparse
import math
import os
from typing import TYPE_CHECKING, Any

from mrcnn.cli.data_options import (
    add_dataset,
    open_data,
    own_place,
    positive,
    require_data,
    require_no_data,
    use_max_pixels,
)
from mrcnn.cli.model_options import add_model, inference_config, load_model
from mrcnn.common.files import require_writable
from mrcnn.common.json_files import parse_once
from mrcnn.config import SegmentationConfig
from mrcnn.data.survey.objects import require_masks, require_objects
from mrcnn.evaluation.label_evaluation import LABEL_REPORT_FILES
from mrcnn.evaluation.result import REPORT_FILES
from mrcnn.evaluation.trimap import DISTANCE

if TYPE_CHECKING:
    from mrcnn.config import Config

EXIT_CODES = {
    0: "all images were measured",
    1: "some could not be read, and the measures are those of the others; or an error",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``evaluate``."""
    add_dataset(parser)
    add_model(
        parser,
        "'last' (the newest checkpoint of --name under --logs), 'coco', 'torchvision_v1', "
        "'torchvision_v2' or the path of a .h5 or .pth file",
    )
    parser.add_argument(
        "--limit", type=positive, metavar="N", help="measure on the first N images only"
    )
    parser.add_argument(
        "--own-classes",
        action="store_true",
        help="leave out the objects of classes that the model lacks, which makes their pixels "
        "background (default: they are missed)",
    )
    parser.add_argument(
        "--report", metavar="FOLDER", help="write a report: report.html, pictures and json"
    )
    parser.add_argument(
        "--min-score",
        type=float,
        metavar="P",
        help="least score for precision, recall and confusions, of Mask R-CNN",
    )
    parser.add_argument(
        "--trimap",
        type=float,
        metavar="PX",
        help="of a network that labels pixels: how near to a border the pixels of trimap_IoU are; "
        f"0 does not measure it (default: {DISTANCE})",
    )
    parser.add_argument(
        "--workers",
        type=positive,
        default=1,
        metavar="N",
        help="threads that load images (default: 1)",
    )
    parser.epilog = """examples:
  mrcnn evaluate photos --subset val --weights last --name photos --report report
  mrcnn evaluate coco --subset val --weights coco --limit 500
  mrcnn evaluate coco --subset val --weights torchvision_v2
"""


def run(args: argparse.Namespace) -> int:
    """Print the measures; the exit code: 1 if an image could not be read."""
    if args.report is not None:
        require_writable(args.report, "--report")
    with parse_once():
        require_data(args, [own_place(args)])
        config, weights = inference_config(args)
        options = measures_asked(args, config)
        use_max_pixels({"IMAGE_MAX_PIXELS": config.IMAGE_MAX_PIXELS})
        labels = isinstance(config, SegmentationConfig)
        names = config.CLASS_NAMES
        # the classes of the model, so that both number them alike, then those that it lacks
        dataset = open_data(
            args,
            classes=None if names is None else list(names[1:]),
            other_classes=not args.own_classes,
        )
        if args.report is not None:
            written = LABEL_REPORT_FILES if labels else REPORT_FILES
            files = [os.path.join(args.report, name) for name in written]
            require_no_data(args, own_place(args), dataset, files, "--report")
    image_ids = None if args.limit is None else dataset.image_ids[: args.limit]
    if labels:  # background alone can be measured too
        require_masks(dataset)
    else:
        require_objects(dataset, image_ids, "find")
    evaluation = load_model(config, weights, args.logs).evaluate(
        dataset,
        image_ids,
        report=args.report,
        workers=args.workers,
        **options,
    )
    return 1 if evaluation.left_out["unreadable_images"] else 0


def measures_asked(args: argparse.Namespace, config: Config) -> dict[str, Any]:
    """The arguments of ``evaluate`` for what the command line asks to measure.

    Raises:
        ValueError: an option of the other kind of network.
    """
    if not isinstance(config, SegmentationConfig):
        if args.trimap is not None:
            raise ValueError("--trimap is of networks that label pixels, and this is Mask R-CNN")
        return {"min_score": args.min_score}
    if args.min_score is not None:
        raise ValueError(
            f"--min-score is of Mask R-CNN, and the network {config.NETWORK!r} labels every pixel"
        )
    if args.trimap is None:
        return {}
    if not 0 <= args.trimap < math.inf:
        raise ValueError(f"--trimap is {args.trimap}; it must be a distance in pixels, 0 or more")
    return {"trimap": args.trimap or None}
