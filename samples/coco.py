"""Mask R-CNN on COCO: train the three stages of the original, measure AP of boxes and masks.

    python samples/coco.py train    --dataset=/path/to/coco --model=imagenet
    python samples/coco.py train    --dataset=/path/to/coco --model=last --year=2017
    python samples/coco.py evaluate --dataset=/path/to/coco --model=coco --year=2017 --download
    python samples/coco.py evaluate --dataset=/path/to/coco --model=last --limit=0
    python samples/coco.py evaluate --dataset=/path/to/coco --model=torchvision_v2 --year=2017

The data set is a folder with annotations/instances_<subset><year>.json and the images in
train<year> and val<year>. --download fetches what is missing: 1 GB for evaluate --year=2017, 20 GB
for training. Of 2014, training takes the train images and those of val that are not in minival,
5000 images that evaluate measures on; of 2017, whose division is the same, train and val.

Made to be copied: a Config, a Dataset and a small command line. For your own COCO json, `CocoJson`
reads it as it is.
"""

import argparse
import os
import sys
import time

import numpy as np

ROOT_DIR = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
sys.path.append(ROOT_DIR)  # so that the sample also runs from a checkout that is not installed

from mrcnn.config import Config
from mrcnn.config.file import config_beside, read_config
from mrcnn.config.presets import PRESETS, preset_fields
from mrcnn.data.formats.coco import CocoJson
from mrcnn.weights.read import backbone_fields, preset_for, read_weights
from mrcnn.weights.torch_file import is_torch_file

DEFAULT_LOGS = os.path.join(ROOT_DIR, "logs")
DEFAULT_LOGS_DIR = DEFAULT_LOGS  # the original's name
DEFAULT_DATASET_YEAR = "2014"

# Layers, the share of --epochs to end with, and the factor of the learning rate: to 40, 120 and 160
# in the original.
STAGES = (("heads", 1 / 4, 1), ("4+", 3 / 4, 1), ("all", 1, 1 / 10))

# Subsets of 2014's val, whose images are in val2014: 5000 to evaluate on, the other 35504 to train
# on.
PARTS_OF_VAL = ("minival", "valminusminival")

# AP of boxes and masks on val2017 by torchvision's authors.
PUBLISHED = {"torchvision_v1": (37.9, 34.6), "torchvision_v2": (47.4, 41.8)}

# The number of images in each folder.
IMAGE_COUNTS = {"train2014": 82783, "val2014": 40504, "train2017": 118287, "val2017": 5000}

# Addresses and md5 of the archives, as published by PaddleDetection and many others.
ARCHIVES = {
    "train2014": (
        "http://images.cocodataset.org/zips/train2014.zip",
        "0da8c0bd3d6becc4dcb32757491aca88",
    ),
    "val2014": (
        "http://images.cocodataset.org/zips/val2014.zip",
        "a3d79f5ed8d289b7a7554ce06a5782b3",
    ),
    "train2017": (
        "http://images.cocodataset.org/zips/train2017.zip",
        "cced6f7f71b7629ddf16f17bbcfab6b2",
    ),
    "val2017": (
        "http://images.cocodataset.org/zips/val2017.zip",
        "442b8da7639aecaf257c1dceb8ba8c80",
    ),
    "annotations2014": (
        "http://images.cocodataset.org/annotations/annotations_trainval2014.zip",
        "0a379cfc70b0e71301e0f377548639bd",
    ),
    "annotations2017": (
        "http://images.cocodataset.org/annotations/annotations_trainval2017.zip",
        "f4bbac642086de4f52a3fdda2de5fa2c",
    ),
    "minival2014": (
        "https://dl.dropboxusercontent.com/s/o43o90bna78omob/instances_minival2014.json.zip?dl=0",
        "395a089042d356d97017bf416e4e99fb",
    ),
    "valminusminival2014": (
        "https://dl.dropboxusercontent.com/s/s3tw5zcg7395368/instances_valminusminival2014.json.zip?dl=0",
        "f72ed643338e184978e8228948972e84",
    ),
}


class CocoConfig(Config):
    """Two images of 1024 px a step fit a GPU of 12 GB; ``--size`` makes them smaller."""

    NAME = "coco"
    IMAGES_PER_GPU = 2
    NUM_CLASSES = 1 + 80


class CocoDataset(CocoJson):
    """COCO as published: the folders of a year, and the subsets of 2014 that papers use."""

    def load_coco(
        self,
        dataset_dir,
        subset,
        year=DEFAULT_DATASET_YEAR,
        class_ids=None,
        class_map=None,
        return_coco=False,
        auto_download=False,
    ):
        """Add the images of a subset.

        Args:
            dataset_dir: folder with annotations/ and the folders of images.
            subset: "train", "val", or in 2014 "minival" or "valminusminival".
            year: "2014" or "2017".
            class_ids: ids or names of the categories to load, and only images with one of them;
                None for all.
            class_map: {id or name of a category: class name}, which makes one class of several
                categories.
            return_coco: also return pycocotools' ``COCO`` of the annotations.
            auto_download: fetch what is missing first.

        Returns:
            ``COCO`` or None.

        Raises:
            FileNotFoundError: the annotations or an image are missing.
            ValueError: no such subset, or an unknown category.
            OSError: a download failed.
        """
        year = str(year)
        if auto_download:
            self.auto_download(dataset_dir, subset, year)
        path, image_dir = _places(dataset_dir, subset, year)
        if not os.path.isfile(path):
            raise FileNotFoundError(
                f"{path} is missing: --dataset is a folder with annotations/, train{year}/ and "
                f"val{year}/, and --download fetches what is missing"
            )
        self.load_coco_json(path, image_dir, class_ids, class_map)
        return _quietly_indexed(path) if return_coco else None

    def auto_download(self, dataDir, dataType, dataYear):
        """Fetch the images and annotations of a subset where they are missing; the names are the
        original's.

        Archives stay beside the folders that they are unpacked to; a call after one that broke off
        goes on.
        """
        from mrcnn.common.archives import unpack
        from mrcnn.common.download import download

        path, image_dir = _places(dataDir, dataType, str(dataYear))
        folder = os.path.basename(image_dir)
        wanted = []
        if not os.path.isdir(image_dir) or len(os.listdir(image_dir)) < IMAGE_COUNTS[folder]:
            wanted.append((folder, dataDir))
        if not os.path.isfile(path):
            own = f"{dataType}{dataYear}" if dataType in PARTS_OF_VAL else f"annotations{dataYear}"
            # annotations_trainval<year>.zip has a folder annotations/, minival's has none
            wanted.append((own, os.path.dirname(path) if dataType in PARTS_OF_VAL else dataDir))
        for name, target in wanted:
            url, md5 = ARCHIVES[name]
            archive = os.path.join(dataDir, url.rsplit("/", 1)[-1].removesuffix("?dl=0"))
            print(f"{name}: {url}")
            download(url, archive, md5=md5)
            count = unpack(archive, target)
            print(f"{name}: {count} files unpacked in {target}; {archive} may be deleted")

    def image_reference(self, image_id):
        """The image's page on COCO's site."""
        info = self.image_info[image_id]
        if info["source"] == "coco":
            return f"http://cocodataset.org/#explore?id={info['id']}"
        return super().image_reference(image_id)

    def annToRLE(self, ann, height, width):
        """The run lengths of an annotation, as pycocotools has them: {"size": [height, width],
        "counts": bytes}.
        """
        from pycocotools import mask as coco_mask

        segmentation = ann["segmentation"]
        if isinstance(segmentation, list):  # polygons, the parts of one object
            return coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
        if isinstance(segmentation["counts"], list):
            return coco_mask.frPyObjects(segmentation, height, width)
        return segmentation

    def annToMask(self, ann, height, width):
        """The mask of an annotation: uint8 [height, width] of 0 and 1."""
        from pycocotools import mask as coco_mask

        return coco_mask.decode(self.annToRLE(ann, height, width))


def _places(dataset_dir, subset, year):
    """Paths of a subset's annotations and of its folder of images."""
    subsets = ("train", "val", *PARTS_OF_VAL) if year == "2014" else ("train", "val")
    if f"train{year}" not in IMAGE_COUNTS or subset not in subsets:
        raise ValueError(
            f"COCO has no subset {subset!r} of {year}: there are train and val of 2014 and 2017, "
            f"and {' and '.join(PARTS_OF_VAL)} of 2014"
        )
    images = "val" if subset in PARTS_OF_VAL else subset
    return (
        os.path.join(dataset_dir, "annotations", f"instances_{subset}{year}.json"),
        os.path.join(dataset_dir, f"{images}{year}"),
    )


def _quietly_indexed(path):
    """pycocotools' ``COCO`` of a file, without its printing."""
    import contextlib
    import io

    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(path)


# === Evaluation ===


def build_coco_results(dataset, image_ids, rois, class_ids, scores, masks):
    """What was found in one image, as COCO's result files have it.

    Args:
        dataset: a prepared `CocoDataset`.
        image_ids: list with the image's id in COCO.
        rois: [n, (y1, x1, y2, x2)] px, or None where nothing was found.
        class_ids: int [n]. scores: [n].
        masks: [height, width, n].

    Returns:
        list of dicts with image_id, category_id, bbox, score and segmentation, ready for json.
    """
    from mrcnn.data.rle import encode_masks

    if rois is None or not len(rois):
        return []
    runs = encode_masks(np.asarray(masks))
    return [
        {
            "image_id": int(image_id),
            "category_id": dataset.get_source_class_id(class_id, "coco"),
            "bbox": [float(x1), float(y1), float(x2 - x1), float(y2 - y1)],
            "score": float(score),
            "segmentation": segmentation,
        }
        for image_id in image_ids
        for (y1, x1, y2, x2), class_id, score, segmentation in zip(rois, class_ids, scores, runs)
    ]


def class_numbers(names, dataset):
    """The class of the dataset for each class of a model, by name; 0 where it has none.

    torchvision's classes are numbered by COCO's ids, with gaps, and the dataset's without.

    Args:
        names: of the model's classes, background first; None: both number their classes alike.
        dataset: a prepared `CocoDataset`.

    Returns:
        int array of the length of ``names``.
    """
    if names is None:
        return np.arange(dataset.num_classes)
    numbers = {name: number for number, name in enumerate(dataset.class_names)}
    return np.array([0] + [numbers.get(name, 0) for name in names[1:]])


def detect_coco(model, dataset, image_ids):
    """Results of all images, as `build_coco_results` gives them, and the seconds spent inside
    ``detect``. Detections of classes that the dataset lacks are left out.
    """
    from mrcnn.common.progress import track

    results, seconds, size = [], 0.0, model.config.BATCH_SIZE
    numbers = class_numbers(getattr(model.config, "CLASS_NAMES", None), dataset)
    batches = [image_ids[start : start + size] for start in range(0, len(image_ids), size)]
    for batch in track(batches, "Detecting"):
        images = [dataset.load_image(image_id) for image_id in batch]
        start = time.perf_counter()
        found = model.detect(images)
        seconds += time.perf_counter() - start
        for image_id, result in zip(batch, found):
            class_ids = numbers[result["class_ids"]]
            known = class_ids > 0
            results += build_coco_results(
                dataset,
                [dataset.image_info[image_id]["id"]],
                getattr(result, "boxes", result["rois"])[known],
                class_ids[known],
                result["scores"][known],
                result["masks"][:, :, known],
            )
    return results, seconds


def print_coco_ap(coco, results, eval_type, coco_image_ids):
    """Print COCO's twelve numbers of "bbox" or "segm", and return pycocotools' ``COCOeval``."""
    from mrcnn.evaluation.coco_ap import run_coco_eval

    print(f"\n{eval_type}:")
    evaluation = run_coco_eval(coco, results, eval_type, coco_image_ids)
    evaluation.summarize()
    return evaluation


def evaluate_coco(model, dataset, coco, eval_type="bbox", limit=0, image_ids=None):
    """Detect, and print COCO's AP and AR and the time.

    Args:
        model: `MaskRCNN` in inference mode.
        dataset: a prepared `CocoDataset`. coco: pycocotools' ``COCO`` of the same, see `load_coco`.
        eval_type: "bbox", "segm", or a list of both, which detects once.
        limit: number of images; 0 for all.
        image_ids: of the dataset; None for all.

    Returns:
        ``COCOeval``, or a list of them for a list of types.
    """
    image_ids = list(dataset.image_ids if image_ids is None else image_ids)
    image_ids = image_ids[:limit] if limit else image_ids
    results, seconds = detect_coco(model, dataset, image_ids)
    coco_image_ids = [dataset.image_info[image_id]["id"] for image_id in image_ids]
    types = [eval_type] if isinstance(eval_type, str) else list(eval_type)
    evaluations = [print_coco_ap(coco, results, one, coco_image_ids) for one in types]
    print(
        f"\nPrediction time: {seconds:.1f} s, {seconds / max(len(image_ids), 1):.3f} s an image, "
        f"{len(image_ids)} images"
    )
    return evaluations[0] if isinstance(eval_type, str) else evaluations


# === Commands ===


def make_config(args, weights=None):
    """The config of the command line's ``--preset``, ``--backbone``, ``--size`` and so on.

    Args:
        args: of the command line.
        weights: path of the starting weights. The network of torchvision's, and of a run that began
            with them, is torchvision's.
    """
    fields = fields_of(weights)
    if args.preset:
        fields = {**preset_fields(PRESETS[args.preset]), **backbone_fields(weights)}
    if fields.get("IMAGE_RESIZE_MODE") == "fit":
        return torchvision_config(args, fields)
    size = args.size or CocoConfig.IMAGE_MAX_DIM

    class Chosen(CocoConfig):
        BACKBONE = args.backbone
        IMAGE_MAX_DIM = size
        IMAGE_MIN_DIM = min(CocoConfig.IMAGE_MIN_DIM, size)
        # objects shrink with the images, so anchors must too
        RPN_ANCHOR_SCALES = tuple(
            scale * size // CocoConfig.IMAGE_MAX_DIM for scale in CocoConfig.RPN_ANCHOR_SCALES
        )
        SEED = getattr(args, "seed", None)
        STEPS_PER_EPOCH = getattr(args, "steps", CocoConfig.STEPS_PER_EPOCH)
        if args.command == "evaluate":
            IMAGES_PER_GPU = 1
            DETECTION_MIN_CONFIDENCE = 0  # AP counts low scores too

    for name, value in fields.items():
        setattr(Chosen, name, value)
    return Chosen()


def fields_of(weights):
    """Fields that weights bring along: torchvision's their network, a run's those of its preset."""
    if weights is None:
        return {}
    if is_torch_file(weights):
        return read_weights(weights).fields
    path = config_beside(weights)
    run = {} if path is None else read_config(path)
    preset = preset_fields(PRESETS[preset_for("", weights)])
    names = (*preset, "NUM_CLASSES", "CLASS_NAMES") if preset else ()
    return {name: run[name] for name in names if name in run}


def torchvision_config(args, fields):
    """The config of torchvision's network and image sizes, with the rest of the command line."""

    class Chosen(Config):
        NAME = CocoConfig.NAME
        IMAGES_PER_GPU = 1 if args.command == "evaluate" else CocoConfig.IMAGES_PER_GPU
        SEED = getattr(args, "seed", None)
        STEPS_PER_EPOCH = getattr(args, "steps", CocoConfig.STEPS_PER_EPOCH)

    for name, value in fields.items():
        setattr(Chosen, name, value)
    if args.size:
        Chosen.IMAGE_MAX_DIM = args.size
        Chosen.IMAGE_MIN_DIM = min(fields["IMAGE_MIN_DIM"], args.size)
    if args.command == "train":  # on the classes of the data, without COCO's gaps
        Chosen.NUM_CLASSES, Chosen.CLASS_NAMES = CocoConfig.NUM_CLASSES, None
    return Chosen()


def make_model(args, mode):
    """The model with the weights of ``--model``."""
    from mrcnn.cli.model_options import weights_path
    from mrcnn.model import MaskRCNN
    from mrcnn.weights import CLASS_LAYERS

    path = weights_path(args.model, args.logs, CocoConfig.NAME, to_train=mode == "training")
    model = MaskRCNN(mode, make_config(args, path), args.logs)
    if args.model.lower() == "imagenet":
        path = model.get_imagenet_weights()
    # torchvision's classes are not numbered as the data's
    of_torchvision = mode == "training" and path and is_torch_file(path)
    if path:
        model.load_weights(path, by_name=True, exclude=CLASS_LAYERS if of_torchvision else None)
    return model


def make_dataset(args, *subsets, return_coco=False):
    """A prepared `CocoDataset` of one or more subsets; with ``return_coco`` also the ``COCO`` of
    the last.
    """
    dataset, coco = CocoDataset(), None
    for subset in subsets:
        coco = dataset.load_coco(
            args.dataset, subset, args.year, return_coco=return_coco, auto_download=args.download
        )
    dataset.prepare()
    return (dataset, coco) if return_coco else dataset


def flip_half(image, masks, rng):
    """Mirror half of the images, with their masks."""
    return (image[:, ::-1], masks[:, ::-1]) if (rng or np.random).random() < 0.5 else (image, masks)


def train(args):
    """Train the heads, then stage 4 and up, then all layers."""
    # before the model, which takes longer: a wrong path should show at once
    old = args.year == "2014"
    train_set = make_dataset(args, "train", *(["valminusminival"] if old else []))
    val_set = make_dataset(args, "minival" if old else "val")
    model = make_model(args, "training")
    for layers, share, factor in STAGES:
        epochs = round(args.epochs * share)
        if epochs > model.epoch:
            model.train(
                train_set,
                val_set,
                factor * (args.learning_rate or model.config.LEARNING_RATE),
                epochs,
                layers,
                augmentation=flip_half,
                workers=args.workers,
                verbose=args.verbose,
            )
    print(f"Last weights: {model.find_last()}")


def evaluate(args):
    """Print COCO AP of boxes and masks on minival (2014) or val (2017)."""
    subset = "minival" if args.year == "2014" else "val"
    dataset, coco = make_dataset(args, subset, return_coco=True)
    model = make_model(args, "inference")
    count = min(args.limit, dataset.num_images) if args.limit else dataset.num_images
    print(f"Evaluating {count} of the {dataset.num_images} images of {subset}{args.year}")
    evaluations = evaluate_coco(model, dataset, coco, ["bbox", "segm"], limit=args.limit)
    published = PUBLISHED.get(args.model.lower())
    if published:
        boxes, masks = (100 * one.stats[0] for one in evaluations)
        print(
            f"AP of boxes {boxes:.1f}, of masks {masks:.1f}; published for all of val2017: "
            f"{published[0]} and {published[1]}"
        )


def parse_args(argv=None):
    """The command line; see ``--help``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)

    def command(function):
        sub = commands.add_parser(
            function.__name__,
            help=function.__doc__,
            description=function.__doc__,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        sub.add_argument("--dataset", required=True, metavar="FOLDER", help="folder of COCO")
        sub.add_argument(
            "--model",
            "--weights",
            required=True,
            metavar="FILE",
            help="where to start from: 'coco', 'torchvision_v1', 'torchvision_v2', 'imagenet', "
            "'none' (random), 'last' (the newest checkpoint under --logs), the path of a .h5 file, "
            "or of a .pth file of torchvision's",
        )
        sub.add_argument(
            "--year", default=DEFAULT_DATASET_YEAR, choices=["2014", "2017"], help="of the data set"
        )
        sub.add_argument(
            "--download",
            type=_yes_or_no,
            nargs="?",
            const=True,
            default=False,
            metavar="BOOL",
            help="fetch the images and annotations that are missing",
        )
        sub.add_argument(
            "--logs", default=DEFAULT_LOGS, metavar="FOLDER", help="folder of training runs"
        )
        sub.add_argument(
            "--preset",
            choices=PRESETS,
            metavar="NAME",
            help=f"settings that belong together: {', '.join(PRESETS)} (without it: those that the "
            "weights were trained with, else 'matterport')",
        )
        sub.add_argument(
            "--backbone",
            default=CocoConfig.BACKBONE,
            metavar="NAME",
            help="resnet50, resnet101 or a class of keras.applications; of torchvision's weights "
            "it is their own",
        )
        sub.add_argument(
            "--size",
            type=int,
            metavar="PX",
            help="side that images are scaled and padded to, a multiple of 64; with torchvision's "
            "weights their longest side (without it: 1024, or torchvision's 1333)",
        )
        sub.set_defaults(run=function)
        return sub

    sub = command(train)
    sub.add_argument(
        "--epochs",
        type=int,
        default=160,
        metavar="N",
        help="epoch to end with: the heads take a quarter of them, stage 4 and up two, all layers "
        "one",
    )
    sub.add_argument(
        "--steps",
        type=int,
        default=CocoConfig.STEPS_PER_EPOCH,
        metavar="N",
        help="steps of an epoch",
    )
    sub.add_argument("--learning-rate", type=float, metavar="RATE", help="in place of the config's")
    sub.add_argument("--seed", type=int, metavar="N", help="makes two runs alike")
    sub.add_argument(
        "--workers", type=int, default=1, metavar="N", help="threads that prepare images"
    )
    sub.add_argument(
        "--verbose",
        default="auto",
        help="progress bar: 'auto', 0 none, 1 bar, 2 a line an epoch",
        type=lambda text: text if text == "auto" else int(text),
    )
    sub = command(evaluate)
    sub.add_argument(
        "--limit", type=int, default=500, metavar="N", help="number of images; 0 for all"
    )
    return parser.parse_args(argv)


def _yes_or_no(text):
    """The original's --download=True and --download=False, of which it took both for True."""
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in words:
        raise argparse.ArgumentTypeError(f"{text!r} is neither True nor False")
    return words[text.lower()]


def main(argv=None):
    """Run a command; errors of the user's input end in one line."""
    args = parse_args(argv)
    try:
        args.run(args)
    except (ValueError, OSError, FloatingPointError, ImportError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
