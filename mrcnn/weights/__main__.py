"""``python -m mrcnn.weights file.h5``: what is in a file of weights."""

import argparse
import sys
from collections.abc import Sequence

from mrcnn.common.words import naming_options
from mrcnn.weights.h5_format import describe_h5


def main(arguments: Sequence[str] | None = None) -> int:
    """Print `describe_h5` of the file on the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m mrcnn.weights",
        description="Show the tensors of a weights file.",
        epilog="The exit code is 0, 1 where the file cannot be read, and 2 for wrong arguments.",
    )
    parser.add_argument("file", help=".h5 file in the layout of Keras 2")
    try:
        with naming_options():
            print(describe_h5(parser.parse_args(arguments).file))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
