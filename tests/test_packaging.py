"""pyproject.toml, requirements.txt and setup.py say the same, and what they name is there."""

import ast
import importlib
import sys

import pytest

import mrcnn
from tests.paths import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest needs it there, so it is installed
    import tomli as tomllib

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def requirements():
    """The lines of requirements.txt that are requirements."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def test_requirements_are_the_dependencies_and_the_test_extra():
    project = PROJECT["project"]
    expected = project["dependencies"] + project["optional-dependencies"]["test"]
    assert sorted(requirements()) == sorted(expected)
    assert len(set(requirements())) == len(requirements())


@pytest.mark.parametrize("name", ["imaug", "pytest"])
def test_requirements_have_what_pip_install_is_to_bring(name):
    """imaug is the fork of imgaug that works with NumPy 2."""
    assert any(line.startswith(f"{name}>=") for line in requirements())


def test_setup_py_is_one_call():
    """pyproject.toml alone holds the metadata."""
    docstring, imported, call = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8")).body
    assert isinstance(docstring.value, ast.Constant)
    assert ast.unparse(imported) == "from setuptools import setup"
    assert ast.unparse(call) == "setup()"


def test_hints_ship():
    """Without the file a type checker ignores the hints of an installed package (PEP 561)."""
    assert (ROOT / "mrcnn" / "py.typed").is_file()
    assert "py.typed" in PROJECT["tool"]["setuptools"]["package-data"]["mrcnn"]


def test_every_package_ships():
    """A folder of modules without an __init__ would be left out of a wheel."""
    folders = {path.parent for path in (ROOT / "mrcnn").rglob("*.py")}
    assert all((folder / "__init__.py").is_file() for folder in folders)


def test_version_is_that_of_the_package():
    module, _, name = PROJECT["tool"]["setuptools"]["dynamic"]["version"]["attr"].rpartition(".")
    assert getattr(importlib.import_module(module), name) == mrcnn.__version__


@pytest.mark.parametrize("command", PROJECT["project"]["scripts"])
def test_command_names_a_callable(command):
    module, _, name = PROJECT["project"]["scripts"][command].partition(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_the_command_is_mrcnn():
    assert list(PROJECT["project"]["scripts"]) == ["mrcnn"]
