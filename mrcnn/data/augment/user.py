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
# imgaug augmenters that move pixels, and containers of other augmenters: they (and
# their subclasses, such as Rotate of Affine) act on the masks too. All others change
# colours. The first two lines are the original's whole list; it turned images but not
# masks for the rest.
MASK_AUGMENTERS = (
    "Sequential",
    "SomeOf",
    "OneOf",
    "Sometimes",
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
            only change colours leave the masks alone (MASK_AUGMENTERS).
        rng: np.random.RandomState; None leaves an augmenter to its own state.

    Returns:
        (image, mask) of the same shapes; the mask is bool.

    Raises:
        TypeError: `augmentation` is of no known kind, or returns something else.
        ValueError: a shape changed; training images have one size.
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

    if rng is not None:
        augmentation = augmentation.deepcopy()
        augmentation.seed_(int(rng.randint(0, 2**31 - 1)))
    fixed = augmentation.to_deterministic()
    # The same as augment_image, which warns of images with 32 channels and more.
    (image,) = fixed.augment_images([image])
    if mask.shape[2]:
        hooks = imgaug.HooksImages(activator=_acts_on_masks)
        # imgaug does not take bool.
        (mask,) = fixed.augment_images([mask.astype(np.uint8)], hooks=hooks)
    return image, mask


def _acts_on_masks(images, augmenter, parents, default):
    return any(kind.__name__ in MASK_AUGMENTERS for kind in type(augmenter).__mro__)


def _augment_function(image, mask, function, rng):
    """Call the user's function and check what comes back."""
    extra = {"rng": rng} if "rng" in inspect.signature(function).parameters else {}
    result = function(image.copy(), mask.copy(), **extra)
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        raise TypeError(
            f"augmentation function must return (image, masks), got {type(result).__name__}"
        )
    return np.asarray(result[0]), np.asarray(result[1])
