"""Measure how the cost grows with batch, detections, image size and classes, and what workers add:
JSON and a plot.

    python benchmarks/scaling.py --output scaling.json --plot scaling.png
    python benchmarks/scaling.py --draw scaling.json --plot scaling.png         an earlier run

What is measured: benchmarks/README.md.
"""

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import network_cases
import processes
from report import QUICK, ROOT, aligned, cell, machine, notes, version, warn_if_busy

QUICK_REPEATS = 1


class Axis(NamedTuple):
    """A size to vary, and the curves over it."""

    title: str
    label: str  # of the x axis
    x: Callable  # value -> place on the x axis
    work: Callable  # value -> what cost is in proportion to where growth is linear
    curves: dict  # name: {value: (case, repeats)}


def _axes():
    detect = partial(network_cases.detect, backbone="resnet50")
    step = partial(network_cases.train_step, backbone="resnet50", layers="all")
    # batches of one image, enough to keep four workers busy
    feed = partial(network_cases.feed, batches=32)
    sizes, classes = (512, 1024, 1536, 2048), (2, 21, 41, 81)

    def megapixels(side):
        return side**2 / 1e6

    return {
        "batch": Axis(
            "Images per batch",
            "images per batch",
            float,
            float,
            {
                "detect 512 px, 50 detections each": {
                    n: (partial(detect, side=512, detections=50, batch=n), 5) for n in (1, 2, 3, 4)
                },
                "train step 256 px, all layers": {
                    n: (partial(step, side=256, batch=n), 3) for n in (1, 2, 3, 4)
                },
            },
        ),
        "detections": Axis(
            "Detections",
            "detections in the image",
            float,
            float,
            {
                "detect 512 px": {
                    n: (partial(detect, side=512, detections=n), 7) for n in (10, 25, 50, 75, 100)
                }
            },
        ),
        "size": Axis(
            "Image size",
            "megapixels of the molded image (512 to 2048 px squared)",
            megapixels,
            megapixels,
            {
                "detect, 50 detections": {
                    side: (partial(detect, side=side, detections=50), 3) for side in sizes
                },
                "train step, heads": {
                    side: (
                        partial(step, side=side, batch=1, layers="heads", many_positives=False),
                        2,
                    )
                    for side in sizes
                },
            },
        ),
        "classes": Axis(
            "Classes",
            "NUM_CLASSES, with the background",
            float,
            float,
            {
                "detect 512 px, 50 detections": {
                    n: (partial(detect, side=512, detections=50, NUM_CLASSES=n), 5) for n in classes
                },
                "train step 256 px, all layers": {
                    n: (partial(step, side=256, batch=1, NUM_CLASSES=n), 3) for n in classes
                },
            },
        ),
        "workers": Axis(
            "Workers of the input pipeline",
            "workers",
            float,
            lambda n: 1 / n,
            {
                f"32 images of 1024 px, 20 objects, {name} masks": {
                    n: (partial(feed, mini_masks=mini, workers=n), 3) for n in (1, 2, 4)
                }
                for name, mini in (("mini", True), ("full", False))
            },
        ),
    }


AXES = _axes()


def main(arguments=None):
    options = parse(arguments)
    if options.draw:
        report = json.loads(options.draw.read_text())
        print(table(report))
        plot(report, options.plot)
        return 0
    report = {"machine": machine(), "quick": options.quick, "this": version(ROOT), "results": {}}
    if not options.quick:
        warn_if_busy(report["machine"])
    failed = False
    for axis in options.only or AXES:
        report["results"][axis] = {}
        for curve, points in AXES[axis].curves.items():
            measured = report["results"][axis][curve] = {}
            for value in points:
                result = processes.run(
                    __file__, ["--point", axis, curve, value, int(options.quick)], ROOT
                )
                failed |= "error" in result
                measured[str(value)] = result
                print(
                    f"{axis} {value}, {curve}: "
                    f"{result.get('error') or format(result['seconds'], '.4g') + ' s'}",
                    file=sys.stderr,
                    flush=True,
                )
                if options.output:
                    options.output.write_text(json.dumps(report, indent=1))
    print(table(report))
    if options.plot:
        plot(report, options.plot)
    return 1 if failed else 0


def parse(arguments):
    parser = argparse.ArgumentParser(
        description="Measure how cost grows; see benchmarks/README.md."
    )
    parser.add_argument(
        "--only", nargs="+", choices=list(AXES), metavar="AXIS", help=f"of {', '.join(AXES)}"
    )
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes: only shows that every case runs"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="write all figures as JSON, again after each point",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the curves")
    parser.add_argument(
        "--draw",
        type=Path,
        metavar="JSON",
        help="measure nothing: print and plot an earlier --output",
    )
    options = parser.parse_args(arguments)
    if options.draw and not options.plot:
        parser.error("--draw needs --plot FILE")
    return options


def run_point(axis, curve, value, quick):
    """One point of a curve, here and now."""
    import measure

    points = {str(key): point for key, point in AXES[axis].curves[curve].items()}
    case, repeats = points[value]
    result = case(quick=quick, repeats=QUICK_REPEATS if quick else repeats)
    return {"peak_bytes": measure.peak_bytes(), **result}


# === What came out ===


def growth(axis, measured, key="seconds"):
    """A cost over the cost that proportional growth from the curve's first point would give, by
    value.

    Args:
        axis: name of the axis.
        measured: {value as text: result}.

    Returns:
        {value as text: ratio}; at most 1 is linear or better. Points that failed are left out.
    """
    costs = {value: result[key] for value, result in measured.items() if result.get(key)}
    work = AXES[axis].work
    first = next(iter(costs), None)
    return {
        value: cost / costs[first] / (work(float(value)) / work(float(first)))
        for value, cost in costs.items()
    }


def table(report):
    """Each point with its cost, and the cost over that of proportional growth."""
    rows = [("curve", "at", "median s", "peak MB", "over linear", "memory over linear", "also")]
    for axis, curves in report["results"].items():
        for curve, measured in curves.items():
            over = growth(axis, measured)
            # more workers do the same work: their memory has nothing to be in proportion to
            memory = growth(axis, measured, "peak_bytes") if axis != "workers" else {}
            for value, result in measured.items():
                seconds = "failed" if "error" in result else cell(result, "seconds", ".3g")
                rows.append(
                    (
                        f"{axis}: {curve}",
                        value,
                        seconds,
                        cell(result, "peak_bytes", ".0f", 1e-6),
                        cell(over, value, ".2f"),
                        cell(memory, value, ".2f"),
                        result.get("error") or notes(result),
                    )
                )
    lines = [
        *([QUICK] if report["quick"] else []),
        *aligned(rows),
        "",
        f"{report['machine']['cpu']}, {report['machine']['cores']} cores; this: {report['this']}",
    ]
    return "\n".join(lines)


def plot(report, path):
    """Draw seconds over each axis, and as dashes what linear growth from the first point would be;
    memory below.
    """
    from matplotlib.figure import Figure

    results = report["results"]
    figure = Figure(figsize=(4.2 * len(results), 7.6), layout="constrained")
    rows = figure.subplots(2, len(results), squeeze=False)
    for column, (axis, curves) in enumerate(results.items()):
        shown = AXES[axis]
        # of more workers one wants to see what they gain
        upper = (
            ("images_per_second", 1, "images per second")
            if axis == "workers"
            else ("seconds", 1, "seconds")
        )
        for row, (key, factor, label) in enumerate(
            (upper, ("peak_bytes", 1e-9, "peak memory, GB"))
        ):
            axes, top = rows[row][column], 0
            for number, (curve, measured) in enumerate(curves.items()):
                points = {
                    float(value): result[key] * factor
                    for value, result in measured.items()
                    if result.get(key)
                }
                x = [shown.x(value) for value in points]
                axes.plot(x, points.values(), "o-", color=f"C{number}", label=curve)
                line = []
                if row == 0 and points:
                    (first, cost), *_ = points.items()
                    growth_of_work = [shown.work(value) / shown.work(first) for value in points]
                    line = [
                        cost / more if axis == "workers" else cost * more for more in growth_of_work
                    ]
                    axes.plot(x, line, "--", color=f"C{number}", alpha=0.6, linewidth=1)
                highest = max(points.values(), default=0)
                # where cost hardly grows, all of the line would press it down
                top = max(top, min(max(line, default=highest), 1.8 * highest), highest)
            if row == 0:
                axes.plot([], [], "--", color="gray", label="in proportion")
                axes.set_title(shown.title)
                axes.legend(fontsize=8, loc="upper left")
            # room for the legend, which would hide points
            axes.set(
                xlabel=shown.label,
                ylabel=label,
                xlim=(0, None),
                ylim=(0, (top or 1) * (1.1 if row else 1.4)),
            )
            axes.grid(alpha=0.3)
    found = report["machine"]
    figure.suptitle(
        f"{QUICK}\n"
        * report["quick"]
        + f"{found['cpu']}, {found['cores']} cores; ResNet-50, 81 classes "
        f"where not said otherwise; version {report['this']}",
        fontsize=10,
    )
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--point"]:
        *point, is_quick, file = sys.argv[2:]
        Path(file).write_text(json.dumps(run_point(*point, quick=bool(int(is_quick)))))
    else:
        sys.exit(main())
