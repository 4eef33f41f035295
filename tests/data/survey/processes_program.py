"""Checks of data sets by forked processes, in a program of its own: the process that runs the tests
may hold TensorFlow, beside which none is forked.
"""

import json
import logging
import os
import signal
import sys
import time
import warnings
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from mrcnn.common import processes
from mrcnn.data import Dataset
from mrcnn.data.formats import mask_png, regions
from mrcnn.data.formats.coco import CocoJson
from mrcnn.data.formats.labelme import Labelme
from mrcnn.data.formats.mask_png import MaskPng
from mrcnn.data.formats.via import Via
from mrcnn.data.survey import each_image
from mrcnn.matterport.dataset import Dataset as OldDataset
from tests.tiny import image

PARENT = os.getpid()
COUNT = 12


def photos(folder, suffix=".png"):
    """Names of images, of which one is there twice, one is dark and one holds 12 bits."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{number:02}{suffix}" for number in range(COUNT)]
    for number, name in enumerate(names):
        pixels = image(60, 80, number % 10)
        if number == 4:
            pixels //= 64
        if number in (5, 6, 9) and suffix == ".png":
            pixels = pixels[..., 0].astype(np.uint16) * (16 if number == 5 else 4)
        Image.fromarray(pixels).save(folder / name)
    return names


def square(x, y, side):
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side]]


def outlines(number):
    """Corners of objects, of which some cover no pixel; two are the same, or of few points."""
    found = [square(5, 5, 20), square(30, 10 + number, 12)]
    if number % 3 == 0:
        found += [square(200, 5, 9), square(5, 5, 20)]
    if number % 4 == 1:
        found += [square(10.2, 10.2, 0.1), square(-30, -30, 5)]
    if number > 5:
        found += [square(40 + step, 40, 7) for step in range(4)]
    return found


def coco(folder):
    names = photos(folder / "images")
    annotations = []
    for number in range(COUNT):
        for points in outlines(number):
            flat = np.ravel(points).tolist()
            annotations.append({"image_id": number, "segmentation": [flat], "iscrowd": 0})
        runs = {"size": [60, 80], "counts": [100 + number, 50, 60 * 80 - 150 - number]}
        annotations.append({"image_id": number, "segmentation": runs, "iscrowd": number % 2})
    for number, one in enumerate(annotations):
        one |= {"id": number, "category_id": 1 + number % 2}
    sizes = {"height": 60, "width": 80}
    images = [{"id": number, "file_name": name, **sizes} for number, name in enumerate(names)]
    images[7]["height"] = 61  # not the image's
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}, {"id": 3, "name": "cow"}]
    path = folder / "coco.json"
    path.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )

    def load():
        dataset = CocoJson()
        dataset.load_coco_json(path, folder / "images", collect_errors=True)
        return dataset

    return load


def labelme(folder):
    import base64

    for number, name in enumerate(photos(folder)):
        path = folder / name
        data = None
        if number % 2:
            data = base64.b64encode(path.read_bytes()).decode()
            path.unlink()
        shapes = [{"label": "cat", "points": one} for one in outlines(number)]
        shapes.append({"label": "__ignore__", "points": square(40, 40, 9)})
        content = {"shapes": shapes, "imagePath": name, "imageData": data}
        path.with_suffix(".json").write_text(json.dumps(content))

    def load():
        dataset = Labelme()
        dataset.load_labelme(folder, collect_errors=True)
        return dataset

    return load


def via(folder):
    content = {}
    for number, name in enumerate(photos(folder)):
        regions = []
        for points in outlines(number):
            xs, ys = zip(*points)
            shape = {"name": "polygon", "all_points_x": xs, "all_points_y": ys}
            regions.append({"shape_attributes": shape, "region_attributes": {"kind": "cat"}})
        content[name] = {"filename": name, "regions": regions}
    path = folder / "via.json"
    path.write_text(json.dumps(content))

    def load():
        dataset = Via()
        dataset.load_via(path, collect_errors=True)
        return dataset

    return load


def ids(folder):
    for name in photos(folder / "images"):
        mask = np.zeros((60, 80), np.uint8)
        mask[5:20, 5:20], mask[30:40, 3:60], mask[50:55, 70:75] = 1, 2, 1
        (folder / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(folder / "masks" / name)

    def load():
        dataset = MaskPng()
        dataset.load_id_masks(folder / "images", folder / "masks", "cell")
        return dataset

    return load


def objects(folder):
    """Masks of which some are empty, soft, or in pieces; images of which some have two frames."""
    for number, name in enumerate(photos(folder / "images")):
        here = folder / "all" / str(number)
        for kind in ("images", "masks"):
            (here / kind).mkdir(parents=True)
        (folder / "images" / name).rename(here / "images" / name)
        mask = Image.fromarray(np.uint8(np.indices((60, 80))[1] < 20) * 255)
        mask.save(here / "masks" / "a.png")
        if number % 3 == 0:
            Image.new("L", (80, 60)).save(here / "masks" / "empty.png")
        if number % 3 == 1:
            mask.resize((40, 30)).resize((80, 60), Image.BILINEAR).save(here / "masks" / "soft.png")
        if number % 5 == 2:
            photo = Image.open(here / "images" / name)
            photo.save(here / "images" / "a.gif", save_all=True, append_images=[photo.rotate(90)])
            (here / "images" / name).unlink()

    def load():
        dataset = MaskPng()
        dataset.load_object_masks(folder / "all", "cell")
        return dataset

    return load


class Own(Dataset):
    """A user's, with images that cannot be loaded, and counts of its own."""

    noted = (*Dataset.noted, "shapes")

    def __init__(self):
        super().__init__()
        self.shapes = Counter()
        self.pids = set()
        self.add_class("own", 1, "cat")
        for number in range(COUNT):
            self.add_image("own", number, None)

    def load_image(self, image_id):
        if image_id == 3:
            raise OSError("torn")
        return image(60, 80, image_id)

    def load_mask(self, image_id):
        if image_id == 8:
            raise ValueError("no outline")
        if image_id == 9:
            warnings.warn("an outline is odd", stacklevel=1)
        if image_id >= 10:
            logging.getLogger("own").warning(
                "image %s is odd", image_id, exc_info=ValueError(image_id)
            )
            warnings.warn("the same each time", stacklevel=1)
        masks = np.zeros((60, 80, 1 + image_id % 3), bool)
        masks[: 10 + image_id] = True
        self.shapes[masks.shape] += 1
        return masks, np.ones(masks.shape[2], int)


class Old(OldDataset):
    """One whose outlines leave the image, which is warned of."""

    def __init__(self):
        super().__init__()
        self.add_class("old", 1, "cat")
        for number in range(COUNT):
            self.add_image("old", number, None, height=60, width=80)

    def load_image(self, image_id):
        return image(60, 80, image_id)

    def load_mask(self, image_id):
        info = self.image_info[image_id]
        mask = np.zeros((info["height"], info["width"], 1), bool)
        mask[50, 60] = mask[59 + image_id % 2, 70] = True
        return mask, np.ones(1, int)


class Bare(Dataset):
    """Without a load_mask, which is warned of for each image."""

    def __init__(self):
        super().__init__()
        for number in range(COUNT):
            self.add_image("bare", number, None)

    def load_image(self, image_id):
        return image(60, 80, image_id)


READERS = {
    **{make.__name__: make for make in (coco, labelme, via, ids, objects)},
    **{kind.__name__.lower(): lambda folder, kind=kind: kind for kind in (Own, Old, Bare)},
}


class Heard(logging.Handler):
    """The messages that were logged."""

    def __init__(self):
        super().__init__()
        self.texts = []

    def emit(self, record):
        self.texts.append((record.name, record.levelname, self.format(record)))


def seen(load, workers):
    """All that summary and check tell of a data set, log, and leave in it."""
    heard = Heard()
    logging.root.handlers = [heard]
    dataset = load()
    dataset.prepare()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("default")
        summary = dataset.summary(progress=False, workers=workers)
        report = dataset.check(progress=False, workers=workers)
    state = {
        name: list(getattr(value, "places", getattr(value, "images", value)).items())
        for name in dataset.noted
        for value in [getattr(dataset, name)]
    }
    return {
        "report": report,
        "summary": str(summary),
        "left out": str(getattr(dataset, "left_out", "")),
        "state": state,
        "infos": dataset.image_info,
        "told of size": getattr(dataset, "_told_of_size", None),
        "logged": heard.texts,
        "warned": [(str(one.message), one.category, one.filename, one.lineno) for one in warned],
    }


def equal(folder, reader):
    """The same with 1, 2 and 3 workers, which were processes."""
    load = READERS[reader](folder)
    forked = []

    def fork_map(*args, **options):
        forked.append(args[2])
        return processes.fork_map(*args, **options)

    each_image.fork_map = fork_map
    one = seen(load, 1)
    assert not forked
    for workers in (2, 3):
        several = seen(load, workers)
        for key, value in one.items():
            assert several[key] == value, f"{key}:\n{several[key]}\n{value}"
    assert forked == [2, 2, 3, 3]
    return one


def large(folder):
    """A warning that is given once, whichever process meets it first."""
    regions.LARGE = 6 * 60 * 80  # of image 6 and those after it
    one = equal(folder, "coco")
    assert one["told of size"] and sum("GB of memory" in text for *_, text in one["logged"]) == 1


def readers(folder):
    for reader in READERS:
        one = equal(folder / reader, reader)
        texts = str([one["logged"], one["warned"], one["left out"]])
        expected = {
            "coco": ["covering no pixel of the image: 10"],
            "labelme": ["covering no pixel of the image: 10"],
            "via": ["covering no pixel of the image: 10"],
            "ids": ["object in separate pieces"],
            "objects": ["covering no pixel of the image: 4", "holds 2 frames"],
            "own": ["image 11 is odd", "ValueError: 11", "an outline is odd", "the same each time"],
            "old": ["was cut at its edge"],
            "bare": ["has no load_mask of its own"],
        }[reader]
        assert all(text in texts for text in expected), texts
        if reader in ("coco", "labelme", "via", "ids", "objects"):
            assert len(one["state"]["few_bits"][0:]) == 3, one["state"]
        if reader == "own":
            assert sum(dict(one["state"]["shapes"]).values()) == 2 * (COUNT - 1), one["state"]
            assert texts.count("the same each time") == 1


def errors(folder):
    """What is raised in a process is raised here, as it is or as text."""

    class Odd(Exception):
        def __init__(self, code, place):
            super().__init__(f"{code} at {place}")

    class Stop(BaseException):
        def __init__(self, code, place):
            super().__init__(f"{code} at {place}")

    def broken(number, error):
        if number == 5:
            raise error

    class Broken(Own):
        def load_mask(self, image_id):
            broken(image_id, self.error)
            return super().load_mask(image_id)

    for error, kind, text in (
        (LookupError("lost"), LookupError, "lost"),
        (Odd(7, "the edge"), RuntimeError, "Odd: 7 at the edge"),
        (Stop(7, "the edge"), RuntimeError, "Stop: 7 at the edge"),
    ):
        try:
            list(processes.fork_map(partial(broken, error=error), range(8), 2))
        except kind as raised:
            assert str(raised) == text
        else:
            raise AssertionError("nothing raised")
        if isinstance(error, Stop):
            continue
        dataset = Broken()
        dataset.error = error
        dataset.prepare()
        text = f"{type(error).__name__}: {error}"
        (found,) = [
            one
            for one in dataset.check(progress=False, workers=2).findings
            if one.place.startswith("image 5 ")
        ]
        assert text in found.message
        unread = dataset.summary(progress=False, workers=2).unread
        assert len(unread) == 2 and unread[0].startswith("image 5 ") and text in unread[0]


def killed(folder):
    class Dying(Own):
        def load_image(self, image_id):
            if image_id == 7:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().load_image(image_id)

    dataset = Dying()
    dataset.prepare()
    try:
        dataset.check(progress=False, workers=2)
    except ChildProcessError as error:
        assert "a process that worked on one of the images " in str(error)
        assert "was killed" in str(error) and "workers=1 takes the least memory" in str(error)
    else:
        raise AssertionError("nothing raised")


class Slow(Own):
    def load_image(self, image_id):
        if os.getpid() != PARENT:
            os.write(1, f"{os.getpid()}\n".encode())
            time.sleep(60)
        return super().load_image(image_id)


def slow(folder):
    """Until it is interrupted, or killed."""
    # a shell lets what runs in the background ignore it, and so all that this starts
    signal.signal(signal.SIGINT, signal.default_int_handler)
    dataset = Slow()
    dataset.prepare()
    dataset.check(progress=False, workers=2)


def run(functions):
    """The one of them that the command names, by processes however small the work is."""
    mask_png.LOOKED_AT = 1
    each_image.FEWEST = 2
    each_image.TRIAL = each_image.LEAST = each_image.WORTH = 0
    processes.TURN = 2
    functions[sys.argv[1]](Path(sys.argv[2]))
    print("done")


if __name__ == "__main__":
    run(globals())
