"""TrainingBatches: what a batch depends on, and what it does not."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mrcnn.data.augment.user import import_imgaug
from mrcnn.data.batches import TrainingBatches, data_generator
from mrcnn.data.numbered_batches import REMEMBERED_BATCHES
from tests.data.blocks import Blocks, SmallConfig, images_of


def assert_same(left, right):
    assert len(left) == len(right)
    for a, b in zip(left, right):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_batches_cover_each_pass(batch_size):
    batches = TrainingBatches(Blocks([1] * 6), SmallConfig(), batch_size=batch_size, seed=4)
    ids = sum((images_of(batches.batch(i)) for i in range(12 // batch_size)), [])
    assert sorted(ids[:6]) == sorted(ids[6:]) == list(range(6))
    assert ids[:6] != ids[6:]
    assert sum((batches.image_ids(i) for i in range(12 // batch_size)), []) == ids


@pytest.mark.parametrize("batch_size", [1, 2, 4, 9])
def test_batches_with_new_images_have_every_image(batch_size):
    """Those of the first pass, and the one that ends it."""
    batches = TrainingBatches(Blocks([1] * 7), SmallConfig(), batch_size=batch_size, seed=4)
    chosen = list(batches.with_new_images(range(30)))
    assert chosen == list(range(-(-7 // batch_size)))
    assert set(sum((images_of(batches.batch(i)) for i in chosen), [])) == set(range(7))
    assert list(batches.with_new_images(range(2, 3))) == [2]


def test_order_does_not_depend_on_the_batch_size():
    whole = images_of(TrainingBatches(Blocks([1] * 7), SmallConfig(), 14, seed=1).batch(0))
    single = TrainingBatches(Blocks([1] * 7), SmallConfig(), 1, seed=1)
    assert [images_of(single.batch(i))[0] for i in range(14)] == whole


def test_batches_without_shuffling():
    batches = TrainingBatches(Blocks([1, 1, 1]), SmallConfig(), shuffle=False)
    assert [images_of(batches.batch(i)) for i in range(3)] == [[0, 1], [2, 0], [1, 2]]


def test_batch_is_what_the_generator_gives():
    """Same arrays where nothing is random: every anchor in, no subset of objects."""

    class Everything(SmallConfig):
        RPN_TRAIN_ANCHORS_PER_IMAGE = 20000

    dataset, config = Blocks([1, 3]), Everything()
    inputs = next(data_generator(dataset, config, shuffle=False, batch_size=2))[0]
    assert_same(TrainingBatches(dataset, config, shuffle=False).batch(0), inputs)


def augmented(seed, augmentation, shuffle=True):
    return TrainingBatches(
        Blocks([1, 4, 7, 2, 0]),
        SmallConfig(),
        augment=True,
        shuffle=shuffle,
        augmentation=augmentation,
        seed=seed,
    )


def shift(image, masks, rng):
    step = rng.randint(-3, 4)
    return np.roll(image, step, axis=0) + np.uint8(step + 3), np.roll(masks, step, axis=0)


def imgaug_chain():
    iaa = import_imgaug().augmenters
    return iaa.SomeOf((1, 2), [iaa.Fliplr(0.5), iaa.Affine(rotate=(-20, 20)), iaa.Add((-20, 20))])


@pytest.mark.parametrize("make_augmentation", [lambda: shift, imgaug_chain])
def test_a_batch_depends_on_seed_and_index_alone(make_augmentation):
    """Whatever the order, the threads and the global random states."""
    augmentation = make_augmentation()
    np.random.seed(0)
    one_by_one = augmented(9, augmentation)
    expected = [one_by_one.batch(i) for i in range(20)]
    np.random.seed(1)
    threaded = augmented(9, augmentation)
    order = np.random.permutation(20).tolist()
    with ThreadPoolExecutor(8) as pool:
        found = dict(zip(order, pool.map(threaded.batch, order)))
    for i in range(20):
        assert_same(found[i], expected[i])
        assert threaded.image_ids(i) == one_by_one.image_ids(i)
    assert threaded.skipped == one_by_one.skipped > 0
    assert threaded.dropped == one_by_one.dropped > 0
    # A run resumed at batch 17 goes on with the same data.
    assert_same(augmented(9, make_augmentation()).batch(17), expected[17])
    other = augmented(10, augmentation).batch(0)
    assert any((a != b).any() for a, b in zip(other, expected[0]))


def test_every_sample_has_random_numbers_of_its_own():
    batches = TrainingBatches(Blocks([3]), SmallConfig(), batch_size=8, seed=0)
    matches = batches.batch(0)[2]
    assert len({match.tobytes() for match in matches}) == 8


def test_the_global_state_is_not_touched():
    batches = TrainingBatches(Blocks([7, 1]), SmallConfig(), augment=True, seed=3)
    before = np.random.get_state()[1].copy()
    batches.batch(0)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_where_the_seed_comes_from():
    class Seeded(SmallConfig):
        SEED = 77

    dataset = Blocks([1])
    assert TrainingBatches(dataset, Seeded()).seed == 77
    assert TrainingBatches(dataset, Seeded(), seed=0).seed == 0
    drawn = []
    for _ in range(2):
        np.random.seed(5)
        drawn += [TrainingBatches(dataset, SmallConfig()).seed for _ in range(2)]
    assert drawn[:2] == drawn[2:] and drawn[0] != drawn[1]


def test_batch_size_from_the_config():
    assert len(TrainingBatches(Blocks([1, 1]), SmallConfig()).batch(0)[0]) == 2


def test_empty_images_are_replaced_by_the_next_and_counted():
    batches = TrainingBatches(Blocks([1, 0, 0, 1]), SmallConfig(), batch_size=4, shuffle=False)
    assert images_of(batches.batch(0)) == [0, 3, 3, 3]
    assert batches.skipped == 3  # 1 and 2 for the second place, 2 for the third
    assert batches.image_ids(0) == [0, 3, 3, 3]
    wrapped = TrainingBatches(Blocks([1, 1, 0]), SmallConfig(), batch_size=3, shuffle=False)
    assert images_of(wrapped.batch(1)) == [0, 1, 0]


def test_image_ids_of_forgotten_batches():
    dataset = Blocks([1, 0, 1, 1])
    batches = TrainingBatches(dataset, SmallConfig(), batch_size=1, seed=2)
    ids = [images_of(batches.batch(i)) for i in range(REMEMBERED_BATCHES + 5)]
    skipped, loads = batches.skipped, len(dataset.loaded)
    assert batches.image_ids(REMEMBERED_BATCHES) == ids[REMEMBERED_BATCHES]
    assert len(dataset.loaded) == loads
    assert [batches.image_ids(i) for i in range(5)] == ids[:5]
    assert len(dataset.loaded) > loads and batches.skipped == skipped


@pytest.mark.parametrize("count, kept", [(4, 4), (5, 5), (6, 5), (9, 5)])
def test_object_limit(count, kept):
    batches = TrainingBatches(Blocks([count]), SmallConfig(), batch_size=1, seed=0)
    _, _, _, _, class_ids, boxes, masks = batches.batch(0)
    assert np.count_nonzero(class_ids) == kept and batches.dropped == count - kept
    assert boxes[0].any(axis=1).sum() == kept == masks[0].any(axis=(0, 1)).sum()
    assert len(np.unique(boxes[0], axis=0)) == min(kept, 5) + (kept < 5)


def test_random_crops_get_more_tries():
    """One image whose only object lies in few crops: found, not called empty."""

    class CropConfig(SmallConfig):
        IMAGE_RESIZE_MODE = "crop"

    class Corner(Blocks):
        def load_image(self, image_id):
            return np.zeros((200, 200, 3), dtype=np.uint8)

        def load_mask(self, image_id):
            mask = np.zeros((200, 200, 1), dtype=bool)
            mask[:50, :50] = True
            return mask, [1]

    batches = TrainingBatches(Corner([1]), CropConfig(), batch_size=8, seed=0)
    assert batches.batch(0)[6].any(axis=(1, 2, 3)).all() and batches.skipped > 8


def test_counting_starts_between_two_counts():
    """A batch that another thread counts meanwhile is counted whole, before or after."""
    batches = TrainingBatches(Blocks([1, 0, 2]), SmallConfig(), seed=0)
    batches.batch(0)
    with ThreadPoolExecutor(1) as pool:
        with batches._lock:  # as `batch` holds it
            batches.skipped = 3
            reset = pool.submit(batches.start_counting)
            with pytest.raises(TimeoutError):
                reset.result(0.05)
            assert batches.skipped == 3
        reset.result(10)
    assert (batches.skipped, batches.dropped, batches.crowded) == (0, 0, {})
