"""Can the network learn a few images by heart? Twenty images of COCO, trained on and measured on.

    python benchmarks/overfit.py --dataset coco --weights resnet50.h5 --out overfit

Writes a COCO json with the first images of ``instances_train2017.json`` that have objects which are
no crowds, and runs ``mrcnn train`` and ``mrcnn evaluate`` on it, whose commands it prints. What
they say stands in train.txt and evaluate.txt beside it.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path


def write_subset(source: Path, target: Path, count: int) -> None:
    """The first ``count`` images that have an object, with all of their annotations."""
    whole = json.loads(source.read_text())
    with_objects = {one["image_id"] for one in whole["annotations"] if not one["iscrowd"]}
    images = [one for one in whole["images"] if one["id"] in with_objects][:count]
    ids = {one["id"] for one in images}
    annotations = [one for one in whole["annotations"] if one["image_id"] in ids]
    used = {one["category_id"] for one in annotations}
    categories = [one for one in whole["categories"] if one["id"] in used]
    part = {"images": images, "annotations": annotations, "categories": categories}
    target.write_text(json.dumps(part))
    print(f"{len(images)} images, {len(annotations)} objects, {len(categories)} classes: {target}")


def main() -> int:
    """Write, train, measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True, type=Path, metavar="FOLDER", help="of COCO")
    parser.add_argument("--weights", required=True, metavar="FILE", help=".h5 of a ResNet-50")
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER")
    parser.add_argument("--count", type=int, default=20, metavar="N", help="images (default: 20)")
    parser.add_argument("--size", type=int, default=320, metavar="PX")
    parser.add_argument("--epochs", type=int, default=60, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="FIELD=VALUE",
        help="fields of Config for the training",
    )
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    part, images = args.out / "instances.json", args.dataset / "train2017"
    write_subset(args.dataset / "annotations" / "instances_train2017.json", part, args.count)
    logs = ["--logs", args.out, "--name", "overfit"]
    train = ["train", part, "--images", images, "--weights", args.weights, "--preset", "modern"]
    train += ["--backbone", "resnet50", "--size", args.size, "--layers", "all"]
    train += ["--epochs", args.epochs, "--seed", args.seed, "--verbose", 2, *logs]
    scales = ",".join(str(scale * args.size // 1024) for scale in (32, 64, 128, 256, 512))
    train += ["--set", f"RPN_ANCHOR_SCALES={scales}", *args.set]
    evaluate = ["evaluate", part, "--images", images, "--weights", "last", *logs]
    for words in (train, evaluate):
        command = [sys.executable, "-m", "mrcnn", *map(str, words)]
        print(shlex.join(["mrcnn", *command[3:]]), flush=True)
        with open(args.out / f"{words[0]}.txt", "w") as log:
            if subprocess.run(command, stdout=log, stderr=subprocess.STDOUT).returncode:
                print(f"failed: see {log.name}", file=sys.stderr)
                return 1
    print((args.out / "evaluate.txt").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
