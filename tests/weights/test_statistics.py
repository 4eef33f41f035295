"""Statistics of weights and their comparison, by hand."""

import numpy as np
import pytest

from mrcnn.weights.h5_format import read_h5
from mrcnn.weights.statistics import (
    compare_weights,
    is_kernel,
    layers_of,
    weight_problem,
    weight_statistics,
)


def test_statistics_by_hand():
    kernel = np.array([[1.0, 0.0, -3.0], [3.0, 0.0, 1e-9]], np.float32)
    row, bias = weight_statistics({"fc": [("fc/kernel:0", kernel), ("fc/bias:0", np.zeros(3))]})
    assert row[:3] == ("fc", "fc/kernel:0", (2, 3)) and (row.low, row.high) == (-3, 3)
    assert row.mean == pytest.approx(1 / 6) and row.std == pytest.approx(
        np.std(kernel.astype(float))
    )
    assert (row.dead_channels, row.problem) == (1, "")
    assert bias.dead_channels == 0 and bias.problem == ""  # a bias starts at 0


@pytest.mark.parametrize(
    "name, values, problem",
    [
        ("a/kernel:0", np.full((2, 2), 0.5), "dead?"),
        ("a/kernel:0", np.zeros((1, 1)), ""),
        ("a/gamma:0", np.ones(8), ""),
        ("a/kernel:0", np.array([[0.0, -1001.0]]), "overflow?"),
        ("a/gamma:0", np.array([1.0, 2000.0]), "overflow?"),
        ("a/moving_variance:0", np.array([1.0, 2000.0]), ""),  # of pixels
        ("a/moving_variance:0", np.array([1.0, np.inf]), "not finite"),
        ("a/bias:0", np.array([0.0, np.nan]), "not finite"),
        ("a/kernel:0", np.array([[np.inf, 1.0]]), "not finite"),
        ("a/kernel:0", np.zeros((0, 3)), "empty"),
    ],
)
def test_problems(name, values, problem):
    (row,) = weight_statistics({"a": [(name, values)]})
    assert row.problem == weight_problem(name, values) == problem


def test_all_channels_dead():
    (row,) = weight_statistics({"a": [("a/kernel:0", np.zeros((3, 3, 2, 5)))]})
    assert row.dead_channels == 5 and row.problem == "dead?"


def test_kernels():
    assert (
        is_kernel("conv1/kernel:0") and is_kernel("a/b/depthwise_kernel:0") and is_kernel("kernel")
    )
    assert not any(map(is_kernel, ("conv1/bias:0", "bn/gamma:0", "kernel/bias:0")))


def test_comparison_by_hand():
    first = {
        "a": [("a/kernel:0", np.array([[3.0, 4.0]])), ("a/bias:0", np.zeros(2))],
        "b": [("b/kernel:0", np.ones((2, 2)))],
        "c": [("c/gamma:0", np.ones(4))],
        "empty": [],
    }
    second = {
        "a": [("a/kernel:0", np.array([[3.0, 9.0]])), ("a/bias:0", np.array([0.0, 1.0]))],
        "b": [("b/kernel:0", np.ones((2, 3)))],
        "d": [("d/beta:0", np.ones(1))],
        "empty": [],
    }
    kernel, bias, b, c, d = compare_weights(first, second)
    assert kernel.verdict == "changed" and kernel.change == pytest.approx(1)
    assert kernel.direction == pytest.approx((9 + 36) / (5 * np.sqrt(90)))
    assert (bias.verdict, bias.change, bias.direction) == ("changed", np.inf, None)
    assert (b.verdict, b.change, b.shape) == ("other shape", None, (2, 2))
    assert (c.verdict, c.shape) == ("only in the first", (4,))
    assert (d.layer, d.verdict) == ("d", "only in the second")
    assert {change.verdict for change in compare_weights(first, first)} == {"same"}
    assert compare_weights({}, {}) == []


def test_a_model_and_its_file_are_the_same(detector, tmp_path):
    path = tmp_path / "weights.h5"
    detector.save_weights(str(path))
    own, stored = (
        layers_of(detector),
        {name: weights for name, weights in read_h5(path).items() if weights},
    )
    assert list(own) == list(stored)
    changes = compare_weights(own, stored)
    assert len(changes) > 50 and {change.verdict for change in changes} == {"same"}
    assert [row.name for row in weight_statistics(own)] == [
        row.name for row in weight_statistics(stored)
    ]
    stored["conv1"][0] = ("conv1/kernel:0", stored["conv1"][0][1] * 1.5)
    moved = [change for change in compare_weights(own, stored) if change.verdict != "same"]
    assert [change.name for change in moved] == ["conv1/kernel:0"] and moved[
        0
    ].change == pytest.approx(0.5)
