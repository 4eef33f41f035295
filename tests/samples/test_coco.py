"""samples/coco.py: COCO's folders, results and scores, and its commands on a tiny network and
images made here.
"""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mrcnn.config.file import save_config
from mrcnn.config.presets import TorchvisionV1Config, TorchvisionV2Config
from mrcnn.data.masks import extract_bboxes
from mrcnn.model import MaskRCNN
from mrcnn.weights.published import TORCHVISION_WEIGHTS
from mrcnn.weights.torch_writer import write_torch
from mrcnn.weights.torchvision import read_torchvision
from tests.paths import DATA
from tests.samples.scripts import load, make_tiny
from tests.tiny import image, randomize
from tests.torchvision.test_weights import moderate

HEIGHT, WIDTH = 60, 80
NAMES = {1: "person", 18: "dog", 44: "bottle"}  # COCO's ids have gaps
COMMON = ["--size", "64"]
REAL = Path(os.environ.get("MASKRCNN_COCO_MINI", DATA / "coco-mini"))


def runs(mask):
    """Uncompressed run lengths, as COCO has them for crowds: down the columns, zeros first."""
    flat = np.concatenate([[0], mask.ravel(order="F"), [2]])
    return np.diff(np.concatenate([[0], np.flatnonzero(np.diff(flat))])).tolist()


def annotation(number, image_id, category, segmentation, crowd=0):
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category,
        "iscrowd": crowd,
        "area": 1.0,
        "bbox": [0, 0, 1, 1],
        "segmentation": segmentation,
    }


def write_subset(folder, subset, image_dir, first, count=3):
    """Images with a person, a dog of two parts and a crowd of bottles; the last image has
    nothing.
    """
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    (folder / image_dir).mkdir(exist_ok=True)
    crowd = np.zeros((HEIGHT, WIDTH), np.uint8)
    crowd[:6] = 1
    images, annotations = [], []
    for number in range(count):
        image_id = first + number
        name = f"COCO_{image_dir}_{image_id:012d}.jpg"
        Image.fromarray(image(HEIGHT, WIDTH, number)).save(folder / image_dir / name)
        images.append({"id": image_id, "file_name": name, "height": HEIGHT, "width": WIDTH})
        if number < count - 1:
            for category, segmentation, is_crowd in (
                (1, [[10, 20, 40, 20, 40, 50, 10, 50]], 0),
                (18, [[50, 10, 60, 10, 60, 20, 50, 20], [65, 30, 79.5, 30, 79.5, 58, 65, 58]], 0),
                (44, {"size": [HEIGHT, WIDTH], "counts": runs(crowd)}, 1),
            ):
                annotations.append(
                    annotation(len(annotations) + 1, image_id, category, segmentation, is_crowd)
                )
    for one in annotations:
        segmentation = one["segmentation"]
        rle = coco_mask.frPyObjects(segmentation, HEIGHT, WIDTH)
        rle = coco_mask.merge(rle) if isinstance(rle, list) else rle
        one["area"], one["bbox"] = float(coco_mask.area(rle)), coco_mask.toBbox(rle).tolist()
    (folder / "annotations" / f"instances_{subset}.json").write_text(
        json.dumps(
            {
                "images": images,
                "annotations": annotations,
                "categories": [{"id": number, "name": name} for number, name in NAMES.items()],
            }
        )
    )


@pytest.fixture
def folder(tmp_path):
    """COCO's folder, with both years."""
    root = tmp_path / "coco"
    for year in ("2014", "2017"):
        write_subset(root, f"train{year}", f"train{year}", 100)
        write_subset(root, f"val{year}", f"val{year}", 200)
    write_subset(root, "minival2014", "val2014", 200, 2)
    write_subset(root, "valminusminival2014", "val2014", 300, 2)
    return str(root)


@pytest.fixture
def coco(monkeypatch):
    module = load("coco")
    return make_tiny(
        monkeypatch,
        module,
        module.CocoConfig,
        NUM_CLASSES=4,
        RPN_ANCHOR_SCALES=module.CocoConfig.RPN_ANCHOR_SCALES,
    )


@pytest.fixture
def prepared(coco, folder, tmp_path, monkeypatch):
    """The sample in a folder with weights start.h5 that find something."""
    monkeypatch.chdir(tmp_path)
    args = coco.parse_args(["evaluate", "--model", "x", "--dataset", folder, *COMMON])
    model = MaskRCNN("inference", coco.make_config(args), "logs")
    randomize(model.keras_model)
    model.save_weights("start.h5")
    return coco


# === Data ===


@pytest.mark.parametrize(
    "subset, year, ids",
    [
        ("train", "2014", [100, 101, 102]),
        ("train", 2017, [100, 101, 102]),
        ("val", "2017", [200, 201, 202]),
        ("minival", "2014", [200, 201]),
        ("valminusminival", "2014", [300, 301]),
    ],
)
def test_subsets(folder, subset, year, ids):
    dataset = load("coco").CocoDataset()
    coco = dataset.load_coco(folder, subset, year, return_coco=True)
    dataset.prepare()
    assert [info["id"] for info in dataset.image_info] == ids == sorted(coco.imgs)
    assert dataset.class_names == ["BG", *NAMES.values()]
    assert [dataset.get_source_class_id(number, "coco") for number in (1, 2, 3)] == [*NAMES]
    assert dataset.load_image(0).shape == (HEIGHT, WIDTH, 3)
    masks, class_ids = dataset.load_mask(0)
    assert class_ids.tolist() == [1, 2, -3]
    for number, ann in enumerate(coco.loadAnns(coco.getAnnIds(ids[0]))):
        np.testing.assert_array_equal(masks[..., number], coco.annToMask(ann))
        np.testing.assert_array_equal(dataset.annToMask(ann, HEIGHT, WIDTH), coco.annToMask(ann))
        assert coco_mask.area(dataset.annToRLE(ann, HEIGHT, WIDTH)) == masks[..., number].sum()
    masks, class_ids = dataset.load_mask(len(ids) - 1)
    assert masks.shape == (HEIGHT, WIDTH, 0) and class_ids.shape == (0,)
    assert dataset.image_reference(1) == f"http://cocodataset.org/#explore?id={ids[1]}"


def test_rle_that_is_packed_already():
    mask = np.asfortranarray(np.eye(5, dtype=np.uint8))
    ann = {"segmentation": coco_mask.encode(mask)}
    np.testing.assert_array_equal(load("coco").CocoDataset().annToMask(ann, 5, 5), mask)


def test_some_classes(folder):
    dataset = load("coco").CocoDataset()
    dataset.load_coco(folder, "train", class_ids=[18, 1], class_map={1: "mammal", 18: "mammal"})
    dataset.prepare()
    # the empty image is not loaded
    assert dataset.class_names == ["BG", "mammal"] and dataset.num_images == 2
    assert dataset.load_mask(0)[1].tolist() == [1, 1]


@pytest.mark.parametrize(
    "subset, year, error, message",
    [
        ("test", "2014", ValueError, "no subset 'test' of 2014"),
        ("minival", "2017", ValueError, "no subset 'minival' of 2017"),
        # the original took any part of "2014"
        (
            "train",
            "20",
            ValueError,
            "no subset 'train' of 20:",
        ),
        ("val", "2014", FileNotFoundError, "instances_val2014.json is missing.*--download"),
    ],
)
def test_subsets_that_are_not_there(tmp_path, subset, year, error, message):
    with pytest.raises(error, match=message):
        load("coco").CocoDataset().load_coco(str(tmp_path), subset, year)


# === Download ===


@pytest.fixture
def published(tmp_path, folder, monkeypatch):
    """The archives of 2014 in a folder in place of the network; returns the module and the list of
    what was fetched.
    """
    coco, fetched, archives = load("coco"), [], tmp_path / "published"
    archives.mkdir()

    def pack(name, *members):
        with zipfile.ZipFile(archives / name, "w") as archive:
            for path, member in members:
                archive.write(path, member)

    for images in ("train2014", "val2014"):
        pack(
            f"{images}.zip",
            *((path, f"{images}/{path.name}") for path in (Path(folder) / images).iterdir()),
        )
        monkeypatch.setitem(coco.IMAGE_COUNTS, images, len(os.listdir(Path(folder) / images)))
    annotations = Path(folder) / "annotations"
    pack(
        "annotations_trainval2014.zip",
        *(
            (annotations / name, f"annotations/{name}")
            for name in ("instances_train2014.json", "instances_val2014.json")
        ),
    )
    for subset in coco.PARTS_OF_VAL:
        name = f"instances_{subset}2014.json"
        pack(f"{name}.zip", (annotations / name, name))

    def fetch(url, path, md5):
        assert len(md5) == 32
        fetched.append(url)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(path).write_bytes((archives / os.path.basename(path)).read_bytes())

    monkeypatch.setattr("mrcnn.common.download.download", fetch)
    return coco, fetched


def test_download_of_what_is_missing(published, tmp_path, folder):
    coco, fetched = published
    new = str(tmp_path / "new")
    for subset, urls in (
        ("train", ["zips/train2014", "annotations_trainval2014"]),
        ("minival", ["zips/val2014", "instances_minival2014"]),
        ("valminusminival", ["instances_valminusminival2014"]),
        ("val", []),
        ("train", []),
    ):
        fetched.clear()
        dataset = coco.CocoDataset()
        dataset.load_coco(new, subset, auto_download=True)
        assert len(fetched) == len(urls) and all(part in url for part, url in zip(urls, fetched)), (
            subset
        )
    for name in ("train2014", "val2014", "annotations"):
        expected = {
            path.name for path in (Path(folder) / name).iterdir() if "2017" not in path.name
        }
        assert set(os.listdir(Path(new) / name)) == expected


def test_an_incomplete_folder_is_fetched_again(published, tmp_path):
    coco, fetched = published
    new = tmp_path / "new"
    coco.CocoDataset().load_coco(str(new), "minival", auto_download=True)
    next((new / "val2014").iterdir()).unlink()
    fetched.clear()
    coco.CocoDataset().load_coco(str(new), "minival", auto_download=True)
    assert (
        len(fetched) == 1 and "val2014.zip" in fetched[0] and len(os.listdir(new / "val2014")) == 5
    )


@pytest.mark.parametrize(
    "words, expected",
    [
        ([], False),
        (["--download"], True),
        (["--download=True"], True),
        (["--download", "False"], False),
    ],
)
def test_download_flag_means_what_it_says(words, expected):
    args = load("coco").parse_args(["evaluate", "--dataset", "d", "--model", "m", *words])
    assert args.download is expected


# === Results ===


class Copycat:
    """Finds the objects of a dataset, as `MaskRCNN.detect` returns them; crowds are not found."""

    class config:
        BATCH_SIZE = 2

    def __init__(self, dataset, shift=0):
        self.dataset, self.shift, self.calls = dataset, shift, []

    def detect(self, images):
        self.calls.append(len(images))
        found = []
        for picture in images:
            number = next(
                i
                for i in self.dataset.image_ids
                if np.array_equal(self.dataset.load_image(i), picture)
            )
            masks, class_ids = self.dataset.load_mask(number)
            masks, class_ids = (
                np.roll(masks[..., class_ids > 0], self.shift, axis=1),
                class_ids[class_ids > 0],
            )
            found.append(
                {
                    "rois": extract_bboxes(masks),
                    "class_ids": class_ids,
                    "masks": masks,
                    "scores": np.linspace(0.9, 0.8, len(class_ids)),
                }
            )
        return found


@pytest.fixture
def validation(folder):
    coco = load("coco")
    dataset = coco.CocoDataset()
    index = dataset.load_coco(folder, "val", 2017, return_coco=True)
    dataset.prepare()
    return coco, dataset, index


def test_results_of_the_ground_truth_score_one(validation, capsys):
    coco, dataset, index = validation
    model = Copycat(dataset)
    boxes, masks = coco.evaluate_coco(model, dataset, index, ["bbox", "segm"])
    assert boxes.stats[0] == masks.stats[0] == 1 and model.calls == [2, 1]
    text = capsys.readouterr().out
    assert (
        text.count("Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all") == 2
        and "3 images" in text
    )


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_scores_are_those_of_pycocotools_fed_by_hand(validation, kind):
    coco, dataset, index = validation
    shift = 3
    evaluation = coco.evaluate_coco(
        Copycat(dataset, shift), dataset, index, kind, image_ids=np.array([0, 1])
    )
    by_hand = []
    for image_id in (200, 201):
        for ann in index.loadAnns(index.getAnnIds(image_id, iscrowd=False)):
            mask = np.roll(index.annToMask(ann), shift, axis=1)
            by_hand.append(
                {
                    "image_id": image_id,
                    "category_id": ann["category_id"],
                    "score": 0.9 if ann["category_id"] == 1 else 0.8,
                }
            )
            rle = coco_mask.encode(np.asfortranarray(mask))
            by_hand[-1].update(
                {"bbox": coco_mask.toBbox(rle).tolist()}
                if kind == "bbox"
                else {"segmentation": rle}
            )
    expected = COCOeval(index, index.loadRes(by_hand), kind)
    expected.params.imgIds = [200, 201]
    expected.evaluate(), expected.accumulate(), expected.summarize()
    np.testing.assert_array_equal(evaluation.stats, expected.stats)
    assert 0 < evaluation.stats[0] < 1


def test_limit_and_nothing_found(validation, capsys):
    coco, dataset, index = validation
    model = Copycat(dataset)
    coco.evaluate_coco(model, dataset, index, limit=1)
    assert model.calls == [1]

    def nothing(images):
        return [
            {
                "rois": np.zeros((0, 4), np.int32),
                "class_ids": np.zeros(0, np.int32),
                "scores": np.zeros(0),
                "masks": np.zeros((HEIGHT, WIDTH, 0)),
            }
            for _ in images
        ]

    model.detect = nothing  # the original failed here
    assert coco.evaluate_coco(model, dataset, index, "segm").stats[0] == 0
    assert coco.build_coco_results(dataset, [200], None, None, None, None) == []


def test_results_can_go_into_json(validation):
    coco, dataset, _index = validation
    (result,) = Copycat(dataset).detect([dataset.load_image(0)])
    results = coco.build_coco_results(
        dataset,
        [200],
        result["rois"],
        result["class_ids"],
        result["scores"],
        result["masks"].astype(np.uint8),
    )
    again = json.loads(json.dumps(results))
    assert [one["category_id"] for one in again] == [1, 18] and again[0]["bbox"] == [10, 20, 30, 30]
    np.testing.assert_array_equal(
        coco_mask.decode(again[1]["segmentation"]), result["masks"][..., 1]
    )


# === Commands ===


def test_three_stages_then_evaluate(prepared, folder, eagerly, monkeypatch, capsys):
    calls = []
    original = MaskRCNN.train

    def recorded(self, train_set, val_set, learning_rate, epochs, layers, **options):
        calls.append((layers, epochs, learning_rate, train_set.num_images, val_set.num_images))
        assert options["augmentation"] is prepared.flip_half
        return original(self, train_set, val_set, learning_rate, epochs, layers, **options)

    monkeypatch.setattr(MaskRCNN, "train", recorded)
    common = ["--dataset", folder, "--logs", "logs", *COMMON]
    prepared.main(
        [
            "train",
            "--weights",
            "start.h5",
            *common,
            "--epochs",
            "4",
            "--steps",
            "1",
            "--seed",
            "0",
            "--verbose",
            "0",
        ]
    )
    rate = prepared.CocoConfig.LEARNING_RATE
    # 2014: train and valminusminival, measured on minival
    assert calls == [("heads", 1, rate, 5, 2), ("4+", 3, rate, 5, 2), ("all", 4, rate / 10, 5, 2)]
    assert capsys.readouterr().out.splitlines()[-1].endswith("mask_rcnn_coco_0004.h5")
    # on from there, in the other year: only what is left of the last stage
    calls.clear()
    prepared.main(
        [
            "train",
            "--model",
            "last",
            *common,
            "--epochs",
            "5",
            "--steps",
            "1",
            "--year",
            "2017",
            "--verbose",
            "0",
        ]
    )
    assert calls == [("all", 5, rate / 10, 3, 3)]

    capsys.readouterr()
    prepared.main(["evaluate", "--model", "last", *common, "--year", "2017", "--limit", "2"])
    text = capsys.readouterr().out
    assert "Evaluating 2 of the 3 images of val2017" in text and "bbox:" in text and "segm:" in text
    assert text.count("Average Recall     (AR)") == 12 and "2 images" in text


def test_flip_moves_image_and_masks():
    flip = load("coco").flip_half
    picture, masks = image(4, 6), np.arange(24).reshape(4, 6, 1) > 20
    flipped = {
        tuple(np.array(out).tobytes() for out in flip(picture, masks, np.random.RandomState(seed)))
        for seed in range(9)
    }
    assert flipped == {
        (picture.tobytes(), masks.tobytes()),
        (picture[:, ::-1].tobytes(), masks[:, ::-1].tobytes()),
    }


def test_classes_are_matched_by_name(validation):
    """torchvision's are numbered by COCO's ids."""
    coco, dataset, _ = validation
    names = TorchvisionV2Config.CLASS_NAMES
    numbers = coco.class_numbers(names, dataset)
    assert len(numbers) == 91
    assert {number: int(numbers[number]) for number in np.flatnonzero(numbers)} == {
        number: list(dataset.class_names).index(name) for number, name in NAMES.items()
    }
    assert coco.class_numbers(None, dataset).tolist() == list(range(dataset.num_classes))


def test_detections_of_91_classes_score_one(validation):
    """Those of classes that the data lack are left out."""
    coco, dataset, index = validation

    class Numbered(Copycat):
        class config:
            BATCH_SIZE = 2
            CLASS_NAMES = TorchvisionV2Config.CLASS_NAMES

        def detect(self, images):
            found = super().detect(images)
            ids = {dataset.class_names.index(name): number for number, name in NAMES.items()}
            for one in found:
                numbers = [ids[number] for number in one["class_ids"]]
                one["class_ids"] = np.array([*numbers, 2], int)  # a bicycle
                one["scores"] = np.append(one["scores"], 0.99)
                one["rois"] = np.concatenate([one["rois"], [[0, 0, 9, 9]]])
                extra = np.ones((*one["masks"].shape[:2], 1), bool)
                one["masks"] = np.concatenate([one["masks"], extra], axis=2)
            return found

    for evaluation in coco.evaluate_coco(Numbered(dataset), dataset, index, ["bbox", "segm"]):
        assert evaluation.stats[0] == 1


@pytest.mark.parametrize("with_size", [False, True])
def test_torchvisions_weights(tmp_path, folder, monkeypatch, capsys, with_size):
    coco = load("coco")
    path = tmp_path / TORCHVISION_WEIGHTS["torchvision_v1"].name
    write_torch(path, moderate("v1", classes=91))
    monkeypatch.setattr("mrcnn.cli.model_options.torchvision_weights", lambda word: str(path))
    monkeypatch.setattr(TorchvisionV1Config, "IMAGE_MIN_DIM", 64)
    monkeypatch.setattr(TorchvisionV1Config, "IMAGE_MAX_DIM", 96)
    monkeypatch.setattr(TorchvisionV1Config, "POST_NMS_ROIS_INFERENCE", 20, raising=False)
    size = ["--size", "64"] if with_size else []
    common = ["--dataset", folder, "--logs", str(tmp_path / "logs"), "--year", "2017"]
    coco.main(["evaluate", "--model", "torchvision_v1", *common, *size])
    text = capsys.readouterr().out
    assert "published for all of val2017: 37.9 and 34.6" in text
    args = coco.parse_args(["train", "--model", str(path), *common, *size])
    config = coco.make_config(args, str(path))
    assert (config.NUM_CLASSES, config.CLASS_NAMES, config.ROI_ALIGN) == (81, None, "sampled")
    assert (config.IMAGE_MIN_DIM, config.IMAGE_MAX_DIM) == ((64, 64) if with_size else (64, 96))
    assert config.STEPS_PER_EPOCH == 1000 and config.NAME == "coco"
    # a run of it, as evaluate finds it
    run = tmp_path / "run"
    run.mkdir()
    save_config(run, config)
    args = coco.parse_args(["evaluate", "--model", "last", *common, *size])
    of_run = coco.make_config(args, str(run / "w.h5"))
    assert (of_run.NUM_CLASSES, of_run.ROI_ALIGN, of_run.BACKBONE) == (81, "sampled", "resnet50")
    assert of_run.PRESET == "torchvision_v1" and of_run.IMAGE_MIN_DIM == config.IMAGE_MIN_DIM
    args = coco.parse_args(["train", "--model", str(path), *common, *size])
    model = coco.make_model(args, "training")
    assert model.config.NUM_CLASSES == 81
    np.testing.assert_array_equal(
        np.asarray(model.keras_model.get_layer("fpn_p3").bias),
        dict(read_torchvision(path).layers["fpn_p3"])["fpn_p3/bias:0"],
    )


def test_presets():
    coco = load("coco")

    def config(*words):
        return coco.make_config(coco.parse_args(["train", "--dataset=d", *words]))

    modern = config("--model=imagenet", "--preset=modern", "--size=512")
    assert (modern.OPTIMIZER, modern.PRESET, modern.NUM_CLASSES) == ("AdamW", "modern", 81)
    assert modern.RPN_ANCHOR_SCALES == (16, 32, 64, 128, 256)
    v2 = config("--model=imagenet", "--preset=torchvision_v2")
    assert (v2.RPN_CONV_LAYERS, v2.IMAGE_MAX_DIM, v2.NUM_CLASSES) == (2, 1333, 81)
    assert config("--model=imagenet").PRESET == "matterport"
    same = config("--model=imagenet", "--preset=torchvision_v2", "--size=1024")
    assert (same.IMAGE_MIN_DIM, same.IMAGE_MAX_DIM) == (800, 1024)  # the original's own size too


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            ["evaluate", "--model", "start.h5", "--dataset", "nowhere"],
            "instances_minival2014.json is missing",
        ),
        (["evaluate", "--model", "gone.h5", "--dataset", "coco"], "gone.h5"),
        (["train", "--model", "last", "--dataset", "coco"], "no run of 'coco'"),
    ],
)
def test_mistakes_end_in_one_line(prepared, arguments, message):
    with pytest.raises(SystemExit, match=f"error: .*{message}"):
        prepared.main([*arguments, "--logs", "logs", *COMMON])


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--help"], ["train", "evaluate", "minival"]),
        (
            ["train", "--help"],
            ["--dataset", "--model", "--weights", "--year", "--download", "default: 160"],
        ),
        (["evaluate", "--help"], ["--limit", "default: 500"]),
    ],
)
def test_help(arguments, words, capsys):
    with pytest.raises(SystemExit) as caught:
        load("coco").main(arguments)
    text = " ".join(capsys.readouterr().out.split())
    assert caught.value.code == 0 and all(word in text for word in words)


def test_the_originals_defaults():
    module = load("coco")
    args = module.parse_args(["train", "--dataset=d", "--model=coco"])
    assert (args.year, args.backbone, args.steps) == ("2014", "resnet101", 1000)
    assert [
        (layers, round(args.epochs * share), factor) for layers, share, factor in module.STAGES
    ] == [("heads", 40, 1), ("4+", 120, 1), ("all", 160, 0.1)]
    config = module.make_config(args)
    assert config.NUM_CLASSES == 81 and config.RPN_ANCHOR_SCALES == (32, 64, 128, 256, 512)
    assert (config.IMAGE_MIN_DIM, config.IMAGE_MAX_DIM) == (800, 1024)


# === Real data ===


@pytest.mark.slow
def test_coco_mini():
    if not REAL.is_dir():
        pytest.skip(f"{REAL} is missing; MASKRCNN_COCO_MINI names a folder of COCO 2017")
    module = load("coco")
    for subset, images, annotations, crowds in (("train", 130, 1283, 12), ("val", 160, 1438, 18)):
        dataset = module.CocoDataset()
        dataset.load_coco(str(REAL), subset, 2017)
        dataset.prepare()
        index = COCO(str(REAL / "annotations" / f"instances_{subset}2017.json"))
        assert (dataset.num_images, dataset.num_classes) == (images, 81)
        areas, expected, count, negative = [], [], 0, 0
        for image_id in dataset.image_ids:
            masks, class_ids = dataset.load_mask(image_id)
            count, negative = count + len(class_ids), negative + (class_ids < 0).sum()
            areas.append(masks.sum(axis=(0, 1)).tolist())
            info = dataset.image_info[image_id]
            own = index.loadAnns(index.getAnnIds(info["id"]))
            expected.append(
                [
                    int(coco_mask.area(dataset.annToRLE(ann, info["height"], info["width"])))
                    for ann in own
                ]
            )
            assert [dataset.get_source_class_id(abs(number), "coco") for number in class_ids] == [
                ann["category_id"] for ann in own
            ]
        assert areas == expected and (count, negative) == (annotations, crowds)
