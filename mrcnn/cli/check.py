"""Look at annotated images before training on them.

Tells the images, objects, classes, sizes, areas and shares of pixels, opens every image, draws
every mask and lists what is wrong.
"""

import argparse
import os

from mrcnn.cli.data_options import (
    add_dataset,
    add_image_range,
    add_max_pixels,
    open_data,
    own_place,
    positive,
    require_no_data,
    use_max_pixels,
)
from mrcnn.cli.settings import make_config, settings_of
from mrcnn.common.files import require_writable_file
from mrcnn.common.json_files import parse_once, write_json
from mrcnn.common.threads import cores
from mrcnn.data.formats.label_maps import LabelMaps
from mrcnn.data.image_range import use_image_range

EXIT_CODES = {
    0: "the data were looked at without an error; there may be warnings",
    1: "there are errors, in the data or because these cannot be opened",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``check``."""
    add_dataset(parser)
    add_image_range(parser)
    add_max_pixels(parser)
    parser.add_argument(
        "--limit", type=positive, metavar="N", help="look at the first N images only"
    )
    parser.add_argument(
        "--workers",
        type=positive,
        default=cores(),
        metavar="N",
        help="processes (or threads, on other systems than Linux) that open images; each holds an "
        "image with its masks in memory (default: one a core, here %(default)s)",
    )
    parser.add_argument(
        "--json",
        metavar="FILE",
        help="also write every finding to a file, for programs: images, objects, ok, findings with "
        "severity, kind, place and message, and the pixels of each class",
    )
    parser.epilog = """examples:
  mrcnn check photos/via_region_data.json
  mrcnn check coco --subset val --json findings.json
  mrcnn check PennFudanPed --limit 20
"""


def run(args: argparse.Namespace) -> int:
    """Print summary and findings; the exit code."""
    given = settings_of(args)
    use_max_pixels(given)
    if args.json is not None:
        require_writable_file(args.json, "--json")
    with parse_once():
        dataset = open_data(args, collect_errors=True)
        if args.json is not None:
            require_no_data(args, own_place(args), dataset, [args.json], "--json")
    if "IMAGE_RANGE" in given:
        use_image_range(dataset, make_config({}, given))
    image_ids = None if args.limit is None else dataset.image_ids[: args.limit]
    summary = dataset.summary(image_ids, workers=args.workers)
    if args.json is None:
        print(summary)
    report = dataset.check(image_ids, workers=args.workers)
    if args.json is not None:
        # before anything is printed, which `| head` cuts off
        os.makedirs(os.path.dirname(args.json) or os.curdir, exist_ok=True)
        write_json(args.json, report.to_dict(), indent=2, durable=False)
        print(summary)
    if isinstance(dataset, LabelMaps):
        print("\nOf label maps, all pixels of a class in an image count as one object.")
    print(f"\n{report.pixels}\n")
    print(report)
    return report.exit_code
