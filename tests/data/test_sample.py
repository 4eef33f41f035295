"""Images without objects kept as negatives, and batches drawn with all augmentations at once."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mrcnn.data.batches import TrainingBatches, data_generator
from tests.data.blocks import Blocks, SmallConfig, images_of


def config_with(**fields):
    return type("ThisConfig", (SmallConfig,), fields)()


@pytest.mark.parametrize("mini", [True, False])
@pytest.mark.parametrize("counts", [[0], [0, 0], [1, 0, 3]])
@pytest.mark.parametrize("training", [True, False])
def test_empty_images_are_kept(mini, counts, training):
    config = config_with(KEEP_EMPTY_IMAGES=True, USE_MINI_MASK=mini)
    batches = TrainingBatches(
        Blocks(counts), config, batch_size=len(counts), shuffle=False, training=training
    )
    inputs = batches.batch(0)
    assert images_of(inputs) == list(range(len(counts))) and batches.skipped == 0
    for row, count in enumerate(counts):
        match, bbox, class_ids, boxes, masks = (array[row] for array in inputs[2:])
        assert np.count_nonzero(class_ids) == count == np.count_nonzero(boxes.any(axis=1))
        assert masks.any() == (count > 0)
        if not count:
            assert np.count_nonzero(match == -1) == config.RPN_TRAIN_ANCHORS_PER_IMAGE
            assert not (match == 1).any() and not bbox.any()


def test_generator_keeps_empty_images_and_has_nothing_to_tell(caplog):
    config = config_with(KEEP_EMPTY_IMAGES=True)
    batches = data_generator(
        Blocks([0, 1, 0]),
        config,
        shuffle=False,
        batch_size=2,
        random_rois=20,
        detection_targets=True,
    )
    found = [next(batches) for _ in range(3)]
    assert [images_of(inputs) for inputs, _ in found] == [[0, 1], [2, 0], [1, 2]]
    (inputs, (class_ids, deltas, masks)) = found[1]
    assert not class_ids.any() and not deltas.any() and not masks.any() and inputs[8].any()
    assert not caplog.records


def test_an_image_of_crowds_alone_is_an_empty_one():
    """Its anchors are background only where they touch no crowd."""
    dataset = Blocks([1])
    dataset.load_mask = lambda image_id: (
        np.pad(np.ones((32, 64, 1), bool), [(0, 32), (0, 0), (0, 0)]),
        [-1],
    )
    config = config_with(KEEP_EMPTY_IMAGES=True, RPN_TRAIN_ANCHORS_PER_IMAGE=9999)
    batches = TrainingBatches(dataset, config, batch_size=1)
    match, class_ids = batches.batch(0)[2][0, :, 0], batches.batch(0)[4][0]
    assert class_ids[0] == -1 and not (match == 1).any()
    boxes = batches._options["anchors"]
    # half of an anchor on the crowd is enough
    assert not (match[boxes[:, 0] + boxes[:, 2] < 40] == -1).any() and (match == -1).any()
    assert TrainingBatches(Blocks([0]), config, batch_size=1).batch(0)[2].min() == -1


def test_a_jittered_view_without_objects_is_replaced_or_kept():
    class Corner(Blocks):
        def load_mask(self, image_id):
            mask = np.zeros((64, 64, 1), bool)
            mask[:16, :16] = True
            return mask, [1]

    fields = {"SCALE_JITTER": (2.0, 2.0)}
    batches = TrainingBatches(Corner([1]), config_with(**fields), batch_size=6, seed=0)
    assert (batches.batch(0)[4][:, 0] == 1).all() and batches.skipped > 6
    kept = TrainingBatches(
        Corner([1]), config_with(KEEP_EMPTY_IMAGES=True, **fields), batch_size=30, seed=0
    )
    found = kept.batch(0)[4][:, 0]
    assert kept.skipped == 0 and (found == 1).any() and (found == 0).any()


ALL = {
    "SCALE_JITTER": (0.2, 2.0),
    "COPY_PASTE": 0.5,
    "KEEP_EMPTY_IMAGES": True,
    "IMAGE_SAMPLING": "balanced",
}


def shift(image, masks, rng):
    step = rng.randint(-3, 4)
    return np.roll(image, step, axis=0), np.roll(masks, step, axis=0)


def test_batches_depend_on_seed_and_index_alone():
    def make(seed):
        return TrainingBatches(
            Blocks([1, 4, 7, 2, 0]), config_with(**ALL), augment=True, augmentation=shift, seed=seed
        )

    first = make(9)
    expected = [first.batch(index) for index in range(20)]
    before = np.random.get_state()[1].copy()
    again = make(9)
    order = np.random.RandomState(0).permutation(20).tolist()
    with ThreadPoolExecutor(8) as pool:
        found = dict(zip(order, pool.map(again.batch, order)))
    for index in range(20):
        for a, b in zip(found[index], expected[index]):
            np.testing.assert_array_equal(a, b)
    for a, b in zip(make(9).batch(17), expected[17]):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    assert any((a != b).any() for a, b in zip(make(10).batch(0), expected[0]))


def test_the_generator_takes_them_from_the_global_state():
    def batches(seed):
        np.random.seed(seed)
        generator = data_generator(Blocks([1, 4, 2, 0]), config_with(**ALL), batch_size=3)
        return [next(generator)[0] for _ in range(3)]

    first, same, other = batches(1), batches(1), batches(2)
    assert all(np.array_equal(a, b) for x, y in zip(first, same) for a, b in zip(x, y))
    assert any(not np.array_equal(a, b) for x, y in zip(first, other) for a, b in zip(x, y))
