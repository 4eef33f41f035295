"""Find objects in images, folders, videos or a camera, or the class of each pixel, and write it.

Class names, backbone and sizes come from config.json beside the weights. A file that cannot be read
is counted and told. Ctrl-C ends the work in order: what was done is written.
"""

import argparse
from collections.abc import Collection, Iterable

from mrcnn.cli.data_options import positive
from mrcnn.cli.model_options import add_model, inference_config, load_model
from mrcnn.cli.settings import settings_of
from mrcnn.common.files import require_writable
from mrcnn.config import SegmentationConfig
from mrcnn.data.drawing import COLOR_BY
from mrcnn.inference.predict import SAVE, check_outputs, predict
from mrcnn.inference.sources import find_sources
from mrcnn.inference.writers import Videos

EXIT_CODES = {
    0: "all images and videos were searched; where a camera is, also after Ctrl-C",
    1: "some could not be read, or not to the end, and the others were searched; or an error",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``predict``."""
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help='image, video, folder, pattern in quotes ("photos/*.jpg") or number of a camera (0)',
    )
    add_model(
        parser,
        "'last' (the newest checkpoint of --name under --logs), 'coco', 'torchvision_v1', "
        "'torchvision_v2' or the path of a .h5 or .pth file",
    )
    parser.add_argument("--output", required=True, metavar="FOLDER", help="folder for the results")
    parser.add_argument(
        "--save",
        nargs="+",
        default=["pictures", "video", "coco"],
        choices=tuple(SAVE),
        metavar="WHAT",
        help="; ".join(f"{word}: {what}" for word, what in SAVE.items())
        + " (default: pictures video coco)",
    )
    parser.add_argument("--recursive", action="store_true", help="look into the folders of folders")
    parser.add_argument(
        "--classes",
        nargs="+",
        metavar="CLASS",
        help="names or ids of the classes to keep; "
        "where pixels are labelled, the others become background, which may be named too",
    )
    parser.add_argument(
        "--min-confidence",
        type=float,
        metavar="P",
        help="least score, DETECTION_MIN_CONFIDENCE; where pixels are labelled, those below are "
        "void",
    )
    parser.add_argument(
        "--tiles",
        type=positive,
        metavar="PX",
        help="where pixels are labelled: cut images, which are then not resized, into tiles of "
        "this side, TILE",
    )
    parser.add_argument(
        "--overlap",
        type=float,
        metavar="SHARE",
        help="of a tile with the next one, from 0 to below 1, TILE_OVERLAP (default: 0.5)",
    )
    parser.add_argument(
        "--every", type=positive, default=1, metavar="N", help="of videos take every N-th frame"
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="end after N images")
    parser.add_argument(
        "--polygons", action="store_true", help="polygons in place of run lengths in the COCO json"
    )
    parser.add_argument(
        "--video-type", default=".mp4", choices=tuple(Videos.codecs), help="(default: .mp4)"
    )
    parser.add_argument(
        "--color-by",
        default="class",
        choices=COLOR_BY,
        help="a colour for each class, or another one for each object (default: class)",
    )
    parser.add_argument(
        "--no-labels",
        dest="labels",
        action="store_false",
        help="no names and scores in pictures and videos, where they hide small objects",
    )
    parser.add_argument("--show", action="store_true", help="show the pictures in a window; q ends")
    parser.epilog = """examples:
  mrcnn predict photo.jpg --weights coco --output found
  mrcnn predict photo.jpg --weights torchvision_v2 --min-confidence 0.5 --output found
  mrcnn predict holiday --recursive --weights coco --classes dog cat \\
      --min-confidence 0.9 --output found
  mrcnn predict clip.mp4 --every 5 --weights last --name balloon --output found \\
      --save video coco
  mrcnn predict 0 --show --weights coco --output found
  mrcnn predict city.tif --weights last --name streets --output found --save labels pictures \\
      --tiles 512 --overlap 0.25
"""


def run(args: argparse.Namespace) -> int:
    """Detect and print the summary; the exit code: 1 if something could not be read, 130 after
    Ctrl-C.
    """
    # a wrong path should show at once, before the seconds that TensorFlow takes
    sources, _ = find_sources(args.sources, args.recursive, args.output)
    require_writable(args.output, "--output")
    check_outputs(sources, args.output, args.save, args.video_type)
    config, weights = inference_config(args)
    of_pixels = isinstance(config, SegmentationConfig)
    if args.overlap is not None and getattr(config, "TILE", None) is None:
        raise ValueError("--overlap is of tiles: give their side too, with --tiles")
    classes = args.classes and class_choices(args.classes, config.CLASS_NAMES)
    model = load_model(config, weights, args.logs)
    summary = predict(
        model,
        args.sources,
        args.output,
        save=args.save,
        recursive=args.recursive,
        every=args.every,
        limit=args.limit,
        classes=classes,
        # of objects, the config has it
        min_confidence=settings_of(args).get("DETECTION_MIN_CONFIDENCE") if of_pixels else None,
        polygons=args.polygons,
        video_type=args.video_type,
        show=args.show,
        color_by=args.color_by,
        labels=args.labels,
    )
    print(summary)
    if summary.interrupted and not all(source.kind == "camera" for source in sources):
        return 130
    return 0 if summary.images and not summary.unreadable else 1


def class_choices(texts: Iterable[str], class_names: Collection[str] | None) -> list[int | str]:
    """Names, or ids as int; a number that is a name is the name: the class "7" of digits has the id
    8.
    """
    return [
        int(text) if text.isdecimal() and text not in (class_names or ()) else text
        for text in texts
    ]
