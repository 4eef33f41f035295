"""Measure what `MaskRCNN.train` adds to its steps: memory from epoch to epoch, and time outside of
the steps.

    python benchmarks/training_loop.py --output loop.json --plot loop.png
    python benchmarks/training_loop.py --draw loop.json --plot loop.png         an earlier run

What is measured: benchmarks/README.md.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import measure
import processes
from report import QUICK, ROOT, aligned, machine, version, warn_if_busy

# Caches and pools of memory have their size after this many epochs.
SETTLED = 3
PARTS = ("memory", "time")


def main(arguments=None):
    options = parse(arguments)
    if options.draw:
        report = json.loads(options.draw.read_text())
    else:
        report = {
            "machine": machine(),
            "quick": options.quick,
            "this": version(ROOT),
            "results": {},
        }
        if not options.quick:
            warn_if_busy(report["machine"])
        for part in options.only or PARTS:
            report["results"][part] = processes.run(
                __file__, ["--part", part, int(options.quick)], ROOT
            )
            if options.output:
                options.output.write_text(json.dumps(report, indent=1))
    print(table(report))
    if options.plot:
        plot(report, options.plot)
    return int(any("error" in result for result in report["results"].values()))


def parse(arguments):
    parser = argparse.ArgumentParser(
        description="Measure what the loop adds to its steps; see benchmarks/README.md."
    )
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}"
    )
    parser.add_argument(
        "--quick", action="store_true", help="few epochs, tiny sizes: only shows that it runs"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write all figures as JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the memory of each epoch")
    parser.add_argument(
        "--draw", type=Path, metavar="JSON", help="measure nothing: show an earlier --output"
    )
    options = parser.parse_args(arguments)
    if options.draw and not options.plot:
        parser.error("--draw needs --plot FILE")
    return options


# === Measuring ===


def run_part(part, quick):
    """One part, here and now; JSON-able."""
    if part == "memory":
        return memory(*(5, 4) if quick else (50, 50))
    return overhead(quick, epochs=2 if quick else 5)


def memory(epochs, steps, **fields):
    """Resident memory at the end of each epoch of a small run with validation, AP, pictures and all
    files.

    Epochs have 50 steps, since oneDNN's kernels, one for each number of RoIs, are complete only
    after some hundred.

    Returns:
        dict: resident_bytes of each epoch; growth after epoch `SETTLED`, over what was held then.
    """
    config = measure.settings(
        True, 128, 2, BACKBONE="resnet50", STEPS_PER_EPOCH=steps, VALIDATION_STEPS=2, **fields
    )
    resident = []
    _train(config, epochs, lambda: resident.append(resident_bytes()), evaluate_every=1)
    return {
        "resident_bytes": resident,
        "growth": resident[-1] / resident[min(SETTLED, epochs) - 1] - 1,
    }


def overhead(quick, epochs):
    """Time of the epochs of ResNet-50 at 256 px, batch 2, all layers: in the steps, between them,
    and around them.

    A step is what `keras.Model.train_function` does, the wait for its batch included. The first
    epoch, which builds the graphs, is left out.

    Returns:
        dict, medians over the epochs: step_seconds of one step; between_seconds from one step to
        the next; between_share of it in both; validation_seconds; around_seconds of an epoch that
        are none of these (checkpoint, state file, logs); images, steps.
    """
    config = measure.settings(
        quick, 128 if quick else 256, 2, BACKBONE="resnet50", STEPS_PER_EPOCH=20, VALIDATION_STEPS=2
    )
    clock = Clock()
    _train(config, epochs, clock.end_epoch, clock)
    rows = [epoch_times(*epoch) for epoch in clock.epochs[1:]]
    found = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    return {
        **found,
        "between_share": found["between_seconds"]
        / (found["step_seconds"] + found["between_seconds"]),
        "steps": config.STEPS_PER_EPOCH,
        "epochs": rows,
    }


class Clock:
    """When each call of a model's train and test function began and ended.

    Attributes:
        epochs: a (start, end, [(start, end) of the steps], [(start, end) of the validation steps])
            for each epoch, of `time.perf_counter`.
    """

    def __init__(self):
        self.epochs, self._calls, self._start = [], {"train": [], "test": []}, None

    def watch(self, keras_model):
        for name, calls in self._calls.items():
            self._wrap(keras_model, f"make_{name}_function", f"{name}_function", calls)

    def _wrap(self, keras_model, maker, attribute, calls):
        make = getattr(keras_model, maker)

        def timed_make(force=False):
            before = getattr(keras_model, attribute)
            make(force)
            function = getattr(keras_model, attribute)
            if function is not before:
                setattr(keras_model, attribute, timed(function))

        def timed(function):
            def call(iterator):
                start = time.perf_counter()
                outputs = function(iterator)
                calls.append((start, time.perf_counter()))
                return outputs

            return call

        setattr(keras_model, maker, timed_make)

    def end_epoch(self):
        now = time.perf_counter()
        self.epochs.append((self._start, now, *(list(calls) for calls in self._calls.values())))
        self._start = now
        for calls in self._calls.values():
            calls.clear()


def epoch_times(start, end, steps, validation):
    """The times of an epoch of `Clock`, as `overhead` names them."""
    inside = sum(stop - begin for begin, stop in steps)
    all_steps = steps[-1][1] - steps[0][0]
    validating = validation[-1][1] - validation[0][0] if validation else 0.0
    return {
        "step_seconds": inside / len(steps),
        "between_seconds": (all_steps - inside) / max(len(steps) - 1, 1),
        "validation_seconds": validating,
        "around_seconds": end - start - all_steps - validating,
    }


def _train(config, epochs, on_epoch_end, clock=None, **options):
    """A run of made-up photos in a temporary folder; ``on_epoch_end`` is called when all of an
    epoch is written.
    """
    import keras

    from mrcnn.model import MaskRCNN

    class EachEpoch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch:
                on_epoch_end()

        def on_train_end(self, logs=None):
            on_epoch_end()

    side = config.IMAGE_SHAPE[0]
    sets = [
        measure.scenes(
            [measure.photo(side, side, seed=seed) for seed in seeds],
            [measure.ellipses(side, side, 6, seed=seed) for seed in seeds],
        )
        for seeds in (range(8), range(8, 12))
    ]
    with tempfile.TemporaryDirectory() as folder:
        model = MaskRCNN("training", config, folder)
        if clock is not None:
            clock.watch(model.keras_model)
        model.train(
            *sets, 1e-4, epochs, "all", custom_callbacks=[EachEpoch()], verbose=0, **options
        )


def resident_bytes():
    """The memory that this process holds; Linux only."""
    line = next(
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmRSS")
    )
    return int(line.split()[1]) * 1024


# === What came out ===


def table(report):
    """Memory after some epochs, and where the time of an epoch goes."""
    lines = [QUICK] if report["quick"] else []
    for part, result in report["results"].items():
        if "error" in result:
            lines.append(f"{part}: {result['error']}")
        elif part == "memory":
            resident = result["resident_bytes"]
            last = len(resident) - 1
            shown = sorted(
                {
                    epoch
                    for epoch in (0, 1, SETTLED - 1, *range(9, last, 10), last)
                    if 0 <= epoch <= last
                }
            )
            lines += aligned(
                [
                    ("epoch", *(str(epoch + 1) for epoch in shown), ""),
                    ("resident MB", *(f"{resident[epoch] / 1e6:.1f}" for epoch in shown), ""),
                ]
            )
            lines.append(f"growth after epoch {SETTLED}: {result['growth']:.2%}")
        else:
            steps = result["steps"]
            total = steps * (result["step_seconds"] + result["between_seconds"])
            lines += aligned(
                [
                    ("seconds", "share of the steps", ""),
                    *(
                        (name, f"{seconds:.4g}", f"{share:.2%}  {note}")
                        for name, seconds, share, note in (
                            (
                                "a step, with the wait for its batch",
                                result["step_seconds"],
                                result["step_seconds"] * steps / total,
                                "",
                            ),
                            (
                                "from one step to the next",
                                result["between_seconds"],
                                result["between_share"],
                                "",
                            ),
                            (
                                "around the steps of an epoch",
                                result["around_seconds"],
                                result["around_seconds"] / total,
                                f"of {steps} steps; "
                                f"{result['around_seconds'] / total * steps / 1000:.2%} of 1000: "
                                "checkpoint, state file, logs",
                            ),
                            (
                                "validation",
                                result["validation_seconds"],
                                result["validation_seconds"] / total,
                                "",
                            ),
                        )
                    ),
                ]
            )
    lines += [
        "",
        f"{report['machine']['cpu']}, {report['machine']['cores']} cores; this: {report['this']}",
    ]
    return "\n".join(lines)


def plot(report, path):
    """Draw the memory of each epoch."""
    from matplotlib.figure import Figure

    resident = [
        held / 1e6 for held in report["results"].get("memory", {}).get("resident_bytes", [])
    ]
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(range(1, len(resident) + 1), resident, "o-", markersize=3)
    if len(resident) >= SETTLED:
        axes.axhline(
            resident[SETTLED - 1] * 1.02,
            linestyle="--",
            color="gray",
            label=f"2 % above epoch {SETTLED}",
        )
        axes.legend(loc="lower right", fontsize=8)
    axes.set(
        xlabel="epoch",
        ylabel="resident memory, MB",
        ylim=(0, None),
        title=f"{QUICK}\n" * report["quick"] + f"A small run on {report['machine']['cpu']}",
    )
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--part"]:
        part_name, is_quick, file = sys.argv[2:]
        Path(file).write_text(json.dumps(run_part(part_name, bool(int(is_quick)))))
    else:
        sys.exit(main())
