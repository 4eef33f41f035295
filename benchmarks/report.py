"""What the commands have in common: the machine, the versions, and text tables."""

import datetime
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# what changes the figures without a change of the code
ENVIRONMENT = (
    "TF_ENABLE_ONEDNN_OPTS",
    "OMP_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "TF_XLA_FLAGS",
    "CUDA_VISIBLE_DEVICES",
)
# A machine with more than this share of its cores taken gives no figures.
BUSY_SHARE = 0.2
QUICK = "--quick: tiny sizes, these figures say nothing about speed"


def machine():
    """What the figures were measured on: JSON-able."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next(
            (
                line.split(":", 1)[1].strip()
                for line in info.read_text().splitlines()
                if line.startswith("model name")
            ),
            cpu,
        )
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0],
        "date": datetime.datetime.now().isoformat(timespec="minutes"),
        **{name: metadata.version(name) for name in ("tensorflow", "keras", "numpy")},
        "environment": {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
    }


def warn_if_busy(found):
    """Say so where other programs keep the machine of `machine` busy."""
    if found["load_average"] > BUSY_SHARE * found["cores"]:
        print(
            f"Warning: the load average is {found['load_average']:.1f}; other programs are "
            "running, so times will be too long",
            file=sys.stderr,
        )


def version(tree):
    """The commit of a checkout, with "+" where files were changed since."""

    def git(*arguments):
        done = subprocess.run(["git", "-C", str(tree), *arguments], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "--short", "HEAD")
    if commit is None:
        return "no git checkout"
    return commit + ("+" if git("status", "--porcelain", "--", "mrcnn") else "")


def aligned(rows):
    """Rows of text cells as lines: the first column to the left, the last as it is, the others to
    the right.
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *map(str.rjust, row[1:-1], widths[1:]), row[-1]]
        ).rstrip()
        for row in rows
    ]


def cell(result, key, form, factor=1):
    """A number of a result as text, "" where there is none."""
    return format(result[key] * factor, form) if result.get(key) is not None else ""


def notes(result):
    """What a result has beside its columns, as a sentence."""
    said = [f"{name} {rate:.0f} GFLOP/s" for name, rate in result.get("rates", {}).items()]
    said += [
        f"{result[key]:{form}}{text}"
        for key, form, text in (
            ("images", "d", " images"),
            ("detections", "d", " detections"),
            ("mask_rois", "d", " mask RoIs"),
            ("rois", "d", " RoIs"),
            ("network_seconds", ".3g", " s network"),
            ("outside_share", ".1%", " outside of it"),
            ("first_load_seconds", ".2f", " s of the first to load"),
            ("load_seconds", ".2f", " s to load"),
            ("import_seconds", ".2f", " s import"),
            ("build_seconds", ".2f", " s build"),
            ("beyond_framework_megabytes", ".0f", " MB beyond the framework"),
            ("images_per_second", ".1f", " images/s"),
            ("tensorflow_seconds", ".2f", " s tensorflow alone"),
            ("tensorflow_megabytes", ".0f", " MB of it"),
            ("modules", "d", " modules"),
        )
        if key in result and (key, result[key]) != ("images", 1)
    ]
    if "modules_with_tensorflow" in result:
        said.append(
            "with TensorFlow or Keras: " + (", ".join(result["modules_with_tensorflow"]) or "none")
        )
    return ", ".join(said)
