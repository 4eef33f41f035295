"""load_image_gt: parity with the original, every kind of image, every check."""

import random

import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.data.coco_json import image_objects
from mrcnn.data.dataset import Dataset
from mrcnn.data.load import SampleError, load_image_gt
from mrcnn.ops.image_meta import parse_image_meta
from tests.paths import PARITY as PARITY_FOLDER

PARITY = PARITY_FOLDER / "batch0_small.npz"


class ToyConfig(Config):
    NAME = "toy"
    NUM_CLASSES = 3
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 128


class ArrayDataset(Dataset):
    """Images, masks and class ids straight from lists; what is an exception is raised."""

    def __init__(self, images, masks, class_ids, source="toy"):
        super().__init__()
        self.data = list(zip(images, masks, class_ids))
        self.add_class("toy", 1, "square")
        self.add_class("toy", 2, "circle")
        for i in range(len(self.data)):
            self.add_image(source, f"name{i}", path=f"folder/{i}.png")
        self.prepare()

    def load_image(self, image_id):
        if isinstance(self.data[image_id][0], Exception):
            raise self.data[image_id][0]
        return self.data[image_id][0]

    def load_mask(self, image_id):
        return self.data[image_id][1], self.data[image_id][2]


def picture(height=100, width=128, count=2):
    image = np.random.RandomState(0).randint(0, 256, (height, width, 3)).astype(np.uint8)
    mask = np.zeros((height, width, count), dtype=bool)
    for i in range(count):
        mask[10 + i : 60, 20 + 5 * i : 90, i] = True
    return image, mask, (np.arange(count) % 2 + 1).astype(np.int32)


def one(image, mask, class_ids, **kwargs):
    return ArrayDataset([image], [mask], [class_ids], **kwargs)


# === Parity ===


@pytest.mark.parametrize("i", [0, 1])
def test_parity_with_the_original(i):
    golden = np.load(PARITY)
    image = np.zeros((256, 256, 3), dtype=np.uint8)
    image[::16, ::16] = golden[f"ds{i}_pixels"]
    shape = golden[f"ds{i}_mask_shape"]
    mask = np.unpackbits(golden[f"ds{i}_mask_packed"], count=shape.prod()).reshape(shape)
    # The other images only give this one its number.
    dataset = ArrayDataset([image] * 2, [mask.astype(bool)] * 2, [golden[f"ds{i}_class_ids"]] * 2)

    class Config256(ToyConfig):
        IMAGE_MIN_DIM = IMAGE_MAX_DIM = 256

    out = load_image_gt(dataset, Config256(), i, use_mini_mask=True)
    np.testing.assert_array_equal(out[0], image)
    for value, name in zip(out[1:], ("meta", "class_ids", "bbox", "mask")):
        np.testing.assert_array_equal(value, golden[f"gt{i}_{name}"])
    assert [value.dtype for value in out] == [np.uint8, np.float64, np.int32, np.int32, bool]


# === Geometry ===


def test_square_padding_and_meta():
    image, mask, ids = picture(50, 64)
    out_image, meta, class_ids, bbox, out_mask = load_image_gt(
        one(image, mask[:50], ids), ToyConfig(), 0
    )
    assert out_image.shape == (128, 128, 3) and out_mask.shape == (128, 128, 2)
    parts = {name: value[0] for name, value in parse_image_meta(meta[np.newaxis]).items()}
    np.testing.assert_array_equal(parts["original_image_shape"], [50, 64, 3])
    np.testing.assert_array_equal(parts["image_shape"], [128, 128, 3])
    np.testing.assert_array_equal(parts["window"], [14, 0, 114, 128])
    assert parts["scale"] == 2 and parts["image_id"] == 0
    np.testing.assert_array_equal(parts["active_class_ids"], [1, 1, 1])
    for i, (y1, x1, y2, x2) in enumerate(bbox):
        assert out_mask[y1:y2, x1:x2, i].sum() == out_mask[:, :, i].sum()
        assert out_mask[y1, :, i].any() and out_mask[y2 - 1, :, i].any()
        assert out_mask[:, x1, i].any() and out_mask[:, x2 - 1, i].any()
    np.testing.assert_array_equal(class_ids, ids)


def test_crop_drops_objects_outside_and_follows_rng():
    image, mask, ids = picture(200, 300)
    mask[:] = False
    mask[:5, :5, 0] = True  # in a corner, mostly cut away
    mask[60:140, 100:200, 1] = True

    class CropConfig(ToyConfig):
        IMAGE_RESIZE_MODE = "crop"

    dataset, config = one(image, mask, ids), CropConfig()
    lost = 0
    for seed in range(8):
        first = load_image_gt(dataset, config, 0, rng=np.random.RandomState(seed))
        again = load_image_gt(dataset, config, 0, rng=np.random.RandomState(seed))
        for a, b in zip(first, again):
            np.testing.assert_array_equal(a, b)
        _, _, class_ids, bbox, out_mask = first
        assert len(class_ids) == len(bbox) == out_mask.shape[2]
        assert out_mask.any(axis=(0, 1)).all()
        lost += len(class_ids) == 1 and class_ids[0] == 2
    assert lost


def test_active_classes_are_those_of_the_source():
    image, mask, ids = picture()
    dataset = one(image, mask, ids)
    dataset.add_class("other", 1, "star")
    dataset.add_image("other", "x", path=None)
    dataset.data.append((image, mask[:, :, :1], [3]))
    dataset.prepare()

    class FourConfig(ToyConfig):
        NUM_CLASSES = 4

    np.testing.assert_array_equal(load_image_gt(dataset, FourConfig(), 0)[1][12:], [1, 1, 1, 0])
    np.testing.assert_array_equal(load_image_gt(dataset, FourConfig(), 1)[1][12:], [1, 0, 0, 1])


# === Random changes ===


@pytest.mark.parametrize("seed", range(4))
def test_augment_mirrors_by_pythons_random(seed):
    image, mask, ids = picture()
    dataset, config = one(image, mask, ids), ToyConfig()
    plain = load_image_gt(dataset, config, 0)
    random.seed(seed)
    mirrored = load_image_gt(dataset, config, 0, augment=True)
    random.seed(seed)
    step = -1 if random.randint(0, 1) else 1
    np.testing.assert_array_equal(mirrored[0], plain[0][:, ::step])
    np.testing.assert_array_equal(mirrored[4], plain[4][:, ::step])


def test_augment_mirrors_by_rng():
    dataset, config = one(*picture()), ToyConfig()
    plain = load_image_gt(dataset, config, 0)[0]
    seen = set()
    for seed in range(12):
        rng = np.random.RandomState(seed)
        image = load_image_gt(dataset, config, 0, augment=True, rng=rng)[0]
        flipped = np.array_equal(image, plain[:, ::-1])
        assert flipped or np.array_equal(image, plain)
        seen.add(flipped)
    assert seen == {True, False}


def test_augmentation_function_and_emptied_objects():
    def erase_first(image, masks):
        masks[:, :, 0] = False
        return 255 - image, masks

    dataset, config = one(*picture()), ToyConfig()
    plain = load_image_gt(dataset, config, 0)
    image, _, class_ids, bbox, mask = load_image_gt(
        dataset, config, 0, augmentation=erase_first, use_mini_mask=True
    )
    np.testing.assert_array_equal(image, 255 - plain[0])
    np.testing.assert_array_equal(class_ids, [2])
    np.testing.assert_array_equal(bbox, plain[3][1:])
    assert mask.shape == (56, 56, 1)


# === Kinds of input ===


def test_no_objects():
    image = picture()[0]
    dataset = one(image, np.empty([0, 0, 0]), np.empty([0], np.int32))
    for mini in (False, True):
        out = load_image_gt(dataset, ToyConfig(), 0, use_mini_mask=mini)
        assert out[2].shape == (0,) and out[3].shape == (0, 4)
        assert out[4].shape == ((56, 56, 0) if mini else (128, 128, 0))


@pytest.mark.parametrize("kind", ["grey", "grey1", "rgba", "uint16", "float", "bool"])
def test_images_of_other_kinds(kind):
    rgb, mask, ids = picture()
    grey = rgb[..., 0]
    grey3 = np.repeat(grey[..., np.newaxis], 3, axis=2)
    image, expected = {
        "grey": (grey, grey3),
        "grey1": (grey[..., np.newaxis], grey3),
        "rgba": (np.dstack([rgb, grey]), rgb),
        "uint16": (rgb.astype(np.uint16) * 257, rgb),
        "float": (rgb / 255.0, rgb.astype(float)),
        "bool": (grey > 127, (grey3 > 127) * 255),
    }[kind]
    out = load_image_gt(one(image, mask, ids), ToyConfig(), 0)
    assert out[0].shape == (128, 128, 3)
    np.testing.assert_allclose(out[0][14:114], expected, atol=1e-9)
    np.testing.assert_array_equal(out[1][1:4], [100, 128, 3])


def test_four_channels():
    rgb, mask, ids = picture()

    class FourChannels(ToyConfig):
        IMAGE_CHANNEL_COUNT = 4
        MEAN_PIXEL = np.array([1.0, 2.0, 3.0, 4.0])

    image = np.dstack([rgb, rgb[..., 0]])
    out = load_image_gt(one(image, mask, ids), FourChannels(), 0)[0]
    np.testing.assert_array_equal(out[14:114], image)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int64])
def test_masks_of_other_types(dtype):
    image, mask, ids = picture()
    plain = load_image_gt(one(image, mask, ids), ToyConfig(), 0, use_mini_mask=True)
    other = load_image_gt(
        one(image, mask.astype(dtype) * 255, ids.astype(float).tolist()),
        ToyConfig(),
        0,
        use_mini_mask=True,
    )
    for a, b in zip(plain, other):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype


@pytest.mark.parametrize("scale, dtype", [(1, np.float32), (255, np.uint8), (65535, np.uint16)])
def test_soft_masks_begin_at_half(scale, dtype):
    image, mask, ids = picture()
    soft = mask * np.linspace(0.3, 1, mask.shape[1])[:, np.newaxis]
    wanted = load_image_gt(one(image, soft >= 0.5, ids), ToyConfig(), 0)[4]
    given = one(image, np.rint(soft * scale).astype(dtype) if scale > 1 else soft, ids)
    np.testing.assert_array_equal(load_image_gt(given, ToyConfig(), 0)[4], wanted)
    areas = np.count_nonzero(soft >= 0.5, axis=(0, 1))
    assert given.measure_objects(0)[2].tolist() == areas.tolist()
    objects = image_objects(given, 0, *given.load_mask(0))[1]
    assert [annotation["area"] for annotation in objects] == areas.tolist()


def test_crowd_ids_stay_negative():
    image, mask, _ = picture()
    assert load_image_gt(one(image, mask, [1, -2]), ToyConfig(), 0)[2].tolist() == [1, -2]


# === Checks ===

IMAGE, MASK, IDS = picture()
NAN = np.full(MASK.shape, np.nan)


@pytest.mark.parametrize(
    "data, message",
    [
        ((IMAGE, MASK, [1]), "2 masks but class ids of shape"),
        ((IMAGE, MASK, [1, 2, 2]), "2 masks but class ids of shape"),
        ((IMAGE, MASK, [[1, 2]]), "one id per mask"),
        ((IMAGE, MASK[:90], IDS), "masks are 90 x 128 pixels .* image is 100 x 128"),
        ((IMAGE, MASK[:, :, 0], [1]), r"\[height, width, objects\]"),
        ((IMAGE, MASK, [1, 3]), "class id 3 is out of range: objects have ids 1 to 2"),
        ((IMAGE, MASK, [-3, 1]), "class id -3 is out of range"),
        ((IMAGE, MASK, [0, 1]), "class id 0 is out of range"),
        ((IMAGE, MASK, [1.5, 1]), "must be integers"),
        ((IMAGE, MASK, ["a", "b"]), "must be integers"),
        ((IMAGE, MASK.astype(str), IDS), "must be bool or numbers"),
        ((IMAGE, NAN, IDS), "not finite"),
        ((np.where(IMAGE > 250, np.nan, IMAGE), MASK, IDS), "NaN"),
        ((np.where(IMAGE > 250, np.inf, IMAGE), MASK, IDS), "inf"),
        ((np.zeros((100, 128, 7), np.uint8), MASK, IDS), "7 channels"),
        ((np.zeros((0, 128, 3), np.uint8), MASK[:0], IDS), "no pixels|with pixels"),
        ((np.zeros(5, np.uint8), MASK, IDS), "shape"),
        ((OSError("disk on fire"), MASK, IDS), "disk on fire"),
    ],
)
def test_errors_name_the_image(data, message):
    good = picture()
    dataset = ArrayDataset(*zip(good, data))
    with pytest.raises(SampleError, match=message) as caught:
        load_image_gt(dataset, ToyConfig(), 1)
    text = str(caught.value)
    assert "image 1 " in text and "'toy'" in text and "'name1'" in text
    assert "'folder/1.png'" in text
    load_image_gt(dataset, ToyConfig(), 0)


def test_class_id_beyond_the_configs_classes():
    class TwoClasses(ToyConfig):
        NUM_CLASSES = 2

    with pytest.raises(SampleError, match="class id 2 is out of range: objects have ids 1 to 1"):
        load_image_gt(one(*picture()), TwoClasses(), 0)


def test_load_mask_without_ids():
    dataset = one(*picture())
    dataset.load_mask = lambda image_id: MASK
    with pytest.raises(SampleError, match="must return .masks, class_ids., got ndarray"):
        load_image_gt(dataset, ToyConfig(), 0)


def test_missing_file():
    dataset = one(*picture())
    dataset.load_image = lambda image_id: Dataset.load_image(dataset, image_id)
    with pytest.raises(SampleError, match=r"image 0 .*not found: folder/0\.png") as caught:
        load_image_gt(dataset, ToyConfig(), 0)
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_source_without_classes():
    with pytest.raises(SampleError, match="source 'stray' has no classes"):
        load_image_gt(one(*picture(), source="stray"), ToyConfig(), 0)


def test_augmentation_error_names_the_image():
    with pytest.raises(SampleError, match="image 0 .*must return"):
        load_image_gt(one(*picture()), ToyConfig(), 0, augmentation=lambda image, masks: None)


def test_no_such_image():
    with pytest.raises(SampleError, match="image 5 of 1"):
        load_image_gt(one(*picture()), ToyConfig(), 5)


def test_an_index_error_of_an_augmentation_is_no_outline():
    def augmentation(image, masks):
        raise IndexError("index 99 is out of bounds")

    with pytest.raises(SampleError, match="IndexError: index 99") as error:
        load_image_gt(one(*picture()), ToyConfig(), 0, augmentation=augmentation)
    assert "outline" not in str(error.value)


def test_an_outline_that_leaves_the_image_is_named():
    """`Dataset` runs load_mask once and as it is; that of ``mrcnn.utils`` cuts at the edge."""

    def load_mask(image_id):
        mask = np.zeros((10, 20, 1), bool)
        mask[3, 20] = True
        return mask, [1]

    dataset = one(*picture())
    dataset.load_mask = load_mask
    with pytest.raises(SampleError, match=r"IndexError: index 20 .*shape=mask\.shape"):
        load_image_gt(dataset, ToyConfig(), 0)
