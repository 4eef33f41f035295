"""Augmentation of an image with its masks: imgaug and plain functions."""

import functools
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mrcnn.data.augment import user as module
from mrcnn.data.augment.user import augment, check_augmentation, import_imgaug
from mrcnn.data.batches import TrainingBatches, data_generator
from tests.paths import ROOT
from tests.tiny import Rectangles, tiny_config


@pytest.fixture(scope="module")
def iaa():
    return import_imgaug().augmenters


def sample(count=3, size=(40, 60)):
    """An image whose green channel is the union of its masks, and blocks as masks."""
    mask = np.zeros((*size, count), dtype=bool)
    for i in range(count):
        mask[4 + 3 * i : 20 + 3 * i, 5 + 9 * i : 13 + 9 * i, i] = True
    image = np.full((*size, 3), 90, dtype=np.uint8)
    image[..., 1] = mask.any(axis=2) * 200
    return image, mask


def together(image, mask):
    """Share of pixels on which the green channel and the union of masks agree."""
    return np.mean((image[..., 1] > 100) == mask.any(axis=2))


# === imgaug ===


def test_imported_only_when_asked():
    code = (
        "import sys; import mrcnn.data.augment.user as a; assert 'imgaug' not in sys.modules;"
        "import imgaug; assert a.import_imgaug() is imgaug and imgaug.augmenters.Fliplr"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    "broken, reason, remedy",
    [
        # 0.4.0
        (
            "import numpy\nnumpy.sctypes",
            "np.sctypes",
            "pip uninstall -y imgaug imaug && pip install imaug",
        ),
        (
            "import no_such_library",
            "no_such_library",
            "pip uninstall -y imgaug imaug && pip install imaug",
        ),
        (
            "raise ImportError('libGL.so.1: cannot open shared object file')",
            "libGL.so.1",
            "pip install --no-deps 'opencv-python-headless<4.13'",
        ),
    ],
)
def test_import_error_says_what_to_install(tmp_path, broken, reason, remedy):
    (tmp_path / "imgaug").mkdir()
    (tmp_path / "imgaug" / "__init__.py").write_text(broken)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\nfrom mrcnn.data.augment.user import "
        "import_imgaug\n"
        "try: import_imgaug()\nexcept ImportError as error: print(error)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code, tmp_path], check=True, capture_output=True, text=True, cwd=ROOT
    ).stdout
    assert reason in shown and remedy in shown


@pytest.mark.parametrize(
    "name, expected", [("Fliplr", lambda a: a[:, ::-1]), ("Flipud", lambda a: a[::-1])]
)
def test_flips_are_exact(iaa, name, expected):
    image, mask = sample()
    new_image, new_mask = augment(image, mask, getattr(iaa, name)(1.0))
    np.testing.assert_array_equal(new_image, expected(image))
    np.testing.assert_array_equal(new_mask, expected(mask))
    assert new_image.dtype == np.uint8 and new_mask.dtype == bool


@pytest.mark.parametrize(
    "make",
    [
        lambda iaa: iaa.Affine(translate_px={"x": 7, "y": -4}),
        lambda iaa: iaa.Affine(rotate=(-40, 40), scale=(0.8, 1.2)),
        lambda iaa: iaa.CropAndPad(px=(-4, 4)),
        lambda iaa: iaa.Crop(px=(2, 5)),  # a subclass of CropAndPad
        lambda iaa: iaa.Rotate(25),  # a subclass of Affine
        lambda iaa: iaa.Rot90(2),
        lambda iaa: iaa.PerspectiveTransform(scale=0.1),
        lambda iaa: iaa.Sometimes(0.9, iaa.Fliplr(0.5)),
        lambda iaa: iaa.SomeOf((1, 2), [iaa.Fliplr(0.5), iaa.Flipud(0.5), iaa.Affine(rotate=180)]),
        lambda iaa: iaa.Sequential(
            [iaa.OneOf([iaa.Fliplr(1), iaa.Flipud(1)]), iaa.Affine(rotate=9)]
        ),
    ],
)
@pytest.mark.parametrize("seeded", [True, False])
def test_masks_move_with_the_image(iaa, make, seeded):
    image, mask = sample()
    for seed in range(4):
        rng = np.random.RandomState(seed) if seeded else None
        import_imgaug().seed(seed)  # the state of an augmenter of its own
        new_image, new_mask = augment(image, mask, make(iaa), rng)
        assert new_mask.any() and together(new_image, new_mask) > 0.97
    assert together(image, mask) == 1


def painted(size=(64, 96), count=3):
    """A picture whose objects are green on red, and their masks: white or black is neither."""
    mask = np.zeros((*size, count), bool)
    for i in range(count):
        mask[6 + 4 * i : 36 + 4 * i, 8 + 26 * i : 30 + 26 * i, i] = True
    union = mask.any(axis=2)[..., np.newaxis]
    return np.where(union, (20, 220, 20), (220, 20, 20)).astype(np.uint8), mask


def agreement(image, mask):
    """Share of the pixels where the picture is green and where a mask is, or neither."""
    green = image[..., 1].astype(int) - image[..., 0] > 50
    return np.mean(green == mask.any(axis=2))


MOVES = {
    "Fliplr": lambda iaa: iaa.Fliplr(1.0),
    "Affine": lambda iaa: iaa.Affine(rotate=(-40, 40), shear=9, translate_px=(-9, 9)),
    # as imgaug's own examples have it: the borders are filled with any grey
    "Affine with cval": lambda iaa: iaa.Affine(
        rotate=(-40, 40), scale=0.6, order=[0, 1], cval=(210, 255), mode=["constant", "reflect"]
    ),
    "AffineCv2": lambda iaa: iaa.AffineCv2(rotate=(-40, 40), cval=255),
    "ShearX": lambda iaa: iaa.ShearX((-20, 20), cval=240),
    "PiecewiseAffine": lambda iaa: iaa.PiecewiseAffine(scale=0.03, cval=255),
    "PerspectiveTransform": lambda iaa: iaa.PerspectiveTransform(0.1, cval=255, fit_output=False),
    "ElasticTransformation": lambda iaa: iaa.ElasticTransformation(20, 4, cval=255),
    "CropAndPad": lambda iaa: iaa.CropAndPad(px=(-9, 9), pad_cval=(210, 255)),
    "Pad edge": lambda iaa: iaa.Pad(px=5, pad_mode="edge"),
    "Rot90": lambda iaa: iaa.Rot90((1, 3)),
    "Jigsaw": lambda iaa: iaa.Jigsaw(nb_rows=4, nb_cols=4, max_steps=2),
    "WithPolarWarping": lambda iaa: iaa.WithPolarWarping(iaa.CropAndPad(percent=(-0.1, 0.1))),
    "KeepSizeByResize": lambda iaa: iaa.KeepSizeByResize(iaa.Crop(px=(1, 9), keep_size=False)),
    "to and fro": lambda iaa: iaa.Sequential(
        [iaa.PadToFixedSize(120, 100, pad_cval=255), iaa.CropToFixedSize(96, 64)]
    ),
    "nested": lambda iaa: iaa.SomeOf(
        (1, 2),
        [
            iaa.OneOf([iaa.Fliplr(1), iaa.Affine(rotate=20, cval=255)]),
            iaa.Sometimes(0.5, iaa.Flipud(1), [iaa.Crop(px=4), iaa.Add(9)]),
            iaa.BlendAlpha(0.5, iaa.Sequential([iaa.Add(9), iaa.Sometimes(0.5, iaa.Grayscale(1))])),
        ],
        random_order=True,
    ),
    "colours": lambda iaa: iaa.Sequential(
        [
            iaa.WithChannels(0, iaa.Add((-20, 20))),
            iaa.WithHueAndSaturation(iaa.WithChannels(1, iaa.Multiply(0.9))),
            iaa.BlendAlphaSimplexNoise(iaa.Multiply((0.8, 1.2))),
            iaa.WithColorspace("HSV", "RGB", iaa.WithChannels(2, iaa.Add(10))),
            iaa.AssertShape((1, None, None, 3)),
            iaa.AssertLambda(lambda images, *_: True),
            iaa.Identity(),
            iaa.pillike.EnhanceSharpness(),
        ]
    ),
    "weather": lambda iaa: iaa.Sequential([iaa.Rain(nb_iterations=1), iaa.GaussianBlur(0.5)]),
}


@pytest.mark.parametrize("name", MOVES)
def test_image_and_masks_agree(iaa, name):
    image, mask = painted()
    for seed in range(5):
        new_image, new_mask = augment(image, mask, MOVES[name](iaa), np.random.RandomState(seed))
        assert new_mask.any() and agreement(new_image, new_mask) > 0.95, (name, seed)
    assert agreement(image, mask) == 1


def custom(iaa, base="meta.Augmenter"):
    class Shift(functools.reduce(getattr, base.split("."), iaa)):
        def __init__(self):
            super().__init__()

        def get_parameters(self):
            return []

        def _augment_batch_(self, batch, random_state, parents, hooks):
            batch.images = [np.roll(image, 9, axis=1) for image in batch.images]
            return batch

    return Shift()


@pytest.mark.parametrize(
    "make, words",
    [
        (
            lambda iaa: iaa.BlendAlpha(0.5, iaa.Affine(translate_px=9)),
            ["Affine inside BlendAlpha", "put it beside BlendAlpha"],
        ),
        (lambda iaa: iaa.BlendAlpha(0.5, iaa.Add(9), iaa.Fliplr(1)), ["Fliplr inside BlendAlpha"]),
        (
            lambda iaa: iaa.BlendAlphaCheckerboard(2, 2, iaa.Sequential([iaa.Rotate(9)])),
            ["Rotate inside BlendAlphaCheckerboard"],
        ),
        (lambda iaa: iaa.WithChannels(0, iaa.Fliplr(1)), ["Fliplr inside WithChannels"]),
        (
            lambda iaa: iaa.WithColorspace("HSV", "RGB", iaa.Sometimes(0.5, iaa.Flipud(1))),
            ["Flipud inside WithColorspace"],
        ),
        (lambda iaa: iaa.WithHueAndSaturation(iaa.Crop(px=2)), ["Crop inside WithHueAndSat"]),
        (lambda iaa: iaa.WithBrightnessChannels(iaa.Jigsaw(3, 3)), ["Jigsaw inside WithBright"]),
        (
            lambda iaa: iaa.Sequential(
                [iaa.Add(1), iaa.OneOf([iaa.BlendAlpha(1.0, iaa.KeepSizeByResize(iaa.Add(1)))])]
            ),
            ["KeepSizeByResize inside BlendAlpha"],
        ),
        (
            lambda iaa: iaa.SomeOf(1, [iaa.Lambda(lambda images, *_: images)]),
            ["Lambda runs code of yours", "pass a function (image, masks)"],
        ),
        (custom, ["Shift runs code of yours"]),
        (lambda iaa: iaa.imgcorruptlike.ElasticTransform(), ["use iaa.ElasticTransformation"]),
        (lambda iaa: iaa.pillike.Affine(rotate=9), ["pillike.Affine moves", "use iaa.Affine"]),
        (lambda iaa: iaa.RandAugment(2, 9), ["pillike."]),
    ],
)
def test_what_would_move_the_image_alone_is_refused(iaa, make, words):
    augmenter = make(iaa)
    for call in (lambda: check_augmentation(augmenter), lambda: augment(*painted(), augmenter)):
        with pytest.raises(ValueError) as error:
            call()
        for word in ["the imgaug augmenter ", *words]:
            assert word in str(error.value)


def test_a_refused_augmenter_shows_before_the_first_image(iaa):
    augmenter = iaa.WithChannels(0, iaa.Fliplr(1))
    for make in (data_generator, TrainingBatches):
        with pytest.raises(ValueError, match="Fliplr inside WithChannels"):
            make(Rectangles(1), tiny_config(), augmentation=augmenter)


def test_subclasses_of_what_is_known(iaa):
    image, mask = painted()
    assert (augment(image, mask, custom(iaa, "Add"))[1] == mask).all()
    np.testing.assert_array_equal(
        augment(image, mask, custom(iaa, "Fliplr"))[1], np.roll(mask, 9, axis=1)
    )


def test_every_augmenter_of_imgaug_is_known(iaa):
    """A new one of a later version fails here until somebody has said what it does."""
    imgaug = import_imgaug()
    unknown, pending = set(), [imgaug.augmenters.meta.Augmenter]
    while pending:
        kind = pending.pop()
        pending += kind.__subclasses__()
        names = {base.__name__ for base in kind.__mro__}
        if not names & {*module.MASK_AUGMENTERS} and not module._is_of_colour(kind):
            unknown.add(kind.__name__)
    assert {name for name in unknown if hasattr(iaa, name)} == {"Augmenter", "Lambda"}


def test_colours_leave_masks_alone(iaa):
    image, mask = sample()
    colours = iaa.Sequential(
        [iaa.Multiply(0.5), iaa.GaussianBlur(2.0), iaa.Add(20), iaa.Dropout(0.5), iaa.Invert(1.0)]
    )
    new_image, new_mask = augment(image, mask, colours)
    assert (new_image != image).any()
    np.testing.assert_array_equal(new_mask, mask)


def test_no_objects(iaa):
    image, mask = sample(0)
    new_image, new_mask = augment(image, mask, iaa.Fliplr(1.0))
    np.testing.assert_array_equal(new_image, image[:, ::-1])
    assert new_mask.shape == (40, 60, 0) and new_mask.dtype == bool


def test_many_objects(iaa):
    rng = np.random.RandomState(0)
    image, mask = sample()[0], rng.rand(40, 60, 600) > 0.5
    np.testing.assert_array_equal(augment(image, mask, iaa.Fliplr(1.0))[1], mask[:, ::-1])


@pytest.mark.parametrize(
    "make", [lambda iaa: iaa.Rot90(1, keep_size=False), lambda iaa: iaa.Crop(px=3, keep_size=False)]
)
def test_changed_size_is_refused(iaa, make):
    with pytest.raises(ValueError, match=r"shape of the image from \(40, 60, 3\)"):
        augment(*sample(), make(iaa))


def draws(augmenter, count, threads):
    image, mask = sample()

    def one(seed):
        return augment(image, mask, augmenter, np.random.RandomState(seed))

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, range(count)))


def test_rng_alone_decides_whatever_the_threads_do(iaa):
    augmenter = iaa.Sequential(
        [
            iaa.Fliplr(0.5),
            iaa.Sometimes(0.5, iaa.Affine(rotate=(-30, 30))),
            iaa.AdditiveGaussianNoise(scale=9),
            iaa.Multiply((0.7, 1.3), per_channel=True),
        ],
        random_order=True,
    )
    alone = draws(augmenter, 24, 1)
    augment(*sample(), augmenter)  # its own state moving on must not matter
    crowd = draws(augmenter, 24, 8)
    for (image_a, mask_a), (image_b, mask_b) in zip(alone, crowd):
        np.testing.assert_array_equal(image_a, image_b)
        np.testing.assert_array_equal(mask_a, mask_b)
    assert len({image.tobytes() for image, _ in alone}) == 24


def test_without_rng_imgaugs_own_seed_counts(iaa):
    results = []
    for _ in range(2):
        import_imgaug().seed(3)
        augmenter = iaa.Affine(rotate=(-90, 90))
        results.append([augment(*sample(), augmenter)[0] for _ in range(3)])
    np.testing.assert_array_equal(results[0], results[1])
    assert (results[0][0] != results[0][1]).any()


# === Functions ===


def test_function():
    image, mask = sample()
    new_image, new_mask = augment(
        image, mask, lambda image, masks: (image[::-1], masks[::-1].astype(np.uint8))
    )
    np.testing.assert_array_equal(new_image, image[::-1])
    np.testing.assert_array_equal(new_mask, mask[::-1])
    assert new_mask.dtype == bool


def test_function_cannot_spoil_the_arrays():
    image, mask = sample()

    def erase(image, masks):
        image[:], masks[:] = 0, False
        return image, masks

    new_image, new_mask = augment(image, mask, erase)
    assert not new_image.any() and not new_mask.any()
    np.testing.assert_array_equal(image, sample()[0])
    np.testing.assert_array_equal(mask, sample()[1])


def test_function_is_given_rng():
    seen = []

    def keep(image, masks, rng):
        seen.append(rng)
        return image, masks

    rng = np.random.RandomState(0)
    augment(*sample(), keep, rng)
    augment(*sample(), keep)
    assert seen == [rng, None]


@pytest.mark.parametrize(
    "wrong",
    [lambda image, masks: image, lambda image, masks: None, lambda image, masks: (image, masks, 1)],
)
def test_function_must_return_a_pair(wrong):
    with pytest.raises(TypeError, match=r"must return \(image, masks\)"):
        augment(*sample(), wrong)


def test_function_must_keep_the_shapes():
    with pytest.raises(ValueError, match=r"masks from \(40, 60, 3\) to \(40, 60, 2\)"):
        augment(*sample(), lambda image, masks: (image, masks[:, :, :2]))


@pytest.mark.parametrize("wrong", [True, "fliplr", [1]])
def test_other_kinds_are_refused(wrong):
    with pytest.raises(TypeError, match="imgaug augmenter or a function"):
        augment(*sample(), wrong)


def test_every_name_is_an_imgaug_class(iaa):
    assert [name for name in module.MASK_AUGMENTERS if not hasattr(iaa, name)] == []
