"""Numbers of torchvision's Mask R-CNN for ``tests/torchvision``.

    python -m benchmarks.torchvision_goldens statistics   # scales of the random weights
    python -m benchmarks.torchvision_goldens goldens      # what torchvision finds with them
    python -m benchmarks.torchvision_goldens files        # small files for tests/weights

Needs torch and torchvision (0.29.1 wrote the files), and nothing of this package. ``statistics``
changes the weights, so ``goldens`` must follow it.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torchvision.models.detection import maskrcnn_resnet50_fpn_v2
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.models.detection.mask_rcnn import MaskRCNN
from torchvision.models.resnet import resnet50
from torchvision.ops.misc import FrozenBatchNorm2d

from tests.torchvision import random_model

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "tests" / "torchvision"
LEVELS = ("0", "1", "2", "3", "pool")


def build(version, norm=None, **options):
    """torchvision's model without weights, as its builders make it."""
    size = dict(zip(("min_size", "max_size"), random_model.SIZES))
    options = {**size, **options}
    if version == "v2":
        return maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None, **options)
    backbone = _resnet_fpn_extractor(resnet50(weights=None, norm_layer=norm), 3)
    return MaskRCNN(backbone, 91, **options)


def load(version, **options):
    """The random model, ready to detect. v1 has the frozen batch norms and the epsilon of the
    pretrained one.
    """
    model = build(version, FrozenBatchNorm2d, **options)
    tensors = {
        name: torch.tensor(value) for name, value in random_model.state_dict(version).items()
    }
    model.load_state_dict(tensors)
    for module in model.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.eps = 0.0
    return model.eval()


def picture(name):
    """An image of the goldens as torchvision takes it."""
    image = random_model.scene(*{**random_model.IMAGES, **random_model.BATCH}[name])
    return torch.tensor(image).permute(2, 0, 1).float() / 255


# === Statistics ===


@torch.no_grad()
def measure(version, known):
    """The statistics of a version: batch norms', and scales and biases of the heads.

    Args:
        version: of torchvision's model.
        known: statistics that are kept as they are, the backbone's of the other version.
    """
    half = {}

    def keep(name, value):
        half[name] = np.asarray(value, np.float16)
        return torch.tensor(half[name].astype(np.float32))

    model = build(version, torch.nn.BatchNorm2d)
    tensors = random_model.state_dict(version, known, frozen=False)
    model.load_state_dict({name: torch.tensor(value) for name, value in tensors.items()})
    parameters = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    images = torch.stack([_square(seed) for seed in range(100, 104)])
    norms = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.BatchNorm2d)
    }

    def take_statistics(name, inputs):
        if f"{name}.running_mean" in known:
            return
        norms[name].running_mean.copy_(keep(f"{name}.running_mean", inputs.mean((0, 2, 3))))
        norms[name].running_var.copy_(keep(f"{name}.running_var", inputs.var((0, 2, 3)) + 1e-3))

    for name, module in norms.items():
        module.register_forward_pre_hook(
            lambda _, inputs, name=name: take_statistics(name, inputs[0])
        )
    model.eval()

    def scale(name, factor):
        """Multiply the weight of a layer, and keep the factor."""
        parameters[f"{name}.weight"].mul_(keep(f"{name}.scale", factor))

    def centre(name, outputs, dims, spread):
        """Scale a layer so that its outputs have a spread, and centre each of them."""
        scale(name, spread / (outputs - outputs.mean(dims, keepdim=True)).std())
        return float(half[f"{name}.scale"])

    model.backbone(images)  # measures its batch norms
    if version == "v1":  # nothing else keeps the pyramid's size
        for block in ("inner_blocks", "layer_blocks"):
            for level in range(4):
                scale(f"backbone.fpn.{block}.{level}.0", 0.7)
    features = model.backbone(images)
    maps = list(features.values())

    # the RPN: one scale for all levels
    logits, deltas = model.rpn.head(maps)
    flat = torch.cat([one.permute(0, 2, 3, 1).reshape(-1, 3) for one in logits])
    factor = centre("rpn.head.cls_logits", flat, 0, 2.5)
    bias = parameters["rpn.head.cls_logits.bias"]
    bias.copy_(keep("rpn.head.cls_logits.bias", -(flat - bias).mean(0) * factor - 1))
    flat = torch.cat([one.permute(0, 2, 3, 1).reshape(-1, 12) for one in deltas])
    factor = centre("rpn.head.bbox_pred", flat, 0, 0.25)
    bias = parameters["rpn.head.bbox_pred.bias"]
    bias.copy_(keep("rpn.head.bbox_pred.bias", -(flat - bias).mean(0) * factor))

    # the heads, of what the RPN proposes
    from torchvision.models.detection.image_list import ImageList

    side = images.shape[-1]
    boxes, _ = model.rpn(ImageList(images, [(side, side)] * len(images)), features, None)
    pooled = model.roi_heads.box_roi_pool(features, boxes, [(side, side)] * len(images))
    shared = model.roi_heads.box_head(pooled)
    scores, deltas = model.roi_heads.box_predictor(shared)
    name = "roi_heads.box_predictor.cls_score"
    factor = centre(name, scores, 0, {"v1": 2.6, "v2": 2.4}[version])
    bias = parameters[f"{name}.bias"]
    bias.copy_(keep(f"{name}.bias", -(scores - bias).mean(0) * factor))
    name = "roi_heads.box_predictor.bbox_pred"
    factor = centre(name, deltas, 0, 0.7)
    bias = parameters[f"{name}.bias"]
    bias.copy_(keep(f"{name}.bias", -(deltas - bias).mean(0) * factor))
    some = [one[:40] for one in boxes]
    pooled = model.roi_heads.mask_roi_pool(features, some, [(side, side)] * len(images))
    masks = model.roi_heads.mask_predictor(model.roi_heads.mask_head(pooled))
    name = "roi_heads.mask_predictor.mask_fcn_logits"
    factor = centre(name, masks, (0, 2, 3), 2.0)
    bias = parameters[f"{name}.bias"]
    means = (masks - bias[:, None, None]).mean((0, 2, 3))
    bias.copy_(keep(f"{name}.bias", -means * factor))
    return half


def _square(seed):
    image = random_model.scene(352, 352, seed)
    values = torch.tensor(image).permute(2, 0, 1).float() / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (values - mean[:, None, None]) / std[:, None, None]


def statistics():
    """Write statistics.npz; the backbone's are measured once, for both versions."""
    found = measure("v1", {})
    body = {name: value for name, value in found.items() if name.startswith("backbone.body.")}
    known = {name: value.astype(np.float32) for name, value in body.items()}
    files = {f"both:{name}": value for name, value in body.items()}
    files |= {f"v1:{name}": value for name, value in found.items() if name not in body}
    files |= {f"v2:{name}": value for name, value in measure("v2", known).items()}
    assert all(np.isfinite(value).all() for value in files.values())
    np.savez_compressed(FOLDER / "statistics.npz", **files)


# === Goldens ===


@torch.no_grad()
def detect(model, names):
    """torchvision's detections, as arrays that compress well."""
    for name, found in zip(names, model([picture(name) for name in names])):
        masks = found["masks"][:, 0].numpy() >= 0.5
        yield (
            name,
            {
                "boxes": found["boxes"].numpy(),
                "labels": found["labels"].numpy().astype(np.uint8),
                "scores": found["scores"].numpy(),
                "masks": np.packbits(masks.reshape(len(masks), -1), axis=1),
            },
        )


@torch.no_grad()
def stages(model, name):
    """A few numbers of each stage for one image."""
    images, _ = model.transform([picture(name)])
    features = model.backbone(images.tensors)
    logits, deltas = model.rpn.head(list(features.values()))
    proposals, _ = model.rpn(images, features)
    pooled = model.roi_heads.box_roi_pool(features, proposals, images.image_sizes)
    scores, boxes = model.roi_heads.box_predictor(model.roi_heads.box_head(pooled))
    found = {"molded": images.tensors[0, :, ::16, ::16], "proposals": proposals[0]}
    found |= {f"p{level}": features[key][0, ::32, ::3, ::3] for level, key in enumerate(LEVELS, 2)}
    found |= {f"logits{level}": one[0, :, ::3, ::3] for level, one in enumerate(logits, 2)}
    found |= {f"deltas{level}": one[0, :, ::4, ::4] for level, one in enumerate(deltas, 2)}
    found |= {"pooled": pooled[::100, ::32], "class_logits": scores[::40], "boxes": boxes[::100]}
    return {key: value.numpy() for key, value in found.items()}


def goldens():
    """Write the files <version>.npz: detections of each image alone and of a batch, and stages."""
    for version in random_model.VERSIONS:
        model = load(version)
        files = {}
        cases = [(name,) for name in random_model.IMAGES] + [tuple(random_model.BATCH)]
        for case in cases:
            for name, found in detect(model, case):
                key = f"{'+'.join(case)}:{name}" if len(case) > 1 else name
                files |= {f"{key}:{part}": value for part, value in found.items()}
                scores, classes = found["scores"], set(found["labels"].tolist())
                print(
                    f"{version} {key}: {len(scores)} detections of {len(classes)} classes, scores "
                    f"{scores.min():.3f} to {scores.max():.4f}, least gap "
                    f"{-np.diff(scores).max():.1e}"
                )
        files |= {f"stages:{key}": value for key, value in stages(model, "wide").items()}
        np.savez_compressed(FOLDER / f"{version}.npz", **files)
        print(f"{version}.npz: {(FOLDER / f'{version}.npz').stat().st_size:,} bytes")


# === Files ===


def files():
    """Write the files of tests/weights/torch_files: tensors of every kind in both formats, and
    what people save besides.
    """
    folder = ROOT / "tests" / "weights" / "torch_files"
    folder.mkdir(exist_ok=True)
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6) / 7
    tensors = {
        "plain": base,
        "transposed": base.T,
        "part": base[1:3, ::2],
        "expanded": base[0, :1].expand(3),
        "parameter": torch.nn.Parameter(base[2]),
        "scalar": torch.tensor(3),
        "empty": torch.zeros(0, 5),
        **{
            str(kind).removeprefix("torch."): torch.tensor([0, 1, 2, 100]).to(kind)
            for kind in (
                *(torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32),
                *(torch.int16, torch.int8, torch.uint8, torch.bool),
            )
        },
    }
    state = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2)).state_dict()
    torch.save(tensors, folder / "zip.pth")
    torch.save(tensors, folder / "stream.pth", _use_new_zipfile_serialization=False)
    torch.save(state, folder / "state.pth")
    torch.save(torch.nn.Linear(2, 1), folder / "module.pth")
    weights = [torch.nn.Parameter(base.clone())]
    optimizer = torch.optim.SGD(weights, 0.1, momentum=0.9)
    weights[0].sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 4])
    checkpoint = {
        "model": state,
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": schedule.state_dict(),
        "args": argparse.Namespace(epochs=2),
        "epoch": 1,
    }
    torch.save(checkpoint, folder / "checkpoint.pth")
    scripted = torch.jit.script(torch.nn.Linear(2, 1))
    torch.jit.save(scripted, folder / "script.pt")
    arrays = {name: value.detach().float().numpy() for name, value in tensors.items()}
    arrays |= {f"state:{name}": value.numpy() for name, value in state.items()}
    np.savez_compressed(folder / "values.npz", **arrays)


if __name__ == "__main__":
    torch.manual_seed(0)
    {"statistics": statistics, "goldens": goldens, "files": files}[sys.argv[1]]()
