"""What each field of the modern recipe brings: trainings on Penn-Fudan that differ by one field.

    python benchmarks/ladder.py --dataset PennFudanPed --weights resnet50.h5 --out ladder
    python benchmarks/ladder.py --out ladder --table
    python benchmarks/ladder.py --dataset PennFudanPed --weights resnet50.h5 --out ladder \
        --rows matterport all --seeds 0 1 2 --size 384 --epochs 40

A row has the fields of all rows before it and its own, so that the last is the whole recipe.
Each training of a row and a seed has a process and a folder of its own and resumes where it was
stopped; one that is done is not repeated. The division, 136 photos to train on and 34 to measure,
is that of samples/penn_fudan.py. AP is pycocotools' where that is installed, of scores from 0.05.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from typing import Any

import numpy as np

# (name of a row, its fields, which the rows after it have too)
ROWS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("matterport", {}),
    ("init", {"HEAD_INIT": "torchvision"}),
    (
        "align",
        {
            "ROI_ALIGN": "aligned",
            "ROI_LEVEL_FLOOR": True,
            "MASK_TARGETS": "sampled",
            "MASK_PASTE": "padded",
        },
    ),
    ("add-gt", {"ROI_ADD_GT": True}),
    (
        "per-level",
        {
            "PROPOSALS_PER_LEVEL": True,
            "PRE_NMS_LIMIT": 1000,
            "PRE_NMS_LIMIT_TRAINING": 2000,
            "DETECTION_MULTI_CLASS": True,
            "DETECTION_NMS_THRESHOLD": 0.5,
        },
    ),
    ("edges", {"BOX_SHIFT": 0}),
    ("cosine", {"LEARNING_RATE_SCHEDULE": "cosine", "LEARNING_RATE_WARMUP_STEPS": 50}),
    ("jitter", {"SCALE_JITTER": (0.75, 1.25)}),
)
# Settings of all rows.
COMMON = {
    "BACKBONE": "resnet50",
    "NUM_CLASSES": 2,
    "CLASS_NAMES": ["BG", "person"],
    "IMAGES_PER_GPU": 2,
    "STEPS_PER_EPOCH": 68,
    "VALIDATION_STEPS": 17,
}
RATE, LAYERS = 0.006, "4+"
MEASURES = ("bbox_AP", "bbox_AP50", "segm_AP", "segm_AP50", "segm_AP75")
RESULT = "result.json"


def fields_of(row: str) -> dict[str, Any]:
    """The fields of a row and of those before it."""
    fields: dict[str, Any] = {}
    for name, own in ROWS:
        fields.update(own)
        if name == row:
            return fields
    raise ValueError(f"there is no row {row!r}; the rows are {', '.join(name for name, _ in ROWS)}")


def folder_of(out: str, row: str, seed: int, size: int, epochs: int) -> str:
    """The folder of one training."""
    return os.path.join(out, f"{row}-{size}px-{epochs}epochs-seed{seed}")


def run_one(args: argparse.Namespace, row: str, seed: int) -> None:
    """Train and measure in this process; the result goes into the folder."""
    from mrcnn.config import Config
    from mrcnn.data.formats.mask_png import MaskPng
    from mrcnn.model import MaskRCNN

    def dataset(subset):
        found = MaskPng()
        found.load_id_masks(
            os.path.join(args.dataset, "PNGImages"),
            os.path.join(args.dataset, "PedMasks"),
            "person",
        )
        found.image_info = [
            info
            for number, info in enumerate(found.image_info)
            if (number % 5 == 0) == (subset == "val")
        ]
        found.prepare()
        return found

    def flip_half(image, masks, rng):
        return (image[:, ::-1], masks[:, ::-1]) if rng.random() < 0.5 else (image, masks)

    folder = folder_of(args.out, row, seed, args.size, args.epochs)
    settings = {
        **COMMON,
        "NAME": "ladder",
        "SEED": seed,
        "IMAGE_MIN_DIM": args.size,
        "IMAGE_MAX_DIM": args.size,
        "RPN_ANCHOR_SCALES": tuple(scale * args.size // 1024 for scale in (32, 64, 128, 256, 512)),
        **fields_of(row),
    }
    config = type("Row", (Config,), settings)()
    train_set, val_set = dataset("train"), dataset("val")
    start = time.process_time()
    model = MaskRCNN("training", config, folder)
    resumed = model.resume()
    if resumed is None:
        model.load_weights(args.weights, by_name=True)
        model.set_log_dir()  # a run of its own, wherever the weights are
    model.train(
        train_set, val_set, RATE, args.epochs, LAYERS, augmentation=flip_half, workers=1, verbose=2
    )
    seconds = time.process_time() - start
    config = type("Row", (Config,), {**settings, "IMAGES_PER_GPU": 1})()
    detector = MaskRCNN("inference", config, folder)
    detector.load_weights(model.find_last())
    found = detector.evaluate(val_set, verbose=0)
    result = {
        "row": row,
        "seed": seed,
        "size": args.size,
        "epochs": args.epochs,
        "fields": fields_of(row),
        "cpu_seconds": None if resumed else round(seconds),
        "processor": platform.processor() or platform.machine(),
        **{measure: float(found[measure]) for measure in MEASURES},
    }
    temporary = os.path.join(folder, RESULT + ".part")
    with open(temporary, "w") as file:
        json.dump(result, file, indent=1)
    os.replace(temporary, os.path.join(folder, RESULT))


def results(out: str) -> list[dict[str, Any]]:
    """What is done, in the order of the rows."""
    found = []
    for entry in sorted(os.listdir(out)) if os.path.isdir(out) else ():
        path = os.path.join(out, entry, RESULT)
        if os.path.exists(path):
            with open(path) as file:
                found.append(json.load(file))
    order = [name for name, _ in ROWS]
    return sorted(found, key=lambda each: (each["size"], each["epochs"], order.index(each["row"])))


def table(found: list[dict[str, Any]]) -> str:
    """Means over the seeds, with the spread (standard deviation) where there are several, in
    Markdown.
    """
    lines = ["| size, epochs | row | seeds | " + " | ".join(MEASURES) + " |"]
    lines.append("|" + "---|" * (3 + len(MEASURES)))
    groups: dict[tuple[int, int, str], list[dict[str, Any]]] = {}
    for each in found:
        groups.setdefault((each["size"], each["epochs"], each["row"]), []).append(each)
    for (size, epochs, row), group in groups.items():
        cells = []
        for measure in MEASURES:
            values = np.array([each[measure] for each in group])
            spread = f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else ""
            cells.append(f"{values.mean():.3f}{spread}")
        lines.append(f"| {size} px, {epochs} | {row} | {len(group)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    """Run what is missing, then print the table."""
    names = [name for name, _ in ROWS]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", metavar="FOLDER", help="with PNGImages/ and PedMasks/")
    parser.add_argument("--weights", metavar="FILE", help=".h5 of a ResNet-50 to begin with")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="of the trainings")
    parser.add_argument("--rows", nargs="+", choices=names, default=names, metavar="ROW")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N")
    parser.add_argument("--size", type=int, default=256, metavar="PX")
    parser.add_argument("--epochs", type=int, default=4, metavar="N", help="of 68 steps of 2")
    parser.add_argument("--table", action="store_true", help="only print what is done")
    parser.add_argument("--one", nargs=2, metavar=("ROW", "SEED"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.table and not (args.dataset and args.weights):
        parser.error("--dataset and --weights are needed to train; --table prints what is done")
    if args.one:
        run_one(args, args.one[0], int(args.one[1]))
        return 0
    failed = []
    for seed in () if args.table else args.seeds:
        for row in args.rows:
            folder = folder_of(args.out, row, seed, args.size, args.epochs)
            if os.path.exists(os.path.join(folder, RESULT)):
                continue
            print(f"{time.strftime('%H:%M:%S')} {folder}", flush=True)
            os.makedirs(folder, exist_ok=True)
            with open(os.path.join(folder, "log.txt"), "a") as log:
                command = [sys.executable, __file__, *sys.argv[1:], "--one", row, str(seed)]
                if subprocess.run(command, stdout=log, stderr=log).returncode:
                    failed.append(folder)
                    print(f"failed: see {log.name}", file=sys.stderr)
    print(table(results(args.out)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
