"""LabelBatches: what a batch depends on, which images it has, and what it says of them."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mrcnn.config import SegmentationConfig
from mrcnn.data.augment.user import import_imgaug
from mrcnn.data.label_batches import LabelBatches
from mrcnn.data.load import SampleError
from tests.data.label_scenes import Scenes, SmallSegmentation


def ids_of(arrays):
    """Image ids of a batch, read back from the pixels."""
    pixels = arrays[0] + SegmentationConfig.MEAN_PIXEL
    return np.rint(pixels[:, 0, 0, 0]).astype(int).tolist()


def maps(count, shape=(64, 64), value=1):
    """Label maps with a rectangle of a class, each at another place."""
    made = []
    for index in range(count):
        labels = np.zeros(shape, np.uint8)
        labels[3 * index : 20 + 3 * index, 5:40] = value
        made.append(labels)
    return made


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_batches_cover_each_pass(batch_size):
    batches = LabelBatches(Scenes(maps(6)), SmallSegmentation(), batch_size=batch_size, seed=4)
    made = [batches.batch(i) for i in range(12 // batch_size)]
    ids = sum(map(ids_of, made), [])
    assert sorted(ids[:6]) == sorted(ids[6:]) == list(range(6))
    assert sum((batches.image_ids(i) for i in range(12 // batch_size)), []) == ids
    for images, labels in made:
        assert images.shape == (batch_size, 64, 64, 3) and images.dtype == np.float32
        assert labels.shape == (batch_size, 64, 64) and labels.dtype == np.int32
        for image_id, row in zip(ids_of([images]), labels):
            np.testing.assert_array_equal(row, batches.dataset.maps[image_id])
    assert list(batches.with_new_images(range(10))) == list(range(-(-6 // batch_size)))


def turned():
    iaa = import_imgaug().augmenters
    return iaa.Sequential([iaa.Fliplr(0.5), iaa.Affine(rotate=(-20, 20)), iaa.Add((-20, 20))])


def test_a_batch_depends_on_seed_and_index_alone():
    """Whatever the order, the threads and the global random states."""

    class Everything(SmallSegmentation):
        SCALE_JITTER, COPY_PASTE = (0.5, 1.5), 0.5

    augmentation = turned()

    def made(seed):
        return LabelBatches(
            Scenes([*maps(4, (50, 61), 2), np.full((50, 61), 255)]),
            Everything(),
            augmentation=augmentation,
            augment=True,
            seed=seed,
        )

    np.random.seed(0)
    one_by_one = made(9)
    expected = [one_by_one.batch(i) for i in range(20)]
    np.random.seed(1)
    threaded, order = made(9), np.random.permutation(20).tolist()
    before = np.random.get_state()[1].copy()
    with ThreadPoolExecutor(8) as pool:
        found = dict(zip(order, pool.map(threaded.batch, order)))
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    for i in range(20):
        for array, other in zip(found[i], expected[i]):
            np.testing.assert_array_equal(array, other)
        assert threaded.image_ids(i) == one_by_one.image_ids(i)
    assert threaded.skipped == one_by_one.skipped > 0
    assert threaded.dropped == 0 and threaded.crowded == {}
    np.testing.assert_array_equal(made(9).batch(17)[1], expected[17][1])  # a resumed run
    assert (made(10).batch(0)[0] != expected[0][0]).any()


def test_images_void_everywhere_are_replaced_and_counted():
    scenes = Scenes([np.full((64, 64), 255), *maps(2), np.zeros((64, 64), int)])
    batches = LabelBatches(scenes, SmallSegmentation(), batch_size=4, seed=0)
    ids = [batches.image_ids(i) for i in range(8)]
    assert batches.skipped == 0, "samples do not count, batches do"
    for i in range(8):
        batches.batch(i)
    assert {image for batch in ids for image in batch} == {1, 2, 3} and batches.skipped == 8
    (sentence,) = batches.passed_over()
    assert sentence == (
        "8 times an image, or the part of it that was cut out, was void everywhere and was "
        "replaced by the next one"
    )
    batches.start_counting()
    assert batches.skipped == 0 and batches.passed_over() == []


def test_without_empty_images_those_of_background_are_replaced_too():
    class Filled(SmallSegmentation):
        KEEP_EMPTY_IMAGES = False

    half = np.zeros((64, 64), int)
    half[:30] = 255
    batches = LabelBatches(
        Scenes([half, *maps(1), np.zeros((64, 64), int)]), Filled(), batch_size=3
    )
    assert batches.image_ids(0) == [1, 1, 1]
    batches.batch(0)
    assert batches.skipped == 3
    assert "no class but the background" in batches.passed_over()[0]
    assert "KEEP_EMPTY_IMAGES = True" in batches.passed_over()[0]


@pytest.mark.parametrize(
    "value, keep, words",
    [
        (255, True, "No image of Scenes has a pixel that is not void: 2 in a row had none"),
        (0, False, "No image of Scenes has a pixel of a class but the background; KEEP_EMPTY"),
    ],
)
def test_nothing_to_learn(value, keep, words):
    class Kept(SmallSegmentation):
        KEEP_EMPTY_IMAGES = keep

    batches = LabelBatches(Scenes([np.full((64, 64), value)] * 2), Kept())
    with pytest.raises(ValueError, match=words):
        batches.batch(0)


def test_what_is_said_of_a_sample():
    labels = np.zeros((64, 64), np.uint8)
    labels[:16], labels[16:17], labels[60:] = 1, 2, 255
    batches = LabelBatches(Scenes([labels]), SmallSegmentation(), batch_size=1)
    (sample,) = batches.samples(0)
    assert batches.describe(sample) == "background 67.2 %, one 25.0 %, two 1.6 %, void 6.2 %"
    assert batches.annotations == "labels"


def test_images_of_several_sizes_need_batches_of_one():
    class AsTheyAre(SmallSegmentation):
        IMAGE_RESIZE_MODE = "none"

    scenes = Scenes([*maps(1), *maps(1, (40, 52))])
    one_each = LabelBatches(scenes, AsTheyAre(), batch_size=1, shuffle=False)
    assert [one_each.batch(i)[1].shape for i in range(2)] == [(1, 64, 64), (1, 48, 64)]
    with pytest.raises(ValueError, match=r"\(64, 64, 3\) and image 1 \(48, 64, 3\) after resizing"):
        LabelBatches(scenes, AsTheyAre(), batch_size=2, shuffle=False).batch(0)


def test_a_cache_is_refused():
    class Cache(Scenes):
        def load_prepared(self, image_id, config):
            raise AssertionError

    with pytest.raises(ValueError, match="Cache is a cache, which holds masks of objects"):
        LabelBatches(Cache(maps(1)), SmallSegmentation())


def test_sources_of_different_classes_are_refused():
    scenes = Scenes(maps(2))
    scenes.add_class("others", 1, "three")
    scenes.image_info[1]["source"] = "others"
    scenes.prepare()

    class Four(SmallSegmentation):
        NUM_CLASSES = 4

    with pytest.raises(ValueError, match="images of 2 sources with classes of their own"):
        LabelBatches(scenes, Four())
    merged = type("Merged", (Four,), {"MERGE_SOURCES": True})()
    assert len(LabelBatches(scenes, merged, 2, shuffle=False).batch(0)[1]) == 2


def test_no_images_and_other_classes_are_refused():
    with pytest.raises(ValueError, match="Scenes has no images"):
        LabelBatches(Scenes([]), SmallSegmentation())

    class Two(SmallSegmentation):
        NUM_CLASSES = 2

    with pytest.raises(ValueError, match="Scenes has 3 classes"):
        LabelBatches(Scenes(maps(1)), Two())


def test_an_error_names_the_image():
    class Broken(Scenes):
        def load_labels(self, image_id):
            raise OSError("the label map is gone")

    batches = LabelBatches(Broken(maps(1)), SmallSegmentation())
    with pytest.raises(SampleError, match=r"image 0 .*'folder/0.png'\): the label map is gone"):
        batches.batch(0)
