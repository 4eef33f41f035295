"""Measure the speed and the memory of the package on this machine: a table, and JSON.

    python benchmarks/run.py                               all cases
    python benchmarks/run.py --only 'detect-*' --quick     do they run? (tiny sizes)
    python benchmarks/run.py --against ../other-checkout   two versions side by side

What each row is: benchmarks/README.md.
"""

import argparse
import json
import sys
from fnmatch import fnmatch
from pathlib import Path

import cases
import processes
from report import QUICK, ROOT, aligned, cell, machine, notes, version, warn_if_busy


def main(arguments=None):
    options = parse(arguments)
    if options.list:
        print("\n".join(cases.CASES))
        return 0
    trees = {"this": ROOT, **({"other": options.against} if options.against else {})}
    report = {
        "machine": machine(),
        "quick": options.quick,
        "trees": {name: version(tree) for name, tree in trees.items()},
        "results": {name: {} for name in trees},
    }
    if not options.quick:
        warn_if_busy(report["machine"])
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
    parser = argparse.ArgumentParser(
        description="Measure speed and memory; see benchmarks/README.md."
    )
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="NAME",
        help="cases to run, also as patterns such as 'train-*'; "
        "the rates, on which the shares rest, always run",
    )
    parser.add_argument("--list", action="store_true", help="print the names of the cases and stop")
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes: only shows that every case runs"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write all figures as JSON")
    parser.add_argument(
        "--against",
        type=Path,
        metavar="FOLDER",
        help="another checkout to measure in turn with this",
    )
    options = parser.parse_args(arguments)
    for pattern in options.only or ():
        if not any(fnmatch(name, pattern) for name in cases.CASES):
            parser.error(f"no case is called {pattern!r}; --list prints all names")
    if options.against and not (options.against / "mrcnn" / "model.py").is_file():
        parser.error(f"{options.against} has no mrcnn/model.py")
    return options


def chosen(patterns):
    return [
        name
        for name in cases.CASES
        if patterns is None
        or name in cases.RATES
        or any(fnmatch(name, pattern) for pattern in patterns)
    ]


def run_case(name, tree, quick):
    """Run a case in a process of its own, with the package of a folder; {"error": ...} where it
    fails.
    """
    return processes.run(cases.__file__, [name, *(["--quick"] if quick else [])], tree)


def add_shares(results):
    """Set every network row's share of the rates that the machine attained in this run.

    share_of_convolution and share_of_matmul refer to the version's own setting of oneDNN,
    share_of_best_convolution to the best convolution measured under any setting.
    """
    measured = [
        rows[name]
        for rows in results.values()
        for name in cases.RATES
        if "rates" in rows.get(name, {})
    ]
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

COLUMNS = (
    "case",
    "first s",
    "median s",
    "peak MB",
    "GFLOP",
    "GFLOP/s",
    "% conv",
    "% best",
    "% matmul",
    "also",
)


def table(report):
    """The report as aligned text; with two versions, a row of each and the ratio of their times."""
    rows = [COLUMNS]
    names = list(dict.fromkeys(name for results in report["results"].values() for name in results))
    for name in names:
        measured = {
            tree: results[name] for tree, results in report["results"].items() if name in results
        }
        for tree, result in measured.items():
            rows.append((name if tree == "this" else f"  {tree}", *_cells(result)))
        times = [result.get("seconds") for result in measured.values()]
        if len(times) == 2 and all(times):
            rows.append(
                ("  other / this", "", f"{times[1] / times[0]:.2f}", *[""] * (len(COLUMNS) - 3))
            )
    lines = [*([QUICK] if report["quick"] else []), *aligned(rows)]
    versions = ", ".join(f"{tree}: {commit}" for tree, commit in report["trees"].items())
    lines += ["", f"{report['machine']['cpu']}, {report['machine']['cores']} cores; {versions}"]
    return "\n".join(lines)


def _cells(result):
    if "error" in result:
        return ("", "failed", *[""] * 6, result["error"])

    return (
        cell(result, "first_call", ".3g"),
        cell(result, "seconds", ".3g"),
        cell(result, "peak_bytes", ".0f", 1e-6),
        cell(result, "gflop", ".3g"),
        cell(result, "gflop_per_second", ".3g"),
        cell(result, "share_of_convolution", ".0f", 100),
        cell(result, "share_of_best_convolution", ".0f", 100),
        cell(result, "share_of_matmul", ".0f", 100),
        notes(result),
    )


if __name__ == "__main__":
    sys.exit(main())
