"""Measure other implementations of the networks side by side with this one, on this machine: a
table, and JSON.

    python benchmarks/peers.py --torchvision PYTHON
    python benchmarks/peers.py --torch PYTHON
    python benchmarks/peers.py --original FOLDER PYTHON

The first PYTHON is an interpreter that has torch and torchvision, for the second torch is enough;
FOLDER holds matterport's code or
a port of it, and the last PYTHON is an interpreter that runs it. What each row is, and how to get
the peers: benchmarks/README.md.
"""

import argparse
import json
import statistics
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import cases
import processes
import segmentation_cases
import torchvision_cases
from report import QUICK, ROOT, aligned, cell, machine, notes, version, warn_if_busy

FOLDER = Path(__file__).resolve().parent
QUICK_REPEATS = 1


class Variant(NamedTuple):
    """One way to run a peer: its program, interpreter, ``mrcnn`` folder, settings; {case:
    (function, repeats)}.
    """

    program: Path
    python: str
    tree: Path
    environment: dict
    cases: dict


# === Cases: by the name of ours, the peer's function, its arguments and repeats ===


def torchvision_detection(channels_last):
    return {
        f"detect-r50-{side}-100-filled": (
            "detect",
            {"side": side, "detections": 100, "channels_last": channels_last},
            5,
        )
        for side in (512, 1024)
    }


def torchvision_weights(channels_last):
    return {
        name: (
            "detect_random",
            {"version": version, "small": small, "large": large, "channels_last": channels_last},
            5,
        )
        for name, (version, small, large) in torchvision_cases.MEASURED.items()
    }


def torchvision_training():
    found = {}
    for side, batch in ((256, 2), (512, 1)):
        for layers in ("heads", "all"):
            step = {"side": side, "batch": batch, "layers": layers}
            found[f"train-r50-{side}-batch{batch}-{layers}"] = "train_step", step, 4
            if layers == "all":
                found[f"train-modern-{side}-batch{batch}-all"] = (
                    "train_step",
                    {**step, "sampled": cases.MODERN_ROIS},
                    4,
                )
            found[f"train-r50-{side}-batch{batch}-{layers}-few"] = (
                "train_step",
                {**step, "many_positives": False},
                4,
            )
    return found


def torchvision_processes():
    return whole_processes(
        {"function": "torchvision_photo"}, {"function": "torchvision_first_step"}
    )


def whole_processes(photo, first_step):
    """Those of whole processes; ``photo`` and ``first_step`` are arguments of theirs."""
    return {
        "photo-r50-512": ("photo", {"backbone": "resnet50", "side": 512, **photo}, 3),
        "photo-r101-1024": ("photo", {"backbone": "resnet101", "side": 1024, **photo}, 3),
        "first-step-r50-256": (
            "first_step",
            {"backbone": "resnet50", "side": 256, "batch": 2, **first_step},
            3,
        ),
    }


def torch_segmentation(channels_last):
    found = {}
    for name, arguments in segmentation_cases.MEASURED.items():
        arguments = {**arguments, "channels_last": channels_last}
        if "BATCH_NORM" in arguments:
            arguments["batch_norm"] = arguments.pop("BATCH_NORM")
        found[f"segment-{name}"] = "predict", arguments, 5
        found[f"train-{name}"] = "train_step", arguments, 4
    return found


def original_network_cases():
    found = whole_processes({"small": False}, {"small": False, "original": True})
    for short, backbone, side in (("r50", "resnet50", 512), ("r101", "resnet101", 1024)):
        for detections in (10, 50, 100):
            options = {"backbone": backbone, "side": side, "detections": detections}
            found[f"detect-{short}-{side}-{detections}"] = "detect", options, 4
    for side, batch, layers in (
        (256, 2, "heads"),
        (256, 2, "all"),
        (512, 1, "heads"),
        (512, 1, "all"),
    ):
        step = {"backbone": "resnet50", "side": side, "batch": batch, "layers": layers}
        found[f"train-r50-{side}-batch{batch}-{layers}"] = "train_step", step, 2
    return found


def original_data_cases():
    found = {}
    for name, mini_masks in (("mini", True), ("full", False)):
        found[f"sample-1024-{name}-masks"] = "sample", {"mini_masks": mini_masks}, 7
        found[f"batch-1024-{name}-masks"] = "batch", {"mini_masks": mini_masks}, 5
    for side in (512, 1024):
        found[f"mold-{side}"] = "mold", {"side": side}, 7
    for detections in (50, 100):
        found[f"unmold-{detections}"] = "unmold", {"detections": detections}, 7
    found["anchors-1024"] = "anchors", {}, 7
    found["mask-overlaps-1024"] = "mask_overlaps", {}, 7
    found["compute-ap-1024"] = "average_precision", {}, 5
    found["compute-ap-range-1024"] = "average_precision_range", {}, 2
    return found


def variants(options):
    """{name: Variant} of the peers that were asked for."""
    found = {}
    if options.torchvision:
        # channels_last is the faster in detection alone
        for name, chosen in (
            (
                "torchvision",
                {
                    **torchvision_processes(),
                    **torchvision_detection(False),
                    **torchvision_weights(False),
                    **torchvision_training(),
                },
            ),
            (
                "torchvision, channels_last",
                {**torchvision_detection(True), **torchvision_weights(True)},
            ),
        ):
            found[name] = Variant(
                FOLDER / "torchvision_peer.py", options.torchvision, None, {}, chosen
            )
    if options.torch:
        for name, channels_last in (("torch", False), ("torch, channels_last", True)):
            found[name] = Variant(
                FOLDER / "segmentation_peer.py",
                options.torch,
                None,
                {},
                torch_segmentation(channels_last),
            )
    if options.original:
        folder, python = options.original
        # the network is measured with oneDNN on and off: TensorFlow's default is not always the
        # faster
        for name, onednn, chosen in (
            ("original", {}, {**original_network_cases(), **original_data_cases()}),
            ("original without oneDNN", {"TF_ENABLE_ONEDNN_OPTS": "0"}, original_network_cases()),
        ):
            found[name] = Variant(
                FOLDER / "matterport_peer.py", python, Path(folder), onednn, chosen
            )
    return found


# === Measuring ===


def main(arguments=None):
    options = parse(arguments)
    peers = variants(options)
    found = {
        "machine": machine(),
        "quick": options.quick,
        "this": version(ROOT),
        "rounds": options.rounds,
        "results": {},
    }
    if not options.quick:
        warn_if_busy(found["machine"])
    failed = False
    for name in chosen(peers, options.only):
        measured = {
            "this": [],
            **{peer: [] for peer, variant in peers.items() if name in variant.cases},
        }
        for _ in range(options.rounds):
            # in turn: the machine drifts by more than two versions differ
            for peer, results in measured.items():
                result = (
                    measure_ours(name, options.quick)
                    if peer == "this"
                    else measure_peer(peers[peer], name, options.quick)
                )
                failed |= "error" in result
                results.append(result)
                said = result.get("error") or f"{result['seconds']:.4g} s"
                print(f"{name} ({peer}): {said}", file=sys.stderr, flush=True)
        found["results"][name] = {peer: pooled(results) for peer, results in measured.items()}
        if options.output:
            options.output.write_text(json.dumps(found, indent=1))
    print(table(found))
    return 1 if failed else 0


def parse(arguments):
    parser = argparse.ArgumentParser(
        description="Measure other implementations side by side with this one; see "
        "benchmarks/README.md."
    )
    parser.add_argument(
        "--torchvision", metavar="PYTHON", help="interpreter that has torch and torchvision"
    )
    parser.add_argument(
        "--torch",
        metavar="PYTHON",
        help="interpreter that has torch, for the networks that label pixels",
    )
    parser.add_argument(
        "--original",
        nargs=2,
        metavar=("FOLDER", "PYTHON"),
        help="checkout in matterport's layout, "
        "and an interpreter that has the TensorFlow on which it runs",
    )
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="cases to run, also as patterns such as 'train-*'"
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=2,
        metavar="N",
        help="times that each case is run in turn (default 2)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes: only shows that every case runs"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="write all figures as JSON, again after each case",
    )
    options = parser.parse_args(arguments)
    if not (options.torchvision or options.torch or options.original):
        parser.error(
            "name a peer: --torchvision PYTHON, --torch PYTHON or --original FOLDER PYTHON"
        )
    if options.original and not (Path(options.original[0]) / "mrcnn" / "model.py").is_file():
        parser.error(f"{options.original[0]} has no mrcnn/model.py")
    if options.rounds < 1:
        parser.error(f"--rounds is {options.rounds}; it must be at least 1")
    names = [name for variant in variants(options).values() for name in variant.cases]
    for pattern in options.only or ():
        if not any(fnmatch(name, pattern) for name in names):
            parser.error(
                f"no case of these peers is called {pattern!r}; they are "
                f"{', '.join(dict.fromkeys(names))}"
            )
    return options


def chosen(peers, patterns):
    """Names of the cases that a peer has and that were asked for, each once."""
    names = dict.fromkeys(name for variant in peers.values() for name in variant.cases)
    return [
        name
        for name in names
        if patterns is None or any(fnmatch(name, pattern) for pattern in patterns)
    ]


def measure_ours(name, quick):
    return processes.run(cases.__file__, [name, *(["--quick"] if quick else [])], ROOT)


def measure_peer(variant, name, quick):
    function, arguments, repeats = variant.cases[name]
    arguments = {**arguments, "repeats": QUICK_REPEATS if quick else repeats}
    return processes.run(
        variant.program,
        [function, json.dumps(arguments), *(["--quick"] if quick else [])],
        variant.tree,
        variant.python,
        variant.environment,
    )


def pooled(rounds):
    """The rounds of a case as one result: median over all times, that of the rounds' CPU times, the
    highest peak; a round that failed is the result.

    Args:
        rounds: results as of `processes.run`.
    """
    for result in rounds:
        if "error" in result:
            return result
    times = [seconds for result in rounds for seconds in result["times"]]
    peaks = [result["peak_bytes"] for result in rounds if result.get("peak_bytes")]
    return {
        **rounds[-1],
        "times": times,
        "seconds": statistics.median(times),
        "first_call": statistics.median(result["first_call"] for result in rounds),
        "peak_bytes": max(peaks, default=None),
        **_cpu_seconds(rounds),
        "seconds_of_rounds": [result["seconds"] for result in rounds],
    }


def _cpu_seconds(rounds):
    spent = [result["cpu_seconds"] for result in rounds if "cpu_seconds" in result]
    return {"cpu_seconds": statistics.median(spent)} if spent else {}


# === The table ===

COLUMNS = (
    *("case", "first s", "median s", "CPU s", "peak MB"),
    *("time / ours", "CPU / ours", "memory / ours", "also"),
)
# What the last columns but one divide.
RATIOS = ("seconds", "cpu_seconds", "peak_bytes")


def table(found):
    """The results as aligned text: ours, each peer, and the peer's figures over ours (above 1 ours
    is better).
    """
    rows = [COLUMNS]
    for name, measured in found["results"].items():
        ours = measured["this"]
        for peer, result in measured.items():
            label = name if peer == "this" else f"  {peer}"
            if "error" in result:
                rows.append((label, "", "failed", *[""] * 5, result["error"]))
                continue
            ratios = ["" if peer == "this" else _ratio(result, ours, key) for key in RATIOS]
            rows.append(
                (
                    label,
                    cell(result, "first_call", ".3g"),
                    cell(result, "seconds", ".3g"),
                    cell(result, "cpu_seconds", ".3g"),
                    cell(result, "peak_bytes", ".0f", 1e-6),
                    *ratios,
                    notes(result),
                )
            )
    versions = {
        f"{name} {number}"
        for measured in found["results"].values()
        for result in measured.values()
        for name, number in result.get("versions", {}).items()
    }
    lines = [
        *([QUICK] if found["quick"] else []),
        *aligned(rows),
        "",
        f"{found['machine']['cpu']}, {found['machine']['cores']} cores; this: {found['this']}, "
        f"tensorflow {found['machine']['tensorflow']}; peers: "
        f"{', '.join(sorted(versions)) or 'none ran'}",
    ]
    return "\n".join(lines)


def _ratio(result, ours, key):
    return f"{result[key] / ours[key]:.2f}" if result.get(key) and ours.get(key) else ""


if __name__ == "__main__":
    sys.exit(main())
