"""The cases of networks that label pixels, and their twins in torch. No test looks at a time."""

import json
import sys

import numpy as np
import pytest

from tests.paths import BENCHMARKS

sys.path.insert(0, str(BENCHMARKS))

import cases
import measure
import peers
import processes
import segmentation_cases
import segmentation_numbers

NAMES = [name for name in cases.CASES if name.split("-", 1)[-1] in segmentation_cases.MEASURED]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_case_runs_and_counts_its_arithmetic(name):
    result = json.loads(json.dumps(cases.run(name, quick=True)))
    assert len(result["times"]) == cases.QUICK_REPEATS and result["cpu_seconds"] > 0
    assert result["gflop_per_second"] == pytest.approx(result["gflop"] / result["seconds"])


def test_arithmetic_is_that_of_the_paper_s_network():
    config = segmentation_cases.settings(False, "unet", 256, 2, BATCH_NORM=False)
    network = segmentation_cases.segmenter("inference", config).keras_model
    # 31,030,658 of one input channel and two output channels (counted from the paper)
    assert network.count_params() == 31_030_658 + 2 * 9 * 64 - 65
    work = segmentation_cases.flops_of(network, [np.empty((2, 256, 256, 3))])
    kernel = 9 * 64 * 64  # of the second convolution, which sees every pixel
    assert work.forward["enc1_conv2"] == 2 * kernel * 2 * 256 * 256
    # half the side and twice the channels: the same, level by level
    assert work.forward["enc5_conv2"] == work.forward["enc1_conv2"]


def test_scores_do_not_begin_with_zeros():
    config = segmentation_cases.settings(True, "fcn8s", 512, 1)
    network = segmentation_cases.segmenter("inference", config).keras_model
    for name in ("seg_score_fr", "seg_score_pool4", "seg_score_pool3"):
        assert np.abs(network.get_layer(name).kernel.numpy()).min() > 0


def test_labels_have_every_class_and_a_border_of_void():
    images, labels = measure.labelled(64, 2, 5)
    assert images.shape == (2, 64, 64, 3) and -128 < images.min() < 0 < images.max() < 128
    assert labels.shape == (2, 64, 64) and (labels[:, :4] == 255).all()
    assert set(np.unique(labels[:, 4:])) == {0, 1, 2, 3, 4}


def test_cpu_time_is_that_of_the_steady_state():
    calls = iter((30_000_000, 10, 10, 10))
    result = measure.repeat(lambda: sum(range(next(calls))), 3)
    assert result["cpu_seconds"] < 0.1 * result["first_call"]
    assert result["cpu_seconds"] <= max(result["times"]) + 0.01


# === The same in torch ===


def test_every_case_has_a_twin_in_both_layouts():
    variants = peers.variants(peers.parse(["--torch", sys.executable]))
    assert [set(variant.cases) for variant in variants.values()] == [set(NAMES)] * 2
    function, arguments, _ = variants["torch"].cases["train-unet-256-batch2-without-bn"]
    assert (function, arguments["batch_norm"]) == ("train_step", False)
    assert [
        variant.cases["segment-unet-256-batch2"][1]["channels_last"]
        for variant in variants.values()
    ] == [False, True]


@pytest.fixture
def answered(monkeypatch):
    """A peer that answers with our own numbers, changed by a function: answered(change)."""
    ours = segmentation_numbers.numbers

    def answer(change):
        found = {}

        def numbers(network, side, path, fields):
            found.update(ours(network, side, path, {**fields, "UNET_WIDTHS": (4, 8)}))
            return dict(found)

        def run(program, arguments, tree, python):
            theirs = {key: np.array(value) for key, value in found.items()}
            change(theirs)
            np.savez(json.loads(arguments[1])["found"], **theirs)
            return {}

        monkeypatch.setattr(segmentation_numbers, "numbers", numbers)
        monkeypatch.setattr(processes, "run", run)
        monkeypatch.setattr(segmentation_numbers, "CASES", {"unet": ("unet", 32, {}, {})})
        return segmentation_numbers.main(["--torch", "python"])

    return answer


def test_same_numbers_pass(answered, capsys):
    assert answered(lambda theirs: None) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.split() == ["unet", *["0.0e+00"] * 6]


@pytest.mark.parametrize(
    "name", ["loss", "logits", "prediction", "enc1_conv1/kernel", "enc2_conv1_bn/moving_mean"]
)
def test_a_number_that_differs_fails(answered, name):
    def change(theirs):
        theirs[name] = theirs[name] * np.float32(1.02)

    assert answered(change) == 1


def test_tensors_that_the_peer_lacks_are_named(answered):
    with pytest.raises(RuntimeError, match="seg_score/bias"):
        answered(lambda theirs: theirs.pop("seg_score/bias"))


@pytest.mark.slow
def test_torch_computes_the_same(capsys):
    pytest.importorskip("torch", reason="the twins need torch, which the package does not")
    assert segmentation_numbers.main(["--torch", sys.executable]) == 0, capsys.readouterr().out
