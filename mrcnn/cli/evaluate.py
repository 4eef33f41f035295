"""Measure a model on annotated images.

Prints COCO AP and AR of boxes and masks, AP, precision, recall and F1 of each class; --report adds
an HTML page with curves, confusions and the worst images.
"""

import argparse
import os

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
from mrcnn.data.survey.objects import require_objects
from mrcnn.evaluation.result import REPORT_FILES

EXIT_CODES = {
    0: "all images were measured",
    1: "some could not be read, and the measures are those of the others; or an error",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``evaluate``."""
    add_dataset(parser)
    add_model(
        parser,
        "'last' (the newest checkpoint of --name under --logs), 'coco' or the path of a .h5 file",
    )
    parser.add_argument(
        "--limit", type=positive, metavar="N", help="measure on the first N images only"
    )
    parser.add_argument(
        "--own-classes",
        action="store_true",
        help="leave out the objects of classes that the model lacks (default: they are missed)",
    )
    parser.add_argument(
        "--report", metavar="FOLDER", help="write a report: report.html, pictures and json"
    )
    parser.add_argument(
        "--min-score",
        type=float,
        metavar="P",
        help="least score for precision, recall and confusions",
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
"""


def run(args: argparse.Namespace) -> int:
    """Print the measures; the exit code: 1 if an image could not be read."""
    if args.report is not None:
        require_writable(args.report, "--report")
    with parse_once():
        require_data(args, [own_place(args)])
        config, weights = inference_config(args)
        use_max_pixels({"IMAGE_MAX_PIXELS": config.IMAGE_MAX_PIXELS})
        names = config.CLASS_NAMES
        # the classes of the model, so that both number them alike, then those that it lacks
        dataset = open_data(
            args,
            classes=None if names is None else list(names[1:]),
            other_classes=not args.own_classes,
        )
        if args.report is not None:
            files = [os.path.join(args.report, name) for name in REPORT_FILES]
            require_no_data(args, own_place(args), dataset, files, "--report")
    image_ids = None if args.limit is None else dataset.image_ids[: args.limit]
    require_objects(dataset, image_ids, "find")
    evaluation = load_model(config, weights, args.logs).evaluate(
        dataset,
        image_ids,
        report=args.report,
        min_score=args.min_score,
        workers=args.workers,
    )
    return 1 if evaluation.left_out["unreadable_images"] else 0
