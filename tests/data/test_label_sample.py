"""Images and label maps of a training batch: sizes, padding, changes, and what is refused."""

import numpy as np
import pytest

from mrcnn.config import SegmentationConfig
from mrcnn.config.network_sides import input_side, output_side, valid_margin
from mrcnn.data.augment.user import import_imgaug
from mrcnn.data.dataset import Dataset
from mrcnn.data.label_sample import make_label_sample, pad_image
from mrcnn.data.load import SampleError, load_view
from tests.data.label_scenes import Scenes, SmallSegmentation


def config_of(**fields):
    return type("Changed", (SmallSegmentation,), fields)()


def random_labels(rng, height, width, values=(0, 1, 2, 255)):
    """Blocks of 5 x 5 px of one value each."""
    cells = rng.choice(values, (-(-height // 5), -(-width // 5)))
    return np.kron(cells, np.ones((5, 5), int))[:height, :width].astype(np.uint8)


class Pictures(Dataset):
    """Images of noise; the objects are those of `masks`, so labels are made of them."""

    def __init__(self, height, width, masks, class_ids):
        super().__init__()
        self.image = np.random.RandomState(1).randint(0, 256, (height, width, 3)).astype(np.uint8)
        self.masks, self.ids = masks, np.array(class_ids, np.int32)
        self.add_class("pictures", 1, "one")
        self.add_class("pictures", 2, "two")
        self.add_image("pictures", "a", path="a.png")
        self.prepare()

    def load_image(self, image_id):
        return self.image

    def load_mask(self, image_id):
        return self.masks, self.ids


# === Sizes ===


def nearest_twin(labels, height, width):
    """Pillow's, which takes the pixel that the centre lies in."""
    from PIL import Image

    resized = Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST)
    return np.asarray(resized).astype(int)


@pytest.mark.parametrize("shape", [(64, 64), (40, 64), (33, 57), (100, 61), (3, 5), (1, 1)])
def test_labels_are_resized_and_padded_as_their_image(shape):
    """Against NumPy and Pillow; "square" puts the image in the middle."""
    labels = random_labels(np.random.RandomState(0), *shape)
    config = config_of(IMAGE_MIN_DIM=0, IMAGE_MAX_DIM=64)
    sample = make_label_sample(Scenes([labels]), config, 0)
    scale = min(64 / max(shape), 1)
    height, width = (max(round(side * scale), 1) for side in shape)
    expected = np.full((64, 64), 255)
    top, left = (64 - height) // 2, (64 - width) // 2
    small = labels if scale == 1 else nearest_twin(labels, height, width)
    expected[top : top + height, left : left + width] = small
    np.testing.assert_array_equal(sample.labels, expected)
    assert sample.labels.dtype == np.int32 and sample.image.dtype == np.float32
    assert sample.image.shape == (64, 64, 3) and sample.image_id == 0


@pytest.mark.parametrize("side", [24, 100, 128])
@pytest.mark.parametrize("mode", ["square", "crop", "jitter"])
def test_labels_lie_where_the_image_shows_them(side, mode):
    """A disc near a corner, found in the resized image by its brightness."""
    y, x = np.mgrid[:side, :side]
    disc = (((y - side / 6) ** 2 + (x - side / 6) ** 2) < (side / 7) ** 2).astype(np.uint8)

    class Discs(Scenes):
        def load_image(self, image_id):
            return np.repeat((200 * disc)[..., np.newaxis], 3, axis=2)

    fields = {"IMAGE_MIN_DIM": 64, "IMAGE_MAX_DIM": 64}
    if mode == "crop":
        fields["IMAGE_RESIZE_MODE"] = "crop"
    if mode == "jitter":
        fields["SCALE_JITTER"] = (0.7, 0.7)
    config = config_of(**fields)
    sample = make_label_sample(Discs([disc]), config, 0, rng=np.random.RandomState(3))
    shown = sample.image[..., 0] + config.MEAN_PIXEL[0] > 100
    found = sample.labels == 1
    assert (shown & found).sum() / (shown | found).sum() > 0.93


def test_the_image_is_that_of_mask_rcnn():
    """Resized, padded and molded to the bit, with masks where the labels are."""
    masks = np.zeros((50, 70, 2), bool)
    masks[5:30, 10:40, 0], masks[20:45, 30:60, 1] = True, True
    dataset, config = Pictures(50, 70, masks, [1, 2]), config_of()
    sample = make_label_sample(dataset, config, 0)
    view = load_view(dataset, config, 0)
    np.testing.assert_array_equal(
        sample.image, (view.image.astype(np.float32) - config.MEAN_PIXEL).astype(np.float32)
    )
    y1, x1, y2, x2 = view.image_meta[7:11].astype(int)
    inside = np.full((64, 64), 255)
    inside[y1:y2, x1:x2] = 0
    inside[view.masks[..., 0]] = 1
    inside[view.masks[..., 1]] = 2  # as large, and the later one
    np.testing.assert_array_equal(sample.labels, inside)


@pytest.mark.parametrize("mode", ["none", "pad64", "rect"])
@pytest.mark.parametrize("shape", [(50, 33), (64, 64), (1, 1)])
def test_other_modes_give_sides_that_the_network_takes(mode, shape):
    labels = random_labels(np.random.RandomState(1), *shape, values=(1, 2))
    config = config_of(IMAGE_RESIZE_MODE=mode, IMAGE_MIN_DIM=0)
    sample = make_label_sample(Scenes([labels]), config, 0)
    side = {"none": lambda side: -(-side // 16) * 16}.get(mode, lambda side: 64)
    assert sample.labels.shape == sample.image.shape[:2] == tuple(map(side, shape))
    assert (sample.labels != 255).sum() == labels.size


def test_a_crop_takes_the_same_part_of_both():
    class Ramp(Scenes):
        def load_image(self, image_id):
            return np.repeat(self.maps[image_id][..., np.newaxis] * 100, 3, 2).astype(np.uint8)

    labels = random_labels(np.random.RandomState(2), 90, 120, values=(0, 1, 2))
    config = config_of(IMAGE_RESIZE_MODE="crop", IMAGE_MIN_DIM=48)
    dataset, seen = Ramp([labels]), set()
    for seed in range(5):
        sample = make_label_sample(dataset, config, 0, rng=np.random.RandomState(seed))
        grey = np.rint(sample.image[..., 0] + config.MEAN_PIXEL[0])
        assert sample.labels.shape == (48, 48)
        np.testing.assert_array_equal(grey, sample.labels * 100)
        seen.add(sample.labels.tobytes())
    assert len(seen) == 5


@pytest.mark.parametrize("shape", [(1, 1), (7, 30), (64, 64), (33, 50)])
def test_without_padding_pixel_0_of_the_output_is_pixel_0_of_the_image(shape):
    config = config_of(
        UNET_PADDING="valid", UNET_WIDTHS=(2, 2, 2), IMAGE_RESIZE_MODE="none", MEAN_PIXEL=[0, 0, 0]
    )
    image = np.random.RandomState(0).rand(*shape, 3).astype(np.float32)
    padded = pad_image(image, config)
    margin = valid_margin(3)
    assert padded.shape[:2] == tuple(input_side(config, side) for side in shape)
    height, width = shape
    np.testing.assert_array_equal(padded[margin : margin + height, margin : margin + width], image)
    rows, columns = (  # by hand: a row of mirror images
        [abs(-1 - i % (2 * n) if i % (2 * n) < n else 2 * n - i % (2 * n)) - 1 for i in index]
        for n, index in (
            (side, np.arange(-margin, length - margin)) for side, length in zip(shape, padded.shape)
        )
    )
    np.testing.assert_array_equal(padded, image[np.ix_(rows, columns)])
    sample = make_label_sample(Scenes([np.ones(shape, np.uint8)]), config, 0)
    assert sample.image.shape == padded.shape
    assert sample.labels.shape == tuple(output_side(config, side) for side in padded.shape[:2])
    expected = np.full(sample.labels.shape, 255)
    expected[:height, :width] = 1
    np.testing.assert_array_equal(sample.labels, expected)


def test_padding_is_the_mean_pixel():
    image = np.ones((17, 16, 3), np.float32)
    padded = pad_image(image, config_of())
    assert padded.shape == (32, 16, 3) and padded[:17].all() and not padded[17:].any()
    assert pad_image(image[:16], config_of()).shape == (16, 16, 3)


# === Void ===


@pytest.mark.parametrize(
    "dtype, void, ignore",
    [
        (np.uint8, 255, 255),
        (np.uint8, 255, 100),
        (np.uint8, 100, 100),
        (np.int64, 255, 255),
        (np.uint16, 65535, 255),
        (np.uint16, 255, 255),
    ],
)
def test_what_void_may_be(dtype, void, ignore):
    labels = np.ones((64, 64), dtype)
    labels[:10] = void
    sample = make_label_sample(Scenes([labels]), config_of(IGNORE_LABEL=ignore), 0)
    assert (sample.labels[:10] == ignore).all() and (sample.labels[10:] == 1).all()


def test_many_classes():
    class Many(Scenes):
        def __init__(self, maps):
            super().__init__(maps)
            for number in range(3, 300):
                self.add_class("scenes", number, f"class {number}")
            self.prepare()

    labels = np.full((64, 64), 299, np.uint16)
    labels[:10], labels[10:20], labels[20:30] = 65535, 255, 0
    config = config_of(NUM_CLASSES=300, IGNORE_LABEL=65535)
    found = make_label_sample(Many([labels]), config, 0).labels
    np.testing.assert_array_equal(found, labels)
    found = make_label_sample(Many([labels.astype(int)]), config, 0).labels
    np.testing.assert_array_equal(found, labels)


@pytest.mark.parametrize("keep", [True, False])
def test_nothing_of_an_image_void_everywhere(keep):
    config = config_of(KEEP_EMPTY_IMAGES=keep)
    labels = np.full((64, 64), 255, np.uint8)
    assert make_label_sample(Scenes([labels]), config, 0) is None
    labels[3, 3] = 0
    assert (make_label_sample(Scenes([labels]), config, 0) is not None) == keep
    labels[3, 3] = 1
    assert make_label_sample(Scenes([labels]), config, 0) is not None


@pytest.mark.parametrize("crowds, value", [("ignore", 255), ("class", 2)])
@pytest.mark.parametrize("overlap, shared", [("smaller", 1), ("last", 2), ("ignore", 255)])
def test_crowds_and_overlaps_are_as_the_config_says(crowds, value, overlap, shared):
    masks = np.zeros((64, 64, 3), bool)
    masks[:8, :, 0], masks[4:20, :, 1], masks[40:, :, 2] = True, True, True
    config = config_of(CROWDS=crowds, OVERLAP=overlap)
    labels = make_label_sample(Pictures(64, 64, masks, [1, 2, -2]), config, 0).labels
    rows = [(0, 4, 1), (4, 8, shared), (8, 20, 2), (20, 40, 0), (40, 64, value)]
    for start, end, expected in rows:
        assert (labels[start:end] == expected).all()


# === Augmentation ===


def test_what_comes_from_outside_of_the_image_is_void():
    iaa = import_imgaug().augmenters
    augmentation = iaa.Affine(rotate=45, cval=255)
    labels = np.zeros((64, 64), np.uint8)
    labels[20:44, 20:44] = 2
    sample = make_label_sample(
        Scenes([labels]), config_of(), 0, augmentation=augmentation, rng=np.random.RandomState(0)
    )
    turned = sample.labels
    for corner in (turned[:8, :8], turned[-8:, -8:], turned[:8, -8:], turned[-8:, :8]):
        assert (corner == 255).all()
    assert (turned[24:40, 24:40] == 2).all() and turned[32, 17] == 2, "a square on its corner"
    assert (turned[3:8, 30:34] == 0).all() and set(np.unique(turned)) == {0, 2, 255}
    assert 0.25 < (turned == 0).mean() < 0.75


@pytest.mark.parametrize("name, axis", [("Fliplr", 1), ("Flipud", 0)])
def test_flips_are_exact(name, axis):
    augmentation = getattr(import_imgaug().augmenters, name)(1.0)
    labels = random_labels(np.random.RandomState(3), 64, 64)
    sample = make_label_sample(
        Scenes([labels]), config_of(), 0, augmentation=augmentation, rng=np.random.RandomState(0)
    )
    np.testing.assert_array_equal(sample.labels, np.flip(labels, axis))


def test_a_function_is_given_a_mask_a_class_and_void_last():
    labels = random_labels(np.random.RandomState(3), 64, 64)
    seen = []

    def shift(image, masks):
        seen.append(masks)
        moved = np.zeros_like(masks)
        moved[10:] = masks[:-10]
        return image, moved

    sample = make_label_sample(Scenes([labels]), config_of(), 0, augmentation=shift)
    for channel, value in enumerate((0, 1, 2, 255)):
        np.testing.assert_array_equal(seen[0][..., channel], labels == value)
    assert (sample.labels[:10] == 255).all()
    np.testing.assert_array_equal(sample.labels[10:], labels[:-10])

    def everywhere(image, masks):
        return image, np.ones_like(masks)

    both = np.where(labels == 255, 0, labels)  # the highest class, unless void is there
    labels = make_label_sample(Scenes([both]), config_of(), 0, augmentation=everywhere).labels
    assert (labels == 2).all()


def test_an_augmentation_that_erases_all_leaves_no_sample():
    def erase(image, masks):
        return image, np.zeros_like(masks)

    scenes = Scenes([np.ones((64, 64), np.uint8)])
    assert make_label_sample(scenes, config_of(), 0, augmentation=erase) is None
    spared = make_label_sample(
        scenes, config_of(), 0, augmentation=erase, no_augmentation_sources=["scenes"]
    )
    assert (spared.labels == 1).all()


def test_mirrored():
    labels = random_labels(np.random.RandomState(3), 64, 64)
    found = [
        make_label_sample(
            Scenes([labels]), config_of(), 0, augment=True, rng=np.random.RandomState(seed)
        ).labels
        for seed in range(8)
    ]
    mirrored = [np.array_equal(one, labels[:, ::-1]) for one in found]
    assert [np.array_equal(one, labels) for one in found] == [not one for one in mirrored]
    assert 0 < sum(mirrored) < 8


# === Scale jitter and copy-paste ===


class Greys(Scenes):
    """Images as bright as their labels: 0, 50, 100."""

    def load_image(self, image_id):
        labels = np.where(self.maps[image_id] == 255, 4, self.maps[image_id])
        return np.repeat((50 * labels)[..., np.newaxis], 3, 2).astype(np.uint8)


@pytest.mark.parametrize("jitter", [(0.3, 0.6), (1.0, 1.0), (1.5, 2.5)])
def test_scale_jitter_moves_labels_and_image_alike(jitter):
    labels = np.ones((64, 48), np.uint8)
    labels[20:40, 10:40] = 2
    config = config_of(SCALE_JITTER=jitter)
    areas = []
    for seed in range(6):
        rng = np.random.RandomState(seed)
        sample = make_label_sample(Greys([labels]), config, 0, rng=rng)
        bright = sample.image[..., 0] + config.MEAN_PIXEL[0]
        assert sample.labels.shape == (64, 64)
        assert (bright[sample.labels == 255] < 1).all()  # padding is black and void
        agree = np.abs(bright - 50 * sample.labels)[sample.labels != 255] < 26
        assert agree.mean() > 0.95, "but at the edges, which are blended in the image"
        areas.append((sample.labels != 255).sum())
    if jitter[1] <= 1:
        assert min(areas) >= round(64 * jitter[0]) * round(48 * jitter[0])
        assert max(areas) <= round(64 * jitter[1]) * round(48 * jitter[1])
    calm = make_label_sample(Greys([labels]), config, 0, training=False).labels
    np.testing.assert_array_equal(calm[:, 8:56], labels)


def test_classes_of_another_image_are_pasted():
    below = np.zeros((64, 64), np.uint8)
    below[:, :20] = 1
    above = np.zeros((64, 64), np.uint8)
    above[10:30, 10:50], above[40:50] = 2, 255
    config = config_of(COPY_PASTE=1.0)
    sample = make_label_sample(Greys([below, above]), config, 0, rng=np.random.RandomState(0))
    np.testing.assert_array_equal(sample.labels, np.where(above == 2, 2, below))
    np.testing.assert_array_equal(
        np.rint(sample.image[..., 1] + config.MEAN_PIXEL[1]), 50 * sample.labels
    )
    for options in ({"training": False}, {"no_augmentation_sources": ["scenes"]}):
        calm = make_label_sample(Greys([below, above]), config, 0, **options)
        np.testing.assert_array_equal(calm.labels, below)
    alone = make_label_sample(Greys([below]), config, 0)
    np.testing.assert_array_equal(alone.labels, below)


def test_images_of_two_sizes_cannot_be_pasted():
    config = config_of(COPY_PASTE=1.0, IMAGE_RESIZE_MODE="none")
    scenes = Scenes([np.ones((64, 64), np.uint8), np.ones((32, 64), np.uint8)])
    with pytest.raises(ValueError, match="COPY_PASTE needs images of one size"):
        make_label_sample(scenes, config, 0)


# === What is refused ===


@pytest.mark.parametrize(
    "labels, words",
    [
        (np.full((64, 64), 3), r"have the value 3 at \(y, x\) = \(0, 0\): they may have 0 to 2"),
        (np.full((64, 64), -1), "have the value -1"),
        (np.full((64, 64), 254, np.uint8), "have the value 254"),
        (np.zeros((64, 64)), "load_labels returned float64"),
        (np.zeros((64, 64, 1), int), r"of shape \(64, 64, 1\)"),
        (None, "load_labels returned object"),
    ],
)
def test_wrong_labels_are_refused_by_name(labels, words):
    class Wrong(Scenes):
        def load_labels(self, image_id):
            return labels

    scenes = Wrong([np.ones((64, 64), np.uint8)])
    with pytest.raises(SampleError, match=f"(?s)folder/0.png.*{words}"):
        make_label_sample(scenes, config_of(), 0)


def test_labels_of_another_size_are_refused():
    class Small(Scenes):
        def load_labels(self, image_id):
            return self.maps[image_id][:30]

    with pytest.raises(SampleError, match=r"the labels are 30 x 64 pixels .* the image is 64 x 64"):
        make_label_sample(Small([np.ones((64, 64), np.uint8)]), config_of(), 0)


def test_grey_images():
    config = config_of(IMAGE_CHANNEL_COUNT=1, MEAN_PIXEL=[10.0])
    sample = make_label_sample(Scenes([np.ones((20, 30), np.uint8)]), config, 0)
    assert sample.image.shape == (64, 64, 1)
    assert SegmentationConfig.IMAGE_CHANNEL_COUNT == 3
