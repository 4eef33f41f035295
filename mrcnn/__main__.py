"""``python -m mrcnn``: see `mrcnn.cli`."""

from mrcnn.cli import main

if __name__ == "__main__":
    main()
