"""Write annotated images as a cache of TFRecord files, resized as training wants them.

For data that take longer to load than to train on: large photos, masks that are slow to draw. Give
the path of the cache to "train" in place of the data. It is of one --size; a writing that was
stopped goes on where it was.
"""

import argparse

from mrcnn.cli.data_options import (
    add_dataset,
    add_image_range,
    add_max_pixels,
    open_asked,
    own_place,
    positive,
    require_data,
    use_max_pixels,
)
from mrcnn.cli.settings import make_config, settings_of
from mrcnn.common.files import require_writable
from mrcnn.common.json_files import parse_once
from mrcnn.common.threads import cores
from mrcnn.data.cache.layout import require_own_folder
from mrcnn.data.survey.objects import require_objects

EXIT_CODES = {
    0: "the cache is whole; images that --skip-bad or --skip-missing skipped are reported",
    1: "an error: the cache is not whole, and the next run resumes where this one ended",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``cache``."""
    add_dataset(parser)
    parser.add_argument(
        "--output",
        required=True,
        metavar="FOLDER",
        help="for the cache; one folder holds one cache",
    )
    add_image_range(parser)
    add_max_pixels(parser)
    parser.add_argument("--size", type=positive, metavar="PX", help="as of train (default: 1024)")
    parser.add_argument(
        "--set",
        action="extend",
        nargs="+",
        default=[],
        metavar="FIELD=VALUE",
        help="fields of Config that decide on the size, such as IMAGE_MIN_DIM=640",
    )
    parser.add_argument(
        "--classes", nargs="+", metavar="NAME", help="these classes only, in this order"
    )
    parser.add_argument(
        "--encoding",
        choices=("raw", "png"),
        default="raw",
        help="of the pixels; png takes about half of the space and longer to read (default: raw)",
    )
    parser.add_argument(
        "--shards", type=positive, metavar="N", help="files (default: one for 256 images)"
    )
    parser.add_argument(
        "--workers",
        type=positive,
        default=cores(),
        metavar="N",
        help="threads that load images (default: one a core, here %(default)s)",
    )
    parser.add_argument(
        "--skip-bad",
        action="store_true",
        help="leave out images that cannot be used, and tell them",
    )
    parser.epilog = """examples:
  mrcnn cache photos --subset train --output cache/train --size 512
  mrcnn cache photos --subset val   --output cache/val   --size 512
  mrcnn train cache --name photos --weights coco --size 512 --workers 4
"""


def run(args: argparse.Namespace) -> None:
    """Write the cache; prints what it holds."""
    given = settings_of(args)
    use_max_pixels(given)
    require_writable(args.output, "--output")
    require_own_folder(args.output)
    with parse_once():
        place = own_place(args)
        require_data(args, [place])
        dataset = open_asked(args, place)
    require_objects(dataset)
    config = make_config({"NUM_CLASSES": dataset.num_classes}, given)
    from mrcnn.data.cache.write import write_records

    print(
        write_records(
            dataset,
            config,
            args.output,
            shards=args.shards,
            encoding=args.encoding,
            workers=args.workers,
            skip_bad=args.skip_bad,
        )
    )
