"""Sums of losses as text."""

import pytest

from mrcnn.config.label_losses import (
    LABEL_LOSSES,
    all_learn_nothing_from_empty,
    learns_nothing_from_empty,
    loss_terms,
    option_problems,
)


@pytest.mark.parametrize(
    "text, terms",
    [
        ("ce", [(1.0, "ce")]),
        ("ce+dice", [(1.0, "ce"), (1.0, "dice")]),
        ("0.5*focal+dice", [(0.5, "focal"), (1.0, "dice")]),
        (" 2 * exp_log +.25*combo ", [(2.0, "exp_log"), (0.25, "combo")]),
        ("1e-3*hausdorff+1e+2*ce+1.*dice", [(0.001, "hausdorff"), (100.0, "ce"), (1.0, "dice")]),
    ],
)
def test_terms(text, terms):
    assert loss_terms(text) == terms


def test_every_loss_is_a_term():
    assert loss_terms("+".join(LABEL_LOSSES)) == [(1.0, name) for name in LABEL_LOSSES]
    assert len(set(LABEL_LOSSES)) == 11


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "'' lacks a loss"),
        ("ce+", "'ce+' lacks a loss"),
        ("dise", "'dise': there is no loss 'dise'; did you mean 'dice'?"),
        ("ce+Focal", "there is no loss 'Focal'; did you mean 'focal'?"),
        ("ce dice", "there is no loss 'ce dice'; "),
        ("qqq", "there is no loss 'qqq'; known: ce, weighted_ce, "),
        ("dice*0.5", "there is no loss '0.5'; "),
        ("ce+2*ce", "has 'ce' twice"),
        ("0*ce", "the factor of 'ce' is '0'; it must be above 0"),
        ("-1*ce", "the factor of 'ce' is '-1'"),
        ("nan*ce", "the factor of 'ce' is 'nan'"),
        ("1e999*ce", "the factor of 'ce' is '1e999'"),
        ("*ce", "the factor of 'ce' is ''"),
        ("2*3*ce", "the factor of 'ce' is '2*3'"),
        (None, "None is no text"),
        ("my.module:loss", "'my.module:loss' names a function, and a configuration never imports"),
    ],
)
def test_what_is_no_sum(text, message):
    with pytest.raises(ValueError) as caught:
        loss_terms(text)
    assert message in str(caught.value)


def test_losses_to_be_warned_of():
    """That they have no gradient is tested beside the losses."""
    alone = {name for name in LABEL_LOSSES if learns_nothing_from_empty(name)}
    assert alone == {"balanced_ce", "dice", "log_cosh_dice"}
    several = {name for name in LABEL_LOSSES if learns_nothing_from_empty(name, channels=3)}
    assert several == alone | {"sensitivity_specificity", "hausdorff"}


@pytest.mark.parametrize(
    "loss, options, channels, nothing",
    [
        ("dice", {}, 1, True),
        ("dice+2*log_cosh_dice", {}, 3, True),
        ("ce+dice", {}, 1, False),
        ("hausdorff", {}, 1, False),
        ("hausdorff", {}, 3, True),
        ("dice", {"dice": {"smooth": 1.0}}, 1, False),
        ("dice", {"dice": {"smooth": 1.0}}, 3, True),
        (print, {}, 1, False),
    ],
)
def test_sums_to_be_warned_of(loss, options, channels, nothing):
    assert all_learn_nothing_from_empty(loss, options, channels) is nothing


# === Options ===


@pytest.mark.parametrize(
    "name, options",
    [
        ("ce", {}),
        ("weighted_ce", {"weights": 3, "borders": (10, 5)}),
        ("weighted_ce", {"weights": "balanced", "borders": None}),
        ("weighted_ce", {"weights": [0, 1.0, 2.5]}),
        ("focal", {"gamma": 0, "alpha": None}),
        ("focal", {"gamma": 0.5, "alpha": 1}),
        ("focal", {"alpha": (1.0, 2.0, 3.0)}),
        ("dice", {"squared": False, "smooth": 1}),
        ("log_cosh_dice", {"squared": True, "smooth": 0.0}),
        ("sensitivity_specificity", {"r": 0}),
        ("hausdorff", {"alpha": 1.5, "two_sided": None}),
        ("combo", {"a": 1, "b": 0.25}),
        ("exp_log", {"dice_weight": 0.5, "power": 1}),
    ],
)
def test_right_options(name, options):
    assert list(option_problems(name, options, 3)) == []


@pytest.mark.parametrize(
    "name, options, problem",
    [
        ("focal", 2, "loss 'focal' has 2; it must be a dict of its options and their values"),
        ("ce", {"gamma": 1}, "loss 'ce' has no option 'gamma'; it has none"),
        ("focal", {"gama": 1}, "loss 'focal' has no option 'gama'; it has alpha, gamma"),
        (
            "weighted_ce",
            {"weights": 0},
            "weights of loss 'weighted_ce' is 0; it must be a number above 0, 'balanced' or a list "
            "of a factor of at least 0 for each class",
        ),
        ("weighted_ce", {"weights": "equal"}, "weights of loss 'weighted_ce' is 'equal'"),
        ("weighted_ce", {"weights": [1, -1, 1]}, "weights of loss 'weighted_ce' is [1, -1, 1]"),
        ("weighted_ce", {"weights": [1, "2", 1]}, "weights of loss 'weighted_ce' is [1, '2', 1]"),
        (
            "weighted_ce",
            {"weights": [1, 2]},
            "weights of loss 'weighted_ce' has 2 factors; there are 3 classes with background",
        ),
        ("weighted_ce", {"borders": (10, 0)}, "None or 2 numbers above 0, such as (10, 5)"),
        ("weighted_ce", {"borders": 10}, "borders of loss 'weighted_ce' is 10"),
        (
            "focal",
            {"gamma": -1},
            "gamma of loss 'focal' is -1; it must be a finite number of at least 0",
        ),
        ("focal", {"gamma": "2"}, "gamma of loss 'focal' is '2'"),
        ("focal", {"gamma": float("inf")}, "gamma of loss 'focal' is inf"),
        ("focal", {"alpha": 2}, "alpha of loss 'focal' is 2; it must be None, a number from 0 to"),
        ("focal", {"alpha": [1, 2, 3, 4]}, "alpha of loss 'focal' has 4 factors; there are 3"),
        ("dice", {"squared": "no"}, "squared of loss 'dice' is 'no'; it must be True or False"),
        ("dice", {"smooth": -1}, "smooth of loss 'dice' is -1"),
        ("log_cosh_dice", {"smooth": None}, "smooth of loss 'log_cosh_dice' is None"),
        ("sensitivity_specificity", {"r": 1.5}, "is 1.5; it must be a number from 0 to 1"),
        ("hausdorff", {"alpha": 0}, "alpha of loss 'hausdorff' is 0; it must be a finite number"),
        ("hausdorff", {"two_sided": 2}, "is 2; it must be None, True or False"),
        ("combo", {"a": -0.1}, "a of loss 'combo' is -0.1"),
        ("combo", {"b": True}, "b of loss 'combo' is True"),
        ("exp_log", {"power": 0}, "power of loss 'exp_log' is 0; it must be a finite number above"),
        ("exp_log", {"dice_weight": 2}, "dice_weight of loss 'exp_log' is 2"),
    ],
)
def test_wrong_options(name, options, problem):
    (found,) = option_problems(name, options, 3)
    assert problem in found


def test_factors_of_unknown_classes():
    assert list(option_problems("focal", {"alpha": [1, 2]})) == []
