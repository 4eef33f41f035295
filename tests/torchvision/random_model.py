"""State dicts of torchvision's Mask R-CNN with random weights, and images for them: NumPy alone.

The weights are drawn by a seed, so that both networks can be given the same ones without a file of
170 MB. Statistics of the batch norms and the heads' scales were measured by
``benchmarks/torchvision_goldens.py`` and stand in ``statistics.npz``: without them a random network
gives all regions the same scores.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
VERSIONS = ("v1", "v2")
BLOCKS = {1: 3, 2: 4, 3: 6, 4: 3}
# Of torchvision's arguments min_size and max_size, where no others are given: small, to be fast.
SIZES = (320, 544)


def shapes(version: str, classes: int = 91, narrow: int = 1) -> dict[str, tuple[int, ...]]:
    """{name: shape} of all tensors but the counts of batches, in torchvision's order.

    Args:
        version: "v1" or "v2".
        classes: with the background.
        narrow: all widths are divided by it.
    """
    wide, hidden = 256 // narrow, 1024 // narrow
    found: dict[str, tuple[int, ...]] = {}

    def conv(name, out, into, side, bias=False):
        found[f"{name}.weight"] = (out, into, side, side)
        if bias:
            found[f"{name}.bias"] = (out,)

    def norm(name, channels):
        for part in ("weight", "bias", "running_mean", "running_var"):
            found[f"{name}.{part}"] = (channels,)

    def linear(name, out, into):
        found[f"{name}.weight"], found[f"{name}.bias"] = (out, into), (out,)

    def unit(name, into, side, with_norm):
        conv(f"{name}.0", wide, into, side, bias=not with_norm)
        if with_norm:
            norm(f"{name}.1", wide)

    newer = version == "v2"
    body = "backbone.body"
    into = 64 // narrow
    conv(f"{body}.conv1", into, 3, 7)
    norm(f"{body}.bn1", into)
    for stage, count in BLOCKS.items():
        width = 32 * 2**stage // narrow
        for block in range(count):
            name = f"{body}.layer{stage}.{block}"
            for number, (out, side) in enumerate(((width, 1), (width, 3), (4 * width, 1)), 1):
                conv(f"{name}.conv{number}", out, into if number == 1 else width, side)
                norm(f"{name}.bn{number}", out)
            if block == 0:
                conv(f"{name}.downsample.0", 4 * width, into, 1)
                norm(f"{name}.downsample.1", 4 * width)
            into = 4 * width
    for level in range(4):
        unit(f"backbone.fpn.inner_blocks.{level}", wide * 2**level, 1, newer)
    for level in range(4):
        unit(f"backbone.fpn.layer_blocks.{level}", wide, 3, newer)
    for number in range(2 if newer else 1):
        unit(f"rpn.head.conv.{number}", wide, 3, False)
    conv("rpn.head.cls_logits", 3, wide, 1, bias=True)
    conv("rpn.head.bbox_pred", 12, wide, 1, bias=True)
    if newer:
        for number in range(4):
            unit(f"roi_heads.box_head.{number}", wide, 3, True)
        linear("roi_heads.box_head.5", hidden, wide * 49)
    else:
        linear("roi_heads.box_head.fc6", hidden, wide * 49)
        linear("roi_heads.box_head.fc7", hidden, hidden)
    linear("roi_heads.box_predictor.cls_score", classes, hidden)
    linear("roi_heads.box_predictor.bbox_pred", 4 * classes, hidden)
    for number in range(4):
        unit(f"roi_heads.mask_head.{number}", wide, 3, newer)
    found["roi_heads.mask_predictor.conv5_mask.weight"] = (wide, wide, 2, 2)
    found["roi_heads.mask_predictor.conv5_mask.bias"] = (wide,)
    conv("roi_heads.mask_predictor.mask_fcn_logits", classes, wide, 1, bias=True)
    return found


def counts_of_batches(version: str) -> list[str]:
    """Names of the tensors ``num_batches_tracked`` of batch norms that are not frozen."""
    return [
        name.replace("running_var", "num_batches_tracked")
        for name in shapes(version)
        if name.endswith("running_var")
    ]


def read_statistics(version: str) -> dict[str, np.ndarray]:
    """What was measured for a version: {name: float32 array}; "<layer>.scale" is a factor of that
    layer's weight.
    """
    with np.load(FOLDER / "statistics.npz") as file:
        return {
            name.split(":")[1]: file[name].astype(np.float32)
            for name in file.files
            if name.startswith((f"{version}:", "both:"))
        }


def state_dict(
    version: str,
    statistics: dict[str, np.ndarray] | None = None,
    frozen: bool | None = None,
    seed: int = 0,
    classes: int = 91,
    narrow: int = 1,
) -> dict[str, np.ndarray]:
    """All tensors of a random model.

    Args:
        version: "v1" or "v2". Their backbones are alike.
        statistics: as of `read_statistics`, which None takes for the widths of torchvision's.
        frozen: whether the batch norms count no batches, as torchvision's pretrained v1; None: v1.
        seed: of the weights.
        classes, narrow: as of `shapes`.
    """
    if statistics is None:
        statistics = read_statistics(version) if narrow == 1 and classes == 91 else {}
    tensors = {}
    for number, (name, shape) in enumerate(shapes(version, classes, narrow).items()):
        draw = np.random.RandomState(1000 * seed + number)
        if name in statistics:
            value = statistics[name]
        elif name.endswith("running_mean"):
            value = np.zeros(shape)
        elif name.endswith("running_var"):
            value = np.ones(shape)
        elif len(shape) > 1:
            fan_in = shape[0] if "conv5_mask" in name else np.prod(shape[1:])
            value = draw.standard_normal(shape).astype(np.float32)
            value *= np.float32(np.sqrt(2 / fan_in))
            value *= statistics.get(name.replace("weight", "scale"), np.float32(1))
        elif name.endswith("weight"):
            value = draw.uniform(0.8, 1.2, shape)
            if name.endswith("bn3.weight"):  # of residuals: a deep network would amplify rounding
                value *= 0.4
        else:
            value = draw.standard_normal(shape) * 0.1
        tensors[name] = np.asarray(value, np.float32).reshape(shape)
    if not (version == "v1" if frozen is None else frozen):
        tensors.update({name: np.array(3, np.int64) for name in counts_of_batches(version)})
    return tensors


def scene(height: int, width: int, seed: int) -> np.ndarray:
    """A uint8 image [height, width, 3] of coloured ellipses with stripes on a sloping ground."""
    draw = np.random.RandomState(seed)
    y, x = np.mgrid[:height, :width] / max(height, width)
    image = draw.uniform(60, 160, 3) + 60 * (y[..., None] * draw.uniform(-1, 1, 3))
    image += 40 * x[..., None] * draw.uniform(-1, 1, 3)
    for _ in range(14):
        centre_y, centre_x = draw.uniform(0, height), draw.uniform(0, width)
        axes = np.exp(draw.uniform(np.log(0.03), np.log(0.3), 2))
        turn = draw.uniform(0, np.pi)
        dy, dx = y - centre_y / max(height, width), x - centre_x / max(height, width)
        along = dx * np.cos(turn) + dy * np.sin(turn)
        across = dy * np.cos(turn) - dx * np.sin(turn)
        inside = (along / axes[0]) ** 2 + (across / axes[1]) ** 2 < 1
        stripes = 30 * np.sin(along * draw.uniform(40, 300))
        image[inside] = (draw.uniform(0, 255, 3) + stripes[..., None] * draw.uniform(0, 1, 3))[
            inside
        ]
    image += draw.uniform(-6, 6, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


# (height, width, seed) of the images of the goldens: wide, high, and one that max_size bounds.
IMAGES = {"wide": (240, 360, 1), "high": (333, 250, 2), "long": (150, 400, 3)}
# In one batch: both are padded to 320 x 480 px. torchvision would pad images of other sizes to the
# largest, so that what it finds in an image depends on the others.
BATCH = {"wide": IMAGES["wide"], "near": (240, 350, 4)}
