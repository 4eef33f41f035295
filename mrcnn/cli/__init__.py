"""The command line: look at data, train, evaluate and predict without writing code.

    mrcnn check    photos/train
    mrcnn cache    photos --subset train --output cache/train --size 512
    mrcnn train    photos --weights coco --size 512 --epochs 20
    mrcnn evaluate photos --subset val --weights last --name photos --report report
    mrcnn predict  holiday clip.mp4 --weights last --name photos --output found
    mrcnn train    photos --network unet --weights none --size 256   # labels pixels

Annotations may be COCO json, VIA json, labelme json, mask PNGs or label maps. A training run keeps
its settings in config.json beside its weights, where evaluate and predict find them.
"COMMAND --help" explains each command.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from mrcnn import __version__
from mrcnn.cli import cache, check, evaluate, predict, train
from mrcnn.cli.settings import name_options
from mrcnn.common.words import naming_options, without_escapes

# of all commands, after those of their own
EXIT_CODES = {2: "wrong arguments", 130: "ended by Ctrl-C"}


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands; ``args.run`` is the function of the one that was given."""
    parser = argparse.ArgumentParser(
        prog="mrcnn",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mrcnn {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (check, cache, train, evaluate, predict):
        name = module.__name__.rpartition(".")[2]
        sub = commands.add_parser(
            name,
            help=(module.__doc__ or "").partition("\n")[0],
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(sub)
        codes = {**module.EXIT_CODES, **EXIT_CODES}
        lines = "".join(f"  {code:<4} {what}\n" for code, what in codes.items())
        sub.epilog = f"{sub.epilog}\nexit codes:\n{lines}"
        sub.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run a command and leave Python with its exit code, which its ``--help`` explains. An error
    is told in a line, and its code is 1.
    """
    # names that the terminal or the file's encoding has not are no error
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    args = make_parser().parse_args(argv)
    try:
        with naming_options():
            code = args.run(args)
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        sys.exit(f"error: {without_escapes(name_options(str(error), args))}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    sys.exit(code or 0)
