"""Look at annotated images before training on them.

Tells the images, objects, classes, sizes and areas, then opens every image and draws every mask and
lists what is wrong. The exit code is 1 if there are errors, so that a script can stop.
"""

import argparse
import os

from mrcnn.cli.options import (
    add_dataset,
    add_image_range,
    add_max_pixels,
    make_config,
    open_data,
    positive,
    use_max_pixels,
)
from mrcnn.common.files import require_writable
from mrcnn.common.json_files import write_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``check``."""
    add_dataset(parser)
    add_image_range(parser)
    add_max_pixels(parser)
    parser.add_argument(
        "--limit", type=positive, metavar="N", help="look at the first N images only"
    )
    parser.add_argument(
        "--json",
        metavar="FILE",
        help="also write every finding to a file, for programs: images, objects, ok, and findings "
        "with severity, kind, place and message",
    )
    parser.epilog = """examples:
  mrcnn check photos/via_region_data.json
  mrcnn check coco --subset val --json findings.json
  mrcnn check PennFudanPed --limit 20
"""


def run(args: argparse.Namespace) -> int:
    """Print summary and findings; the exit code."""
    if args.max_pixels is not None:
        use_max_pixels({"IMAGE_MAX_PIXELS": args.max_pixels})
    if args.json is not None:
        require_writable(os.path.dirname(args.json) or os.curdir, "the folder of --json")
    dataset = open_data(args, collect_errors=True)
    dataset.image_range = make_config({}, {"IMAGE_RANGE": args.image_range}).IMAGE_RANGE
    image_ids = None if args.limit is None else dataset.image_ids[: args.limit]
    print(dataset.summary(image_ids))
    report = dataset.check(image_ids)
    print(report)
    if args.json is not None:
        write_json(args.json, report.to_dict(), indent=2)
    return report.exit_code
