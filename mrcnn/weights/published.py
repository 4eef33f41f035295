"""Published weights: the original's and torchvision's for COCO, Keras' for ImageNet, with their
hashes.
"""

import os

from mrcnn.common.download import RemoteFile, fetch
from mrcnn.common.files import AnyPath

# Hashes: md5 by NVIDIA's TensorRT sample, sha256 by guildai/packages.
COCO_WEIGHTS = RemoteFile(
    "mask_rcnn_coco.h5",
    "https://github.com/matterport/Mask_RCNN/releases/download/v2.0/mask_rcnn_coco.h5",
    md5="e98aaff6f99e307b5e2a8a3ff741a518",
    sha256="ab8f779d74d790abe4fcf3f60ab368129df5ee866262c439c6bae5af13afaf56",
)

# Names and hashes as in keras/src/applications/resnet.py.
_KERAS_RESNET = "https://storage.googleapis.com/tensorflow/keras-applications/resnet/"
RESNET50_IMAGENET = RemoteFile(
    "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
    _KERAS_RESNET + "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
    md5="4d473c1dd8becc155b73f8504c6f6626",
    size=94765736,
)
RESNET101_IMAGENET = RemoteFile(
    "resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5",
    _KERAS_RESNET + "resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5",
    md5="88cf7a10940856eca736dc7b7e228a21",
)
RESNET152_IMAGENET = RemoteFile(
    "resnet152_weights_tf_dim_ordering_tf_kernels_notop.h5",
    _KERAS_RESNET + "resnet152_weights_tf_dim_ordering_tf_kernels_notop.h5",
    md5="ee4c566cf9a93f14d82f913c2dc6dd0c",
)
IMAGENET_WEIGHTS = {
    "resnet50": RESNET50_IMAGENET,
    "resnet101": RESNET101_IMAGENET,
    "resnet152": RESNET152_IMAGENET,
}

# torchvision's names have the beginning of the file's sha256.
_TORCHVISION = "https://download.pytorch.org/models/"
# By BACKBONE, RESNEXT_GROUPS and RESNEXT_WIDTH; those of 32 groups are torchvision's first version.
RESNEXT_IMAGENET_WEIGHTS = {
    key: RemoteFile(name, _TORCHVISION + name, sha256=name[-12:-4])
    for key, name in (
        (("resnext50", 32, 4), "resnext50_32x4d-7cdf4587.pth"),
        (("resnext101", 32, 8), "resnext101_32x8d-8ba56ff5.pth"),
        (("resnext101", 64, 4), "resnext101_64x4d-173b62eb.pth"),
    )
}
TORCHVISION_WEIGHTS = {
    word: RemoteFile(name, _TORCHVISION + name, sha256=name[-12:-4])
    for word, name in (
        ("torchvision_v1", "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth"),
        ("torchvision_v2", "maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth"),
    )
}


def coco_weights(path: AnyPath | None = None, verbose: int = 1) -> str:
    """The original's Mask R-CNN weights for COCO (ResNet-101, 81 classes).

    Args:
        path: of the file, which is downloaded where it is missing; None for Keras' cache folder.
        verbose: 0 shows no progress.

    Returns:
        the path, str.

    Raises:
        DownloadError: as `common.download.download`.
    """
    if path is None:
        path = os.path.join(cache_folder(), COCO_WEIGHTS.name)
    return fetch(COCO_WEIGHTS, path, progress=verbose > 0)


def torchvision_weights(word: str, path: AnyPath | None = None, verbose: int = 1) -> str:
    """torchvision's Mask R-CNN weights for COCO (ResNet-50, 91 classes), under BSD-3-Clause.

    The presets of these names in `config.presets` are for them.

    Args:
        word: "torchvision_v1" (by its authors 37.9 box AP and 34.6 mask AP on val2017) or
            "torchvision_v2" (47.4 and 41.8).
        path: of the file, which is downloaded where it is missing; None for Keras' cache folder.
        verbose: 0 shows no progress.

    Returns:
        the path, str.

    Raises:
        ValueError: another word. DownloadError: as `common.download.download`.
    """
    if word not in TORCHVISION_WEIGHTS:
        raise ValueError(
            f"torchvision has no weights {word!r} here, only {' and '.join(TORCHVISION_WEIGHTS)}"
        )
    file = TORCHVISION_WEIGHTS[word]
    return fetch(file, path or os.path.join(cache_folder(), file.name), progress=verbose > 0)


def imagenet_weights(architecture: str, cache_dir: AnyPath | None = None) -> str:
    """ImageNet weights of a ResNet without its classifier, in Keras' layer names.

    The original gave ResNet-50's to both; here each architecture gets its own.
    `weights.load_h5` translates the names. They were trained on BGR images
    minus the mean, while this project feeds RGB as the original does.

    Args:
        architecture: "resnet50", "resnet101" or "resnet152".
        cache_dir: folder of the file; None for Keras' cache folder.

    Returns:
        the path, str.

    Raises:
        ValueError: another architecture. DownloadError: as `common.download.download`.
    """
    if architecture not in IMAGENET_WEIGHTS:
        raise ValueError(
            f"no ImageNet weights are known here for {architecture!r}, only for "
            f"{' and '.join(IMAGENET_WEIGHTS)}; a keras.applications model takes "
            'its own with weights="imagenet"'
        )
    file = IMAGENET_WEIGHTS[architecture]
    return fetch(file, os.path.join(cache_dir or cache_folder(), file.name))


def resnext_imagenet_weights(
    architecture: str, groups: int, width: int, cache_dir: AnyPath | None = None
) -> str:
    """ImageNet weights of a ResNeXt by torchvision, under BSD-3-Clause, for RGB images.

    Args:
        architecture: "resnext50" or "resnext101".
        groups, width: RESNEXT_GROUPS and RESNEXT_WIDTH.
        cache_dir: folder of the file; None for Keras' cache folder.

    Returns:
        the path of the .pth file, str.

    Raises:
        ValueError: there are none of this size. DownloadError: as `common.download.download`.
    """
    key = architecture, groups, width
    if key not in RESNEXT_IMAGENET_WEIGHTS:
        known = ", ".join(f"{name} of {g} and {w}" for name, g, w in RESNEXT_IMAGENET_WEIGHTS)
        raise ValueError(
            f"no ImageNet weights are known here for {architecture!r} with RESNEXT_GROUPS = "
            f"{groups} and RESNEXT_WIDTH = {width}, only for {known}"
        )
    file = RESNEXT_IMAGENET_WEIGHTS[key]
    return fetch(file, os.path.join(cache_dir or cache_folder(), file.name))


def cache_folder() -> str:
    """Keras' folder for weights."""
    home = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    return os.path.join(home, "models")
