"""What importing costs, and that imports run one way."""

import ast
import subprocess
import sys

from tests.paths import ROOT

PACKAGE = ROOT / "mrcnn"
FILES = sorted(PACKAGE.rglob("*.py"))


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path):
    """Names of all modules a file imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def test_the_package_imports_nothing_heavy():
    """Although `mrcnn.load_model` is one of its names."""
    script = (
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "before = set(sys.modules)\n"
        "import mrcnn\n"
        "assert 'load_model' in dir(mrcnn)\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "assert new - sys.stdlib_module_names == {'mrcnn', 'lazy_loader'}, new\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_settings_and_data_import_no_tensorflow():
    """So that a script can check its data, and a worker process start, in a moment."""
    modules = [
        module_name(path)
        for room in ("config", "data")
        for path in sorted((PACKAGE / room).rglob("*.py"))
        if "cache" not in path.parts
    ]
    assert len(modules) > 40
    script = (
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nimport importlib\n"
        f"for name in {modules!r}:\n"
        "    importlib.import_module(name)\n"
        "    heavy = {'tensorflow', 'keras', 'jax', 'torch'} & set(sys.modules)\n"
        "    assert not heavy, (name, heavy)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_nothing_imports_the_faces():
    """model.py and utils.py are for users, of which the command line is one, and the package itself
    for its `load_model`.
    """
    for path in FILES:
        if path.parent == PACKAGE / "cli" or path == PACKAGE / "__init__.py":
            continue
        wrong = imported(path) & {"mrcnn.model", "mrcnn.utils"}
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"
