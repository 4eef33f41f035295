"""The pickle in a PyTorch file, read by a machine that knows nothing but data.

A pickle is a program: its instructions call any function by its name and set attributes of any
object. Python's own reader obeys, and limiting the names that it looks up leaves objects of this
process in the program's hands. Here each instruction is carried out on values that this module
made. Nothing is imported, no function is called but those below, and the time and memory that a
program takes grow with its length alone.
"""

from __future__ import annotations

import dataclasses
import pickletools
import re
from collections.abc import Callable
from typing import Any, BinaryIO

from mrcnn.common.words import on_one_line

# Numbers of each storage type; bfloat16 is the upper half of a float32.
DTYPES = {
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "HalfStorage": "f2",
    "BFloat16Storage": "u2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
# Bytes of tensors of newer types, such as uint16, which are read as `Foreign`.
_UNTYPED = "UntypedStorage"
STORED_DTYPES = {**DTYPES, _UNTYPED: "u1"}
_MOST_AXES = 64
_MOST_ARGUMENTS = 100
ADVICE = 'in PyTorch save its state dict, torch.save(model.state_dict(), "weights.pth")'


class Foreign:
    """Stands for an object that is no tensor, such as the arguments of a program.

    Its class is not imported, and what it holds is not kept.
    """

    __slots__ = ()


class Refused(ValueError):
    """What is wrong with a file, in a message that names it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Storage:
    """Numbers that a pickle refers to.

    Attributes:
        kind: a key of `STORED_DTYPES`.
        key: the name of the numbers.
        count: how many they are.
    """

    kind: str
    key: str
    count: int


@dataclasses.dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor as the pickle describes it; offset and strides count numbers, not bytes."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class _StorageType:
    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class _Maker:
    """Stands for a function or a class; makes what stands for its result."""

    make: Callable[..., Any]


def load_pickle(file: BinaryIO, path: str, storages: dict[str, Storage]) -> Any:
    """Read the pickle that begins at a file's position, and leave the position behind it.

    Args:
        file: to read from.
        path: of the file, for messages.
        storages: is given those that the pickle refers to, by their keys.

    Returns:
        What it holds: dicts, lists and tuples of numbers, text, `Tensor` and `Foreign`.

    Raises:
        Refused: it asks for what no tensor needs.
        Exception: of a dozen kinds, where it is damaged.
    """
    return _Machine(path, storages).run(file)


# === What a pickle may name ===


def _foreign(*_):
    return Foreign()


def _size(values=()):
    return tuple(values[: _MOST_AXES + 1])


# Functions and classes of objects that are no tensors, but stand beside them in checkpoints.
_FOREIGN = {
    "argparse": {"Namespace"},
    "torch": {"device"},
    "torch._utils": {"_rebuild_tensor_v3"},
    "pathlib": {"PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"},
    "numpy": {"dtype", "ndarray"},
    "numpy.core.multiarray": {"scalar", "_reconstruct"},
    "numpy._core.multiarray": {"scalar", "_reconstruct"},
    "_codecs": {"encode"},
    "builtins": {"set", "frozenset", "complex", "list", "dict", "int", "float", "bool", "str"},
}
_FOREIGN["__builtin__"] = _FOREIGN["builtins"]  # as Python 2 called them
_DICTS = {"OrderedDict", "Counter", "defaultdict"}  # Counter is of learning rate schedules
_TORCH_DTYPE = re.compile(r"(bfloat|float|complex|q?u?int)\d+\w*|bool")

# === The machine ===

_LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "STRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_SET": Foreign,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Machine:
    """Carries out a pickle's instructions.

    Args:
        path: of the file, for messages.
        storages: see `load_pickle`.
    """

    def __init__(self, path: str, storages: dict[str, Storage]):
        self.path, self.storages = path, storages
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []  # stacks below each mark
        self.memo: dict[int, Any] = {}
        self.spare = 0  # instructions less the pairs that were copied

    def run(self, file: BinaryIO) -> Any:
        for instruction, argument, _ in pickletools.genops(file):
            self.spare += 1
            self.step(instruction.name, argument)
        return self.stack.pop()

    def step(self, name: str, argument: Any) -> None:
        """Carry out one instruction, of the names that `pickletools` gives them."""
        stack = self.stack
        if name in _LITERALS:
            stack.append(argument)
        elif name in ("SHORT_BINSTRING", "BINSTRING"):  # of Python 2
            stack.append(argument.encode("latin-1").decode("utf-8"))
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name == "MARK":
            self.outer.append(stack)
            self.stack = []
        elif name in _TUPLES:
            count = _TUPLES[name]
            stack[-count:] = [tuple(stack[-count:])]
        elif name in ("TUPLE", "LIST", "DICT", "FROZENSET"):
            items = self.pop_marked()
            self.stack.append(_of_marked(name, items))
        elif name in ("APPENDS", "SETITEMS", "ADDITEMS"):
            items = self.pop_marked()
            self.add(self.stack[-1], items)
        elif name == "APPEND":
            self.add(stack[-2], [stack.pop()])
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            self.add(stack[-1], [key, value])
        elif name == "POP_MARK":
            self.pop_marked()
        elif name == "POP":
            stack.pop()
        elif name == "DUP":
            stack.append(stack[-1])
        elif name == "GLOBAL":
            stack.append(self.named(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            if not (isinstance(module, str) and isinstance(attribute, str)):
                raise Refused(f"{self.path} asks for a function without a name; it is damaged")
            stack.append(self.named(module, attribute))
        elif name in ("REDUCE", "NEWOBJ", "NEWOBJ_EX"):
            if name == "NEWOBJ_EX":
                stack.pop()  # arguments with names
            arguments, maker = stack.pop(), stack.pop()
            stack.append(self.called(maker, arguments))
        elif name == "BUILD":
            stack.pop()  # attributes, which nothing here has
            if not isinstance(stack[-1], (Foreign, dict)):
                raise Refused(f"{self.path} sets attributes of a tensor or a function")
        elif name == "BINPERSID":
            stack.append(self.storage(stack.pop()))
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise Refused(f"{self.path} has the instruction {name}, which no tensor needs")

    def pop_marked(self) -> list[Any]:
        """The values above the last mark."""
        items, self.stack = self.stack, self.outer.pop()
        return items

    def add(self, target: Any, items: list[Any]) -> None:
        """Add to a list or a dict (keys and values in turn)."""
        if isinstance(target, dict):
            target.update(_dict_of(items))
        elif isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, Foreign):
            raise Refused(f"{self.path} adds to what is no list or dict")

    def named(self, module: str, name: str) -> Any:
        """What stands for a function, a class or a constant of a module."""
        if name in _FOREIGN.get(module, ()):
            return _Maker(_foreign)
        if module == "collections" and name in _DICTS:
            return _Maker(self.new_dict)
        if module == "torch" and name == "Size":
            return _Maker(_size)
        if module == "torch" and _TORCH_DTYPE.fullmatch(name):
            return Foreign()
        if module == "torch._utils" and name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return _Maker(self.tensor)
        if module == "torch._utils" and name == "_rebuild_parameter":
            return _Maker(lambda tensor, *_: tensor)
        shown = on_one_line(f"{module}.{name}"[:100])
        if module in ("torch", "torch.storage") and name.endswith("Storage"):
            if name in STORED_DTYPES:
                return _StorageType(name)
            raise Refused(
                f"{self.path} has numbers of type {shown}, which are not read here: {ADVICE}"
            )
        if module.split(".")[0] in ("torch", "torchvision", "__main__") and name[:1].isupper():
            raise Refused(
                f"{self.path} holds a whole object ({shown}), not tensors alone, and to read it "
                f"would execute code: {ADVICE}"
            )
        raise Refused(
            f"{self.path} asks for {shown}, which no tensor needs; it was not executed. Take a "
            f"state dict from a source that you trust: {ADVICE}"
        )

    def called(self, maker: Any, arguments: Any) -> Any:
        if not isinstance(maker, _Maker) or not isinstance(arguments, tuple):
            raise Refused(f"{self.path} calls what is no function; it is damaged")
        if len(arguments) > _MOST_ARGUMENTS:  # which are copied in each call
            raise Refused(f"{self.path} calls a function with {len(arguments):,} arguments")
        return maker.make(*arguments)

    def new_dict(self, content: Any = (), *_: Any) -> dict:
        """A dict; Python 2 wrote a list of pairs for it, others fill it afterwards."""
        if isinstance(content, dict):
            return content
        if not isinstance(content, (list, tuple)):  # what makes missing values of a defaultdict
            return {}
        self.spare -= len(content)
        if self.spare < 0:
            raise Refused(f"{self.path} copies a list again and again")
        return {_key(key): value for key, value in content}

    def tensor(self, storage, offset, size, stride, grad=False, hooks=None, metadata=None):
        """`Tensor` of the arguments of PyTorch's function."""
        if not isinstance(storage, Storage):
            raise Refused(f"{self.path} has a tensor without a storage; it is damaged")
        if len(size) > _MOST_AXES or len(size) != len(stride):
            raise Refused(
                f"{self.path} has a tensor of {len(size)} sizes and {len(stride)} strides; "
                "it is damaged"
            )
        if not all(_is_count(number) for number in (offset, *size, *stride)):
            raise Refused(f"{self.path} has a tensor of negative sizes or none; it is damaged")
        if metadata:  # that the numbers are to be negated or conjugated
            raise Refused(
                f"{self.path} has a tensor that is a view with metadata, such as a negative: save "
                "tensor.resolve_neg().resolve_conj()"
            )
        return Tensor(storage, offset, tuple(size), tuple(stride))

    def storage(self, saved: Any) -> Storage:
        """The storage that a pickle refers to."""
        if not isinstance(saved, tuple) or len(saved) < 5 or saved[0] != "storage":
            raise Refused(f"{self.path} refers to something that is no tensor")
        _, kind, key, _, count, *view = saved
        if (
            not (isinstance(kind, _StorageType) and isinstance(key, (str, int)))
            or not _is_count(count)
            or any(view)
        ):
            raise Refused(f"{self.path} has a storage that is not read here")
        found = Storage(kind.name, str(key), count)
        if self.storages.setdefault(found.key, found) != found:
            raise Refused(
                f"{self.path} has two types or sizes for one storage, {found.key[:100]!r}; "
                "it is damaged"
            )
        return found


def _of_marked(name, items):
    """The value that an instruction makes of those above a mark."""
    if name == "FROZENSET":
        return Foreign()
    return _dict_of(items) if name == "DICT" else tuple(items) if name == "TUPLE" else items


def _is_count(value):
    return isinstance(value, int) and 0 <= value < 1 << 63


def _dict_of(items):
    """A dict of keys and values in turn."""
    return {_key(key): value for key, value in zip(items[::2], items[1::2], strict=True)}


def _key(key):
    """A key of a dict. Hashing nested tuples could take forever, so others than plain values become
    `Foreign`.
    """
    if isinstance(key, int):
        return key if key.bit_length() < 64 else Foreign()
    return key if isinstance(key, (str, bytes, float, type(None))) else Foreign()
