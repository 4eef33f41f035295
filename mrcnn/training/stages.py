"""The stages of a training: which layers train, on which losses, until when."""

from __future__ import annotations

import itertools
import numbers
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import keras

from mrcnn.common.words import option_or_argument
from mrcnn.config.choices import LOSS_NAMES
from mrcnn.networks.layers.loss import loss_names

# The stages people train Mask R-CNN in, as patterns of layer names.
HEADS = r"(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)"
STAGES = {
    "heads": HEADS,
    "3+": r"(res3.*)|(bn3.*)|(res4.*)|(bn4.*)|(res5.*)|(bn5.*)|" + HEADS,
    "4+": r"(res4.*)|(bn4.*)|(res5.*)|(bn5.*)|" + HEADS,
    "5+": r"(res5.*)|(bn5.*)|" + HEADS,
    "all": ".*",
}
# Those of the networks that label pixels, whose own layers have "seg_" before their names.
DECODER = r"(seg_.*)"
LABEL_STAGES = {
    "decoder": DECODER,
    **{word: f"{STAGES[word].removesuffix(HEADS)}{DECODER}" for word in ("3+", "4+", "5+")},
    "all": ".*",
}
RPN_LOSSES = tuple(name for name in LOSS_NAMES if name.startswith("rpn_"))
HEAD_LOSSES = tuple(name for name in LOSS_NAMES if name.startswith("mrcnn_"))


class Stage(NamedTuple):
    """A part of a training, for ``train(..., layers=[Stage(...), ...])``."""

    layers: str  # "heads", "decoder", "5+", "all" ..., or a regular expression of layer names
    epochs: int  # the epoch to end with, counted from the beginning of the run
    learning_rate: Any = None  # None: that of the call of train; see `schedules.stage_rate`
    losses: tuple[str, ...] | None = None  # those that count, the others are 0; None: all

    @property
    def key(self) -> dict[str, Any]:
        """The stage in types that JSON has, to know it again."""
        rate = self.learning_rate
        if hasattr(rate, "get_config"):
            rate = f"{type(rate).__name__} {rate.get_config()}"
        elif callable(rate):
            rate = getattr(rate, "__qualname__", type(rate).__name__)
        elif not isinstance(rate, (int, float, type(None))):
            rate = float(rate)
        return {
            "layers": self.layers,
            "epochs": int(self.epochs),
            "learning_rate": rate,
            "losses": None if self.losses is None else sorted(self.losses),
        }


def alternating_stages(epochs: int | Sequence[int], learning_rate: Any = None) -> list[Stage]:
    """The 4-step alternating training of Faster R-CNN (Ren et al. 2015, section 3.2), for one
    network.

    1. the RPN with the backbone and the pyramid, on the RPN's losses;
    2. the heads with the backbone and the pyramid, on the proposals of that RPN, whose own layers
       rest;
    3. backbone and pyramid are now shared and fixed: the RPN alone is fitted to them again;
    4. the heads alone, on its proposals.

    The paper begins step 2 with a second network from ImageNet weights and the stored proposals of
    the first; here the backbone goes on from step 1, so its RPN's proposals change while step 2
    trains.

    Args:
        epochs: of each step: an int for all, or four.
        learning_rate: of each step; None: that of the call of train.

    Returns:
        list of four `Stage`, whose epochs count from 0.
    """
    lengths = list(epochs) if isinstance(epochs, Iterable) else [epochs] * 4
    if len(lengths) != 4:
        raise ValueError(f"epochs has {len(lengths)} numbers; alternating training has 4 steps")
    steps = (
        (r"(?!mrcnn_).*", RPN_LOSSES),
        (r"(?!rpn_).*", HEAD_LOSSES),
        (r"rpn_.*", RPN_LOSSES),
        (r"mrcnn_.*", HEAD_LOSSES),
    )
    return [
        Stage(layers, sum(lengths[: number + 1]), learning_rate, losses)
        for number, (layers, losses) in enumerate(steps)
    ]


def as_stages(
    layers: str | Iterable[Stage | tuple],
    epochs: int | None,
    learning_rate: Any,
    losses: Collection[str] = LOSS_NAMES,
) -> list[Stage]:
    """The stages of a call of ``train``.

    Args:
        layers: as of `Stage`; or a list of `Stage`, or of tuples of its fields.
        epochs: the epoch to end with; with a list None, or an epoch at which to end before the list
            does.
        learning_rate: of the stages that have none of their own.
        losses: names of those that the network has.

    Returns:
        list of `Stage`, each with a learning rate.

    Raises:
        ValueError: what a stage says makes no sense.
    """
    if isinstance(layers, str):
        layers = [Stage(layers, epochs)]  # type: ignore[arg-type]  # None is refused below
        epochs = None
    stages = [stage if isinstance(stage, Stage) else Stage(*stage) for stage in layers]
    if not stages:
        raise ValueError("layers is an empty list; it needs at least one Stage")
    for stage, following in itertools.pairwise(stages):
        if following.epochs <= stage.epochs:
            raise ValueError(
                f"stage {following.layers!r} ends with epoch {following.epochs}, but the one "
                f"before it with {stage.epochs}: epochs count from the beginning of the run, so "
                "they must rise"
            )
    for stage in stages:
        unknown = set(stage.losses or ()) - set(losses)
        if unknown or (stage.losses is not None and not stage.losses):
            raise ValueError(
                f"stage {stage.layers!r} has the losses {stage.losses}; take some of "
                f"{tuple(losses)}"
            )
        if not isinstance(stage.epochs, numbers.Integral):
            raise ValueError(
                f"stage {stage.layers!r} has epochs={stage.epochs!r}; it must be the epoch to end "
                "with"
            )
    last = stages[-1].epochs if epochs is None else epochs
    chosen = []
    for stage in stages:
        rate = learning_rate if stage.learning_rate is None else stage.learning_rate
        chosen.append(stage._replace(epochs=min(stage.epochs, last), learning_rate=rate))
        if stage.epochs >= last:
            break
    return chosen


# === Which layers train ===


def trainable_layers(
    model: keras.Model, pattern: str, frozen_stages: int = 0
) -> list[tuple[keras.Layer, bool]]:
    """Pair each layer with weights, inside nested models too, with whether it is to be trained.

    Args:
        model: a Keras model.
        pattern: regular expression that the whole name of a trained layer matches. A layer of
            a keras.applications backbone is also known by its stage, as "res4" for stage 4.
        frozen_stages: ``Config.FREEZE_BACKBONE_STAGES``, whose layers are not trained.

    Returns:
        list of (layer, bool).

    Raises:
        ValueError: the backbone has no layers of the frozen stages.
    """
    named: list[tuple] = []  # (layer, its names, whether it is of a frozen stage)
    frozen = re.compile(
        "|".join(["(bn_)?conv1", *(f"(res|bn){stage}.*" for stage in range(2, frozen_stages + 1))])
    )
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            aliases = list(_aliases(layer))
            stem = _stem(layer) if frozen_stages == 1 and layer.name != "rpn_model" else ()
            named.extend(
                (
                    inner,
                    (inner.name, alias),
                    (frozen_stages > 1 and frozen.fullmatch(alias)) or inner in stem,
                )
                for inner, alias in aliases
            )
        elif layer.weights:
            named.append((layer, (layer.name,), frozen_stages and frozen.fullmatch(layer.name)))
    if frozen_stages and not any(is_frozen for _, _, is_frozen in named):
        raise ValueError(
            f"FREEZE_BACKBONE_STAGES is {frozen_stages}, but the backbone has no layers of the "
            "names conv1, bn_conv1, res2..., bn2... to res5..., bn5...: give them these names, or "
            "set it to 0"
        )
    return [
        (layer, not is_frozen and any(re.fullmatch(pattern, name) for name in names))
        for layer, names, is_frozen in named
    ]


def _aliases(nested):
    """(layer, stage name) of a nested model's layers with weights; the RPN's have no stage."""
    taps = nested.output_names  # of the layers that give the feature maps
    is_backbone = len(taps) == 4
    stage = 2
    for layer in nested.layers:
        if layer.weights:
            yield layer, f"res{stage}" if is_backbone else layer.name
        if is_backbone and stage < 5 and layer.name == taps[stage - 2]:
            stage += 1


def _stem(backbone):
    """The layers of a keras.applications backbone before its first map of stride 4, with weights:
    its conv1.

    ConvNeXt's first layer has stride 4 itself, and is its stem.
    """
    layers = [layer for layer in backbone.layers if layer.weights]
    probe = keras.Model(backbone.inputs, [layer.output for layer in layers])
    # the size that `networks.backbones.applications` builds at: parts of some networks take no
    # other one here
    shapes = probe.compute_output_shape((1, 256, 256, backbone.inputs[0].shape[-1]))
    later = next(index for index, shape in enumerate(shapes) if len(shape) == 4 and shape[1] <= 64)
    return layers[: max(later, 1)]


def set_trainable(
    model: keras.Model,
    pattern: str,
    frozen_stages: int = 0,
    stages: Mapping[str, str] = STAGES,
) -> list[keras.Layer]:
    """Train the layers that `trainable_layers` chooses, freeze the others; returns the trained
    ones.

    Args:
        model, pattern, frozen_stages: see there.
        stages: what the message of an error proposes.

    Raises:
        ValueError: no layer matches.
    """
    chosen = trainable_layers(model, pattern, frozen_stages)
    trained = [layer for layer, train in chosen if train]
    if not trained:
        raise ValueError(
            f"{option_or_argument('--layers or --stages: ', 'layers=')}{pattern!r} matches no layer"
            + (f" above FREEZE_BACKBONE_STAGES = {frozen_stages}" if frozen_stages else "")
            + f"; use one of {sorted(stages)} or a regular expression of layer names such as "
            + ("'mrcnn_.*'" if stages is STAGES else "'seg_.*'")
        )
    for layer, train in chosen:
        layer.trainable = train
    return trained


# === Which losses count ===


def set_losses(model, weights, losses=None):
    """Set the factors of a training model's losses; they hold from the next ``compile`` on.

    Args:
        model: `training.step.TrainingModel`.
        weights: {name: factor}; a loss that is left out counts 1.
        losses: names of those that count, the others get 0; None: all.
    """
    for name in loss_names(model):
        model.get_layer(name).weight = (
            weights.get(name, 1.0) if losses is None or name in losses else 0.0
        )
