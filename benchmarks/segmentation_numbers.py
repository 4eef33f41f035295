"""Show that the networks of `segmentation_cases` and of `segmentation_peer` are the same: both get
the weights, images and labels of one draw, and what they compute is compared.

    python benchmarks/segmentation_numbers.py --torch PYTHON

PYTHON is an interpreter that has torch. A line for each network has the differences of the logits
in prediction and in training, of the loss, of the running statistics after a step, and of the
gradients: of all as one vector, and of the single tensor that differs most. Each is the norm of the
difference over the norm. The exit status is 1 if one is above LIMIT, or LIMIT_OF_ONE.

The images are small because a value that lies within rounding of a ReLU's bend, or of another in
the window of a max pooling, sends its gradient elsewhere: among a million values some do.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import measure
import numpy as np
import processes
import segmentation_cases
from report import aligned

LIMIT, LIMIT_OF_ONE = 1e-4, 1e-2
# Share of all gradients below which a tensor's is the rest of a cancellation.
NOTHING = 1e-6
PEER = Path(__file__).resolve().parent / "segmentation_peer.py"
# name -> (network, side in px, options of the peer, fields of the config); dropout would draw
# unlike numbers
CASES = {
    "unet": ("unet", 32, {}, {}),
    "unet without batch norm": ("unet", 32, {"batch_norm": False}, {"BATCH_NORM": False}),
    "unet of 5 classes": ("unet", 32, {"classes": 5}, {"NUM_CLASSES": 5}),
    "fcn8s": ("fcn8s", 64, {}, {"DROPOUT": 0.0}),
}
COLUMNS = ("prediction", "logits", "loss", "statistics", "gradients", "one gradient")


def main(arguments=None):
    python = parse(arguments).torch
    rows, differ = [("network", *COLUMNS)], False
    for name in CASES:
        differences = compare(name, python)
        rows.append((name, *(f"{differences[column]:.1e}" for column in COLUMNS)))
        limits = {column: LIMIT for column in COLUMNS} | {"one gradient": LIMIT_OF_ONE}
        differ |= any(not differences[column] <= limits[column] for column in COLUMNS)
    print("\n".join(aligned(rows)))
    return int(differ)


def parse(arguments):
    parser = argparse.ArgumentParser(description="Compare our networks' numbers with torch's.")
    parser.add_argument(
        "--torch", metavar="PYTHON", required=True, help="interpreter that has torch"
    )
    return parser.parse_args(arguments)


def compare(name, python):
    """{column: difference} of a case.

    Raises:
        RuntimeError: the peer failed, or has other tensors.
    """
    network, side, options, fields = CASES[name]
    with tempfile.TemporaryDirectory() as folder:
        weights, found = Path(folder) / "given.npz", Path(folder) / "found.npz"
        ours = numbers(network, side, weights, fields)
        arguments = {"network": network, "weights": str(weights), "found": str(found), **options}
        arguments["repeats"] = 0
        result = processes.run(PEER, ["numbers", json.dumps(arguments)], None, python)
        if "error" in result:
            raise RuntimeError(f"{result['error']}\n{result['output']}")
        with np.load(found) as arrays:
            theirs = dict(arrays)
    if set(theirs) != set(ours):
        raise RuntimeError(f"not of both: {sorted(set(theirs) ^ set(ours))}")
    statistics = [key for key in ours if "/moving_" in key]
    gradients = [key for key in ours if "/" in key and key not in statistics]
    differences = {
        key: difference([ours[key]], [theirs[key]]) for key in ours if key not in gradients
    }
    total = norm([ours[key] for key in gradients])
    large = [key for key in gradients if norm([ours[key]]) > NOTHING * total]
    return {
        **{column: differences[column] for column in ("prediction", "logits", "loss")},
        "statistics": max((differences[key] for key in statistics), default=0.0),
        "gradients": difference([ours[key] for key in gradients], [theirs[k] for k in gradients]),
        "one gradient": max(difference([ours[key]], [theirs[key]]) for key in large),
    }


def numbers(network, side, path, fields):
    """Our numbers, and the .npz file of what they are computed from.

    Returns:
        {"prediction", "logits", "loss", "<layer>/<variable>": array}: gradients, and the running
        statistics after one step of training.
    """
    import tensorflow as tf

    from mrcnn.networks.segmentation import losses

    config = segmentation_cases.settings(False, network, side, 2, **fields)
    model = segmentation_cases.segmenter("inference", config).keras_model
    images, labels = measure.labelled(side, 2, config.NUM_CLASSES)
    draw = np.random.RandomState(0)
    variables = {
        f"{layer.name}/{variable.name}": variable
        for layer in model.layers
        for variable in layer.weights
        if layer.weights and variable.dtype == "float32"
    }
    for name, variable in variables.items():
        variable.assign(drawn(name, variable.numpy(), draw))
    given = {name: variable.numpy() for name, variable in variables.items()}
    np.savez(path, images=images, labels=labels, **given)

    prediction = model(images, training=False).numpy()
    with tf.GradientTape() as tape:
        logits = model(images, training=True)
        loss = losses.ce(labels, logits) + losses.dice(labels, logits)
    trained = [name for name, variable in variables.items() if variable.trainable]
    gradients = tape.gradient(loss, [variables[name].value for name in trained])
    found = {name: variable.numpy() for name, variable in variables.items()}
    found.update(zip(trained, (gradient.numpy() for gradient in gradients)))
    return {**found, "prediction": prediction, "logits": logits.numpy(), "loss": loss.numpy()}


def drawn(name, value, draw):
    """Random values for a variable, none of which hides a difference as zeros and ones would."""
    if value.ndim == 4:
        fan_in = value[..., 0].size if "up" not in name else 4 * value.shape[-1]
        return draw.normal(0, np.sqrt(2 / fan_in), value.shape)
    if name.endswith(("gamma", "moving_variance")):
        # the last one of a residual block is small, so that values do not double in each
        return draw.uniform(0.2, 0.3, value.shape) * (1 if "branch2c" in name else 4)
    if name.endswith("beta"):
        # few values near the bend of a ReLU, where rounding decides on a gradient
        return draw.uniform(2, 3, value.shape)
    return draw.normal(0, 0.1, value.shape)


def difference(ours, theirs):
    """The norm of the difference of two lists of arrays over the norm of the first."""
    pairs = zip(ours, theirs, strict=True)
    return norm([a.astype(np.float64) - b for a, b in pairs]) / norm(ours)


def norm(arrays):
    """That of all arrays as one vector."""
    return float(np.sqrt(sum(np.square(array, dtype=np.float64).sum() for array in arrays)))


if __name__ == "__main__":
    sys.exit(main())
