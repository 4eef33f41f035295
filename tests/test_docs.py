"""What the pages say about the code: the files and functions that they name exist."""

import ast
import doctest
import re

import pytest

from tests.paths import ROOT
from tests.test_imports import ORDER

ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
# Of the table "former path | now" the second column alone.
NOW = "\n".join(re.findall(r"^\| `mrcnn/.*?\|(.*)\|$", CHANGELOG, re.MULTILINE))
# `mrcnn/a/b.py` or `mrcnn/a/`, and the names after it: `f`, `Class.method`.
PLACE = re.compile(r"`(mrcnn/(?:[\w/]+\.py|(?:\w+/)+))`((?:,?\s+`[A-Za-z_][\w.]*`)*)")
PLACES = sorted({place.groups() for place in PLACE.finditer(ARCHITECTURE + NOW)})


def defined(path) -> set[str]:
    """Functions, classes, ``Class.method`` and constants of a file."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
            inner = getattr(node, "body", ()) if isinstance(node, ast.ClassDef) else ()
            names.update(f"{node.name}.{each.name}" for each in inner if hasattr(each, "name"))
        elif isinstance(node, ast.Assign):
            names.update(target.id for target in node.targets if isinstance(target, ast.Name))
    return names


@pytest.mark.parametrize("path, names", PLACES)
def test_what_a_page_names_exists(path, names):
    place = ROOT / path
    assert place.is_file() or (path.endswith("/") and place.is_dir())
    wanted = set(re.findall(r"`([\w.]+)`", names))
    assert not wanted or wanted <= defined(place)


def test_the_walks_are_found():
    assert ("mrcnn/model.py", " `MaskRCNN.detect`") in PLACES
    assert len(PLACES) > 80


PUBLIC = re.findall(r"^\| `((?:from|import) .*?)` \|", ARCHITECTURE, re.MULTILINE)


@pytest.mark.parametrize("line", PUBLIC)
def test_public_names_are_there(line):
    exec(line, {})


def test_public_names_are_listed():
    assert len(PUBLIC) > 8


def test_the_tree_has_a_line_for_every_room():
    tree = ARCHITECTURE.partition("## The rooms")[2].partition("## ")[0]
    for folder in (ROOT / "mrcnn").rglob("*/"):
        if (folder / "__init__.py").is_file():
            assert re.search(rf"^ +{folder.name}/ +\w", tree, re.MULTILINE), folder.name


def test_the_order_of_the_rooms_is_that_of_the_test():
    order = re.search(r"^ +(cli \| .*?)\n\n", ARCHITECTURE, re.MULTILINE | re.DOTALL).group(1)
    assert tuple(re.findall(r"\w+", order)) == ORDER


def test_links_of_the_architecture_page_lead_to_its_headings():
    headings = {
        re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-")
        for title in re.findall(r"^##? (.*)$", ARCHITECTURE, re.MULTILINE)
    }
    links = re.findall(r"\]\(#([\w-]+)\)", ARCHITECTURE)
    assert links and set(links) <= headings


EXAMPLES = [
    (path.relative_to(ROOT), example)
    for path in sorted((ROOT / "mrcnn").rglob("*.py"))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
    for example in doctest.DocTestParser().get_examples(ast.get_docstring(node) or "")
]


@pytest.mark.parametrize("path, example", EXAMPLES)
def test_examples_in_docstrings_are_python(path, example):
    """Each is whole, too: a line broken in the wrong place would go on in what it prints."""
    ast.parse(example.source)
    assert not example.want


def test_the_examples_are_found():
    assert len(EXAMPLES) > 10
