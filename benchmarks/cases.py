"""All cases by name; as a program, runs one of them: python cases.py NAME [--quick] RESULT.json

`run.py` starts this program once for every case, so that each has its own peak memory and
none finds anything warm.
"""

import json
import sys
from functools import partial
from pathlib import Path

import data_cases
import evaluation_cases
import machine_cases
import measure
import network_cases
import process_cases
import segmentation_cases
import torchvision_cases

QUICK_REPEATS = 2
# Of an image, of which a quarter are positive: not more than the objects of the cases allow, so
# that torchvision has as many.
MODERN_ROIS = 256
RATES = ("rates", "rates-onednn-off", "rates-onednn-on", "rates-at-end")


def _cases():
    """{name: (function, repeats of the steady state)}, in the order in which they are run."""
    cases = {
        "rates": (machine_cases.rates, 7),
        "rates-onednn-off": (partial(machine_cases.rates, onednn="0"), 7),
        "rates-onednn-on": (partial(machine_cases.rates, onednn="1"), 7),
        "import": (machine_cases.imports, 5),
        "import-light": (machine_cases.imports_light, 5),
        "build-r101-1024": (partial(network_cases.build, backbone="resnet101", side=1024), 3),
    }
    for short, backbone, side in (("r50", "resnet50", 512), ("r101", "resnet101", 1024)):
        cases[f"photo-{short}-{side}"] = (
            partial(process_cases.photo, backbone=backbone, side=side),
            5,
        )
    cases["first-step-r50-256"] = (
        partial(process_cases.first_step, backbone="resnet50", side=256, batch=2),
        5,
    )
    for short, backbone, side, repeats in (
        ("r50", "resnet50", 512, 7),
        ("r50", "resnet50", 1024, 5),
        ("r101", "resnet101", 1024, 5),
    ):
        detect = partial(network_cases.detect, backbone=backbone, side=side)
        for detections in (10, 50, 100):
            cases[f"detect-{short}-{side}-{detections}"] = (
                partial(detect, detections=detections),
                repeats,
            )
        cases[f"detect-{short}-{side}-50-rect"] = (
            partial(detect, detections=50, IMAGE_RESIZE_MODE="rect"),
            repeats,
        )
        if short == "r50":
            cases[f"detect-{short}-{side}-100-filled"] = (
                partial(detect, detections=100, filled=True),
                repeats,
            )
        if (short, side) != ("r50", 1024):
            for batch in (2, 4):
                cases[f"detect-{short}-{side}-50-batch{batch}"] = (
                    partial(detect, detections=50, batch=batch),
                    3,
                )
    for name, (version, small, large) in torchvision_cases.MEASURED.items():
        cases[name] = (
            partial(torchvision_cases.detect, version=version, small=small, large=large),
            5,
        )
    # what sampled RoIAlign costs
    version, small, large = torchvision_cases.MEASURED["detect-torchvision-v1-512"]
    cases["detect-torchvision-v1-512-crop"] = (
        partial(
            torchvision_cases.detect, version=version, small=small, large=large, ROI_ALIGN="crop"
        ),
        5,
    )
    cases["evaluate-512"] = (
        partial(evaluation_cases.evaluate, backbone="resnet50", side=512, detections=50),
        2,
    )
    for side, batch in ((256, 2), (512, 1)):
        for layers in ("heads", "all"):
            step = partial(
                network_cases.train_step, backbone="resnet50", side=side, batch=batch, layers=layers
            )
            cases[f"train-r50-{side}-batch{batch}-{layers}"] = step, 5
            cases[f"train-r50-{side}-batch{batch}-{layers}-few"] = (
                partial(step, many_positives=False),
                5,
            )
    modern = {
        "preset": "modern",
        "TRAIN_ROIS_PER_IMAGE": MODERN_ROIS,
        "ROI_POSITIVE_RATIO": 0.25,
    }
    for side, batch in ((256, 2), (512, 1)):
        cases[f"train-modern-{side}-batch{batch}-all"] = (
            partial(
                network_cases.train_step,
                backbone="resnet50",
                side=side,
                batch=batch,
                layers="all",
                **modern,
            ),
            5,
        )
    for name, network in segmentation_cases.MEASURED.items():
        cases[f"segment-{name}"] = partial(segmentation_cases.predict, **network), 7
        cases[f"train-{name}"] = partial(segmentation_cases.train_step, **network), 5
    for name, mini_masks in (("mini", True), ("full", False)):
        cases[f"sample-1024-{name}-masks"] = partial(data_cases.sample, mini_masks=mini_masks), 7
        cases[f"batch-1024-{name}-masks"] = partial(data_cases.batch, mini_masks=mini_masks), 7
    for side in (256, 512):
        cases[f"label-batch-{side}"] = partial(data_cases.label_batch, side=side), 15
    cases["evaluate-labels-512"] = evaluation_cases.evaluate_label_maps, 2
    for encoding in ("raw", "png"):
        for workers in (1, 2):
            cases[f"cache-1024-{encoding}-workers{workers}"] = (
                partial(data_cases.cached_batches, encoding=encoding, workers=workers),
                3,
            )
    for workers in (1, 2):
        cases[f"feed-1024-workers{workers}"] = (
            partial(network_cases.feed, mini_masks=True, workers=workers, batches=32),
            3,
        )
    for workers in (1, 2):
        cases[f"check-{workers}"] = partial(data_cases.check, workers=workers), 5
    cases["open-coco"] = data_cases.open_coco, 2
    cases["rpn-targets-1024"] = data_cases.rpn_targets, 7
    for side in (512, 1024):
        cases[f"mold-{side}"] = partial(data_cases.mold, side=side), 15
    for detections in (50, 100):
        cases[f"unmold-{detections}"] = partial(data_cases.unmold, detections=detections), 15
    cases["anchors-1024"] = data_cases.anchors, 15
    cases["box-overlaps-1024"] = data_cases.box_overlaps, 15
    cases["mask-overlaps-1024"] = data_cases.mask_overlaps, 7
    cases["compute-ap-1024"] = data_cases.average_precision, 7
    cases["compute-ap-range-1024"] = data_cases.average_precision_range, 5
    # again, for a machine whose clock falls under load or that was not as quiet as it seemed
    cases["rates-at-end"] = machine_cases.rates, 7
    return cases


CASES = _cases()


def run(name, quick):
    """Run a case here and now; the result is JSON-able."""
    function, repeats = CASES[name]
    result = function(quick=quick, repeats=QUICK_REPEATS if quick else repeats)
    return {"peak_bytes": measure.peak_bytes(), **result}


if __name__ == "__main__":
    _, case, *options, path = sys.argv
    Path(path).write_text(json.dumps(run(case, "--quick" in options)))
