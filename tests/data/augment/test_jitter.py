"""Scale jitter: against resizing the whole image and masks, then cutting and padding."""

import numpy as np
import pytest

from mrcnn.data.augment.jitter import Placement, jitter, place_image, place_masks, random_placement
from mrcnn.data.load import load_view, prepare
from mrcnn.data.masks import LEAST_LEFT, ignore_left_overs, resize_mask
from mrcnn.data.resize import resize
from mrcnn.ops.image_meta import parse_image_meta
from tests.data.blocks import Blocks, SmallConfig


def jittered(low, high, **fields):
    return type("JitterConfig", (SmallConfig,), {"SCALE_JITTER": (low, high), **fields})()


@pytest.mark.parametrize("kind", [tuple, list, np.array])
def test_the_range_may_be_any_pair(kind):
    config = jittered(0.5, 0.5)
    config.SCALE_JITTER = kind((0.5, 0.5))
    config.validate()
    draw = np.random.RandomState(0)
    assert random_placement(40, 40, config, draw).scale == pytest.approx(
        random_placement(40, 40, jittered(1, 1), draw).scale / 2
    )


def material(height, width, count=3, seed=0, dtype=np.uint8):
    draw = np.random.RandomState(seed)
    masks = np.zeros((height, width, count), bool)
    for index in range(count):
        y, x = draw.randint(0, height), draw.randint(0, width)
        masks[y : y + draw.randint(1, height), x : x + draw.randint(1, width), index] = True
    return (draw.rand(height, width, 3) * 255).astype(dtype), masks & (
        draw.rand(height, width, count) < 0.8
    )


def pasted(whole, placement):
    """A whole resized array [height, width, C] on zeros, pixel by pixel."""
    result = np.zeros((*placement.shape, whole.shape[2]), whole.dtype)
    for y, x in np.ndindex(placement.shape):
        row, column = y - placement.offset[0], x - placement.offset[1]
        if 0 <= row < whole.shape[0] and 0 <= column < whole.shape[1]:
            result[y, x] = whole[row, column]
    return result


def random_case(seed):
    draw = np.random.RandomState(seed)
    height, width = (int(side) for side in draw.randint(1, 60, 2))
    scale = float(draw.uniform(0.1, 3))
    size = max(round(height * scale), 1), max(round(width * scale), 1)
    shape = tuple(int(side) for side in draw.randint(8, 70, 2))
    offset = tuple(
        int(np.sign(spare) * draw.randint(abs(spare) + 1)) for spare in np.subtract(shape, size)
    )
    return height, width, Placement(scale, size, offset, shape)


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_image_is_the_whole_one_resized_then_cut_and_padded(seed, dtype):
    height, width, placement = random_case(seed)
    image, _ = material(height, width, seed=seed, dtype=dtype)
    placed = place_image(image, placement)
    whole = resize(image, placement.size, preserve_range=True).astype(dtype)
    assert placed.dtype == dtype
    np.testing.assert_array_equal(placed, pasted(whole, placement))


@pytest.mark.parametrize("seed", range(30))
def test_masks_are_the_whole_ones_resized_then_cut_and_padded(seed):
    height, width, placement = random_case(seed)
    _, masks = material(height, width, count=seed % 4, seed=seed)
    placed, left, whole = place_masks(masks, placement)
    expected = pasted(resize_mask(masks, placement.scale, [(0, 0)] * 3), placement)
    np.testing.assert_array_equal(placed, expected)
    np.testing.assert_array_equal(left, expected.sum(axis=(0, 1)))
    np.testing.assert_allclose(whole, masks.sum(axis=(0, 1)) * placement.scale**2)


def test_window_and_part():
    small = Placement(0.5, (20, 30), (7, 0), (64, 48))
    assert small.window == (7, 0, 27, 30) and small.part == (0, 0, 20, 30)
    large = Placement(2.0, (100, 40), (-30, 3), (64, 48))
    assert large.window == (0, 3, 64, 43) and large.part == (30, 0, 94, 40)


@pytest.mark.parametrize(
    "mode, base",
    [("square", 64 / 60), ("rect", 64 / 60), ("crop", 64 / 40), ("pad64", 64 / 40), ("none", 1)],
)
def test_factor_of_the_scale_that_the_mode_gives(mode, base):
    for seed in range(20):
        config = jittered(0.5, 1.5, IMAGE_RESIZE_MODE=mode)
        placement = random_placement(40, 60, config, np.random.RandomState(seed))
        assert 0.5 * base <= placement.scale <= 1.5 * base
        assert placement.size == (round(40 * placement.scale), round(60 * placement.scale))
        assert placement.shape == (64, 64)


def test_places_are_all_over_the_input_and_end_at_its_edges():
    draw = np.random.RandomState(0)
    small = {random_placement(62, 64, jittered(1, 1), draw).offset for _ in range(60)}
    assert small == {(0, 0), (1, 0), (2, 0)}
    large = [random_placement(64, 64, jittered(66 / 64, 66 / 64), draw).offset for _ in range(100)]
    assert set(large) == {(-y, -x) for y in range(3) for x in range(3)}


def test_one_factor_for_height_and_width_and_never_no_pixel():
    image, masks, class_ids, placement = jitter(
        *material(3, 400), np.int32([1, 1, 2]), jittered(0.1, 0.1), np.random.RandomState(0)
    )
    assert placement.size == (1, 6) and image.shape == (64, 64, 3) and masks.shape == (64, 64, 3)
    assert len(class_ids) == 3


def test_what_is_left_of_an_object_decides_whether_it_is_learnt():
    ids = np.int32([1, 1, 1, -2, -2])
    whole = np.array([100, 100, 100, 100, 100.0])
    kept = ignore_left_overs(ids, whole * [1, LEAST_LEFT, LEAST_LEFT - 0.01, 0.05, 1], whole)
    assert kept.tolist() == [1, 1, -1, -2, -2] and kept.dtype == ids.dtype
    assert ignore_left_overs(ids[:0], whole[:0], whole[:0]).shape == (0,)


class Bar(Blocks):
    """One object: 10 of 64 columns at the left edge."""

    def load_mask(self, image_id):
        mask = np.zeros((64, 64, 1), bool)
        mask[:, :10] = True
        return mask, [2]


def test_samples_follow_the_jitter():
    """Boxes, masks and meta agree; an object is there, a crowd, or gone, as its share of pixels
    says.
    """
    dataset, config, seen = Bar([1]), jittered(1.0, 3.0), set()
    for seed in range(80):
        view = load_view(dataset, config, 0, rng=np.random.RandomState(seed), jittered=True)
        meta = {
            name: part[0] for name, part in parse_image_meta(view.image_meta[np.newaxis]).items()
        }
        again = random_placement(64, 64, config, np.random.RandomState(seed))
        assert meta["window"].tolist() == list(again.window) and meta["scale"] == np.float32(
            again.scale
        )
        assert meta["original_image_shape"].tolist() == [64, 64, 3] == meta["image_shape"].tolist()
        columns = max(10 * again.scale + again.offset[1], 0)
        share = columns / (10 * again.scale) * min(64 / again.size[0], 1)
        kind = view.class_ids.tolist()
        seen.add(tuple(kind))
        if share > LEAST_LEFT + 0.05:
            assert kind == [2]
        elif columns > 2:
            assert share > LEAST_LEFT - 0.05 or kind == [-2]
        elif columns < 0.1:
            assert kind == [] and view.masks.shape == (64, 64, 0)
    assert seen == {(2,), (-2,), ()}


def test_without_the_field_or_the_switch_nothing_is_drawn():
    dataset = Blocks([3])
    plain = load_view(dataset, SmallConfig(), 0, rng=np.random.RandomState(0))
    for config, switch in ((SmallConfig(), True), (jittered(0.1, 0.1), False)):
        rng = np.random.RandomState(0)
        view = load_view(dataset, config, 0, rng=rng, jittered=switch)
        for a, b in zip(view, plain):
            np.testing.assert_array_equal(a, b)
        assert rng.randint(2**30) == np.random.RandomState(0).randint(2**30)


def test_without_rng_the_global_state_draws():
    dataset, config, views = Blocks([2]), jittered(0.3, 1.5), []
    for seed in (3, 3, 4):
        np.random.seed(seed)
        views.append(load_view(dataset, config, 0, jittered=True))
    assert np.array_equal(views[0].image_meta, views[1].image_meta)
    assert not np.array_equal(views[0].image_meta, views[2].image_meta)


@pytest.mark.parametrize(
    "fields",
    [
        {"IMAGE_MIN_DIM": 32},
        {
            "IMAGE_RESIZE_MODE": "pad64",
            "IMAGE_MIN_DIM": 0,
            "IMAGE_MIN_SCALE": 2.0,
            "IMAGE_MAX_DIM": 192,
        },
    ],
)
def test_a_prepared_image_is_jittered_without_its_padding(fields):
    """Within the error of resizing twice, it is the image of the file at the same place."""

    class Wide(Blocks):
        def load_image(self, image_id):
            return np.repeat(
                np.linspace(50, 250, 80).astype(np.uint8)[None, :, None], 40, axis=0
            ).repeat(3, axis=2)

        def load_mask(self, image_id):
            mask = np.zeros((40, 80, 1), bool)
            mask[10:30, 20:70] = True
            return mask, [1]

    dataset, config = Wide([1]), jittered(0.6, 0.9, **fields)
    for seed in range(5):
        direct = load_view(dataset, config, 0, rng=np.random.RandomState(seed), jittered=True)
        twice = load_view(
            dataset,
            config,
            0,
            rng=np.random.RandomState(seed),
            jittered=True,
            prepared=prepare(dataset, config, 0),
        )
        np.testing.assert_allclose(direct.image_meta, twice.image_meta)
        assert np.mean(direct.masks != twice.masks) < 0.02
        assert np.abs(direct.image.astype(float) - twice.image).mean() < 4
