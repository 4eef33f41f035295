"""Sums of losses as text."""

import pytest

from mrcnn.config.label_losses import LABEL_LOSSES, learns_nothing_from_empty, loss_terms


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
