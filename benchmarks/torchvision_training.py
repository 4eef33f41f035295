"""torchvision's Mask R-CNN trained on Penn-Fudan as `ladder.py` trains ours: the same photos,
ImageNet weights, trained layers, batches, mirror images and number of steps.

    python benchmarks/torchvision_training.py --dataset PennFudanPed --weights resnet50.h5 \
        --out torchvision.json --seeds 0 1 2

Needs torch, torchvision, pycocotools and h5py, and nothing of this package. The recipe is
torchvision's: 512 RoIs of an image at a quarter, its losses and initial weights, SGD with momentum
0.9 and weight decay 1e-4, the rate rising over the first 50 steps. ``--adamw`` takes the optimizer
of `ModernConfig` instead. The strides of its ResNet stand
where those of the weights are, in the first 1x1 convolution. AP is pycocotools', of scores from
0.05, in the photos' own size. A seed that is in the output already is not run again.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import os
import platform
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import torch
import torchvision
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.models.resnet import resnet50
from torchvision.ops.misc import FrozenBatchNorm2d

MEAN_PIXEL = (123.7, 116.8, 103.9)
BATCH, STEPS_PER_EPOCH, WARMUP = 2, 68, 50
BLOCKS = (3, 4, 6, 3)
EPSILON = 1e-3  # of the batch norms of the .h5 file
MEASURES = ("AP", "AP50", "AP75")


def network(weights, size):
    """``maskrcnn_resnet50_fpn`` for one class, its backbone with the weights of a .h5 file in
    matterport's layer names, of which stages 4 and 5 train.
    """
    backbone = resnet50(weights=None, norm_layer=FrozenBatchNorm2d)
    for stage in (backbone.layer2, backbone.layer3, backbone.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    with h5py.File(weights, "r") as file:
        values = {}
        file.visititems(
            lambda name, item: (
                values.update({"/".join(name.split("/")[-2:]): item[()]})
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
    if "conv1/kernel:0" not in values:
        raise ValueError(
            f"{weights} has no conv1/kernel:0: give a file in matterport's layer names, as "
            "save_weights of a training model writes it"
        )
    _fill(backbone.conv1, backbone.bn1, values, "conv1", "bn_conv1")
    for number, blocks in enumerate(BLOCKS):
        for block in range(blocks):
            module = getattr(backbone, f"layer{number + 1}")[block]
            name = f"{number + 2}{chr(ord('a') + block)}_branch"
            for place, letter in enumerate("abc", start=1):
                unit = getattr(module, f"conv{place}"), getattr(module, f"bn{place}")
                _fill(*unit, values, f"res{name}2{letter}", f"bn{name}2{letter}")
            if module.downsample is not None:
                _fill(*module.downsample, values, f"res{name}1", f"bn{name}1")
    return MaskRCNN(
        _resnet_fpn_extractor(backbone, 2),
        num_classes=2,
        min_size=size,
        max_size=size,
        image_mean=[value / 255 for value in MEAN_PIXEL],
        image_std=[1 / 255] * 3,
    )


def _fill(convolution, norm, values, name, norm_name):
    """Weights of a convolution and its batch norm; the convolution's bias goes into the mean."""
    kernel = values[f"{name}/kernel:0"]
    if tuple(convolution.weight.shape) != kernel.transpose(3, 2, 0, 1).shape:
        raise ValueError(f"{name} is {kernel.shape}, which no ResNet-50 has")
    convolution.weight.data = torch.tensor(kernel.transpose(3, 2, 0, 1).copy())
    parts = [values[f"{norm_name}/{part}:0"] for part in ("gamma", "beta", "moving_mean")]
    gamma, beta, mean = parts
    variance = values[f"{norm_name}/moving_variance:0"]
    mean = mean - values.get(f"{name}/bias:0", 0)
    for buffer, value in zip(
        ("weight", "bias", "running_mean", "running_var"),
        (gamma, beta, mean, variance + EPSILON - norm.eps),
    ):
        getattr(norm, buffer).copy_(torch.tensor(value))


def photos(dataset, subset):
    """[(photo uint8 [h, w, 3], masks uint8 [n, h, w])] of "train" or "val", every fifth."""
    found = []
    for number, path in enumerate(sorted(Path(dataset, "PNGImages").glob("*.png"))):
        if (number % 5 == 0) != (subset == "val"):
            continue
        ids = np.array(Image.open(Path(dataset, "PedMasks", f"{path.stem}_mask.png")))
        masks = np.stack([ids == one for one in np.unique(ids) if one]).astype(np.uint8)
        found.append((np.array(Image.open(path).convert("RGB")), masks))
    return found


def sample(photo, masks, flip):
    """An image and its target as torchvision takes them."""
    if flip:
        photo, masks = photo[:, ::-1], masks[..., ::-1]
    boxes = []
    for mask in masks:
        y, x = np.nonzero(mask)
        boxes.append((x.min(), y.min(), x.max() + 1, y.max() + 1))
    target = {
        "boxes": torch.tensor(np.array(boxes), dtype=torch.float32),
        "labels": torch.ones(len(masks), dtype=torch.int64),
        "masks": torch.tensor(masks.copy()),
    }
    return torch.tensor(photo.copy()).permute(2, 0, 1).float() / 255, target


def optimizer_of(
    model: torch.nn.Module, adamw: bool, rate: float, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """The optimizer and the schedule of its rate; AdamW's are those of `ModernConfig`."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if not adamw:
        optimizer = torch.optim.SGD(weights, lr=rate, momentum=0.9, weight_decay=1e-4)
        return optimizer, torch.optim.lr_scheduler.LinearLR(optimizer, 1e-3, total_iters=WARMUP)
    optimizer = torch.optim.AdamW(weights, lr=rate, weight_decay=0.05)

    def factor(step):
        if step < WARMUP:
            return 1e-3 + (1 - 1e-3) * step / WARMUP
        return (1 + math.cos(math.pi * (step - WARMUP) / (steps - WARMUP))) / 2

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def train(
    model: torch.nn.Module,
    data: list[tuple[np.ndarray, np.ndarray]],
    rate: float,
    epochs: int,
    seed: int,
    adamw: bool,
) -> tuple[list[dict[str, float]], dict[str, float]]:
    """Train in place; returns the mean losses of each epoch and what the heads were trained on."""
    rng = np.random.default_rng(seed)
    optimizer, schedule = optimizer_of(model, adamw, rate, epochs * STEPS_PER_EPOCH)
    counts, losses = [], []
    select = model.roi_heads.select_training_samples

    def counted(*arguments):
        samples = select(*arguments)
        counts.append([sum(int((one > 0).sum()) for one in samples[2]), sum(map(len, samples[2]))])
        return samples

    model.roi_heads.select_training_samples = counted
    model.train()
    for epoch in range(epochs):
        order = rng.permutation(len(data))
        found = []
        for step in range(STEPS_PER_EPOCH):
            batch = [
                sample(*data[number], rng.random() < 0.5)
                for number in order[BATCH * step : BATCH * (step + 1)]
            ]
            parts = model(*map(list, zip(*batch)))
            optimizer.zero_grad()
            sum(parts.values()).backward()
            optimizer.step()
            schedule.step()
            found.append({name: float(value) for name, value in parts.items()})
        losses.append({name: np.mean([one[name] for one in found]).item() for name in found[0]})
        said = ", ".join(f"{name} {value:.3f}" for name, value in losses[-1].items())
        print(f"epoch {epoch + 1} of {epochs}: {said}", flush=True)
    del model.roi_heads.select_training_samples
    positives, rois = np.mean(counts, axis=0).tolist()
    return losses, {"positive_rois_of_a_step": positives, "rois_of_a_step": rois}


@torch.inference_mode()
def evaluate(model, data):
    """COCO AP of boxes and masks."""
    model.eval()
    truth, found = [], []
    for number, (photo, masks) in enumerate(data, start=1):
        for mask in masks:
            code = rle.encode(np.asfortranarray(mask))
            truth.append(
                {
                    "id": len(truth) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "iscrowd": 0,
                    "segmentation": code,
                    "area": float(rle.area(code)),
                    "bbox": rle.toBbox(code).tolist(),
                }
            )
        result = model([sample(photo, masks, False)[0]])[0]
        for box, score, mask in zip(result["boxes"], result["scores"], result["masks"]):
            x1, y1, x2, y2 = box.tolist()
            found.append(
                {
                    "image_id": number,
                    "category_id": 1,
                    "score": float(score),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "segmentation": rle.encode(
                        np.asfortranarray((mask[0] > 0.5).numpy(), np.uint8)
                    ),
                }
            )
    coco = COCO()
    coco.dataset = {
        "images": [
            {"id": number, "height": photo.shape[0], "width": photo.shape[1]}
            for number, (photo, _) in enumerate(data, start=1)
        ],
        "annotations": truth,
        "categories": [{"id": 1, "name": "person"}],
    }
    measures = {}
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        for kind in ("bbox", "segm"):
            evaluation = COCOeval(coco, coco.loadRes(found), kind)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            for name, value in zip(MEASURES, evaluation.stats):
                measures[f"{kind}_{name}"] = float(value)
    return measures


def main() -> int:
    """Train and measure what is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True, metavar="FOLDER", help="PennFudanPed")
    parser.add_argument(
        "--weights",
        required=True,
        metavar="FILE",
        help=".h5 of a ResNet-50, in matterport's layer names",
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="json of the results")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N")
    parser.add_argument("--size", type=int, default=256, metavar="PX")
    parser.add_argument("--epochs", type=int, default=4, metavar="N", help="of 68 steps of 2")
    parser.add_argument(
        "--adamw", action="store_true", help="the optimizer of ModernConfig instead of SGD"
    )
    parser.add_argument("--rate", type=float, help="(0.005; with --adamw 0.0005)")
    args = parser.parse_args()
    args.rate = args.rate or (0.0005 if args.adamw else 0.005)
    out = Path(args.out)
    results = json.loads(out.read_text()) if out.exists() else []
    train_set, val_set = photos(args.dataset, "train"), photos(args.dataset, "val")
    settings = {"size": args.size, "epochs": args.epochs, "rate": args.rate}
    settings["optimizer"] = "AdamW" if args.adamw else "SGD"
    for seed in args.seeds:
        if any({**one, "seed": seed, **settings} == one for one in results):
            continue
        torch.manual_seed(seed)
        model = network(args.weights, args.size)
        start = time.process_time()
        losses, counts = train(model, train_set, args.rate, args.epochs, seed, args.adamw)
        results.append(
            {
                "seed": seed,
                **settings,
                **counts,
                "cpu_seconds": round(time.process_time() - start),
                "torchvision": torchvision.__version__,
                "processor": platform.processor() or platform.machine(),
                **evaluate(model, val_set),
                "losses": losses,
            }
        )
        part = f"{out}.part"
        Path(part).write_text(json.dumps(results, indent=1))
        os.replace(part, out)
        print({name: value for name, value in results[-1].items() if name != "losses"}, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
