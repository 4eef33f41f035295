"""Measure the speed and the memory of the package on this machine: a table, and JSON.

    python benchmarks/run.py                               all cases
    python benchmarks/run.py --only 'detect-*' --quick     do they run? (tiny sizes)
    python benchmarks/run.py --against ../other-checkout   two versions side by side

What each row is: benchmarks/README.md.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path

import cases

ROOT = Path(__file__).resolve().parent.parent
# what changes the figures without a change of the code
ENVIRONMENT = ("TF_ENABLE_ONEDNN_OPTS", "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
               "TF_XLA_FLAGS", "CUDA_VISIBLE_DEVICES")
# A machine with more than this share of its cores taken gives no figures.
BUSY_SHARE = 0.2


def main(arguments=None):
    options = parse(arguments)
    if options.list:
        print("\n".join(cases.CASES))
        return 0
    trees = {"this": ROOT, **({"other": options.against} if options.against else {})}
    report = {"machine": machine(), "quick": options.quick,
              "trees": {name: version(tree) for name, tree in trees.items()}, "results": {name: {} for name in trees}}
    if not options.quick and report["machine"]["load_average"] > BUSY_SHARE * os.cpu_count():
        print(f"Warning: the load average is {report['machine']['load_average']:.1f}; other programs are running, so "
              "times will be too long", file=sys.stderr)
    failed = False
    for name in chosen(options.only):
        # the versions in turn, case by case: the machine drifts by more than they differ
        for tree, folder in trees.items():
            result = run_case(name, folder, options.quick)
            failed |= "error" in result
            report["results"][tree][name] = result
            said = result.get("error") or f"{result['seconds']:.4g} s"
            print(f"{name} ({tree}): {said}", file=sys.stderr, flush=True)
            add_shares(report["results"])
            if options.output:
                options.output.write_text(json.dumps(report, indent=1))
    print(table(report))
    return 1 if failed else 0


def parse(arguments):
    parser = argparse.ArgumentParser(description="Measure speed and memory; see benchmarks/README.md.")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="cases to run, also as patterns such as 'train-*'; "
                        "the rates, on which the shares rest, always run")
    parser.add_argument("--list", action="store_true", help="print the names of the cases and stop")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: only shows that every case runs")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write all figures as JSON")
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="another checkout to measure in turn with this")
    options = parser.parse_args(arguments)
    for pattern in options.only or ():
        if not any(fnmatch(name, pattern) for name in cases.CASES):
            parser.error(f"no case is called {pattern!r}; --list prints all names")
    if options.against and not (options.against / "mrcnn" / "model.py").is_file():
        parser.error(f"{options.against} has no mrcnn/model.py")
    return options


def chosen(patterns):
    return [name for name in cases.CASES
            if patterns is None or name in cases.RATES or any(fnmatch(name, pattern) for pattern in patterns)]


def run_case(name, tree, quick):
    """Run a case in a process of its own, with the package of a folder; {"error": ...} where it fails."""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(
        [str(Path(tree).resolve()), *filter(None, [os.environ.get("PYTHONPATH")])]))
    environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.json"
        command = [sys.executable, cases.__file__, name, str(path), *(["--quick"] if quick else [])]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            said = done.stdout.strip().splitlines()
            return {"error": f"failed with exit status {done.returncode}: {said[-1] if said else 'no message'}",
                    "output": done.stdout[-4000:]}
        return json.loads(path.read_text())


def add_shares(results):
    """Set every network row's share of the rates that the machine attained in this run.

    share_of_convolution and share_of_matmul refer to the version's own setting of oneDNN,
    share_of_best_convolution to the best convolution measured under any setting.
    """
    measured = [rows[name] for rows in results.values() for name in cases.RATES if "rates" in rows.get(name, {})]
    best = max(map(_convolution, measured), default=None)
    for rows in results.values():
        own = [rows[name] for name in ("rates", "rates-at-end") if "rates" in rows.get(name, {})]
        for row in rows.values():
            if own and "gflop_per_second" in row:
                rate = row["gflop_per_second"]
                row["share_of_convolution"] = rate / max(map(_convolution, own))
                row["share_of_matmul"] = rate / max(rates["rates"]["matmul"] for rates in own)
                row["share_of_best_convolution"] = rate / best


def _convolution(row):
    return max(rate for name, rate in row["rates"].items() if name.startswith("convolution"))


# === The table ===

COLUMNS = ("case", "first s", "median s", "peak MB", "GFLOP", "GFLOP/s", "% conv", "% best", "% matmul", "also")


def table(report):
    """The report as aligned text; with two versions, a row of each and the ratio of their times."""
    rows = [COLUMNS]
    names = list(dict.fromkeys(name for results in report["results"].values() for name in results))
    for name in names:
        measured = {tree: results[name] for tree, results in report["results"].items() if name in results}
        for tree, result in measured.items():
            rows.append((name if tree == "this" else f"  {tree}", *_cells(result)))
        times = [result.get("seconds") for result in measured.values()]
        if len(times) == 2 and all(times):
            rows.append(("  other / this", "", f"{times[1] / times[0]:.2f}", *[""] * (len(COLUMNS) - 3)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS) - 1)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:-1], widths[1:]), row[-1]]) for row in rows]
    if report["quick"]:
        lines.insert(0, "--quick: tiny sizes, these figures say nothing about speed")
    versions = ", ".join(f"{tree}: {commit}" for tree, commit in report["trees"].items())
    lines += ["", f"{report['machine']['cpu']}, {report['machine']['cores']} cores; {versions}"]
    return "\n".join(line.rstrip() for line in lines)


def _cells(result):
    if "error" in result:
        return ("", "failed", *[""] * 6, result["error"])

    def cell(key, form, factor=1):
        return format(result[key] * factor, form) if result.get(key) is not None else ""

    return (cell("first_call", ".3g"), cell("seconds", ".3g"), cell("peak_bytes", ".0f", 1e-6), cell("gflop", ".3g"),
            cell("gflop_per_second", ".3g"), cell("share_of_convolution", ".0f", 100),
            cell("share_of_best_convolution", ".0f", 100), cell("share_of_matmul", ".0f", 100), _notes(result))


def _notes(result):
    notes = [f"{name} {rate:.0f} GFLOP/s" for name, rate in result.get("rates", {}).items()]
    notes += [f"{result[key]:{form}}{text}" for key, form, text in (
        ("images", "d", " images"), ("detections", "d", " detections"), ("mask_rois", "d", " mask RoIs"),
        ("network_seconds", ".3g", " s network"), ("outside_share", ".1%", " outside of it"),
        ("first_load_seconds", ".2f", " s of the first to load"), ("load_seconds", ".2f", " s to load"),
        ("tensorflow_seconds", ".2f", " s tensorflow alone"), ("modules", "d", " modules"))
        if key in result and (key, result[key]) != ("images", 1)]
    if "modules_with_tensorflow" in result:
        notes.append("with TensorFlow or Keras: " + (", ".join(result["modules_with_tensorflow"]) or "none"))
    return ", ".join(notes)


# === What was measured, and on what ===

def machine():
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next((line.split(":", 1)[1].strip() for line in info.read_text().splitlines()
                    if line.startswith("model name")), cpu)
    return {"cpu": cpu, "cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version(),
            "load_average": os.getloadavg()[0], "date": datetime.datetime.now().isoformat(timespec="minutes"),
            **{name: metadata.version(name) for name in ("tensorflow", "keras", "numpy")},
            "environment": {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}}


def version(tree):
    """The commit of a checkout, with "+" where files were changed since."""
    def git(*arguments):
        done = subprocess.run(["git", "-C", str(tree), *arguments], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "--short", "HEAD")
    if commit is None:
        return "no git checkout"
    return commit + ("+" if git("status", "--porcelain", "--", "mrcnn") else "")


if __name__ == "__main__":
    sys.exit(main())
