"""The weights that the whole-network numbers of this folder were computed with: ResNet-50, 3
classes.

Kernels are seeded normal draws, scaled; `network_weights.npz` holds the order of the draws, the
scales and all other vectors, so that 0.6 MB stand for a file of 180 MB.
"""

import json
from pathlib import Path

import h5py
import numpy as np

RECIPE = Path(__file__).parent / "network_weights.npz"


def write_weights(path):
    """Write a file in the original's layout, as an old Keras would have."""
    recipe = np.load(RECIPE)
    table = json.loads(recipe["table"].tobytes())
    rng = np.random.RandomState(table["seed"])
    groups = {name: [] for name in table["layer_names"]}
    for group, weights in table["draws"]:
        for name, shape in weights:
            groups[group].append((name, _values(rng, recipe, group, name, shape)))
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array([name.encode() for name in groups])
        file.attrs["backend"] = np.bytes_(b"tensorflow")
        file.attrs["keras_version"] = np.bytes_(b"2.1.6")
        for name, weights in groups.items():
            group = file.create_group(name)
            group.attrs["weight_names"] = np.array(
                [weight.encode() for weight, _ in weights], dtype="S"
            )
            for weight, values in weights:
                group.create_dataset(weight, data=values)


def _values(rng, recipe, group, name, shape):
    key = f"{group}|{name}".replace("/", "~")
    kind = name.split("/")[-1]
    if kind == "kernel:0":
        # a pixel of a transposed 2x2 convolution of stride 2 sees one of the kernel's four places
        inputs = shape[3] if "deconv" in name else np.prod(shape[:-1])
        kernel = (rng.randn(*shape) * np.sqrt(2.0 / inputs)).astype(np.float32)
        return kernel * recipe[f"{key}|scale"] if f"{key}|scale" in recipe else kernel
    # these were drawn too, and then set to what the recipe holds
    if kind in ("bias:0", "beta:0"):
        rng.randn(*shape)
    elif kind == "gamma:0":
        rng.uniform(0, 1, shape)
    return recipe[key]
