"""data_generator: parity, shapes, random choices; and what both pipelines refuse."""

import inspect
import logging
import subprocess
import sys

import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.data.batches import TrainingBatches, data_generator
from mrcnn.data.dataset import Dataset
from mrcnn.data.load import SampleError, load_image_gt
from mrcnn.data.numbered_batches import RANDOM_TRIES
from mrcnn.data.random_rois import build_detection_targets, generate_random_rois
from mrcnn.data.rpn_targets import build_rpn_targets
from mrcnn.ops.anchors import pyramid_anchors
from tests.data.blocks import Blocks, SmallConfig, images_of
from tests.paths import PARITY as PARITY_FOLDER
from tests.paths import ROOT

PARITY = PARITY_FOLDER / "batch0_small.npz"


# === data_generator ===


class Golden(Dataset):
    """The dataset of the recorded batch, with only every 16th pixel of its images."""

    def __init__(self):
        super().__init__()
        self.golden = np.load(PARITY)
        self.add_class("toy", 1, "a")
        self.add_class("toy", 2, "b")
        for i in range(2):
            self.add_image("toy", i, path=None)
        self.prepare()

    def load_image(self, image_id):
        image = np.zeros((256, 256, 3), dtype=np.uint8)
        image[::16, ::16] = self.golden[f"ds{image_id}_pixels"]
        return image

    def load_mask(self, image_id):
        shape = self.golden[f"ds{image_id}_mask_shape"]
        mask = np.unpackbits(self.golden[f"ds{image_id}_mask_packed"], count=shape.prod())
        return mask.reshape(shape).astype(bool), self.golden[f"ds{image_id}_class_ids"]


def test_generator_parity_with_the_original():
    class GoldenConfig(Config):
        NAME = "toy"
        NUM_CLASSES = 3
        IMAGE_MIN_DIM = IMAGE_MAX_DIM = 256
        RPN_ANCHOR_SCALES = (16, 32, 64, 128, 256)

    dataset = Golden()
    np.random.seed(7)
    inputs, outputs = next(data_generator(dataset, GoldenConfig(), shuffle=False, batch_size=2))
    golden = dataset.golden
    assert outputs == [] and len(inputs) == 7
    np.testing.assert_array_equal(inputs[0][:, ::16, ::16], golden["in_pixels"])
    names = ["image_meta", "rpn_match", "rpn_bbox", "gt_class_ids", "gt_boxes"]
    for value, name in zip(inputs[1:6], names):
        if name == "rpn_bbox":
            np.testing.assert_allclose(value, golden["in_rpn_bbox"], rtol=0, atol=5e-15)
        else:
            np.testing.assert_array_equal(value, golden[f"in_{name}"])
    np.testing.assert_array_equal(np.packbits(inputs[6]), golden["in_gt_masks_packed"])


@pytest.mark.parametrize("batch_size", [1, 2, 3])
@pytest.mark.parametrize("mini", [True, False])
@pytest.mark.parametrize("extra", ["none", "rois", "targets"])
def test_generator_shapes_and_types(batch_size, mini, extra):
    class ThisConfig(SmallConfig):
        USE_MINI_MASK = mini

    config, b = ThisConfig(), batch_size
    generator = data_generator(
        Blocks([1, 2, 5]),
        config,
        batch_size=b,
        random_rois=0 if extra == "none" else 40,
        detection_targets=extra == "targets",
    )
    assert inspect.isgenerator(generator)
    inputs, outputs = next(generator)
    count = len(pyramid_anchors(config, config.IMAGE_SHAPE))
    sides = (14, 20) if mini else (64, 64)
    expected = [
        ((b, 64, 64, 3), "float32"),
        ((b, 15), "float64"),
        ((b, count, 1), "int32"),
        ((b, 32, 4), "float64"),
        ((b, 5), "int32"),
        ((b, 5, 4), "int32"),
        ((b, *sides, 5), "bool"),
    ]
    expected += [((b, 40, 4), "int32")] * (extra != "none")
    expected += [((b, 12, 4), "int32")] * (extra == "targets")
    assert [(array.shape, str(array.dtype)) for array in inputs] == expected
    expected = [((b, 12, 1), "int32"), ((b, 12, 3, 4), "float32"), ((b, 12, 28, 28, 3), "float32")]
    assert [(array.shape, str(array.dtype)) for array in outputs] == (
        expected if extra == "targets" else []
    )


@pytest.mark.parametrize("mini", [True, False])
def test_generator_draws_in_the_originals_order(mini):
    """Shuffle, then per image: anchors, regions, targets, the subset of objects."""

    class ThisConfig(SmallConfig):
        USE_MINI_MASK = mini
        MAX_GT_INSTANCES = 3

    dataset, config = Blocks([2, 5, 4]), ThisConfig()
    anchors = pyramid_anchors(config, config.IMAGE_SHAPE)
    np.random.seed(21)
    batches = data_generator(dataset, config, batch_size=2, random_rois=30, detection_targets=True)
    produced = [next(batches) for _ in range(3)]
    np.random.seed(21)
    order = []
    for _ in range(2):
        ids = np.arange(3) if not order else order[-3:]
        np.random.shuffle(ids)
        order += list(ids)
    np.random.seed(21)
    ids = np.arange(3)
    for position in range(6):
        if position % 3 == 0:
            np.random.shuffle(ids)
        image_id = ids[position % 3]
        image, meta, class_ids, boxes, masks = load_image_gt(
            dataset, config, image_id, use_mini_mask=mini
        )
        match, bbox = build_rpn_targets(image.shape, anchors, class_ids, boxes, config)
        regions = generate_random_rois(image.shape, 30, class_ids, boxes)
        targets = build_detection_targets(regions, class_ids, boxes, masks, config)
        if len(class_ids) > 3:
            kept = np.random.choice(np.arange(len(class_ids)), 3, replace=False)
            class_ids, boxes, masks = class_ids[kept], boxes[kept], masks[:, :, kept]
        n = len(class_ids)
        inputs, outputs = produced[position // 2]
        row = [array[position % 2] for array in inputs + outputs]
        np.testing.assert_array_equal(
            row[0], (image.astype(np.float32) - config.MEAN_PIXEL).astype(np.float32)
        )
        np.testing.assert_array_equal(row[1], meta)
        np.testing.assert_array_equal(row[2][:, 0], match)
        np.testing.assert_array_equal(row[3], bbox)
        np.testing.assert_array_equal(row[4], list(class_ids) + [0] * (3 - n))
        np.testing.assert_array_equal(row[5][:n], boxes)
        np.testing.assert_array_equal(row[6][:, :, :n], masks)
        assert not row[5][n:].any() and not row[6][:, :, n:].any()
        np.testing.assert_array_equal(row[7], regions)
        np.testing.assert_array_equal(row[8], targets[0])
        np.testing.assert_array_equal(row[9][:, 0], targets[1])
        np.testing.assert_array_equal(row[10], targets[2])
        np.testing.assert_array_equal(row[11], targets[3])


def test_generator_without_shuffling_goes_round():
    batches = data_generator(Blocks([1, 1, 1]), SmallConfig(), shuffle=False, batch_size=2)
    assert [images_of(next(batches)[0]) for _ in range(3)] == [[0, 1], [2, 0], [1, 2]]


def test_generator_shuffles_each_pass_and_leaves_the_dataset_alone():
    dataset = Blocks([1] * 6)
    np.random.seed(0)
    batches = data_generator(dataset, SmallConfig(), batch_size=6)
    passes = [images_of(next(batches)[0]) for _ in range(4)]
    assert all(sorted(ids) == list(range(6)) for ids in passes)
    assert len({tuple(ids) for ids in passes}) > 1
    assert dataset.image_ids.tolist() == list(range(6))


def test_generator_leaves_empty_images_out_and_tells(caplog):
    batches = data_generator(Blocks([0, 2, 0, 7]), SmallConfig(), shuffle=False)
    with caplog.at_level(logging.WARNING):
        assert [images_of(next(batches)[0]) for _ in range(3)] == [[1], [3], [1]]
        assert len(caplog.records) == 1
        # Empty images do not add up over the passes.
        assert [images_of(next(batches)[0]) for _ in range(6)] == [[3], [1]] * 3
    message = caplog.records[0].getMessage()
    assert "Of 4 images of Blocks, 2 were left out" in message
    assert "2 objects were left out" in message and "MAX_GT_INSTANCES = 5" in message


def only_crowds(dataset):
    dataset.load_mask = lambda image_id: (np.ones((64, 64, 1), dtype=bool), [-1])
    return dataset


def erase(image, masks):
    return image, np.zeros_like(masks)


@pytest.mark.parametrize(
    "dataset, augmentation, tries",
    [
        (Blocks([0, 0, 0]), None, 3),
        (only_crowds(Blocks([1, 1])), None, 2),
        (Blocks([1, 1]), erase, RANDOM_TRIES),
    ],
)
def test_no_object_anywhere_is_an_error(dataset, augmentation, tries):
    message = f"No image of Blocks has an object: {tries} in a row"
    with pytest.raises(ValueError, match=message):
        next(data_generator(dataset, SmallConfig(), augmentation=augmentation))
    assert len(dataset.loaded) == tries
    with pytest.raises(ValueError, match=message):
        TrainingBatches(dataset, SmallConfig(), augmentation=augmentation).batch(0)


MAKERS = [data_generator, TrainingBatches]


@pytest.mark.parametrize("make", MAKERS)
def test_wrong_arguments(make):
    unprepared = Dataset()
    unprepared.add_image("a", 1, path=None)
    for dataset in (Blocks([]), unprepared):
        with pytest.raises(ValueError, match=r"has no images: .*prepare\(\)"):
            make(dataset, SmallConfig())
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        make(Blocks([1]), SmallConfig(), batch_size=0)

    class Other(SmallConfig):
        NUM_CLASSES = 4

    with pytest.raises(ValueError, match="Blocks has 3 classes .*NUM_CLASSES 4"):
        make(Blocks([1]), Other())


def test_targets_need_regions():
    with pytest.raises(ValueError, match="needs random_rois > 0"):
        data_generator(Blocks([1]), SmallConfig(), detection_targets=True)


def first_batch(make, *args, **kwargs):
    made = make(*args, **kwargs)
    return made.batch(0) if make is TrainingBatches else next(made)[0]


@pytest.mark.parametrize("make", MAKERS)
def test_a_failing_image_stops_at_once_and_is_named(make):
    dataset = Blocks([1, 1])

    def broken(image_id):
        dataset.loaded.append(image_id)
        raise OSError("cut short")

    dataset.load_image = broken
    with pytest.raises(SampleError, match="image 0 .*folder/0.png.*cut short"):
        first_batch(make, dataset, SmallConfig(), shuffle=False)
    assert dataset.loaded == [0]


@pytest.mark.parametrize("make", MAKERS)
def test_size_other_than_image_shape_is_an_error(make):
    class NoneConfig(SmallConfig):
        IMAGE_RESIZE_MODE = "none"
        IMAGE_MAX_DIM = 128

    with pytest.raises(SampleError, match=r"image 0 .*\(64, 64, 3\).*IMAGE_SHAPE \(128, 128, 3\)"):
        first_batch(make, Blocks([1]), NoneConfig(), shuffle=False)


@pytest.mark.parametrize("make", MAKERS)
def test_no_augmentation_sources(make):
    def brighten(image, masks):
        return image + np.uint8(100), masks

    for sources, expected in ((None, 100), (["blocks"], 0), (["other"], 100)):
        inputs = first_batch(
            make,
            Blocks([1]),
            SmallConfig(),
            augmentation=brighten,
            no_augmentation_sources=sources,
            batch_size=1,
        )
        assert images_of(inputs) == [expected]


def test_importing_the_pipeline_is_light():
    code = (
        "import sys, mrcnn.data.batches\n"
        "heavy = {'tensorflow', 'keras', 'matplotlib', 'imgaug'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
