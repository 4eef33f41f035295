"""The notebooks run from top to bottom."""

import os

import pytest

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "notebooks")
NOTEBOOKS = sorted(name for name in os.listdir(FOLDER) if name.endswith(".ipynb"))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_runs(name):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.read(os.path.join(FOLDER, name), as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": FOLDER}}).execute()
    pictures = sum("image/jpeg" in output.get("data", {}) or "image/png" in output.get("data", {})
                   for cell in notebook.cells for output in cell.get("outputs", ()))
    assert pictures, f"{name} shows nothing"


def test_there_are_notebooks():
    assert NOTEBOOKS
