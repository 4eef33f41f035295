"""The notebooks run from top to bottom, with small settings, and their saved outputs are fit to be
read.
"""

import os
import re

import pytest

from tests.paths import ROOT

FOLDER = str(ROOT / "notebooks")
NOTEBOOKS = sorted(name for name in os.listdir(FOLDER) if name.endswith(".ipynb"))
# In place of the values of the cell that is tagged "parameters"; LOGS is set for all that have it.
SMALL = {
    "digits.ipynb": {
        "PRETRAIN_IMAGES": 64,
        "PRETRAIN_EPOCHS": 1,
        "EPOCHS": 2,
        "STEPS": 1,
        "SCENES": 4,
    },
    "inspect_data.ipynb": {"IMAGES": 12},
    "inspect_model.ipynb": {"IMAGES": 6, "IMAGE_ID": 1},
    "semantic.ipynb": {"EPOCHS": 1, "STEPS": 2, "SCENES": 4, "CROPS": 32, "CROP_EPOCHS": 1},
    "train_shapes.ipynb": {"HEADS_EPOCHS": 1, "ALL_EPOCHS": 2, "STEPS": 1},
}
# Notebooks whose digits or photo come with scikit-learn.
WITH_SKLEARN = ("digits.ipynb", "semantic.ipynb")
# What TensorFlow's libraries print before they read TF_CPP_MIN_LOG_LEVEL.
START_OF_TENSORFLOW = re.compile(r"[WIE]0000 |WARNING: All log messages before absl|$")
MACHINE = re.compile(r"/(home|root|tmp|Users|var|mnt|opt|usr)/|[A-Z]:\\")


def read(name):
    nbformat = pytest.importorskip("nbformat")
    return nbformat.read(os.path.join(FOLDER, name), as_version=4)


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


def pictures(notebook):
    return [
        output
        for output in outputs(notebook)
        if any(kind in output.get("data", {}) for kind in ("image/jpeg", "image/png"))
    ]


def warnings(notebook):
    """Lines on stderr, but for those of TensorFlow's start."""
    return [
        line
        for output in outputs(notebook)
        if output.get("name") == "stderr"
        for line in output["text"].splitlines()
        if not START_OF_TENSORFLOW.match(line)
    ]


def parameters(notebook):
    """Place of the cell that is tagged "parameters"."""
    (place,) = (
        place
        for place, cell in enumerate(notebook.cells)
        if "parameters" in cell.metadata.get("tags", ())
    )
    return place


# these build several training models, which takes most of a minute even with small settings
SLOW = ("digits.ipynb", "semantic.ipynb", "train_shapes.ipynb")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in NOTEBOOKS],
)
def test_runs(name, tmp_path):
    nbclient = pytest.importorskip("nbclient")
    if name in WITH_SKLEARN:
        pytest.importorskip("sklearn", reason="digits and photo come with scikit-learn")
    notebook = read(name)
    place = parameters(notebook)
    values = dict(SMALL.get(name, {}))
    if "LOGS" in notebook.cells[place].source:
        values["LOGS"] = str(tmp_path)
    missing = [
        key for key in values if not re.search(rf"\b{key}\b.*=", notebook.cells[place].source)
    ]
    assert not missing, f"{name} has no parameters {missing}"
    notebook.cells[place].source += "\n" + "\n".join(
        f"{key} = {value!r}" for key, value in values.items()
    )
    saved = len(pictures(notebook))
    nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": FOLDER}}
    ).execute()
    assert len(pictures(notebook)) == saved, (
        f"{name} shows other pictures than those that were saved"
    )
    # a network whose training was cut short finds more objects than the limit, and says so in two
    # lines, of which the second is code
    said = [line for line in warnings(notebook) if not line.startswith("  ")]
    assert not [line for line in said if "LimitReached" not in line]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_saved_outputs(name):
    notebook = read(name)
    assert os.path.getsize(os.path.join(FOLDER, name)) < 2_000_000
    assert pictures(notebook) and not warnings(notebook)
    assert not [output for output in outputs(notebook) if output.output_type == "error"]
    numbers = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert numbers == list(range(1, len(numbers) + 1)), "not run from top to bottom, or not saved"
    for output in outputs(notebook):
        text = (
            output.get("text", "")
            + output.get("data", {}).get("text/plain", "")
            + output.get("data", {}).get("text/html", "")
        )
        assert not MACHINE.search(text), text[:200]
    assert not MACHINE.search("\n".join(cell.source for cell in notebook.cells))


def test_there_are_notebooks():
    assert {
        "demo.ipynb",
        "digits.ipynb",
        "inspect_data.ipynb",
        "inspect_model.ipynb",
        "inspect_weights.ipynb",
        "semantic.ipynb",
        "train_shapes.ipynb",
    } <= set(NOTEBOOKS)
