"""benchmarks/: its cases run and its table says what was measured. No test looks at a time."""

import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import cases  # noqa: E402
import run  # noqa: E402

WITHOUT_NETWORK = [name for name in cases.CASES
                   if not name.startswith(("rates", "import", "build", "detect", "train"))]


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
    assert result["detections"] == 10
    assert result["gflop"] == pytest.approx(sum(result["gflop_of_stages"].values()))
    assert result["gflop_per_second"] == pytest.approx(result["gflop"] / result["network_seconds"])


def row(**rates):
    return {"seconds": 1.0, "rates": rates}


def test_shares_use_the_rates_of_the_same_version_and_the_best_of_all():
    own = {"rates": row(convolution_64=50.0, convolution_256=40.0, matmul=100.0),
           "rates-onednn-off": row(convolution_64=200.0, convolution_256=10.0, matmul=400.0),
           "detect": {"seconds": 2.0, "gflop": 80.0, "gflop_per_second": 40.0},
           "rates-at-end": row(convolution_64=80.0, convolution_256=40.0, matmul=90.0)}
    other = {"rates": row(convolution_64=20.0, convolution_256=10.0, matmul=20.0),
             "detect": {"seconds": 4.0, "gflop": 80.0, "gflop_per_second": 20.0}}
    run.add_shares({"this": own, "other": other})
    assert (own["detect"]["share_of_convolution"], own["detect"]["share_of_matmul"]) == (0.5, 0.4)
    assert (other["detect"]["share_of_convolution"], other["detect"]["share_of_matmul"]) == (1.0, 1.0)
    assert own["detect"]["share_of_best_convolution"] == 0.2
    assert other["detect"]["share_of_best_convolution"] == 0.1


def test_table_shows_failures_and_compares_versions():
    report = {"machine": {"cpu": "some CPU", "cores": 2}, "quick": True, "trees": {"this": "abc", "other": "def"},
              "results": {"this": {"mold": {"seconds": 2.0, "peak_bytes": 3e6}, "odd": {"error": "failed: no"}},
                          "other": {"mold": {"seconds": 3.0, "peak_bytes": 3e6}, "odd": {"seconds": 1.0}}}}
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
