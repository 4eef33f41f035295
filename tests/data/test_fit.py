"""IMAGE_RESIZE_MODE "fit": against torchvision's numbers, and through training's data."""

import math
import os
import random

import numpy as np
import pytest

from mrcnn.config import Config, SegmentationConfig
from mrcnn.data.augment.jitter import jitter, random_placement
from mrcnn.data.batches import TrainingBatches
from mrcnn.data.bilinear import bilinear_within
from mrcnn.data.cache.dataset import RecordDataset
from mrcnn.data.cache.example import decode, encode
from mrcnn.data.cache.write import write_records
from mrcnn.data.images import mold_image
from mrcnn.data.label_sample import make_label_sample
from mrcnn.data.load import load_image_gt, load_view, prepare, prepare_jittered
from mrcnn.data.masks import extract_bboxes, resize_mask
from mrcnn.data.resize import padded_with, resize_image, resize_labels
from mrcnn.inference.detect import mold
from tests.data import torchvision_inputs as inputs
from tests.data.label_scenes import Scenes, SmallSegmentation
from tests.tiny import Rectangles, image, tiny_config

FOUND = np.load(os.path.join(os.path.dirname(__file__), "torchvision_images.npz"))
SCENES = {name: arrays for name, *arrays in inputs.scenes()}


def fitting(**fields):
    return tiny_config(IMAGE_RESIZE_MODE="fit", **fields)


def slow_fit(picture, min_dim, max_dim, mean):
    """Pixel by pixel in Python's floats."""
    height, width, channels = picture.shape
    scale = min(min_dim / min(height, width), max_dim / max(height, width))
    rows, columns = max(int(height * scale), 1), max(int(width * scale), 1)
    made = np.empty((math.ceil(rows / 32) * 32, math.ceil(columns / 32) * 32, channels))
    made[:] = mean
    for y in range(rows):
        for x in range(columns):
            v = min(max((y + 0.5) * height / rows - 0.5, 0), height - 1)
            u = min(max((x + 0.5) * width / columns - 0.5, 0), width - 1)
            top, left = int(v), int(u)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            above = picture[top, left] * (left + 1 - u) + picture[top, right] * (u - left)
            below = picture[bottom, left] * (left + 1 - u) + picture[bottom, right] * (u - left)
            made[y, x] = above * (top + 1 - v) + below * (v - top)
    return made, (rows, columns)


# === Images ===


def test_sides_are_torchvisions():
    for (height, width), expected in zip(inputs.sides(), FOUND["sides"].tolist()):
        picture = np.zeros((height, width, 1), np.uint8)
        _, window, scale, padding, crop = resize_image(picture, 800, 1333, mode="fit")
        assert window == (0, 0, *expected) and crop is None
        assert scale == min(800 / min(height, width), 1333 / max(height, width))
        assert padding == [(0, -expected[0] % 32), (0, -expected[1] % 32), (0, 0)]


@pytest.mark.parametrize("name", inputs.ROW_SIZES)
def test_values_at_torchvisions_float32_positions(name):
    height, width = inputs.ROW_SIZES[name]
    for source in (inputs.rows(), inputs.rows().astype(np.float64)):
        made = bilinear_within(source, height, width)
        assert made.dtype == np.float32
        np.testing.assert_allclose(made[..., 0], FOUND[name][0], atol=1e-4)


@pytest.mark.parametrize("name", SCENES)
def test_molded_images_are_torchvisions(name):
    config = Config()
    config.IMAGE_RESIZE_MODE = "fit"
    config.IMAGE_MIN_DIM, config.IMAGE_MAX_DIM = inputs.MIN_SIDE, inputs.MAX_SIDE
    config.MEAN_PIXEL = np.array([123.675, 116.28, 103.53])
    picture, expected = SCENES[name][0], FOUND[f"{name}_image"]
    for dtype in (np.float32, np.float64):
        molded, meta, window = mold(picture, config, dtype)
        assert molded.shape == expected.shape and molded.dtype == dtype
        # of values up to 150
        np.testing.assert_allclose(molded, expected, atol=1e-4)
        height, width = FOUND[f"{name}_size"]
        assert window == (0, 0, height, width) == tuple(meta[7:11])
        assert not molded[height:].any() and not molded[:, width:].any()
        assert meta[4:7].tolist() == list(expected.shape)


@pytest.mark.parametrize("shape", [(9, 13, 3), (40, 20, 3), (64, 64, 1), (1, 1, 3), (70, 2, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_resize_against_a_slow_version(shape, dtype):
    picture = (np.random.RandomState(0).rand(*shape) * 255).astype(dtype)
    mean = [9.3, 200.1, 60.7, 1.0][: shape[2]]
    made, window, _, _, _ = resize_image(picture, 24, 40, mode="fit", fill=mean)
    expected, sides = slow_fit(picture.astype(float), 24, 40, mean)
    assert made.dtype == np.float32 and window == (0, 0, *sides)
    np.testing.assert_allclose(made, expected, atol=2e-3)
    assert made.max() <= max(picture.max(), *mean) + 1e-5


@pytest.mark.parametrize("size", [(30, 50), (5, 7), (16, 24), (16, 100), (3, 24)])
def test_a_part_is_that_of_the_whole(size):
    picture = np.random.RandomState(1).rand(16, 24, 3).astype(np.float32)
    whole = bilinear_within(picture, *size)
    y, x = size[0] // 3, size[1] // 3
    part = bilinear_within(picture, *size, (y, x, size[0] - 1, size[1] - 2))
    np.testing.assert_array_equal(part, whole[y:-1, x:-2])


def test_an_image_of_the_right_size_is_left_as_it_is():
    picture = np.random.RandomState(2).randint(0, 256, (24, 40, 3)).astype(np.uint8)
    made, *_ = resize_image(picture, 24, 40, mode="fit", fill=7)
    np.testing.assert_array_equal(made[:24, :40], picture)
    assert made.shape == (32, 64, 3) and (made[24:] == 7).all() and (made[:, 40:] == 7).all()


def test_a_line_keeps_a_pixel():
    """torchvision fails here."""
    assert resize_image(np.ones((1, 3000, 3), np.uint8), 800, 1333, mode="fit")[1] == (
        0,
        0,
        1,
        1333,
    )


def test_least_scale():
    picture = np.zeros((20, 30, 3), np.uint8)
    assert resize_image(picture, 20, 100, 2, mode="fit")[1] == (0, 0, 40, 60)
    assert resize_image(picture, 20, 45, 2, mode="fit")[1] == (0, 0, 30, 45)


@pytest.mark.parametrize("given", [{"min_dim": 0}, {"min_dim": None}, {"max_dim": 0}])
def test_both_sides_are_needed(given):
    with pytest.raises(ValueError, match=r'"fit" needs IMAGE_M(IN|AX)_DIM in pixels'):
        resize_image(np.zeros((4, 4, 3)), **{"min_dim": 8, "max_dim": 8, **given}, mode="fit")


@pytest.mark.parametrize("base", [Config, SegmentationConfig])
@pytest.mark.parametrize("low", [0, None])
def test_a_config_needs_the_shorter_side(base, low):
    fields = {"IMAGE_RESIZE_MODE": "fit", "IMAGE_MIN_DIM": low}
    with pytest.raises(ValueError, match='"fit" resizes the shorter side'):
        type("Wrong", (base,), fields)()


def test_any_sides_will_do_and_training_pads_to_multiples_of_64():
    config = fitting(IMAGE_MIN_DIM=600, IMAGE_MAX_DIM=1333)
    assert config.IMAGE_SHAPE.tolist() == [1344, 1344, 3]
    assert fitting(IMAGE_MIN_DIM=90, IMAGE_MAX_DIM=70).IMAGE_SHAPE.tolist() == [128, 128, 3]


@pytest.mark.parametrize("mean", [123.4, np.array([123.675, 116.28, 103.53])])
def test_the_mean_becomes_nothing(mean):
    config = fitting(MEAN_PIXEL=mean)
    picture = padded_with(mean, np.zeros((0, 0, 3), np.float32), [(0, 5), (3, 0), (0, 0)])
    assert picture.shape == (5, 3, 3)
    for dtype in (np.float32, np.float64):
        assert not mold_image(picture, config, dtype).any()


def test_padding_on_all_sides():
    picture = np.random.RandomState(3).rand(3, 4, 2)
    padding = [(1, 2), (3, 0), (0, 0)]
    expected = np.pad(picture, padding, constant_values=np.nan)
    np.testing.assert_array_equal(
        padded_with([5, 6], picture, padding), np.where(np.isnan(expected), [5, 6], expected)
    )


# === Masks ===


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("name", SCENES)
def test_a_pixel_has_the_mask_that_its_centre_lies_in(name, order):
    picture, masks, *_ = SCENES[name]
    _, (_, _, height, width), scale, padding, _ = resize_image(
        picture, inputs.MIN_SIDE, inputs.MAX_SIDE, mode="fit"
    )
    made = resize_mask(np.array(masks, order=order), scale, padding, mode="fit")
    for y in range(0, height, 7):
        for x in range(0, width, 5):
            at = (y + 0.5) / height * masks.shape[0], (x + 0.5) / width * masks.shape[1]
            np.testing.assert_array_equal(made[y, x], masks[int(at[0]), int(at[1])])
    assert not made[height:].any() and not made[:, width:].any()


def test_boxes_of_masks_stay_where_they_are():
    """torchvision takes the pixel at or before a pixel's upper left corner, and resizes boxes apart
    from masks. Boxes are made of the masks here, so that they would all move by half a pixel.
    """
    draw = np.random.RandomState(0)
    moved = []
    for _ in range(60):
        sides = draw.randint(50, 200, 2)
        box = np.sort(np.stack([draw.choice(side + 1, 2, replace=False) for side in sides], 1), 0)
        mask = np.zeros((*sides, 1), bool)
        mask[box[0, 0] : box[1, 0], box[0, 1] : box[1, 1]] = True
        _, window, scale, padding, _ = resize_image(np.zeros((*sides, 3)), 224, 320, mode="fit")
        made = extract_bboxes(resize_mask(mask, scale, padding, mode="fit"))[0]
        moved.append(made - box.ravel() * np.tile(np.array(window[2:]) / sides, 2))
    assert np.abs(moved).max() <= 0.5 + 1e-9 and np.abs(np.mean(moved)) < 0.05


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_masks_of_other_types_and_without_objects(dtype):
    masks = (np.random.RandomState(4).rand(9, 7, 2) * 9).astype(dtype)
    _, (_, _, height, width), scale, padding, _ = resize_image(
        np.zeros((9, 7, 3)), 30, 60, mode="fit"
    )
    made = resize_mask(masks, scale, padding, mode="fit")
    rows = (2 * np.arange(height) + 1) * 9 // (2 * height)
    columns = (2 * np.arange(width) + 1) * 7 // (2 * width)
    np.testing.assert_array_equal(made[:height, :width], masks[rows][:, columns])
    assert made.dtype == dtype
    assert resize_mask(masks[..., :0], scale, padding, mode="fit").shape == (64, 32, 0)


# === Training ===


def test_an_image_of_training_is_that_of_detection_on_a_square():
    dataset = Rectangles(3, size=(40, 70))
    config = fitting(IMAGE_MIN_DIM=50, IMAGE_MAX_DIM=75)
    assert config.IMAGE_SHAPE.tolist() == [128, 128, 3]
    for image_id in range(3):
        found, meta, _, boxes, masks = load_image_gt(dataset, config, image_id)
        molded, detection_meta, window = mold(dataset.load_image(image_id), config, np.float32)
        assert found.dtype == np.float32 and found.shape == (128, 128, 3)
        training = mold_image(found, config, np.float32)
        np.testing.assert_array_equal(training[:64, :96], molded)
        assert not training[64:].any() and not training[:, 96:].any()
        assert window == (0, 0, 42, 75) == tuple(meta[7:11]) == tuple(detection_meta[7:11])
        assert meta[4:7].tolist() == [128, 128, 3] and meta[11] == 75 / 70
        # each object lies where it did, but for the pixel that its edge is cut to
        objects = np.array([box for _, *box in dataset.image_info[image_id]["objects"]])
        np.testing.assert_allclose(boxes, objects * ([42 / 40, 75 / 70] * 2), atol=1)
        assert masks.shape == (128, 128, len(objects))


@pytest.mark.parametrize("size", [(64, 64), (33, 47), (100, 60)])
@pytest.mark.parametrize("fields", [{}, {"SCALE_JITTER": (0.4, 1.7)}, {"COPY_PASTE": 1.0}])
def test_batches(size, fields):
    config = fitting(IMAGE_MIN_DIM=48, IMAGE_MAX_DIM=60, **fields)
    batches = TrainingBatches(Rectangles(4, size), config, batch_size=3)
    images, metas, match, _, class_ids, boxes, masks = batches.batch(0)
    assert images.shape == (3, 64, 64, 3) and images.dtype == np.float32
    assert (match == 1).any() and class_ids.any() and masks.any()
    for picture, meta in zip(images, metas):
        y1, x1, y2, x2 = meta[7:11].astype(int)
        outside = np.ones((64, 64), bool)
        outside[y1:y2, x1:x2] = False
        if "COPY_PASTE" not in fields:
            assert not picture[outside].any()
        if not fields:
            assert outside.any()
        assert picture[y1:y2, x1:x2].any()
    assert (boxes[..., 2:] <= 64).all()


def test_jitter_resizes_as_the_mode_does():
    """The whole image resized, then cut and padded."""
    config = fitting(SCALE_JITTER=(0.3, 2.5), IMAGE_MIN_DIM=48, IMAGE_MAX_DIM=60)
    dataset = Rectangles(6, size=(37, 53))
    cut = set()
    for image_id in range(6):
        picture, (masks, class_ids) = dataset.load_image(image_id), dataset.load_mask(image_id)
        draw = np.random.RandomState(image_id)
        placed, moved, _, placement = jitter(picture, masks, class_ids, config, draw)
        height, width = (math.floor(side * placement.scale) for side in picture.shape[:2])
        assert placement.size == (height, width)
        whole = bilinear_within(picture, height, width)
        whole_masks = resize_mask(masks, placement.scale, [(0, 0)] * 2, mode="fit")
        y1, x1, y2, x2 = placement.window
        top, left, bottom, right = placement.part
        expected = np.empty((64, 64, 3), np.float32)
        expected[:] = config.MEAN_PIXEL
        expected[y1:y2, x1:x2] = whole[top:bottom, left:right]
        np.testing.assert_array_equal(placed, expected)
        assert placed.dtype == np.float32
        expected_masks = np.zeros((64, 64, masks.shape[2]), bool)
        expected_masks[y1:y2, x1:x2] = whole_masks[top:bottom, left:right]
        np.testing.assert_array_equal(moved, expected_masks)
        cut.add((height, width) != (y2 - y1, x2 - x1))
    assert cut == {True, False}


def test_scale_of_jitter_is_times_that_of_the_mode():
    config = fitting(SCALE_JITTER=(1, 1), IMAGE_MIN_DIM=24, IMAGE_MAX_DIM=60)
    assert random_placement(96, 100, config, np.random.RandomState(0)).scale == 24 / 96


def test_user_augmentation_has_float_images():
    seen = []

    def double(picture, masks):
        seen.append(picture.dtype)
        return picture[:, ::-1], masks[:, ::-1]

    config, dataset = fitting(), Rectangles(1)
    view, plain = (load_view(dataset, config, 0, augmentation=how) for how in (double, None))
    np.testing.assert_array_equal(view.image, plain.image[:, ::-1])
    assert seen == [np.float32]


# === Cache ===


@pytest.mark.parametrize("size", [(40, 70), (64, 64), (70, 40)])
def test_a_record_keeps_every_bit(size):
    config = fitting(IMAGE_MIN_DIM=50, IMAGE_MAX_DIM=64)
    prepared = prepare(Rectangles(1, size), config, 0)
    found = decode(encode(prepared, "s", 0), "s", 0)
    for ours, theirs in zip(found, prepared):
        np.testing.assert_array_equal(ours, theirs)
    assert found.image.dtype == np.float32


def test_a_cache_trains_as_its_data_set_does(tmp_path):
    config = fitting(IMAGE_MIN_DIM=50, IMAGE_MAX_DIM=60)
    dataset = Rectangles(3, size=(40, 70))
    write_records(dataset, config, str(tmp_path / "cache"), progress=False)
    cached = RecordDataset(str(tmp_path / "cache"))
    for one, other in zip(
        TrainingBatches(dataset, config, batch_size=3).batch(0),
        TrainingBatches(cached, config, batch_size=3).batch(0),
    ):
        np.testing.assert_array_equal(one, other)
    # the mean is in the cached images
    other_mean = fitting(IMAGE_MIN_DIM=50, IMAGE_MAX_DIM=60, MEAN_PIXEL=np.array([1.0, 2, 3]))
    with pytest.raises(ValueError, match=r"MEAN_PIXEL = \[123\.7, 116\.8, 103\.9\] \(the config"):
        cached.load_prepared(0, other_mean)


def test_jitter_of_a_cached_image(tmp_path):
    config = fitting(SCALE_JITTER=(0.5, 0.5), IMAGE_MIN_DIM=50, IMAGE_MAX_DIM=60)
    dataset = Rectangles(1, size=(40, 70))
    made = prepare_jittered(
        dataset, config, 0, np.random.RandomState(0), prepare(dataset, config, 0)
    )
    y1, x1, y2, x2 = made.window
    assert (y2 - y1, x2 - x1) == (17, 30) and made.scale == 60 / 70 / 2
    assert made.image.dtype == np.float32 and made.image.shape == (64, 64, 3)


# === Labels of pixels ===


@pytest.mark.parametrize("shape", [(20, 33), (64, 64), (90, 50)])
@pytest.mark.parametrize("jittered", [False, True])
def test_label_samples(shape, jittered):
    """The labels lie where the image shows them, and around both are the mean and void."""
    labels = np.zeros(shape, np.uint8)
    labels[shape[0] // 5 : -(shape[0] // 5), shape[1] // 3 :] = 1

    class Bright(Scenes):
        def load_image(self, image_id):
            return np.repeat((200 * labels)[..., np.newaxis], 3, axis=2)

    fields = {"SCALE_JITTER": (0.6, 0.9)} if jittered else {}
    fields.update(IMAGE_RESIZE_MODE="fit", IMAGE_MIN_DIM=40, IMAGE_MAX_DIM=60)
    config = type("Fitting", (SmallSegmentation,), fields)()
    sample = make_label_sample(Bright([labels]), config, 0, rng=np.random.RandomState(5))
    assert sample.image.shape == (64, 64, 3) and sample.labels.shape == (64, 64)
    void = sample.labels == config.IGNORE_LABEL
    assert void.any() and not sample.image[void].any() and sample.image[~void].all()
    shown = sample.image[..., 0] + config.MEAN_PIXEL[0] > 100
    shown[void] = False
    found = sample.labels == 1
    assert (shown & found).sum() / (shown | found).sum() > 0.93
    if not jittered:
        height, width = (int(side * min(40 / min(shape), 60 / max(shape))) for side in shape)
        np.testing.assert_array_equal(
            sample.labels[:height, :width], resize_labels(labels, (height, width))
        )
        assert void[height:].all() and void[:, width:].all()


def test_python_random_is_left_alone():
    """Only "crop" draws."""
    random.seed(0)
    state = random.getstate()
    resize_image(image(20, 30), 40, 60, mode="fit")
    assert random.getstate() == state
