"""``.keras`` files of whole models, each loaded by a process of its own."""

import subprocess
import sys

import numpy as np
import pytest

import mrcnn
from tests.paths import ROOT

SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
import mrcnn
assert not {"numpy", "tensorflow", "keras"} & set(sys.modules)
model = mrcnn.load_model(sys.argv[2])
if len(sys.argv) > 3:
    import keras, numpy as np
    arrays = np.load(sys.argv[3])
    inputs = [arrays[name] for name in arrays]
    for number, loaded in enumerate((model, keras.models.load_model(sys.argv[2]))):
        np.savez(f"{sys.argv[3]}.{number}.npz", *[np.asarray(output) for output in loaded(inputs)])
print(type(model).__name__, type(getattr(model, "optimizer", None)).__name__)
"""


def load(*arguments):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(ROOT), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_detector_loads_to_equal_outputs(detector, tmp_path):
    model, rng = detector.keras_model, np.random.RandomState(0)
    anchors = detector.get_anchors((64, 64, 3))
    inputs = [
        rng.uniform(-100, 100, (1, 64, 64, 3)).astype(np.float32),
        np.array([[0, 64, 64, 3, 64, 64, 3, 0, 0, 64, 64, 1, 1, 1, 1]], np.float32),
        anchors[np.newaxis],
    ]
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "inputs.npz", *inputs)
    assert load(tmp_path / "model.keras", tmp_path / "inputs.npz")[0] == type(model).__name__
    expected = [np.asarray(output) for output in model(inputs)]
    for number in range(2):
        with np.load(tmp_path / f"inputs.npz.{number}.npz") as outputs:
            for name, output in zip(outputs, expected, strict=True):
                np.testing.assert_allclose(outputs[name], output, atol=1e-5)


def test_a_training_model_loads_with_its_optimizer(tmp_path):
    from mrcnn.model import MaskRCNN
    from tests.tiny import tiny_config

    model = MaskRCNN("training", tiny_config(), str(tmp_path))
    model.compile(0.01, 0.9)
    model.keras_model.save(tmp_path / "model.keras")
    names = type(model.keras_model).__name__, type(model.keras_model.optimizer).__name__
    assert load(tmp_path / "model.keras") == list(names)


def test_what_is_no_keras_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        mrcnn.load_model(tmp_path / "none.keras")
    path = tmp_path / "weights.h5"
    path.write_bytes(b"no zip archive")
    with pytest.raises(ValueError, match=r"weights\.h5 is not a \.keras file, .*load_weights"):
        mrcnn.load_model(path)
