"""Which images are taken: repeat factors, weights, and what a pass is made of."""

import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mrcnn.data.batches import TrainingBatches, data_generator
from mrcnn.data.dataset import Dataset
from mrcnn.data.order import Passes, image_weights, pass_length, repeat_factors, weighted_pass
from tests.data.blocks import Blocks, SmallConfig


class Classes(Dataset):
    """Images with objects of the classes in a list each, known without loading a mask."""

    def __init__(self, images, count=3):
        super().__init__()
        self.images, self.measured = images, 0
        for class_id in range(1, count):
            self.add_class("c", class_id, f"class {class_id}")
        for number in range(len(images)):
            self.add_image("c", number, path=None)
        self.prepare()

    def measure_objects(self, image_id):
        self.measured += 1
        class_ids = np.array(self.images[image_id], np.int32)
        return (10, 10), class_ids, np.ones(len(class_ids), np.int64)


def sampling(kind, **fields):
    return type(
        "SamplingConfig",
        (SmallConfig,),
        {"IMAGE_SAMPLING": staticmethod(kind) if callable(kind) else kind, **fields},
    )()


def factors_by_loops(images, threshold):
    def share(class_id):
        return sum(class_id in image for image in images) / len(images)

    limit = threshold or max(share(c) for image in images for c in image if c > 0)
    return [
        max([1.0] + [max(1, np.sqrt(limit / share(c))) for c in image if c > 0]) for image in images
    ]


@pytest.mark.parametrize("threshold", [None, 0.3, 1.0])
def test_repeat_factors_against_loops(threshold):
    images = [[1], [1, 1, 2], [1], [], [3, 1], [1, -2], [1], [1, 3], [1], [-3]]
    found = repeat_factors(Classes(images, 5), threshold)
    np.testing.assert_allclose(found, factors_by_loops(images, threshold))
    assert found[1] == found.max() > found[4] > 1 and found[3] == found[9] == 1


def test_lvis_example():
    """A class on 1 of 10,000 images, at LVIS' threshold of 0.001: the square root of ten."""
    factors = repeat_factors(Classes([[1]] * 9999 + [[1, 2]]), 0.001)
    assert (factors[:-1] == 1).all()
    np.testing.assert_allclose(factors[-1], np.sqrt(10))


def test_measured_once(capfd):
    dataset = Classes([[1], [2], [1]])
    first = repeat_factors(dataset)
    np.testing.assert_array_equal(first, repeat_factors(dataset))
    assert dataset.measured == 3
    dataset.images.append([2])
    dataset.add_image("c", 3, path=None)
    dataset.prepare()
    assert len(repeat_factors(dataset)) == 4 and dataset.measured == 7


def test_balance_that_changes_nothing_is_told(caplog):
    with caplog.at_level(logging.WARNING):
        repeat_factors(Classes([[1], [1, 2]]), 0.1)
        repeat_factors(Classes([[], [-1]]), 0.1)
        repeat_factors(Classes([[1], [2]]))
    assert [record.getMessage().count("changes nothing") for record in caplog.records] == [1, 1, 1]
    assert (
        "at least 0.5 of the images, and REPEAT_THRESHOLD is 0.1" in caplog.records[0].getMessage()
    )


def test_no_balance_is_asked_for():
    dataset = Classes([[1]])
    assert image_weights(dataset, SmallConfig()) is None and dataset.measured == 0


# === Passes ===


@pytest.mark.parametrize(
    "weights", [[1, 1, 1], [1, 2.5, 1.2, 3], [0, 1, 0, 2], [0.2, 0.1], [1e-9, 1e9], [4]]
)
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_pass_has_each_image_as_often_as_its_weight(weights, shuffle):
    weights = np.array(weights, float)
    length = pass_length(weights) if weights.sum() < 1e6 else None
    if length is None:
        weights = weights / 1e9
        length = pass_length(weights)
    assert length == max(round(weights.sum()), len(weights))
    expected = weights / weights.sum() * length
    total = np.zeros(len(weights))
    for seed in range(300):
        images = weighted_pass(weights, np.random.RandomState(seed), shuffle)
        counts = np.bincount(images, minlength=len(weights))
        assert len(images) == length and (np.abs(counts - expected) < 1 + 1e-9).all()
        assert shuffle or (np.diff(images) >= 0).all()
        total += counts
    np.testing.assert_allclose(total / 300, expected, atol=0.12)


def test_passes_without_weights_are_permutations():
    passes = Passes(np.arange(5) + 10, seed=3)
    taken = [passes.image(number) for number in range(15)]
    assert all(sorted(taken[start : start + 5]) == list(range(10, 15)) for start in (0, 5, 10))
    assert taken[:5] != taken[5:10]
    assert [passes.image(3, step) for step in range(3)] == [taken[3], taken[4], taken[0]]


def test_rare_classes_come_more_often_in_training():
    dataset = Classes([[1]] * 9 + [[2]])
    dataset.load_image = lambda image_id: np.full((64, 64, 3), image_id, np.uint8)
    dataset.load_mask = lambda image_id: (np.ones((64, 64, 1), bool), dataset.images[image_id])
    config = sampling("balanced")
    batches = TrainingBatches(dataset, config, batch_size=12, seed=0)  # 9 + sqrt(9) images a pass
    for index in range(4):
        assert sorted(batches.image_ids(index)) == [*list(range(9)), 9, 9, 9]
    plain = TrainingBatches(dataset, config, batch_size=10, seed=0, training=False)
    assert sorted(plain.image_ids(1)) == list(range(10))
    np.random.seed(0)
    inputs, _ = next(data_generator(dataset, config, batch_size=12))
    assert np.count_nonzero(inputs[4][:, 0] == 2) == 3
    inputs, _ = next(data_generator(dataset, config, batch_size=10, training=False))
    assert np.count_nonzero(inputs[4][:, 0] == 2) == 1


def test_weights_of_a_function():
    config = sampling(lambda dataset: np.arange(len(dataset.image_ids)))
    batches = TrainingBatches(Blocks([1] * 4), config, batch_size=6, seed=0)
    assert sorted(batches.image_ids(0)) == [1, 2, 2, 3, 3, 3]
    ordered = TrainingBatches(Blocks([1] * 4), config, batch_size=6, seed=0, shuffle=False)
    assert ordered.image_ids(2) == [1, 2, 2, 3, 3, 3]


def test_a_weighted_batch_depends_on_seed_and_index_alone():
    config = sampling(lambda dataset: [0.3, 2.6, 1, 5, 0.7])
    first = TrainingBatches(Blocks([1, 2, 3, 0, 1]), config, seed=5)
    expected = [first.batch(index) for index in range(24)]
    np.random.seed(1)
    again = TrainingBatches(Blocks([1, 2, 3, 0, 1]), config, seed=5)
    order = np.random.permutation(24).tolist()
    with ThreadPoolExecutor(6) as pool:
        found = dict(zip(order, pool.map(again.batch, order)))
    for index in range(24):
        for a, b in zip(found[index], expected[index]):
            np.testing.assert_array_equal(a, b)
    assert first.skipped == again.skipped > 0
    other = TrainingBatches(Blocks([1, 2, 3, 0, 1]), config, seed=6)
    assert [first.image_ids(i) for i in range(24)] != [other.image_ids(i) for i in range(24)]


@pytest.mark.parametrize(
    "weights", [[1, 1], [1, 1, 1, 1], [[1, 1, 1]], [1, -1, 1], [1, np.nan, 1], [0, 0, 0], 1]
)
def test_wrong_weights(weights):
    with pytest.raises(
        ValueError, match="IMAGE_SAMPLING must return 3 finite weights .* of Blocks"
    ):
        TrainingBatches(Blocks([1, 1, 1]), sampling(lambda dataset: weights))


def test_the_name_of_a_function_from_a_file_is_not_imported():
    with pytest.raises(
        ValueError, match="IMAGE_SAMPLING is 'my.module:weights', the name of a function"
    ):
        TrainingBatches(Blocks([1]), sampling("my.module:weights"))


def test_images_of_weight_0_are_not_taken_where_a_pass_begins_on_their_border():
    class Draw(np.random.RandomState):
        def random_sample(self, *size):
            return 0.0

    for seed in range(10):
        assert set(weighted_pass(np.array([0, 1, 0, 2, 0.0]), Draw(seed))) == {1, 3}
