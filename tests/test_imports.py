"""The rules of docs/architecture.md that keep the rooms apart, and what importing costs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.paths import ROOT

PACKAGE = ROOT / "mrcnn"

# A room imports only rooms further to the right. Left to right, top floor first.
ORDER = (
    *("cli", "model", "segmenter", "utils", "parallel_model"),
    *("matterport", "training", "export", "inference", "networks", "visualize", "evaluation"),
    *("weights", "data", "ops", "distributed", "config", "common"),
)
# Modules at the root are for users. The command line is one; nothing else imports them.
FACES = {"model", "segmenter", "utils", "parallel_model"}
ROOMS = set(ORDER) - FACES

# Packages that a function may import, because loading them takes long or they are not required.
# Seconds on a machine where NumPy takes 0.17.
SLOW_OR_OPTIONAL = {
    "IPython": "optional: notebooks",
    "PIL": "0.03 s, half of what importing a reader of annotations takes without it",
    "cv2": "0.3 s: videos",
    "imgaug": "2.5 s: augmentation",
    "matplotlib": "1.2 s: pictures",
    "pycocotools": "0.2 s: COCO's run-length masks and AP",
    "rich": "optional: progress bars",
    "skimage": "loads SciPy, 0.5 s, when a function is taken from it",
    "supervision": "optional: results for it",
    "tensorboard": "optional: logs of training",
    "tifffile": "0.3 s: images of 16 bits",
}

# Imports of the project's own that wait in a function for another reason than TensorFlow.
ON_DEMAND = {
    (
        "mrcnn.model",
        "mrcnn.matterport.names",
    ): "changes tf.identity for the process, so not unasked",
}

HEAVY = {"tensorflow", "keras", "jax", "torch"}

# Where names that Keras and TensorFlow do not promise to keep may stand.
INTERNALS = "mrcnn.common.keras_internals"
PRIVATE_PACKAGES = ("keras.src.", "tensorflow.python.", "tensorflow.core.")
# Those that a file could take for its own, because it overrides them or asks for them by text.
PRIVATE_NAMES = {
    *("__internal__", "_keras_history", "_inbound_nodes", "_nodes_by_depth", "_flatten_layers"),
    *("_call_context_args", "_losses", "_maybe_symbolic_build", "_symbolic_build"),
    *("_backend_apply_gradients", "_backend_update_step", "_overwrite_variable_with_gradient"),
}
# Of a NamedTuple; and of pycocotools' COCOeval, one method of which evaluation replaces.
PUBLIC_BY_CONTRACT = {"_asdict", "_fields", "_make", "_replace", "_dts", "_gts"}


class Import(NamedTuple):
    """One imported name: ``from module import name``, or ``import module`` with name None."""

    line: int
    module: str
    name: str | None
    in_function: bool
    for_types: bool  # under ``if TYPE_CHECKING``
    again: bool  # ``import name as name``: a name that the file offers

    @property
    def package(self) -> str:
        return self.module.partition(".")[0]


def imports_of(tree: ast.AST, in_function=False, for_types=False) -> Iterator[Import]:
    """Every import of a file, also those in functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name, None, in_function, for_types, False)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            for alias in node.names:
                again = alias.name == alias.asname
                yield Import(node.lineno, node.module, alias.name, in_function, for_types, again)
        function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        checking = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        yield from imports_of(node, in_function or function, for_types or checking)


def module_name(path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}
IMPORTS = {name: list(imports_of(tree)) for name, tree in TREES.items()}


def room_of(module: str) -> str | None:
    """The room or the face of a module; None for ``mrcnn`` itself."""
    return module.split(".")[1] if "." in module else None


def targets(found: Import) -> set[str]:
    """The files of mrcnn that an import runs, without the packages around them.

    A name that a package's ``__init__`` imports when it is first used stands for the file that has
    it.
    """
    if found.package != "mrcnn":
        return set()
    if found.name is None or found.module not in FILES:
        return {found.module}
    if f"{found.module}.{found.name}" in FILES:
        return {f"{found.module}.{found.name}"}
    lazy = (each for each in lazy_names(found.module) if each.name == found.name)
    return {found.module}.union(*(targets(each) for each in lazy))


def lazy_names(package: str) -> list[Import]:
    """What the ``__init__`` of a package imports when somebody asks it for the name."""
    return [found for found in IMPORTS[package] if found.for_types and found.again]


# === Rooms ===


def test_every_module_is_in_a_room_or_a_face():
    at_root = {path.stem for path in PACKAGE.glob("*.py")}
    assert at_root <= {"__init__", "__main__", *FACES}
    folders = {path.parent.relative_to(PACKAGE).parts[0] for path in PACKAGE.glob("*/**/*.py")}
    assert folders <= ROOMS


@pytest.mark.parametrize("package", [m for m, p in FILES.items() if p.name == "__init__.py"])
def test_every_package_says_what_it_is(package):
    assert ast.get_docstring(TREES[package])


def test_rooms_import_to_the_right():
    upwards = [
        f"{module}:{found.line} imports {target}"
        for module in FILES
        if room_of(module) in ORDER
        for found in IMPORTS[module]
        for target in targets(found)
        if room_of(target) not in (None, room_of(module))
        and ORDER.index(room_of(target)) < ORDER.index(room_of(module))
    ]
    assert not upwards


def test_what_is_for_users_is_imported_by_users():
    """The faces by the command line, what is matterport's alone by the faces."""
    wrong = [
        f"{module}:{found.line} imports {target}"
        for module in FILES
        for found in IMPORTS[module]
        for target in targets(found)
        if room_of(target) != room_of(module)
        and (
            (room_of(target) in FACES and room_of(module) not in ("cli", None))
            or (room_of(target) == "matterport" and room_of(module) not in FACES)
            or (room_of(target) == "cli" and module != "mrcnn.__main__")
        )
    ]
    assert not wrong


def test_the_package_itself_imports_common_alone():
    """``import mrcnn`` runs before everything else; its shortcuts import when they are used."""
    at_once = [found for found in IMPORTS["mrcnn"] if found not in lazy_names("mrcnn")]
    assert {room_of(target) for found in at_once for target in targets(found)} <= {"common"}


# === Circles ===


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The groups of nodes that reach one another (Tarjan 1972), each sorted."""
    order, low, stack, found = {}, {}, [], []

    def visit(node):
        order[node] = low[node] = len(order)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in order:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == order[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1 or node in graph[node]:
                found.append(sorted(group))

    for node in graph:
        if node not in order:
            visit(node)
    return found


def test_circles_are_found():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"d"}, "e": {"a"}}
    assert circles(graph) == [["b", "c"], ["d"]]


def test_no_circle_of_files():
    """Imports inside functions count: one that hides there is a circle all the same. Those for type
    hints do not, since they never run.
    """
    graph = {
        module: {
            target
            for found in IMPORTS[module]
            if not found.for_types
            for target in targets(found) & set(FILES)
        }
        for module in FILES
        if module != "mrcnn"  # runs before all others; holds the version and shortcuts
    }
    for reached in graph.values():
        reached.discard("mrcnn")
    assert not circles(graph)


# === Imports in functions ===


def loads_tensorflow(module: str, seen: set[str] | None = None) -> bool:
    """Whether importing a module brings in TensorFlow or Keras."""
    seen = set() if seen is None else seen
    if module in seen or module not in FILES:
        return module.partition(".")[0] in HEAVY
    seen.add(module)
    at_once = [each for each in IMPORTS[module] if not (each.in_function or each.for_types)]
    needed = {target for found in at_once for target in targets(found)}
    around = {module.rsplit(".", count)[0] for count in range(1, module.count(".") + 1)}
    return any(found.package in HEAVY for found in at_once) or any(
        loads_tensorflow(each, seen) for each in needed | around
    )


def test_what_loads_tensorflow_is_known():
    assert loads_tensorflow("mrcnn.model")
    assert not loads_tensorflow("mrcnn.data.dataset")


def test_imports_hide_in_functions_for_a_reason():
    """The reasons: a slow or optional package, or a light file that may need TensorFlow."""
    hidden = [
        f"{module}:{found.line} imports {found.module}"
        for module in FILES
        if module != "mrcnn"
        for found in IMPORTS[module]
        if found.in_function
        and found.package not in SLOW_OR_OPTIONAL
        and module != INTERNALS  # where a name that moved must stop its function alone
        and not any((module, target) in ON_DEMAND for target in targets(found))
        and (
            loads_tensorflow(module)
            or not any(map(loads_tensorflow, targets(found) or {found.package}))
        )
    ]
    assert not hidden


# === Weight ===


def run_python(script: str) -> None:
    script = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nimport importlib\n{script}"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def import_lightly(modules: list[str]) -> None:
    """Import the modules in a new process, in which none may bring in TensorFlow."""
    run_python(
        f"for name in {modules!r}:\n"
        "    importlib.import_module(name)\n"
        f"    heavy = {HEAVY!r} & set(sys.modules)\n"
        "    assert not heavy, (name, heavy)\n"
    )


def test_the_package_imports_nothing_heavy():
    """Although `mrcnn.load_model` is one of its names."""
    run_python(
        "before = set(sys.modules)\n"
        "import mrcnn\n"
        "assert 'load_model' in dir(mrcnn)\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "assert new - sys.stdlib_module_names == {'mrcnn', 'lazy_loader'}, new\n"
    )


def test_settings_and_data_import_no_tensorflow():
    """So that a script can check its data, and a worker process start, in a moment."""
    modules = [
        module
        for module in FILES
        if room_of(module) in ("config", "data") and not module.startswith("mrcnn.data.cache.")
    ]
    assert len(modules) > 30
    import_lightly(modules)


def test_rooms_import_no_tensorflow_before_they_are_used():
    """``from mrcnn.inference import Result`` must not wait for it."""
    import_lightly([module for module in FILES if module.count(".") == 1 and is_room(module)])


def is_room(module: str) -> bool:
    return room_of(module) in ROOMS


def test_every_lazy_name_is_there():
    names = {
        module: sorted(found.name for found in lazy_names(module))
        for module in FILES
        if lazy_names(module)
    }
    assert "Dataset" in names["mrcnn.data"]
    run_python(
        f"for module, names in {names!r}.items():\n"
        "    for name in names:\n"
        "        getattr(importlib.import_module(module), name)\n"
    )


# === Private names ===


def own_names(tree: ast.AST) -> set[str]:
    """The names that a file gives: functions, classes, variables and attributes of ``self``."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("self", "cls"):
            names.add(node.attr)
    return names


def private_names(module: str) -> Iterator[str]:
    """Where a file uses a private name of somebody else."""
    own = own_names(TREES[module]) | PUBLIC_BY_CONTRACT
    for found in IMPORTS[module]:
        if f"{found.module}.{found.name}.".startswith(PRIVATE_PACKAGES):
            yield f"{module}:{found.line} imports {found.module}"
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Attribute):
            name, mine = node.attr, node.attr in own or not re.match("_[a-z]", node.attr)
        elif isinstance(node, ast.FunctionDef):
            name, mine = node.name, True
        elif isinstance(node, ast.Constant):
            name, mine = node.value, True
        else:
            continue
        if name in PRIVATE_NAMES or not mine:
            yield f"{module}:{node.lineno} has {name}"


@pytest.mark.parametrize("module", [module for module in FILES if module != INTERNALS])
def test_private_names_of_others_stand_in_one_file(module):
    """What a new version of Keras or TensorFlow may move is then found in one place, which has a
    test for each name.
    """
    assert not list(private_names(module))
