"""What the fields of the modern recipe bring: trainings that differ by them, measured by COCO AP.

    # row by row from the original's settings to the modern preset, three seeds
    python benchmarks/ladder.py --dataset PennFudanPed --weights resnet50.h5 --out trainings
    # the first and the last row for longer
    python benchmarks/ladder.py --dataset PennFudanPed --weights resnet50.h5 --out trainings \
        --rows matterport modern --size 384 --epochs 16
    # fields beside those of a row; fewer photos to train on
    python benchmarks/ladder.py --dataset PennFudanPed --weights resnet50.h5 --out trainings \
        --rows modern --set COPY_PASTE=0.5 --photos 68
    # one field at a time, on generated scenes of digits
    python benchmarks/ladder.py --digits --out trainings
    python benchmarks/ladder.py --table

On Penn-Fudan a row has the fields of all rows before it and its own, so that the last is the whole
recipe; the division, 136 photos to train on and 34 to measure, is that of samples/penn_fudan.py. On
the digits each row is the modern preset with its own fields alone. Each training has a process and
a folder of its own and resumes where it was stopped. What is measured goes into benchmarks/
ladder.json (--results), and what is there is not run again.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
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
        "modern",
        {
            "OPTIMIZER": "AdamW",
            "OPTIMIZER_OPTIONS": {"weight_decay": 0.05},
            "WEIGHT_DECAY": 0.0,
            "LEARNING_RATE": 0.0005,
            "LEARNING_RATE_SCHEDULE": "cosine",
            "LEARNING_RATE_WARMUP_STEPS": 50,
        },
    ),
    ("nms", {"DETECTION_MULTI_CLASS": True, "DETECTION_NMS_THRESHOLD": 0.5}),
    (
        "per-level",
        {
            "PROPOSALS_PER_LEVEL": True,
            "PRE_NMS_LIMIT": 1000,
            "PRE_NMS_LIMIT_TRAINING": 2000,
            "BOX_SHIFT": 0,
        },
    ),
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
    "LEARNING_RATE": 0.006,
}
# (name of a row, its fields; what the Mask R-CNN paper gained or lost with it, in points of AP)
DIGITS_ROWS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("modern", {}, ""),
    ("SGD at 0.01", {"OPTIMIZER": "SGD", "OPTIMIZER_OPTIONS": {}, "LEARNING_RATE": 0.01}, ""),
    ("Glorot", {"HEAD_INIT": "glorot"}, ""),
    ("Detectron2's init", {"HEAD_INIT": "detectron2"}, ""),
    ("crop and resize", {"ROI_ALIGN": "crop"}, ""),
    ("RoIAlign of v1", {"ROI_ALIGN": "sampled"}, ""),
    ("RoIPool", {"ROI_ALIGN": "pool"}, "-3.4 masks (2c, with C4: 26.9 and 30.3)"),
    ("RoIWarp", {"ROI_ALIGN": "warp"}, "-3.2 masks (2c: 27.1)"),
    ("class-agnostic masks", {"CLASS_AGNOSTIC_MASKS": True}, "-0.6 masks (4.2: 29.7 and 30.3)"),
    ("class-agnostic boxes", {"CLASS_AGNOSTIC_BOXES": True}, ""),
    ("softmax masks", {"MASK_LOSS": "softmax"}, "-5.5 masks (2b: 24.8 and 30.3)"),
    ("mask MLP", {"MASK_HEAD": "mlp"}, "-2.1 masks (2e: 31.5 and 33.6)"),
    ("masks of 56 px", {"MASK_HEAD_DECONVS": 2, "MASK_SHAPE": [56, 56]}, ""),
    ("full-size mask targets", {"USE_MINI_MASK": False}, ""),
    ("soft mask targets", {"MASK_TARGETS": "soft"}, ""),
    ("GIoU", {"BBOX_LOSS": "giou"}, ""),
    ("smooth-L1 beta 1/9", {"SMOOTH_L1_BETA": 1 / 9}, ""),
    ("no objects added", {"ROI_ADD_GT": False}, ""),
    ("negatives fill up", {"ROI_FILL_NEGATIVES": True}, ""),
    ("128 RoIs at a quarter", {"TRAIN_ROIS_PER_IMAGE": 128, "ROI_POSITIVE_RATIO": 0.25}, ""),
    ("box head 4conv1fc", {"BOX_HEAD_CONVS": 4, "BOX_HEAD_FCS": 1, "BOX_HEAD_CHANNELS": 64}, ""),
    ("RPN of two convolutions", {"RPN_CONV_LAYERS": 2}, ""),
    ("RPN without crossing anchors", {"RPN_IGNORE_CROSSING": True}, ""),
    ("hard examples", {"TRAIN_ROIS_PER_IMAGE": 128, "HARD_EXAMPLES": 32}, ""),
    ("NMS at 0.5", {"DETECTION_NMS_THRESHOLD": 0.5}, ""),
    ("every probable class", {"DETECTION_MULTI_CLASS": True}, ""),
    ("soft-NMS", {"SOFT_NMS_SIGMA": 0.5}, ""),
    ("test flips", {"TEST_FLIPS": True}, ""),
)
DIGITS_RATE = 0.001
# Fields that only detection reads: rows that differ by nothing else share a training.
OF_DETECTION = (
    *("DETECTION_MULTI_CLASS", "DETECTION_NMS_THRESHOLD", "SOFT_NMS_SIGMA", "TEST_FLIPS"),
    "MASK_PASTE",
)
LAYERS = "4+"  # of the ResNet-50 with ImageNet's weights
MEASURES = ("bbox_AP", "bbox_AP50", "segm_AP", "segm_AP50", "segm_AP75")
MIN_SCORE = 0.7  # of the detections whose errors are counted
RESULTS = Path(__file__).parent / "ladder.json"


def fields_of(row: str, digits: bool = False) -> dict[str, Any]:
    """The fields of a row: on Penn-Fudan with those of the rows before it, on the digits with those
    of the modern preset.
    """
    if digits:
        own = {name: fields for name, fields, _ in DIGITS_ROWS}
        return {**fields_of("modern"), "LEARNING_RATE": DIGITS_RATE, **own[row]}
    found: dict[str, Any] = {}
    for name, fields in ROWS:
        found.update(fields)
        if name == row:
            return found
    raise ValueError(f"there is no row {row!r}; the rows are {', '.join(name for name, _ in ROWS)}")


def sample(name: str):
    """samples/<name>.py as a module."""
    path = str(Path(__file__).resolve().parent.parent / "samples")
    if path not in sys.path:
        sys.path.append(path)
    return importlib.import_module(name)


def digits(subset: str):
    """Scenes of samples/digits.py: 4,000 to train on, 200 to measure."""
    found = sample("digits").DigitsDataset()
    found.load_digits({"train": 4000, "val": 200}[subset], subset)
    found.prepare()
    return found


def config_of(args: argparse.Namespace, row: str, seed: int, **fields: Any):
    """The config of a row."""
    from mrcnn.config import Config

    if args.digits:
        settings = {"NAME": "ladder", "SEED": seed, **fields_of(row, digits=True)}
        settings |= {**own_settings(args), **fields}
        return type("Row", (sample("digits").DigitsDetectConfig,), settings)()
    settings = {
        **COMMON,
        "NAME": "ladder",
        "SEED": seed,
        "IMAGE_MIN_DIM": args.size,
        "IMAGE_MAX_DIM": args.size,
        "RPN_ANCHOR_SCALES": tuple(scale * args.size // 1024 for scale in (32, 64, 128, 256, 512)),
        **fields_of(row),
        **own_settings(args),
        **fields,
    }
    return type("Row", (Config,), settings)()


def own_settings(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of ``--set``."""
    from mrcnn.config.file import parse_settings

    return parse_settings(args.set)


def key_of(args: argparse.Namespace, row: str, seed: int) -> dict[str, Any]:
    """What tells one training from the others."""
    data = {"data": "digits", "size": 128} if args.digits else {"data": "Penn-Fudan"}
    key = {"size": args.size, **data, "epochs": args.epochs, "row": row, "seed": seed}
    return key | ({"set": sorted(args.set)} if args.set else {}) | photos_of(args)


def photos_of(args: argparse.Namespace) -> dict[str, int]:
    """``--photos``, where it is given."""
    return {"photos": args.photos} if args.photos else {}


def folder_of(args: argparse.Namespace, row: str, seed: int) -> str:
    """The folder of a row's training, which is that of the first row that trains alike."""

    def trained(name):
        fields = fields_of(name, args.digits)
        return {field: value for field, value in fields.items() if field not in OF_DETECTION}

    names = [name for name, *_ in (DIGITS_ROWS if args.digits else ROWS)]
    row = next(name for name in names if trained(name) == trained(row))
    name = row.replace(" ", "-").replace("/", "-")
    data = "digits" if args.digits else f"{args.size}px"
    parts = [name, data, f"{args.epochs}epochs", f"seed{seed}"]
    parts += [f"{number}{word}" for word, number in photos_of(args).items()]
    parts += sorted(text for text in args.set if text.partition("=")[0] not in OF_DETECTION)
    return os.path.join(args.out, "-".join(parts))


def run_one(args: argparse.Namespace, row: str, seed: int) -> None:
    """Train and measure in this process, and add the result to the others."""
    from error_types import error_types

    from mrcnn.evaluation.collect import collect
    from mrcnn.model import MaskRCNN

    folder = folder_of(args, row, seed)
    config = config_of(args, row, seed)
    train_set, val_set = (
        digits(subset) if args.digits else sample("penn_fudan").make_dataset(args.dataset, subset)
        for subset in ("train", "val")
    )
    if args.photos:
        infos = train_set.image_info
        chosen = np.linspace(0, len(infos), args.photos, endpoint=False).astype(int)
        train_set.image_info = [infos[number] for number in chosen]
        train_set.prepare()
    model = MaskRCNN("training", config, folder)
    if model.resume() is None and args.weights:
        model.load_weights(args.weights, by_name=True)
        model.set_log_dir()  # a run of its own, wherever the weights are
    start, resumed = (time.time(), time.process_time()), model.epoch
    if resumed < args.epochs:
        model.train(
            train_set,
            val_set,
            config.LEARNING_RATE,
            args.epochs,
            "all" if args.digits else LAYERS,
            augmentation=None if args.digits else sample("penn_fudan").flip_half,
            evaluate_every=args.evaluate_every,
            workers=1,
            verbose=2,
        )
    seconds, cpu_seconds = time.time() - start[0], time.process_time() - start[1]
    detector = MaskRCNN("inference", config_of(args, row, seed, IMAGES_PER_GPU=1), folder)
    detector.load_weights(model.find_last())
    found = detector.evaluate(val_set, verbose=0)
    scenes = collect(val_set, detector.detect, progress=False).scenes
    result = {
        **key_of(args, row, seed),
        "fields": fields_of(row, args.digits),
        "steps": args.epochs * config.STEPS_PER_EPOCH,
        # of a training that was stopped and went on only the end is known
        "seconds": None if resumed else round(seconds),
        "cpu_seconds": None if resumed else round(cpu_seconds),
        "processor": processor(),
        **{measure: round(float(found[measure]), 4) for measure in MEASURES},
        "errors": error_types(scenes, MIN_SCORE),
        "curve": curve(model.log_dir),
    }
    add_result(args.results, result)


def curve(log_dir: str) -> list[dict[str, float]]:
    """The losses of each epoch, and AP where it was measured, of a run."""
    import csv

    with open(os.path.join(log_dir, "losses.csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    kept = ("loss", "val_loss", "mrcnn_mask_loss", "val_mrcnn_mask_loss", "val_mrcnn_bbox_loss")
    return [
        {
            name: round(float(row[name]), 4)
            for name in (*kept, *(f"val_{measure}" for measure in MEASURES))
            if row.get(name)
        }
        for row in rows
    ]


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in (info.read_text().splitlines() if info.exists() else ())
        if line.startswith("model name")
    ]
    return f"{names[0]}, {len(names)} cores" if names else platform.machine()


def results(path: Path) -> list[dict[str, Any]]:
    """What is done, in the order of the rows."""
    found = json.loads(path.read_text()) if path.exists() else []
    order = [name for name, _ in ROWS] + [name for name, _, _ in DIGITS_ROWS]

    def place(one):
        row = order.index(one["row"]) if one["row"] in order else len(order)
        return one["data"] == "digits", one["size"], one["epochs"], row, one["seed"]

    return sorted(found, key=place)


def is_done(path: Path, key: dict[str, Any]) -> bool:
    """Whether a training was measured."""
    options = ("set", "photos")
    return any(
        {**one, **key} == one and not any(one.get(name) != key.get(name) for name in options)
        for one in results(path)
    )


def add_result(path: Path, result: dict[str, Any]) -> None:
    """Write it beside the others; trainings of two processes may end at once."""
    from filelock import FileLock

    with FileLock(f"{path}.lock"):
        found = [*results(path), result]
        part = path.with_suffix(".part")
        part.write_text(json.dumps(found, indent=1) + "\n")
        os.replace(part, path)


def label_of(one: dict[str, Any]) -> str:
    """The row of a result, with ``--set`` and ``--photos``."""
    photos = [f"{one['photos']} photos"] if "photos" in one else []
    return ", ".join([one["row"], *one.get("set", ()), *photos])


def table(found: list[dict[str, Any]]) -> str:
    """Means over the seeds, with the standard deviation where there are several, in Markdown."""
    lines = ["| data | size, steps | row | seeds | " + " | ".join(MEASURES) + " | CPU min |"]
    lines.append("|" + "---|" * (5 + len(MEASURES)))
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for one in found:
        key = (one["data"], f"{one['size']} px, {one['steps']}", label_of(one))
        groups.setdefault(key, []).append(one)
    for key, group in groups.items():
        cells = [*key, str(len(group))]
        for measure in MEASURES:
            values = np.array([one[measure] for one in group])
            spread = f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else ""
            cells.append(f"{values.mean():.3f}{spread}")
        spent = [one["cpu_seconds"] for one in group if one["cpu_seconds"]]
        cells.append(f"{np.mean(spent) / 60:.1f}" if spent else "")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(found: list[dict[str, Any]], path: str) -> None:
    """Mask AP on the measured images over the epochs, a line for each training that measured it, a
    colour for each row.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    found = [one for one in found if any("val_segm_AP" in epoch for epoch in one["curve"])]
    if not found:
        raise ValueError("no training was run with --evaluate-every: there is no curve to draw")
    _, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    colors: dict[str, str] = {}
    for one in found:
        label = f"{label_of(one)}, {one['size']} px"
        points = [
            (epoch, values["val_segm_AP"])
            for epoch, values in enumerate(one["curve"], start=1)
            if "val_segm_AP" in values
        ]
        known = label in colors
        color = colors.setdefault(label, f"C{len(colors)}")
        axes.plot(*zip(*points), color=color, label=None if known else label)
    axes.set(xlabel="epoch", ylabel="mask AP", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    pyplot.savefig(path, dpi=120)
    pyplot.close()


def main() -> int:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", metavar="FOLDER", help="with PNGImages/ and PedMasks/")
    parser.add_argument("--digits", action="store_true", help="scenes of digits in its place")
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help=".h5 to begin with: of a ResNet-50, for the digits what samples/digits.py pretrain "
        "wrote (default: random)",
    )
    parser.add_argument(
        "--out", default="ladder", metavar="FOLDER", help="of the trainings (default: ladder)"
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=RESULTS,
        metavar="FILE",
        help="json of what was measured (default: benchmarks/ladder.json)",
    )
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="of these rows only")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="N", help="(0 1 2; digits: 0)")
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="FIELD=VALUE",
        help="fields of Config beside those of the rows, for all of them",
    )
    parser.add_argument(
        "--photos", type=int, metavar="N", help="of the 136 to train on, evenly spread (all)"
    )
    parser.add_argument("--size", type=int, default=256, metavar="PX", help="(default: 256)")
    parser.add_argument("--epochs", type=int, metavar="N", help="(4 of 68 steps of 2; digits: 2)")
    parser.add_argument(
        "--evaluate-every",
        type=int,
        default=0,
        metavar="N",
        help="measure AP after every N epochs too",
    )
    parser.add_argument("--table", action="store_true", help="only print what is done")
    parser.add_argument("--plot", metavar="FILE", help="draw mask AP over the epochs, only")
    parser.add_argument("--one", nargs=2, metavar=("ROW", "SEED"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    names = [name for name, *_ in (DIGITS_ROWS if args.digits else ROWS)]
    args.rows = args.rows or names
    if not set(args.rows) <= set(names):
        parser.error(f"--rows are of {', '.join(names)}")
    args.seeds = args.seeds or ([0] if args.digits else [0, 1, 2])
    args.epochs = args.epochs or (2 if args.digits else 4)
    if args.plot:
        plot(results(args.results), args.plot)
        return 0
    if not (args.table or args.digits or (args.dataset and args.weights)):
        parser.error("--dataset and --weights are needed to train; --table prints what is done")
    if args.one:
        run_one(args, args.one[0], int(args.one[1]))
        return 0
    failed = False
    for seed in () if args.table else args.seeds:
        for row in args.rows:
            folder = folder_of(args, row, seed)
            if is_done(args.results, key_of(args, row, seed)):
                continue
            print(f"{time.strftime('%H:%M:%S')} {folder}", flush=True)
            os.makedirs(folder, exist_ok=True)
            with open(os.path.join(folder, "log.txt"), "a") as log:
                command = [sys.executable, __file__, *sys.argv[1:], "--one", row, str(seed)]
                if subprocess.run(command, stdout=log, stderr=log).returncode:
                    failed = True
                    print(f"failed: see {log.name}", file=sys.stderr)
    print(table(results(args.results)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
