"""Count the files of ``mrcnn`` that a reader passes through who follows one image and one gradient.

    python benchmarks/files_touched.py                     this checkout
    python benchmarks/files_touched.py --tree ../before    another one

A file counts where one of its functions, methods, properties or lambdas is called, in any thread.
The body of a module or of a class is none: what an import runs does not count, and everything is
imported before. Calls are counted in Python, so that what runs in a traced graph counts when it is
traced; both walks begin with an untraced model.

training step: from asking the training data (of a Dataset whose photo is a PNG file) for a batch,
    as ``fit`` does, through tracing and running ``train_on_batch``, until the optimizer has updated
    the weights.
detection: from the call of ``MaskRCNN.detect`` with one image to the `Result` that it returns.

Set-up does not count: the config, the data set, making the training data's object, building and
compiling the model. Files of the network of which only building calls a function are listed by
themselves; a second count includes them. The settings are those that a user has who changes nothing
but sizes.
"""

import argparse
import contextlib
import importlib
import inspect
import os
import pkgutil
import sys
import tempfile
import threading
from pathlib import Path

import measure
import numpy as np
from report import ROOT

SIDE = 128
NETWORK = ("networks/", "network/", "layers/")  # the latter two before they became one room


def main(arguments=None):
    options = parse(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.path.insert(0, str(options.tree.resolve()))
    import_all()
    for name, walk in (("training step", training_step), ("detection", detection)):
        files, built = walk()
        builders = {path for path in built - files if path.startswith(NETWORK)}
        print(f"{name}: {len(files)} files", *sorted(files), sep="\n  ")
        print(
            f"with those that only build its network: {len(files | builders)} files",
            *sorted(builders),
            sep="\n  ",
            end="\n\n",
        )
    return 0


def parse(arguments):
    parser = argparse.ArgumentParser(
        description="Count the files of mrcnn/ that a training step and a detection pass through."
    )
    parser.add_argument(
        "--tree", type=Path, default=ROOT, metavar="FOLDER", help="another checkout"
    )
    options = parser.parse_args(arguments)
    if not (options.tree / "mrcnn" / "model.py").is_file():
        parser.error(f"{options.tree} has no mrcnn/model.py")
    return options


def training_step():
    """The files that a training step passes through, and those that building its model does."""
    from names import Dataset, training_data
    from PIL import Image

    from mrcnn.model import MaskRCNN

    config = measure.settings(quick=True, side=SIDE)
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.png"
        Image.fromarray(measure.photo(SIDE, SIDE)).save(photo)

        class Photo(Dataset):
            def load_mask(self, image_id):
                return measure.ellipses(SIDE, SIDE, 3), np.ones(3, np.int32)

        dataset = Photo()
        for number in range(1, config.NUM_CLASSES):
            dataset.add_class("made up", number, f"class {number}")
        dataset.add_image("made up", 0, str(photo))
        dataset.prepare()
        with files_of_calls() as built:
            model = MaskRCNN("training", config, folder)
        model.compile(config.LEARNING_RATE, config.LEARNING_MOMENTUM)
        data = training_data(model.keras_model, dataset, config, steps=1)
        with files_of_calls() as files:
            model.keras_model.train_on_batch(list(data[0][0]))
    return files, built


def detection():
    """The files that a detection passes through, and those that building its model does."""
    from mrcnn.model import MaskRCNN

    config = measure.settings(quick=True, side=SIDE, DETECTION_MIN_CONFIDENCE=0)
    with tempfile.TemporaryDirectory() as folder:
        with files_of_calls() as built:
            model = MaskRCNN("inference", config, folder)
    with files_of_calls() as files:
        found = model.detect([measure.photo(SIDE, SIDE)])
    if not len(found[0]["scores"]):
        raise ValueError("nothing was found, so that no mask was pasted")
    return files, built


@contextlib.contextmanager
def files_of_calls(package="mrcnn"):
    """A set that gets the files of which a function is called meanwhile, in this thread and in
    those that Python starts: their paths in the folder of a package.
    """
    root = Path(importlib.import_module(package).__file__).resolve().parent
    codes, files = set(), set()

    def note(frame, event, _):
        if event == "call":
            codes.add(frame.f_code)

    before = sys.getprofile(), threading.getprofile()
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield files
    finally:
        sys.setprofile(before[0])
        threading.setprofile(before[1])
    for code in filter(_is_function, codes):
        path = Path(code.co_filename).resolve()
        if path.is_relative_to(root):
            files.add(path.relative_to(root).as_posix())


def _is_function(code):
    # the bodies of modules and classes are not optimized; those of comprehensions are
    return bool(code.co_flags & inspect.CO_OPTIMIZED) and (
        not code.co_name.startswith("<") or code.co_name == "<lambda>"
    )


def import_all():
    """Import every module of ``mrcnn`` but commands, so that no import falls into what is
    counted.
    """
    import mrcnn

    for module in pkgutil.walk_packages(mrcnn.__path__, "mrcnn."):
        if not module.name.endswith("__main__"):
            # a package that is optional may be missing
            with contextlib.suppress(ImportError):
                importlib.import_module(module.name)


if __name__ == "__main__":
    sys.exit(main())
