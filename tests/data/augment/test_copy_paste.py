"""Copy-paste: against a loop over pixels, and what training is given of it."""

import numpy as np
import pytest

from mrcnn.data.augment.copy_paste import choose_objects, paste_objects
from mrcnn.data.batches import TrainingBatches, data_generator
from mrcnn.data.load import SampleError
from mrcnn.data.masks import LEAST_LEFT, extract_bboxes
from tests.data.blocks import Blocks, SmallConfig


def scene(seed, count, size=(24, 30)):
    draw = np.random.RandomState(seed)
    masks = np.zeros((*size, count), bool)
    for index in range(count):
        y, x = draw.randint(0, size[0] - 2), draw.randint(0, size[1] - 2)
        masks[y : y + draw.randint(2, 14), x : x + draw.randint(2, 14), index] = True
    return (
        draw.randint(0, 256, (*size, 3)).astype(np.uint8),
        masks,
        draw.randint(1, 4, count).astype(np.int32),
    )


def paste_by_loops(image, mask, class_ids, other_image, other_mask, other_class_ids):
    image, left = image.copy(), mask.copy()
    for y, x in np.ndindex(image.shape[:2]):
        if other_mask[y, x].any():
            image[y, x], left[y, x] = other_image[y, x], False
    kept, ids = [], []
    for index, class_id in enumerate(class_ids):
        if left[..., index].any():
            little = left[..., index].sum() < LEAST_LEFT * mask[..., index].sum()
            kept.append(left[..., index])
            ids.append(-abs(class_id) if little else class_id)
    for index, class_id in enumerate(other_class_ids):
        kept.append(other_mask[..., index])
        ids.append(class_id)
    return image, np.stack(kept, axis=-1) if kept else mask[..., :0], ids


@pytest.mark.parametrize("seed", range(20))
def test_against_loops(seed):
    below, above = scene(seed, seed % 5), scene(seed + 100, seed % 4)
    copies = [part.copy() for part in below + above]
    image, masks, class_ids = paste_objects(*below, *above)
    expected = paste_by_loops(*below, *above)
    np.testing.assert_array_equal(image, expected[0])
    np.testing.assert_array_equal(masks, expected[1])
    assert (
        class_ids.tolist() == list(expected[2])
        and image.dtype == np.uint8
        and class_ids.dtype == np.int32
    )
    for before, after in zip(copies, below + above):
        np.testing.assert_array_equal(before, after)


def test_hidden_objects():
    """One hidden altogether, one nearly, one in half, one not at all, one that is a crowd
    already.
    """
    masks = np.zeros((40, 40, 5), bool)
    for index, (low, high) in enumerate([(12, 18), (0, 21), (0, 30), (30, 40), (0, 30)]):
        masks[10:20, low:high, index] = True
    masks[10:20, :20, 1] = masks[10:20, 21:, 1] = False
    masks[10:20, 10:20, 1] = True  # 100 pixels, of which column 20 stays: 10
    masks[10, 20, 1] = False  # 9 of 109 stay
    over = np.zeros((40, 40, 1), bool)
    over[10:20, 10:20] = True
    image, found, class_ids = paste_objects(
        np.zeros((40, 40, 3), np.uint8),
        masks,
        np.int32([1, 2, 3, 1, -2]),
        np.ones((40, 40, 3), np.uint8),
        over,
        np.int32([3]),
    )
    assert class_ids.tolist() == [-2, 3, 1, -2, 3]
    np.testing.assert_array_equal(image[..., 0], over[..., 0])
    np.testing.assert_array_equal(
        extract_bboxes(found),
        [(11, 20, 20, 21), (10, 0, 20, 30), (10, 30, 20, 40), (10, 0, 20, 30), (10, 10, 20, 20)],
    )
    assert found[..., 1].sum() == 200


def test_images_of_two_sizes_are_refused():
    with pytest.raises(
        ValueError, match=r"\(24, 31, 3\) cannot be pasted onto one of shape \(24, 30, 3\)"
    ):
        paste_objects(*scene(0, 1), *scene(0, 1, (24, 31)))


# === Which objects ===


def test_any_number_from_one_and_any_object():
    counts, met = set(), set()
    for seed in range(200):
        chosen = choose_objects(np.int32([1, 2, 1, 2]), [1, 1, 1], 10, np.random.RandomState(seed))
        assert len(set(chosen)) == len(chosen) and sorted(chosen) == chosen.tolist()
        counts.add(len(chosen))
        met.update(chosen.tolist())
    assert counts == {1, 2, 3, 4} and met == {0, 1, 2, 3}


@pytest.mark.parametrize(
    "class_ids, active, room, expected",
    [
        ([-1, 2, -2], [1, 1, 1], 5, {1}),  # crowds stay
        ([1, 2, 1], [1, 0, 1], 5, {1}),  # no class that the other image's source does not annotate
        ([1, 2], [1, 1, 1], 0, set()),
        ([1, 2], [1, 1, 1], -3, set()),
        ([], [1, 1, 1], 5, set()),
        ([-1], [1, 1, 1], 5, set()),
    ],
)
def test_objects_that_may_be_pasted(class_ids, active, room, expected):
    met = set()
    for seed in range(20):
        met.update(
            choose_objects(np.int32(class_ids), active, room, np.random.RandomState(seed)).tolist()
        )
    assert met == expected


def test_no_more_than_there_is_room_for():
    lengths = {
        len(choose_objects(np.ones(9, np.int32), [1, 1], 2, np.random.RandomState(seed)))
        for seed in range(40)
    }
    assert lengths == {1, 2}


# === In training ===


def pasting(probability, **fields):
    return type(
        "PasteConfig", (SmallConfig,), {"COPY_PASTE": probability, "USE_MINI_MASK": False, **fields}
    )()


class Colours(Blocks):
    """Image i has the value i, but 100 + i inside its one object, a square in a corner of its
    own.
    """

    def load_image(self, image_id):
        image = super().load_image(image_id)
        image[self.load_mask(image_id)[0][..., 0]] = 100 + image_id
        return image

    def load_mask(self, image_id):
        mask = np.zeros((64, 64, 1), bool)
        y, x = 40 * (image_id // 2), 40 * (image_id % 2)
        mask[y : y + 20, x : x + 20] = True
        return mask, [1 + image_id % 2]


def values(config, samples):
    """The values of each sample's pixels, and its class ids."""
    return [
        (
            sorted(set(np.rint(sample.image[..., 0] + config.MEAN_PIXEL[0]).astype(int).ravel())),
            sample.class_ids.tolist(),
        )
        for sample in samples
    ]


def test_objects_of_another_image_arrive_with_their_class():
    config = pasting(1.0)
    batches = TrainingBatches(Colours([1] * 4), config, batch_size=120, seed=0)
    givers = set()
    for sample, (found, class_ids) in zip(batches.samples(0), values(config, batches.samples(0))):
        own = sample.image_id
        giver = [value - 100 for value in found if value >= 100 and value != 100 + own]
        assert len(giver) == 1 and giver[0] != own and own in found and 100 + own in found
        assert class_ids == [1 + own % 2, 1 + giver[0] % 2]
        np.testing.assert_array_equal(sample.boxes, extract_bboxes(sample.masks))
        givers.add((own, giver[0]))
    assert len(givers) == 12


def test_how_often():
    config = pasting(0.3)
    batches = TrainingBatches(Colours([1] * 4), config, batch_size=300, seed=1)
    pasted = sum(len(sample.class_ids) == 2 for sample in batches.samples(0))
    assert 60 < pasted < 120


@pytest.mark.parametrize("options", [{"training": False}, {"no_augmentation_sources": ["blocks"]}])
def test_never_on_validation_images_or_sources_left_alone(options):
    config = pasting(1.0, SCALE_JITTER=(0.3, 0.5))
    batches = TrainingBatches(Colours([1] * 4), config, seed=0, batch_size=8, **options)
    plain = TrainingBatches(Colours([1] * 4), pasting(0.0), seed=0, batch_size=8)
    for a, b in zip(batches.batch(0), plain.batch(0)):
        np.testing.assert_array_equal(a, b)
    generator = data_generator(Colours([1] * 4), config, shuffle=False, batch_size=4, **options)
    np.testing.assert_array_equal(next(generator)[0][4][:, 1:], 0)


def test_one_image_alone_and_a_giver_without_objects():
    for dataset in (Colours([1]), Blocks([1, 0])):
        batches = TrainingBatches(dataset, pasting(1.0), batch_size=6, seed=0)
        assert all(len(sample.class_ids) == 1 for sample in batches.samples(0))


def test_pasting_leaves_no_object_out():
    """There is room for MAX_GT_INSTANCES = 5."""
    batches = TrainingBatches(Blocks([4, 4, 4]), pasting(1.0), batch_size=12, seed=0)
    assert {len(sample.class_ids) + sample.dropped for sample in batches.samples(0)} <= {3, 4, 5}
    batches.batch(0)
    assert batches.dropped == 0


def test_the_other_image_is_augmented_on_its_own():
    """Each is mirrored by lot: the own object is left or right, and so is the pasted one below or
    above it.
    """

    class Rows(Colours):
        def load_mask(self, image_id):
            mask = np.zeros((64, 64, 1), bool)
            mask[40 * image_id : 40 * image_id + 20, :20] = True
            return mask, [1]

    def flip(image, masks, rng):
        return (image, masks) if rng.random_sample() < 0.5 else (image[:, ::-1], masks[:, ::-1])

    batches = TrainingBatches(Rows([1, 1]), pasting(1.0), batch_size=40, seed=0, augmentation=flip)
    assert {tuple(sample.boxes[:, 1]) for sample in batches.samples(0)} == {
        (0, 0),
        (0, 44),
        (44, 0),
        (44, 44),
    }


def test_a_giver_that_cannot_be_read_is_named():
    class Broken(Colours):
        def load_image(self, image_id):
            if image_id == 1:
                raise OSError("cut short")
            return super().load_image(image_id)

    with pytest.raises(SampleError, match="image 1 .*cut short"):
        TrainingBatches(Broken([1, 1]), pasting(1.0), batch_size=1, shuffle=False).batch(0)
