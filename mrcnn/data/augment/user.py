"""Random changes of an image and its masks: imgaug augmenters or any function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from imgaug.augmenters import Augmenter


# What `augment` takes: an imgaug augmenter, or a function (image, masks) -> (image, masks).
Augmentation: TypeAlias = "Augmenter | Callable[..., tuple[np.ndarray, np.ndarray]]"
# imgaug augmenters that run others: they, and their subclasses, do so on the masks too.
_CONTAINERS = ("Sequential", "SomeOf", "OneOf", "Sometimes")
# imgaug augmenters that move pixels: they act on the masks too, and so do their subclasses, such as
# Rotate of Affine.
_MOVERS = (
    "Fliplr",
    "Flipud",
    "CropAndPad",
    "Affine",
    "PiecewiseAffine",
    "Rot90",
    "PerspectiveTransform",
    "ElasticTransformation",
    "AffineCv2",
    "Jigsaw",
    "WithPolarWarping",
    "Resize",
    "KeepSizeByResize",
    "PadToFixedSize",
    "CropToFixedSize",
)
# The original's list went as far as PiecewiseAffine; it turned images but not masks for the rest.
MASK_AUGMENTERS = (*_CONTAINERS, *_MOVERS)
# Modules of imgaug.augmenters, and classes of its module meta, that leave every pixel at its place,
# or, as blurs do, near it: the masks stay as they are.
_COLOUR_MODULES = (
    *("arithmetic", "artistic", "blend", "blur", "color", "contrast", "convolutional", "debug"),
    *("edges", "imgcorruptlike", "pillike", "pooling", "segmentation", "weather"),
)
_COLOUR_CLASSES = (
    "WithChannels",
    "Identity",
    "AssertLambda",
    "AssertShape",
    "ChannelShuffle",
    "RemoveCBAsByOutOfImageFraction",
    "ClipCBAsToImagePlanes",
)
# What imgaug has but cannot do to masks, and what can.
_REPLACEMENTS = {
    ("imgcorruptlike", "ElasticTransform"): "ElasticTransformation",
    ("pillike", "Affine"): "Affine",
}


def import_imgaug() -> ModuleType:
    """The imgaug module, of the package imaug.

    Returns:
        The module; use it as `iaa = import_imgaug().augmenters`.

    Raises:
        ImportError: it is missing or broken; the message says what to install.
    """
    try:
        import imgaug.augmenters
    except (ImportError, AttributeError) as error:
        if "libGL" in str(error):
            remedy = (
                "A machine without a display needs OpenCV without windows: pip uninstall -y "
                "opencv-python opencv-python-headless && pip install --no-deps "
                "'opencv-python-headless<4.13'"
            )
        else:
            remedy = (
                "The package imgaug does not work with NumPy 2, its fork imaug, which is imported "
                "under the same name, does: pip uninstall -y imgaug imaug && pip install imaug"
            )
        raise ImportError(f"imgaug cannot be imported: {error}\n{remedy}") from error
    return imgaug


def augment(
    image: np.ndarray,
    mask: NDArray[np.bool_],
    augmentation: Augmentation,
    rng: np.random.RandomState | None = None,
) -> tuple[np.ndarray, NDArray[np.bool_]]:
    """Apply one random draw of an augmentation to an image and its masks.

    Safe to call from several threads with one `augmentation` when `rng` is given:
    an imgaug augmenter is then copied and the copy is seeded from `rng`, so that
    the shared object is only read.

    Args:
        image: uint8 [H, W, C].
        mask: bool [H, W, N], N may be 0.
        augmentation: an imgaug augmenter, or a function (image, masks) ->
            (image, masks) on copies of these arrays; a function with a parameter
            named `rng` is given it (None means the global np.random). Augmenters that
            only change colours leave the masks alone (MASK_AUGMENTERS); what lies beyond
            the image's edge is no object, whatever `cval` fills it with.
        rng: np.random.RandomState; None leaves an augmenter to its own state.

    Returns:
        (image, mask) of the same shapes; the mask is bool.

    Raises:
        TypeError: `augmentation` is of no known kind, or returns something else.
        ValueError: a shape changed; training images have one size. Or the augmenter
            would move the image and leave the masks, see `check_augmentation`.
    """
    if hasattr(augmentation, "to_deterministic"):
        new_image, new_mask = _augment_imgaug(image, mask, augmentation, rng)
    elif callable(augmentation):
        new_image, new_mask = _augment_function(image, mask, augmentation, rng)
    else:
        raise TypeError(
            f"augmentation must be an imgaug augmenter or a function (image, masks) "
            f"-> (image, masks), got {type(augmentation).__name__}"
        )
    for name, old, new in (("image", image, new_image), ("masks", mask, new_mask)):
        if new.shape != old.shape:
            raise ValueError(
                f"augmentation changed the shape of the {name} from {old.shape} to "
                f"{new.shape}; it must keep it (imgaug: keep_size=True)"
            )
    return new_image, new_mask.astype(bool)


def _augment_imgaug(image, mask, augmentation, rng):
    """One draw of an imgaug augmenter; the same for the image and the masks."""
    import imgaug

    check_augmentation(augmentation)
    if rng is not None:
        augmentation = augmentation.deepcopy()
        augmentation.seed_(int(rng.randint(0, 2**31 - 1)))
    fixed = augmentation.to_deterministic()
    # The same as augment_image, which warns of images with 32 channels and more.
    (image,) = fixed.augment_images([image])
    if mask.shape[2]:
        hooks = imgaug.HooksImages(activator=_acts_on_masks)
        # imgaug does not take bool.
        (moved,) = fixed.augment_images([mask.astype(np.uint8)], hooks=hooks)
        beyond = 0
        if _fills(fixed):  # masks without an object show with what
            (beyond,) = fixed.augment_images([np.zeros(mask.shape, np.uint8)], hooks=hooks)
        mask = moved > beyond
    return image, mask


def _fills(augmenter):
    """Whether an augmenter may give another value than 0 to what lies beyond the image's edge."""
    values = (
        getattr(part, name, None)
        for part in (augmenter, *augmenter.get_all_children(flat=True))
        for name in ("cval", "pad_cval")
    )
    return any(value is not None and getattr(value, "value", None) != 0 for value in values)


def _acts_on_masks(images, augmenter, parents, default):
    return _is_one_of(augmenter, MASK_AUGMENTERS)


def check_augmentation(augmentation: Augmentation | None) -> None:
    """Refuse an imgaug augmenter that would move the image and leave its masks.

    imgaug's own augmenters are known to move pixels or not to. One that moves them must not run
    inside one that blends or that acts on some channels: a mask has nothing to blend with, nor such
    channels. What imgaug's classes do not tell, as of a Lambda, is refused as well.

    Args:
        augmentation: as of `augment`, or None; functions, which are given the masks, may do all.

    Raises:
        ValueError: naming the augmenter and what to use instead.
    """
    if hasattr(augmentation, "get_children_lists"):
        problem = _problem(augmentation)
        if problem:
            raise ValueError(
                f"the imgaug augmenter {problem}; or pass a function (image, masks) -> (image, "
                "masks) that changes both alike"
            )


def _problem(augmenter, around=None):
    """Words for what in an augmenter moves the image and not the masks, or None.

    Args:
        around: name of the augmenter around it that does not act on masks, or None.
    """
    name = type(augmenter).__name__
    for kind in type(augmenter).__mro__:
        if (_module(kind), kind.__name__) in _REPLACEMENTS:
            instead = _REPLACEMENTS[_module(kind), kind.__name__]
            return f"{_module(kind)}.{name} moves pixels but cannot take masks: use iaa.{instead}"
    if _is_one_of(augmenter, _MOVERS):
        if around:
            return (
                f"{name} inside {around} would move the image and leave its masks where they are: "
                f"put it beside {around}"
            )
    elif not _is_one_of(augmenter, _CONTAINERS):
        if not _is_of_colour(type(augmenter)):
            return (
                f"{name} runs code of yours that may move pixels, and the masks would stay where "
                "they are: use imgaug's own augmenters"
            )
        around = around or name
    children = (child for group in augmenter.get_children_lists() for child in group)
    return next(filter(None, (_problem(child, around) for child in children)), None)


def _is_of_colour(kind):
    return any(
        _module(base) in _COLOUR_MODULES
        or (_module(base) == "meta" and base.__name__ in _COLOUR_CLASSES)
        for base in kind.__mro__
    )


def _module(kind):
    """Name of the module of imgaug.augmenters that has a class; "" of other classes."""
    package, _, module = kind.__module__.rpartition(".")
    return module if package == "imgaug.augmenters" else ""


def _is_one_of(augmenter, names):
    return any(kind.__name__ in names for kind in type(augmenter).__mro__)


def _augment_function(image, mask, function, rng):
    """Call the user's function and check what comes back."""
    extra = {"rng": rng} if "rng" in inspect.signature(function).parameters else {}
    result = function(image.copy(), mask.copy(), **extra)
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        raise TypeError(
            f"augmentation function must return (image, masks), got {type(result).__name__}"
        )
    return np.asarray(result[0]), np.asarray(result[1])
