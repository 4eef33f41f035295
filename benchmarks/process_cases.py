"""Cases that measure whole processes: what one photo, or the first training step, costs a script.

They also run in the interpreters of peers, so that they import no framework themselves.
"""

import json
import statistics
import time
from pathlib import Path

import machine_cases
import measure
import processes

PROGRAM = Path(__file__).resolve().parent / "whole_process.py"
QUICK_SIDE = 128


def photo(quick, repeats, side, detections=10, function="photo", **options):
    """Import, build and detect in one photo, with random weights, in a new process each time.

    Those find more objects than are wanted: a process that is not counted tells the scores, and
    with them the confidence that leaves ``detections``.

    Args:
        function: of `whole_process`.
        options: further arguments of that; ``small`` by default where ``quick``.
    """
    options = {"small": quick, "side": QUICK_SIDE if quick else side, **options}
    scores = _run(function, confidence=0.0, **options)["scores"]
    confidence = measure.confidence_for(scores, 1, detections)
    runs, found = _measure(repeats, function, confidence=confidence, **options)
    return {**found, "detections": len(runs[-1]["scores"])}


def first_step(quick, repeats, side, batch, function="first_step", **options):
    """Import, build and train one step, in a new process each time; arguments as of `photo`."""
    options = {"small": quick, "side": QUICK_SIDE if quick else side, "batch": batch, **options}
    _run(function, **options)  # reads the files from the disk
    return {**_measure(repeats, function, **options)[1], "images": batch}


def _measure(repeats, function, **options):
    """Runs of a function of `whole_process`, in turn with an import of its framework alone.

    Returns:
        (the results of all runs, dict of their medians): seconds of the whole process and of its
        parts, peak memory, and how much of that is beyond what the import alone takes.
    """
    framework = "torch" if function.startswith("torchvision") else "tensorflow"
    times, runs, imports = [], [], []
    for _ in range(repeats):
        start = time.perf_counter()
        runs.append(_run(function, **options))
        times.append(time.perf_counter() - start)
        imports.append(machine_cases.import_cost(f"import {framework}")[1])

    def median(key):
        return statistics.median(run[key] for run in runs)

    peak, alone = median("peak_bytes"), statistics.median(imports)
    return runs, {
        "seconds": statistics.median(times),
        "times": times,
        "first_call": median("first_seconds"),
        "import_seconds": median("import_seconds"),
        "build_seconds": median("build_seconds"),
        "peak_bytes": peak,
        "framework_bytes": alone,
        "beyond_framework_megabytes": (peak - alone) / 1e6,
    }


def _run(function, **options):
    result = processes.run(PROGRAM, [function, json.dumps(options)], tree=None)
    if "error" in result:
        raise RuntimeError(f"{result['error']}\n{result['output']}")
    return result
