"""``python -m mrcnn.weights file.h5``: what is in a file of weights; ``--to`` converts it."""

import argparse
import sys
from collections.abc import Sequence

from mrcnn.common.words import naming_options
from mrcnn.weights.convert import convert
from mrcnn.weights.describe import describe


def main(arguments: Sequence[str] | None = None) -> int:
    """Print `describe` of a file, or `convert` it, by a command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m mrcnn.weights",
        description="Show the tensors of a weights file, or write it as another kind of file.",
        epilog="The exit code is 0, 1 where the file cannot be read or written, and 2 for wrong "
        "arguments.",
    )
    parser.add_argument(
        "file", help=".h5 file in the layout of Keras 2, or .pth file of torchvision's Mask R-CNN"
    )
    parser.add_argument(
        "--to",
        metavar="FILE",
        help="write it as this file: .pth for torchvision, .h5 in the layout of Keras 2",
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="config.json of the network, for --to FILE.pth (default: the one beside the file)",
    )
    parser.add_argument(
        "--epsilon",
        type=float,
        metavar="E",
        help="of the batch norms in the backbone of a .pth file (default: 0 of frozen ones, as "
        "torchvision's v1 has with COCO's weights, else 1e-5)",
    )
    args = parser.parse_args(arguments)
    if args.to is None and (args.config is not None or args.epsilon is not None):
        parser.error("--config and --epsilon go with --to")
    try:
        with naming_options():
            if args.to is None:
                print(describe(args.file))
            else:
                print(convert(args.file, args.to, args.config, args.epsilon))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
