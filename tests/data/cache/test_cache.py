"""A cache of records: what is read is what was written, in the batches of the data set that it is
of.
"""

import argparse
import functools
import json
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from mrcnn.cli import main
from mrcnn.cli.data_options import add_dataset, open_data
from mrcnn.common import progress
from mrcnn.data import image_range as image_range_module
from mrcnn.data.batches import TrainingBatches
from mrcnn.data.cache import write
from mrcnn.data.cache.classes import chosen_classes
from mrcnn.data.cache.dataset import RecordDataset
from mrcnn.data.cache.example import decode, encode
from mrcnn.data.cache.layout import describe, read_about
from mrcnn.data.cache.read import record_pipeline
from mrcnn.data.cache.write import write_records
from mrcnn.data.dataset import Dataset
from mrcnn.data.formats import open_dataset
from mrcnn.data.image_range import use_image_range
from mrcnn.data.load import SampleError, load_image_gt, prepare
from mrcnn.inference.evaluate import evaluate_network
from mrcnn.model import MaskRCNN
from mrcnn.training.data import own_errors, training_data
from tests.tiny import Rectangles, image, tiny_config, values


class Pictures(Rectangles):
    """Rectangles of 48 x 90 px; one without an object, one with a crowd, one with an object without
    a pixel.
    """

    def __init__(self, count=7):
        super().__init__(count, size=(48, 90))

    def load_mask(self, image_id):
        masks, class_ids = super().load_mask(image_id)
        if image_id == 1:
            return np.zeros((0, 0, 0)), np.zeros(0, np.int32)
        if image_id == 2:
            class_ids[0] = -class_ids[0]
        if image_id == 3:
            masks, class_ids = (
                np.dstack([np.zeros_like(masks[..., :1]), masks]),
                np.append(2, class_ids),
            )
        return masks, class_ids


def cached(folder, dataset=None, config=None, **options):
    write_records(dataset or Pictures(), config or tiny_config(), folder, progress=False, **options)
    return RecordDataset(folder)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return cached(tmp_path_factory.mktemp("cache"), shards=3)


def assert_same(left, right):
    assert len(left) == len(right)
    for a, b in zip(map(np.asarray, left), map(np.asarray, right)):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype


def flip(image, masks, rng):
    return (image, masks) if rng.random_sample() < 0.5 else (image[:, ::-1], masks[:, ::-1])


# === One record ===


@pytest.mark.parametrize("encoding", ["raw", "png"])
@pytest.mark.parametrize(
    "mode, fields",
    [("square", {}), ("square", {"IMAGE_MIN_SCALE": 0.5}), ("none", {}), ("pad64", {})],
)
def test_record_keeps_every_bit(encoding, mode, fields):
    config = tiny_config(IMAGE_RESIZE_MODE=mode, **fields)
    for image_id in range(4):
        prepared = prepare(Pictures(), config, image_id)
        found = decode(encode(prepared, "made up", image_id, encoding), "made up", image_id)
        assert_same(found[:3], prepared[:3])
        assert found[3:] == prepared[3:]


@pytest.mark.parametrize(
    "channels, dtype", [(1, np.uint8), (4, np.uint8), (2, np.uint8), (3, np.float32)]
)
def test_other_pixels(channels, dtype):
    class Odd(Pictures):
        def load_image(self, image_id):
            return (np.random.RandomState(0).uniform(0, 255, (48, 90, channels))).astype(dtype)

    config = tiny_config(IMAGE_CHANNEL_COUNT=channels, MEAN_PIXEL=np.full(channels, 100.0))
    prepared = prepare(Odd(), config, 0)
    assert_same(decode(encode(prepared, "s", 0), "s", 0)[:2], prepared[:2])
    if channels == 2 or dtype != np.uint8:
        with pytest.raises(ValueError, match="take encoding='raw'"):
            encode(prepared, "s", 0, "png")
    else:
        assert_same(decode(encode(prepared, "s", 0, "png"), "s", 0)[:2], prepared[:2])


def test_records_are_what_any_reader_of_tfrecord_reads(records):
    paths = sorted({info["record"][0] for info in records.image_info})
    assert len(paths) == 3
    examples = [
        tf.train.Example.FromString(record.numpy()) for record in tf.data.TFRecordDataset(paths)
    ]
    assert [
        example.features.feature["id"].bytes_list.value[0].decode() for example in examples
    ] == [f"picture{number}" for number in range(7)]


# === The data set ===


def test_cache_is_the_data_set_that_it_is_of(records):
    original = Pictures()
    assert (
        records.class_info == original.class_info
        and records.source_class_ids == original.source_class_ids
    )
    assert [(info["source"], info["id"], info["path"]) for info in records.image_info] == [
        (info["source"], info["id"], info["path"]) for info in original.image_info
    ]
    for image_id in original.image_ids:
        assert_same(
            load_image_gt(records, tiny_config(), image_id),
            load_image_gt(original, tiny_config(), image_id),
        )
    assert records.load_image(0).shape == (34, 64, 3) and records.load_mask(2)[0].shape == (
        34,
        64,
        2,
    )


@pytest.mark.parametrize(
    "fields", [{}, {"USE_MINI_MASK": False}, {"COPY_PASTE": 0.5}, {"KEEP_EMPTY_IMAGES": True}]
)
def test_batches_are_equal(records, fields):
    config = tiny_config(**fields)
    there, here = (
        TrainingBatches(dataset, config, augmentation=flip) for dataset in (Pictures(), records)
    )
    for number in range(6):
        assert_same(here.batch(number), there.batch(number))


@pytest.mark.parametrize("batch_size, workers", [(1, 1), (2, 3), (3, 2)])
def test_pipeline_gives_the_same_batches(records, batch_size, workers):
    there, here = (
        TrainingBatches(dataset, tiny_config(), batch_size, augmentation=flip)
        for dataset in (Pictures(), records)
    )
    pipeline = record_pipeline(here, 9, first=lambda: 4, workers=workers)
    assert len(pipeline) == 9
    found = list(pipeline)
    for number, arrays in enumerate(found, 4):
        assert_same(arrays, there.batch(number))
        assert here.image_ids(number) == there.image_ids(number)


def test_shards_take_turns(records):
    batches = TrainingBatches(records, tiny_config(), 1)
    shares = [
        list(record_pipeline(batches, 3, first=lambda: 1, shard=shard, num_shards=2))
        for shard in range(2)
    ]
    for step in range(3):
        for shard in range(2):
            assert_same(shares[shard][step], batches.batch((1 + step) * 2 + shard))
    with pytest.raises(ValueError, match="shard is 2 of num_shards 2"):
        record_pipeline(batches, 3, shard=2, num_shards=2)


class Blue(Pictures):
    """The pictures with the classes blue and, not on any of them, green; red ones are left out."""

    def __init__(self):
        super().__init__()
        self.class_info = self.class_info[:1]
        self.add_class("rectangles", 2, "blue")
        self.add_class("rectangles", "green", "green")
        self.prepare()

    def load_mask(self, image_id):
        masks, class_ids = super().load_mask(image_id)
        blue = np.abs(class_ids) == 2
        return masks[..., blue], class_ids[blue] // 2


def test_chosen_classes_are_trained_on_alike(records):
    chosen = RecordDataset(records.folder, ["blue", "green"])
    assert chosen.class_names == ["BG", "blue", "green"] and not chosen.is_labelled(2)
    there, here = (TrainingBatches(data, tiny_config(), 2) for data in (Blue(), chosen))
    for number, arrays in enumerate(record_pipeline(here, 4)):
        assert_same(arrays, there.batch(number))
        assert_same(here.batch(number), there.batch(number))


@pytest.mark.parametrize(
    "infos, classes, others, expected",
    [
        (["fish (1)", "fish (2)"], ["fish (2)"], False, [("fish (2)", 2)]),
        (["Bottle, glass", "cup, mug"], ["cup", "Bottle"], False, [("cup", 2), ("Bottle", 1)]),
        (["fish", "fish"], ["fish", "fish"], False, [("fish (1)", 1), ("fish (2)", 2)]),
        (["fish", "fish"], ["fish"], False, [("fish (1)", 1), ("fish (2)", 2)]),
        (["fish", "cat"], ["fish (1)"], False, [("fish (1)", 1)]),
        (["a", "b", "c"], ["c", "x"], True, [("c", 3), ("x", None), ("a", 1), ("b", 2)]),
        (["a", "b"], None, False, [("a", 1), ("b", 2)]),
        (["object"], ["nucleus"], False, [("nucleus", 1)]),
        (["object"], ["nucleus", "cell"], False, [("nucleus", None), ("cell", None)]),
        (["dog", "dog, wild"], ["dog, wild", "dog"], False, [("dog, wild", 2), ("dog", 1)]),
        (["dog, wild"], ["dog", "dog, wild"], False, [("dog", None), ("dog, wild", 1)]),
        (
            ["Bottle, glass", "Bottle, plastic", "Can"],
            ["Can", "Bottle"],
            False,
            [("Can", 3), ("Bottle, glass", 1), ("Bottle, plastic", 2)],
        ),
        ([], ["a", "a"], False, [("a", None)]),
        ([], None, True, []),
    ],
)
def test_which_classes_are_chosen(infos, classes, others, expected):
    infos = [
        {"source": "s" if number else "", "id": number, "name": name}
        for number, name in enumerate(["BG", *infos])
    ]
    chosen = chosen_classes(infos, classes, others)
    assert [(info["name"], number) for info, number in chosen] == expected
    assert [info.get("labelled", True) for info, _ in chosen] == [
        number is not None for _, number in expected
    ]


def test_a_class_that_is_called_by_its_id():
    """Its id is no name; another class of this id would be passed over by `add_class`."""
    infos = [{"source": "s", "id": one, "name": name} for one, name in ((0, "BG"), ("7", "cat"))]
    assert [(info["name"], number) for info, number in chosen_classes(infos, ["7"], False)] == [
        ("cat", 1)
    ]


def test_classes_that_are_left_out_are_told(records, caplog):
    for classes, other_classes in ((None, False), (["blue"], True)):
        assert not len(RecordDataset(records.folder, classes, other_classes).left_out)
    assert not caplog.records
    chosen = RecordDataset(records.folder, ["blue"])
    expected = (
        f"classes of the cache that the classes do not list: 1 (first: {chosen.folder}: 'red')"
    )
    assert str(chosen.left_out) == expected
    assert f"7 images of 1 classes; left out: {expected}" in caplog.text


# === Without the image files ===


class Files(Rectangles):
    """Rectangles in files of 16 bits that use 12 of them."""

    def __init__(self, folder):
        super().__init__(2)
        pixels = (np.arange(64 * 64).reshape(64, 64) % 4096).astype(np.uint16)
        for number, info in enumerate(self.image_info):
            info["path"] = str(folder / f"{number}.png")
            Image.fromarray(pixels).save(info["path"])

    load_image = Dataset.load_image


@pytest.mark.parametrize("image_range", [None, (0, 4095)])
def test_a_cache_needs_no_image_files(tmp_path, image_range, caplog, monkeypatch):
    (tmp_path / "images").mkdir()
    config = tiny_config(IMAGE_RANGE=image_range)
    files = Files(tmp_path / "images")
    records = cached(tmp_path / "cache", files, config)
    expected = [load_image_gt(files, config, image_id) for image_id in files.image_ids]
    caplog.clear()
    # where they are there, they are not looked at
    monkeypatch.setattr(image_range_module, "read_image", lambda path: pytest.fail(path))
    use_image_range(records, config)
    shutil.rmtree(tmp_path / "images")
    use_image_range(records, config)
    TrainingBatches(records, config).batch(0)
    for image_id in records.image_ids:
        assert_same(load_image_gt(records, config, image_id), expected[image_id])
    report = records.check(progress=False)
    assert report.exit_code == 0 and not caplog.text
    found = evaluate_network(
        lambda images, metas, min_confidence: (
            np.zeros((len(images), 1, 6), np.float32),
            np.zeros((len(images), 1, 28, 28), np.float32),
        ),
        config,
        records,
        verbose=0,
    )
    assert found["images"] == 2 and found["objects"] == 2


@pytest.mark.parametrize("written, asked", [(None, (0, 4095)), ((0, 4095), None)])
def test_a_cache_of_another_range_is_not_evaluated(tmp_path, written, asked):
    records = cached(tmp_path, config=tiny_config(IMAGE_RANGE=written))
    with pytest.raises(ValueError, match="was made with IMAGE_RANGE = "):
        use_image_range(records, tiny_config(IMAGE_RANGE=asked))
    use_image_range(records, tiny_config(IMAGE_RANGE=written, IMAGE_MAX_DIM=128))


# === Training ===


@pytest.mark.slow  # three trainings; the inputs alone are compared below
def test_training_on_a_cache_is_training_on_the_data(records, tmp_path):
    """Over epochs, with validation, a stop and two workers: the same bits come out."""
    seen = []
    for name, dataset, stops in (("data", Pictures(), [2]), ("cache", records, [1, 2])):
        for stop in stops:
            model = MaskRCNN("training", tiny_config(), str(tmp_path / name))
            model.resume()
            history = model.train(
                dataset, dataset, 0.01, stop, "heads", augmentation=flip, workers=2, verbose=0
            )
        seen.append(
            (
                values(model.keras_model),
                history.history["loss"][-1],
                history.history["val_loss"][-1],
            )
        )
    np.testing.assert_equal(seen[1], seen[0])


def test_feed_follows_the_epochs(records, tmp_path):
    model = MaskRCNN("training", tiny_config(), str(tmp_path))
    data = training_data(
        model.keras_model, records, tiny_config(), steps=2, epoch=3, start=5, workers=2
    )
    feed = data.feed()
    for epoch, first in ((3, 5), (4, 7)):
        data.epoch = epoch
        for number, (inputs,) in enumerate(feed.get_tf_dataset(), first):
            assert_same(inputs, data.inputs(number))


def test_damaged_record_stops_the_run_and_is_named(tmp_path):
    dataset = cached(tmp_path / "cache")
    path, offset = dataset.image_info[4]["record"]
    with open(path, "r+b") as file:
        file.seek(offset + 2000)
        file.write(b"\xff\xfe\xfd")
    model = MaskRCNN("training", tiny_config(STEPS_PER_EPOCH=9), str(tmp_path))
    with pytest.raises(SampleError, match="image 4 .*'picture4'.* is damaged at byte"):
        model.train(dataset, None, 0.01, 1, "all", verbose=0, workers=2)


def test_own_error_of_an_augmentation_comes_through(records, tmp_path):
    def broken(image, masks):
        raise KeyError("a slip")

    model = MaskRCNN("training", tiny_config(), str(tmp_path))
    data = training_data(
        model.keras_model, records, tiny_config(), 2, workers=2, augmentation=lambda *both: both
    )
    feed = data.feed()
    data.batches._options["augmentation"] = broken
    with pytest.raises(SampleError, match="KeyError: 'a slip'"), own_errors(data):
        list(feed.get_tf_dataset())


def test_other_settings_are_refused(records):
    config = tiny_config(IMAGE_MIN_DIM=128, IMAGE_MAX_DIM=128)
    with pytest.raises(
        SampleError, match=r"IMAGE_MIN_DIM = 64 \(the config has 128\), IMAGE_MAX_DIM = 64"
    ):
        TrainingBatches(records, config).batch(0)
    with pytest.raises(ValueError, match="write another cache"):
        record_pipeline(TrainingBatches(records, config), 1)
    # which is "square" in training
    TrainingBatches(records, tiny_config(IMAGE_RESIZE_MODE="rect")).batch(0)


# === Writing ===


def test_writing_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    tries = []

    def stopped(dataset, config, image_id):
        tries.append(image_id)
        if image_id == 4:
            raise KeyboardInterrupt
        return prepare(dataset, config, image_id)

    monkeypatch.setattr(write, "prepare", stopped)
    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path, shards=7, workers=1)
    with pytest.raises(FileNotFoundError, match="was not written to its end"):
        RecordDataset(tmp_path)
    assert not [name for name in os.listdir(tmp_path) if ".tmp" in name]
    monkeypatch.setattr(
        write,
        "prepare",
        lambda dataset, config, image_id: (
            tries.append(image_id) or prepare(dataset, config, image_id)
        ),
    )
    tries.clear()
    written = write_records(Pictures(), tiny_config(), tmp_path, shards=7, progress=False)
    assert sorted(tries) == list(range(written.kept, 7)) and written.kept >= 1
    assert f"7 files, {written.kept} of them of an earlier writing (where image or" in str(written)
    assert_same(
        load_image_gt(RecordDataset(tmp_path), tiny_config(), 5),
        load_image_gt(Pictures(), tiny_config(), 5),
    )
    tries.clear()
    assert (
        write_records(Pictures(), tiny_config(), tmp_path, shards=7, progress=False).kept == 7
        and not tries
    )


class Broken(Pictures):
    def load_image(self, image_id):
        if image_id in (2, 5):
            raise OSError("no such photo")
        return super().load_image(image_id)


def test_bad_images_are_refused_all_at_once(tmp_path):
    with pytest.raises(
        ValueError, match="(?s)2 of 7 images cannot be used.*'picture2'.*no such photo.*'picture5'"
    ):
        cached(tmp_path, Broken(), shards=3)
    cached(tmp_path, Pictures(), shards=3)  # mended


def test_bad_images_are_left_out_and_told(tmp_path):
    written = write_records(
        Broken(), tiny_config(), tmp_path, shards=3, skip_bad=True, progress=False
    )
    assert written.images == 5 and "'picture5'" in str(written) and "no such photo" in str(written)
    records = RecordDataset(tmp_path)
    assert [info["id"] for info in records.image_info] == [
        f"picture{number}" for number in (0, 1, 3, 4, 6)
    ]
    assert len(records.bad_images) == 2
    TrainingBatches(records, tiny_config()).batch(0)


def test_a_folder_holds_one_cache(tmp_path):
    cached(tmp_path)
    with pytest.raises(
        ValueError, match=r"holds a cache of IMAGE_MIN_DIM = 64 \(now 128\).*delete it"
    ):
        cached(tmp_path, config=tiny_config(IMAGE_MIN_DIM=128, IMAGE_MAX_DIM=128))
    with pytest.raises(ValueError, match="holds a cache of other images or objects"):
        cached(tmp_path, Pictures(6))


SQUARE, OTHER = [[5, 5, 40, 5, 40, 30, 5, 30]], [[45, 45, 60, 45, 60, 60, 45, 60]]


def of_coco(folder, segmentation=SQUARE, **options):
    """Two images, on one of which the object of a crowd is."""
    folder.mkdir(exist_ok=True)
    for number in range(2):
        Image.fromarray(image(64, 64, number)).save(folder / f"{number}.png")
    contents = {
        "images": [
            {"id": number, "file_name": f"{number}.png", "height": 64, "width": 64}
            for number in range(2)
        ],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 0, "category_id": 1, "segmentation": OTHER, "iscrowd": 1},
            {"id": 2, "image_id": 1, "category_id": 1, "segmentation": segmentation},
        ],
    }
    (folder / "c.json").write_text(json.dumps(contents))
    return open_dataset(folder / "c.json", **options)


def test_a_cache_of_other_objects_is_not_kept(tmp_path, monkeypatch):
    """Of the same images and classes, with crowds as objects, or annotated in another way."""
    config = tiny_config(NUM_CLASSES=2)
    write = functools.partial(write_records, config=config, shards=2, progress=False)
    dataset = of_coco(tmp_path / "data")
    assert write(dataset, folder=tmp_path / "cache").kept == 0
    assert write(of_coco(tmp_path / "data"), folder=tmp_path / "cache").kept == 2
    for other in (
        of_coco(tmp_path / "data", crowds="objects"),
        of_coco(tmp_path / "data", segmentation=OTHER),
    ):
        with pytest.raises(ValueError, match="holds a cache of other images or objects: delete it"):
            write(other, folder=tmp_path / "cache")
    # a writing that was stopped: its parts are of the crowds as they were
    os.remove(tmp_path / "cache" / "records.json")
    written = write(of_coco(tmp_path / "data", crowds="objects"), folder=tmp_path / "cache")
    assert written.kept == 0
    assert RecordDataset(tmp_path / "cache").load_mask(0)[1].tolist() == [1]


def test_what_is_left_out_while_drawing_is_told(tmp_path):
    """A polygon is drawn, and found to cover no pixel, when the cache is written."""
    of_coco(tmp_path / "data")
    contents = json.loads((tmp_path / "data" / "c.json").read_text())
    contents["annotations"].append(
        {"id": 3, "image_id": 1, "category_id": 1, "segmentation": [[5.1, 5.1, 5.2, 5.1, 5.2, 5.2]]}
    )
    (tmp_path / "data" / "c.json").write_text(json.dumps(contents))
    config = tiny_config(NUM_CLASSES=2)
    write = functools.partial(write_records, config=config, progress=False)
    dataset = open_dataset(tmp_path / "data" / "c.json")
    assert not len(dataset.left_out)
    for kept in range(2):
        dataset = open_dataset(tmp_path / "data" / "c.json")
        written = write(dataset, folder=tmp_path / "cache")
        assert (written.kept, written.objects) == (kept, 2)
        assert "left out: annotations covering no pixel of the image: 1 (first: " in str(written)
        assert "1.png, annotation 3" in str(written)
    assert "left out" not in str(write(Pictures(), config=tiny_config(), folder=tmp_path / "o"))


def test_boxes_without_masks_are_refused(tmp_path):
    of_coco(tmp_path)
    contents = json.loads((tmp_path / "c.json").read_text())
    box = {"id": 3, "image_id": 1, "category_id": 1, "bbox": [1, 1, 20, 20]}
    contents["annotations"].append(box)
    (tmp_path / "c.json").write_text(json.dumps(contents))
    with pytest.raises(ValueError, match="1 annotations without a segmentation.*as background"):
        cached(tmp_path / "cache", open_dataset(tmp_path / "c.json"), tiny_config(NUM_CLASSES=2))
    assert not (tmp_path / "cache").exists()


def test_progress_bars_reach_their_end(tmp_path, monkeypatch):
    bars = []

    class Recorded(progress.Bar):
        def __init__(self, description, total):
            super().__init__(description, total, enabled=False)
            bars.append([description, total, 0])

        def update(self, done):
            bars[-1][2] = done

    monkeypatch.setattr(progress, "Bar", Recorded)
    write_records(Pictures(), tiny_config(), tmp_path, shards=3)
    assert bars == [["Objects", 7, 7], ["Caching", 7, 7]]


def test_the_number_of_threads_is_not_of_the_cache(tmp_path):
    config = tiny_config(NUM_CLASSES=2)
    one, several = (
        describe(of_coco(tmp_path), config, "raw", 1, False, workers) for workers in (1, 3)
    )
    assert one == several


def test_a_cache_of_masks_that_are_split(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        pixels = image(64, 64) if folder == "images" else np.zeros((64, 64), np.uint8)
        if folder == "masks":
            pixels[5:20, 5:20] = pixels[40:60, 40:60] = 1
        Image.fromarray(pixels).save(tmp_path / "data" / folder / "a.png")
    config = tiny_config(NUM_CLASSES=2)
    write_records(open_dataset(tmp_path / "data"), config, tmp_path / "cache", progress=False)
    with pytest.raises(ValueError, match="holds a cache of other images or objects"):
        write_records(
            open_dataset(tmp_path / "data", split_pieces=True),
            config,
            tmp_path / "cache",
            progress=False,
        )


@pytest.mark.parametrize(
    "options, message",
    [
        ({"encoding": "jpeg"}, "encoding is 'jpeg'"),
        ({"shards": 0}, "shards is 0"),
        ({"workers": 0}, "workers is 0"),
        ({"config": tiny_config(IMAGE_RESIZE_MODE="crop")}, "'crop', which takes another part"),
        ({"dataset": Rectangles(0)}, "has no images"),
    ],
)
def test_wrong_arguments(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        cached(tmp_path, **options)


def change(path, **content):
    path.write_text(json.dumps({**json.loads(path.read_text()), **content}))


def change_image(folder, **facts):
    """Other facts of the first image."""
    path = folder / "part-00000-of-00001.json"
    first, *others = json.loads(path.read_text())["images"]
    change(path, images=[{**first, **facts}, *others])


def test_a_record_of_another_image_is_no_record(tmp_path):
    dataset = cached(tmp_path)
    change_image(tmp_path, offset=dataset.image_info[2]["record"][1])
    moved = RecordDataset(tmp_path)
    with pytest.raises(ValueError, match=r"tfrecord is damaged at byte \d+, or the json beside it"):
        moved.load_image(0)
    assert_same(moved.load_image(2), dataset.load_image(2))
    batches = TrainingBatches(moved, tiny_config(IMAGES_PER_GPU=7), shuffle=False)
    with pytest.raises(ValueError, match="tfrecord is damaged"):
        list(record_pipeline(batches, 1))


@pytest.mark.parametrize(
    "spoil, message",
    [
        (
            lambda folder: os.truncate(folder / "part-00000-of-00001.tfrecord", 100),
            "has 100 bytes instead of",
        ),
        (
            lambda folder: (folder / "part-00000-of-00001.json").write_text("{"),
            "is not JSON.*write the cache again",
        ),
        (
            lambda folder: (folder / "records.json").write_text("[]"),
            "is not a file of a cache of records",
        ),
        (
            lambda folder: (folder / "records.json").write_text(
                json.dumps({**read_about(folder), "version": 9})
            ),
            "of format 9, and this version reads format 2",
        ),
        (
            lambda folder: (folder / "records.json").write_text(
                json.dumps({**read_about(folder), "fingerprint": "x"})
            ),
            "belongs to another cache",
        ),
        (lambda folder: change(folder / "records.json", parts=7), "is not a file of a cache"),
        (
            lambda folder: change(folder / "records.json", classes=["BG"]),
            "is not a file of a cache",
        ),
        (lambda folder: change(folder / "records.json", encoding="png"), "is not what was written"),
        (lambda folder: change_image(folder, id="picture9"), "is not what was written"),
        (lambda folder: change_image(folder, offset=10**12), "is not a file of a cache"),
        (lambda folder: change_image(folder, offset="0"), "is not a file of a cache"),
    ],
)
def test_damaged_caches_are_refused(spoil, message, tmp_path):
    cached(tmp_path)
    spoil(tmp_path)
    with pytest.raises(ValueError, match=message):
        RecordDataset(tmp_path)


# === The command ===


def test_command_writes_a_cache_that_train_opens(tmp_path, capsys):
    data = Rectangles(2)
    for image_id in data.image_ids:
        for kind, array in (
            ("images", data.load_image(image_id)),
            ("masks", np.uint8(data.load_mask(image_id)[0][..., 0]) * 3),
        ):
            (tmp_path / "data" / "train" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(tmp_path / "data" / "train" / kind / f"{image_id}.png")
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "cache",
                str(tmp_path / "data"),
                "--subset",
                "train",
                "--output",
                str(tmp_path / "cache" / "train"),
                "--size",
                "64",
            ]
        )
    assert ended.value.code == 0 and "2 images with 2 objects" in capsys.readouterr().out
    parser = argparse.ArgumentParser()
    add_dataset(parser)
    args = parser.parse_args([str(tmp_path / "cache"), "--subset", "train"])
    assert isinstance(open_data(args), RecordDataset)


def test_names_of_classes_are_those_of_the_data(tmp_path):
    dataset = Rectangles(2)
    dataset.class_info[1]["name"] = dataset.class_info[2]["name"] = "fish"
    dataset.add_class("rectangles", 3, "Bottle, glass", whole_name=True)
    dataset.add_class("rectangles", 4, "cup, mug")
    dataset.prepare()
    expected = ["BG", "fish (1)", "fish (2)", "Bottle, glass", "cup"]
    assert dataset.class_names == cached(tmp_path, dataset, tiny_config(NUM_CLASSES=5)).class_names
    assert dataset.class_names == expected
