"""benchmarks/: its cases run and its table says what was measured. No test looks at a time."""

import json
import os
import statistics
import subprocess
import sys
import threading

import numpy as np
import pytest

from tests.paths import BENCHMARKS

sys.path.insert(0, str(BENCHMARKS))

import cases
import files_touched
import machine_cases
import measure
import names
import peers
import process_cases
import processes
import run
import scaling

WITHOUT_NETWORK = [
    name
    for name in cases.CASES
    if not name.startswith(
        (
            "rates",
            "import",
            "build",
            "photo",
            "first-step",
            "detect",
            "evaluate",
            "segment",
            "train",
        )
    )
]


@pytest.mark.parametrize("name", WITHOUT_NETWORK)
def test_case_without_network_runs(name):
    result = json.loads(json.dumps(cases.run(name, quick=True)))
    assert len(result["times"]) == cases.QUICK_REPEATS
    assert result["peak_bytes"] > 10e6


def test_light_modules_are_found_and_bring_no_tensorflow():
    result = cases.run("import-light", quick=True)
    assert result["modules"] > 8
    assert result["modules_with_tensorflow"] == []


def test_detection_case_reports_what_the_network_did():
    result = run.run_case("detect-r50-512-10", run.ROOT, quick=True)
    assert 10 <= result["detections"] < 100  # scores of the small network tie
    assert result["gflop"] == pytest.approx(sum(result["gflop_of_stages"].values()))
    assert result["gflop_per_second"] == pytest.approx(result["gflop"] / result["network_seconds"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["photo-r50-512", "first-step-r50-256"])
def test_case_of_a_whole_process_tells_its_parts(name):
    result = run.run_case(name, run.ROOT, quick=True)
    assert len(result["times"]) == cases.QUICK_REPEATS, result
    parts = result["import_seconds"] + result["build_seconds"] + result["first_call"]
    assert 0 < parts < max(result["times"])
    assert 0 < result["beyond_framework_megabytes"] < result["peak_bytes"] / 1e6
    if name.startswith("photo"):
        assert 10 <= result["detections"] < 100  # scores of the small network tie


def test_whole_processes_are_summed_up_by_medians(monkeypatch):
    peaks = iter((9e6, 5e6, 7e6))
    asked = []

    def one(function, **options):
        asked.append(options["confidence"])
        scores = [0.9, 0.8, 0.3] if options["confidence"] == 0 else [0.9, 0.8]
        parts = {f"{part}_seconds": 1.0 for part in ("import", "build", "first")}
        return {"scores": scores, "peak_bytes": next(peaks), **parts}

    monkeypatch.setattr(process_cases, "_run", one)
    monkeypatch.setattr(machine_cases, "import_cost", lambda line: (1.0, 4e6))
    result = process_cases.photo(True, 2, side=512, detections=2)
    assert asked == [0, 0.55, 0.55]
    assert (result["detections"], result["peak_bytes"]) == (2, 6e6)
    assert result["beyond_framework_megabytes"] == 2


def test_process_that_fails_is_an_error_with_what_it_said():
    with pytest.raises(RuntimeError, match="KeyError: 'no such function'"):
        process_cases._run("no such function")


@pytest.mark.slow
def test_evaluation_case_reports_its_share_outside_of_the_network():
    result = run.run_case("evaluate-512", run.ROOT, quick=True)
    assert result["images"] == 4 and result["detections"] > 4
    assert 0 < result["outside_share"] < 1
    assert result["network_seconds"] + result["outside_seconds"] == pytest.approx(
        sum(result["times"]) / 2
    )


def test_confidence_leaves_the_wanted_number_of_detections():
    scores = [0.9, 0.1, 0.5, 0.7, 0.3, 0.2]
    confidence = measure.confidence_for(scores, images=2, detections=2)
    assert sum(score >= confidence for score in scores) == 4
    assert measure.confidence_for(scores, images=1, detections=100) == 0


@pytest.mark.slow
def test_unpadded_case_runs_the_network_on_less():
    square, rect = (
        run.run_case(f"detect-r50-512-50{mode}", run.ROOT, quick=True) for mode in ("", "-rect")
    )
    assert (square["molded"], rect["molded"]) == ([1, 384, 384, 3], [1, 256, 384, 3])
    # scores of the small network tie, so that the two may find unlike many
    for case in (
        square,
        rect,
    ):
        case["gflop_of_stages"]["mask head"] /= case["detections"]
    shares = {
        stage: rect["gflop_of_stages"][stage] / square["gflop_of_stages"][stage]
        for stage in ("backbone", "FPN", "mask head")
    }
    assert shares == pytest.approx({"backbone": 2 / 3, "FPN": 2 / 3, "mask head": 1})


def test_arithmetic_counts_the_rois_that_the_heads_ran_on():
    import flops

    from mrcnn.networks.mask_rcnn.build import inference_model
    from tests.tiny import TinyConfig

    config = TinyConfig()
    model = inference_model(config)
    shapes = [
        (1, *tensor.shape[1:]) if None not in tensor.shape[1:] else (1, *config.IMAGE_SHAPE)
        for tensor in model.inputs[:2]
    ] + [(1, 100, 4)]
    few, many = (
        flops.stages(flops.count(model, shapes, rois, masks).forward)
        for rois, masks in ((1, 2), (3, 8))
    )
    assert many["mask head"] == 4 * few["mask head"]
    dense = (
        2
        * config.POST_NMS_ROIS_INFERENCE
        * config.FPN_CLASSIF_FC_LAYERS_SIZE
        * 5
        * config.NUM_CLASSES
    )
    assert many["box head"] - dense == 3 * (few["box head"] - dense)
    assert many["backbone"] == few["backbone"] > 0


def row(**rates):
    return {"seconds": 1.0, "rates": rates}


def test_shares_use_the_rates_of_the_same_version_and_the_best_of_all():
    own = {
        "rates": row(convolution_64=50.0, convolution_256=40.0, matmul=100.0),
        "rates-onednn-off": row(convolution_64=200.0, convolution_256=10.0, matmul=400.0),
        "detect": {"seconds": 2.0, "gflop": 80.0, "gflop_per_second": 40.0},
        "rates-at-end": row(convolution_64=80.0, convolution_256=40.0, matmul=90.0),
    }
    other = {
        "rates": row(convolution_64=20.0, convolution_256=10.0, matmul=20.0),
        "detect": {"seconds": 4.0, "gflop": 80.0, "gflop_per_second": 20.0},
    }
    run.add_shares({"this": own, "other": other})
    assert (own["detect"]["share_of_convolution"], own["detect"]["share_of_matmul"]) == (0.5, 0.4)
    assert (other["detect"]["share_of_convolution"], other["detect"]["share_of_matmul"]) == (
        1.0,
        1.0,
    )
    assert own["detect"]["share_of_best_convolution"] == 0.2
    assert other["detect"]["share_of_best_convolution"] == 0.1


def test_table_shows_failures_and_compares_versions():
    report = {
        "machine": {"cpu": "some CPU", "cores": 2},
        "quick": True,
        "trees": {"this": "abc", "other": "def"},
        "results": {
            "this": {"mold": {"seconds": 2.0, "peak_bytes": 3e6}, "odd": {"error": "failed: no"}},
            "other": {"mold": {"seconds": 3.0, "peak_bytes": 3e6}, "odd": {"seconds": 1.0}},
        },
    }
    lines = run.table(report).splitlines()
    assert "say nothing about speed" in lines[0]
    assert lines[2].split() == ["mold", "2", "3"]
    assert lines[4].split() == ["other", "/", "this", "1.50"]
    assert lines[5].split() == ["odd", "failed", "failed:", "no"]
    assert len(lines) == 9  # a failed case has no ratio


def test_failure_of_a_case_is_kept_and_told(tmp_path):
    result = run.run_case("no-such-case", tmp_path, quick=True)
    assert "KeyError: 'no-such-case'" in result["error"]


def test_unknown_case_is_refused(capsys):
    with pytest.raises(SystemExit):
        run.main(["--only", "detectt-*"])
    assert "no case is called 'detectt-*'" in capsys.readouterr().err


def test_every_case_has_its_row_in_the_readme():
    text = (BENCHMARKS / "README.md").read_text()
    patterns = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")]
    for name in cases.CASES:
        assert any(run.fnmatch(name, pattern) for pattern in patterns), name


# === Names of other versions ===


@pytest.mark.parametrize("name", names.MODULES)
def test_every_name_is_found_in_this_version(name):
    assert callable(getattr(names, name))


LAYOUT = {"__init__.py": "", "data/__init__.py": "", "inference.py": "def mold_inputs(): pass"}
LATER = {"data/load.py": "import no_such_package"}


@pytest.mark.parametrize(
    "files, name, said",
    [
        ({}, "mold_inputs", "mrcnn.inference\n"),  # a module, where today there is a package
        ({}, "load_image_gt", "AttributeError: benchmarks/names.py knows no module"),
        (LATER, "load_image_gt", "ModuleNotFoundError: No module named 'no_such_package'"),
    ],
)
def test_name_of_an_older_version_is_looked_for_where_it_was(tmp_path, files, name, said):
    for path, text in {**LAYOUT, **files}.items():
        (tmp_path / "mrcnn" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mrcnn" / path).write_text(text)
    program = f"import names; print(names.{name}.__module__)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(BENCHMARKS)])},
        capture_output=True,
        text=True,
    )
    last = (done.stdout + done.stderr).splitlines(keepends=True)[-1]
    assert last.startswith(said)


# === Files of a step ===


def test_files_of_functions_count_and_those_of_imports_do_not(tmp_path, monkeypatch):
    (tmp_path / "steps").mkdir()
    texts = {
        "__init__": "",
        "called": "def call():\n    return 1",
        "threaded": "value = lambda: 2",
        "imported": "class Body:\n    numbers = [n for n in range(3)]",
        "unused": "def call():\n    return 3",
    }
    for name, text in texts.items():
        (tmp_path / "steps" / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    from steps import called, threaded, unused  # noqa: F401

    with files_touched.files_of_calls("steps") as files:
        called.call()
        thread = threading.Thread(target=threaded.value)
        thread.start()
        thread.join()
        from steps import imported  # noqa: F401
    assert files == {"called.py", "threaded.py"}
    with files_touched.files_of_calls("steps") as files:
        pass
    assert files == set()


@pytest.mark.slow
def test_walks_pass_through_what_their_names_say():
    files, built = files_touched.detection()
    assert {"model.py", "data/images.py", "ops/nms.py"} <= files
    assert "networks/backbones/resnet.py" in built - files
    files, built = files_touched.training_step()
    assert {"data/batches.py", "data/rpn_targets.py", "networks/mask_rcnn/losses.py"} <= files
    assert "networks/backbones/resnet.py" in built - files


# === Peers ===

PROGRAM = """
import json, sys
function, arguments, *quick, path = sys.argv[1:]
import mrcnn
arguments = json.loads(arguments)
result = {"seconds": 2.0, "times": [2.0], "first_call": 3.0, "peak_bytes": 5e6, "images": 1}
result["cpu_seconds"] = 3.5
asked = {"function": function, "arguments": arguments, "whose": mrcnn.WHOSE, "quick": quick}
open(path, "w").write(json.dumps({**result, **asked}))
"""


@pytest.fixture
def peer(tmp_path):
    """A peer whose program tells how it was run."""
    (tmp_path / "mrcnn").mkdir()
    (tmp_path / "mrcnn" / "__init__.py").write_text("WHOSE = 'theirs'")
    (tmp_path / "program.py").write_text(PROGRAM)
    return peers.Variant(
        tmp_path / "program.py",
        sys.executable,
        tmp_path,
        {},
        {"mold-512": ("mold", {"side": 512}, 7)},
    )


def test_peer_runs_with_its_own_package_and_the_arguments_of_its_case(peer, monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    result = peers.measure_peer(peer, "mold-512", quick=False)
    assert (result["function"], result["whose"], result["quick"]) == ("mold", "theirs", [])
    assert result["arguments"] == {"side": 512, "repeats": 7}
    assert peers.measure_peer(peer, "mold-512", quick=True)["quick"] == ["--quick"]


def test_peers_are_measured_in_turn_and_compared(peer, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(peers, "variants", lambda options: {"peer": peer})
    asked, output = [], tmp_path / "out.json"
    ours = iter((1.0, 3.0))

    def measure_ours(name, quick):
        asked.append("ours")
        seconds = next(ours)
        result = {"seconds": seconds, "times": [seconds], "first_call": 1.0, "peak_bytes": 1e6}
        return {**result, "cpu_seconds": 2 * seconds}

    theirs = peers.measure_peer
    monkeypatch.setattr(peers, "measure_ours", measure_ours)
    monkeypatch.setattr(
        peers, "measure_peer", lambda *arguments: asked.append("theirs") or theirs(*arguments)
    )
    assert peers.main(["--torchvision", sys.executable, "--quick", "--output", str(output)]) == 0
    assert asked == ["ours", "theirs"] * 2
    measured = json.loads(output.read_text())["results"]["mold-512"]
    assert (measured["this"]["seconds"], measured["this"]["seconds_of_rounds"]) == (2.0, [1.0, 3.0])
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("  peer"))
    assert line.split() == ["peer", "3", "2", "3.5", "5", "1.00", "0.88", "5.00"]


def test_round_that_failed_is_the_result_and_the_exit_status(peer, monkeypatch, capsys):
    monkeypatch.setattr(peers, "variants", lambda options: {"peer": peer})
    monkeypatch.setattr(peers, "measure_ours", lambda name, quick: {"error": "failed: out of luck"})
    assert peers.main(["--torchvision", sys.executable, "--quick", "--rounds", "1"]) == 1
    assert "out of luck" in capsys.readouterr().out


def test_pooled_rounds_take_the_median_of_all_times_and_the_highest_peak():
    rounds = [
        {"times": [1.0, 9.0, 2.0], "seconds": 2.0, "first_call": 5.0, "peak_bytes": 7},
        {"times": [3.0, 4.0, 8.0], "seconds": 4.0, "first_call": 7.0, "peak_bytes": 6},
    ]
    found = peers.pooled(rounds)
    assert found["seconds"] == statistics.median([1, 9, 2, 3, 4, 8])
    assert (found["peak_bytes"], found["first_call"]) == (7, 6.0)


def test_every_case_of_a_peer_is_one_of_ours():
    python = sys.executable
    arguments = ["--torchvision", python, "--torch", python, "--original", str(run.ROOT), python]
    options = peers.parse(arguments)
    for variant in peers.variants(options).values():
        assert variant.program.is_file()
        assert set(variant.cases) <= set(cases.CASES)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "name a peer"),
        (["--original", "nowhere", "python"], "nowhere has no mrcnn/model.py"),
        (
            ["--torchvision", "python", "--only", "sample-*"],
            "no case of these peers is called 'sample-*'",
        ),
        (["--torchvision", "python", "--rounds", "0"], "must be at least 1"),
    ],
)
def test_wrong_arguments_of_peers_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit):
        peers.main(arguments)
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_cases_of_the_original_run_on_code_in_its_layout(monkeypatch):
    """Our own package has matterport's names, so that it can stand for a checkout of that."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    variant = peers.variants(peers.parse(["--original", str(run.ROOT), sys.executable]))["original"]
    for name in ("batch-1024-mini-masks", "mold-512", "unmold-50", "compute-ap-1024"):
        result = peers.measure_peer(variant, name, quick=True)
        assert len(result["times"]) == peers.QUICK_REPEATS, result


def test_boxes_that_match_most_are_chosen_by_their_neighbours():
    from mrcnn.ops.boxes_np import compute_overlaps

    crowd = np.array([[10, 10, 50, 50], [10, 10, 51, 50], [11, 10, 50, 50]])
    pair = np.array([[100, 100, 140, 140], [100, 101, 140, 140]])
    boxes = np.concatenate([pair, crowd, [[0, 0, 5, 90]]])  # the last is too thin to be an object
    first, second = measure.boxes_that_match_most(boxes, compute_overlaps, count=2)
    assert first[0] < 12 and second[0] == 100


# === Scaling ===


def test_growth_is_cost_over_that_in_proportion():
    measured = {"512": {"seconds": 1.0}, "1024": {"seconds": 3.0}, "2048": {"error": "failed"}}
    assert scaling.growth("size", measured) == {"512": 1.0, "1024": 0.75}
    assert scaling.growth("workers", {"1": {"seconds": 4.0}, "2": {"seconds": 3.0}}) == {
        "1": 1.0,
        "2": 1.5,
    }
    assert scaling.growth("size", {"512": {"error": "failed"}}) == {}


def test_points_of_a_curve_run_and_are_drawn(tmp_path, capsys):
    measured = {
        str(workers): processes.run(
            scaling.__file__, ["--point", "workers", curve, workers, 1], run.ROOT
        )
        for curve in list(scaling.AXES["workers"].curves)[:1]
        for workers in (1, 2)
    }
    assert all(result["images_per_second"] > 0 for result in measured.values()), measured
    report = {
        "machine": {"cpu": "some CPU", "cores": 2},
        "quick": True,
        "this": "abc",
        "results": {
            "workers": {"a curve": measured},
            "batch": {"failed curve": {"1": {"error": "failed: no memory"}}},
        },
    }
    scaling.plot(report, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 10_000
    assert "failed: no memory" in scaling.table(report)


def test_axes_span_what_the_readme_says():
    values = {
        axis: [list(points) for points in found.curves.values()]
        for axis, found in scaling.AXES.items()
    }
    assert values["batch"] == [[1, 2, 3, 4]] * 2
    assert values["workers"] == [[1, 2, 4]] * 2
    assert all((points[0], points[-1]) == (512, 2048) for points in values["size"])
    assert all((points[0], points[-1]) == (10, 100) for points in values["detections"])
    assert all(points[0] == 2 for points in values["classes"])
