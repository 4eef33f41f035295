"""torchvision's Mask R-CNN, measured like `network_cases`; `peers.py` runs this with an interpreter
that has it.

    python torchvision_peer.py CASE OPTIONS [--quick] RESULT.json

OPTIONS are the case's arguments as JSON. The network is the one of ``maskrcnn_resnet50_fpn`` with
weights, random ones here: ResNet-50 with frozen batch normalisation (without any weights that
function takes batch normalisation that trains). Images are not resized.
"""

import json
import sys
from pathlib import Path

import measure
import numpy as np
import process_cases
import torch
import torchvision
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import box_iou

CLASSES = 81


def detect(quick, repeats, side, detections, channels_last=False):
    """From an image as a tensor to boxes and masks of its size; every detection counts, however low
    its score.
    """
    side = 128 if quick else side
    model = network(side, box_score_thresh=0.0, box_detections_per_img=detections).eval()
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    images = [tensor(measure.photo(side, side))]
    found = []
    with torch.inference_mode():
        result = measure.repeat(lambda: found.append(len(model(images)[0]["masks"])), repeats)
    return {**result, "images": 1, "detections": found[-1]}


def detect_random(quick, repeats, version, small, large, channels_last=False):
    """As `torchvision_cases.detect`: the same weights, photo and sizes."""
    sys.path.append(str(Path(__file__).resolve().parent.parent))
    import torchvision_cases
    from torchvision_goldens import load

    from tests.torchvision.random_model import scene

    small, large = torchvision_cases.QUICK if quick else (small, large)
    model = load(version, min_size=small, max_size=large)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    photo = scene(*torchvision_cases.PHOTO)
    found = []

    def run():
        # from uint8 to masks of bool, as ours
        masks = (model([tensor(photo)])[0]["masks"][:, 0] > 0.5).numpy()
        found.append(len(masks))

    with torch.inference_mode():
        result = measure.repeat(run, repeats)
    return {**result, "images": 1, "detections": found[-1]}


def train_step(quick, repeats, side, batch, layers, many_positives=True, sampled=512):
    """One optimizer step on one batch that stays the same; arguments as of
    `network_cases.train_step`, and the RoIs of an image.
    """
    side = 128 if quick else side
    trained = {"heads": 0, "all": 5}[layers]
    model = network(side, trainable_layers=trained, box_batch_size_per_image=sampled).train()
    photos = [measure.photo(side, side, seed=number) for number in range(batch)]
    images = [tensor(photo) for photo in photos]
    targets = [
        target(measure.ellipses(side, side, count=10, seed=number)) for number in range(batch)
    ]
    if many_positives:
        targets = [
            target(measure.rectangles(measure.boxes_that_match_most(boxes, _overlaps), side, side))
            for boxes in _proposals(model, images, targets)
        ]
    sgd = optimizer(model)
    positives, rois, losses = [], [], []
    sample = model.roi_heads.select_training_samples

    def counted(*arguments):
        samples = sample(*arguments)
        positives.append(sum(int((labels > 0).sum()) for labels in samples[2]))
        rois.append(sum(len(labels) for labels in samples[2]))
        return samples

    model.roi_heads.select_training_samples = counted

    result = measure.repeat(lambda: losses.append(step(model, sgd, images, targets)), repeats)
    if not np.isfinite(losses).all():
        raise FloatingPointError(f"the losses are {losses}")
    return {**result, "images": batch, "mask_rois": positives[-1], "rois": rois[-1]}


def network(side, backbone="resnet50", trainable_layers=0, **settings):
    """A Mask R-CNN with the same random weights in every process."""
    torch.manual_seed(0)
    backbone = resnet_fpn_backbone(
        backbone_name=backbone, weights=None, trainable_layers=trainable_layers
    )
    return MaskRCNN(backbone, CLASSES, min_size=side, max_size=side, **settings)


def optimizer(model):
    """One that hardly learns, so that the proposals stay and every step costs the same."""
    return torch.optim.SGD(
        [weight for weight in model.parameters() if weight.requires_grad],
        lr=1e-9,
        momentum=0.9,
        weight_decay=1e-4,
    )


def step(model, sgd, images, targets):
    """The loss of one optimizer step."""
    loss = sum(model(images, targets).values())
    sgd.zero_grad()
    loss.backward()
    sgd.step()
    return loss.item()


def tensor(photo):
    """A photo [h, w, 3] uint8 as float32 [3, h, w], 0 to 1."""
    return torch.from_numpy(photo).permute(2, 0, 1).float() / 255


def target(masks):
    """What torchvision wants to know of the objects of masks bool [h, w, n]."""
    boxes = [
        (x.min(), y.min(), x.max() + 1, y.max() + 1)
        for y, x in (np.nonzero(mask) for mask in np.moveaxis(masks, -1, 0))
    ]
    labels = np.random.RandomState(0).randint(1, CLASSES, len(boxes))
    return {
        "boxes": torch.tensor(np.array(boxes), dtype=torch.float32),
        "labels": torch.from_numpy(labels).long(),
        "masks": torch.from_numpy(np.moveaxis(masks, -1, 0).astype(np.uint8)),
    }


def _proposals(model, images, targets):
    """Each image's proposals [n, 4] (y1, x1, y2, x2) px, as the heads get them in training."""
    seen = []
    hook = model.rpn.register_forward_hook(lambda module, inputs, outputs: seen.extend(outputs[0]))
    with torch.no_grad():
        model(images, targets)
    hook.remove()
    return [boxes.numpy()[:, [1, 0, 3, 2]] for boxes in seen]


def _overlaps(boxes, others):
    return box_iou(torch.from_numpy(boxes).float(), torch.from_numpy(others).float())


if __name__ == "__main__":
    _, case, options, *quick, path = sys.argv
    functions = (detect, detect_random, train_step, process_cases.photo, process_cases.first_step)
    chosen = next(function for function in functions if function.__name__ == case)
    found = chosen(quick=bool(quick), **json.loads(options))
    Path(path).write_text(
        json.dumps(
            {
                "peak_bytes": measure.peak_bytes(),
                "threads": torch.get_num_threads(),
                "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__},
                **found,
            }
        )
    )
