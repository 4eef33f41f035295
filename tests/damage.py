"""Damage to files, drawn by a seed: to their bytes, and to the values of a JSON."""

import contextlib
import io
import json
import os
import random
import resource
import signal
import subprocess
import sys

from mrcnn.cli import main
from mrcnn.common.words import without_escapes
from tests.paths import ROOT

# === Damage ===


def damaged(content, seed):
    """The bytes of a file, with a few of them changed, a piece of it lost, or its end."""
    draw = random.Random(seed)
    content = bytearray(content)
    kind = draw.randrange(4)
    if kind == 0:
        return bytes(content[: draw.randrange(len(content))])
    for _ in range(draw.choice((1, 1, 2, 8))):
        place = draw.randrange(len(content))
        content[place] = draw.choice((0, 255, draw.randrange(256), content[place] ^ 1))
    if kind == 1:
        first = draw.randrange(len(content))
        del content[first : first + draw.randrange(1, 16)]
    return bytes(content)


def rearranged(content, other, seed):
    """The bytes of a file with a number of 2 or 4 bytes replaced, as lengths and sizes are, with
    pieces exchanged or repeated, or with the end of another file.
    """
    draw = random.Random(seed)
    content = bytearray(content)
    kind = draw.randrange(5)
    # where formats have their lengths
    place = draw.randrange(min(len(content), draw.choice((40, 400, len(content)))))
    if kind < 2:
        size = draw.choice((2, 4))
        number = draw.choice(
            (0, 1, 3, 256, 2 ** (8 * size - 1) - 1, 2 ** (8 * size - 1), 2 ** (8 * size) - 1)
        )
        content[place : place + size] = number.to_bytes(size, draw.choice(("little", "big")))
        return bytes(content)
    length = draw.randrange(1, max(len(content) // 2, 2))
    later = draw.randrange(len(content))
    if kind == 2:
        first, second = sorted((place, later))
        return bytes(content[:first] + content[second : second + length] + content[first:second])
    if kind == 3:
        return bytes(content[: place + length] + content[place:])
    return bytes(content[:place] + other[draw.randrange(len(other)) :])


NESTED = 50_000
# As they stand in the file; the last ones are none that Python would write.
LITERALS = (
    *("null", "true", "NaN", "-Infinity", "-1", "0", "0.5", '""', "[]", "{}", '"7"', "[[]]"),
    *("2147483648", "18446744073709551616", "1" + "0" * 30, "1" + "0" * 5000, "1e400", "-1e400"),
    *(r'"\ud800"', r'"a\u001b[31m\nb\u0000"', '"../../a"', '{"a": 1}', "[1, null]"),
    "[" * 20 + "]" * 20,
    "[" * NESTED + "]" * NESTED,
)


def _places(value, path=()):
    """The path of every value within a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield (*path, key)
        if isinstance(item, (dict, list)) and item:
            yield from _places(item, (*path, key))


def _at(value, path):
    for key in path:
        value = value[key]
    return value


def damaged_json(content, seed):
    """A JSON with one value replaced, removed, doubled, or exchanged with another.

    Args:
        content: what the file holds, which stays as it is.
        seed: of the draw.

    Returns:
        (text of the file, paths of what was changed).
    """
    draw = random.Random(seed)
    content = json.loads(json.dumps(content))
    # as many values near the top as further down, of which there are more
    by_depth = {}
    for path in _places(content):
        by_depth.setdefault(len(path), []).append(path)
    path = draw.choice(by_depth[draw.choice(list(by_depth))])
    *above, key = path
    parent, mark = _at(content, above), "replaced by the literal"
    value = parent[key]
    kind = draw.randrange(8)
    if kind == 0:
        del parent[key]
    elif kind == 1 and isinstance(parent, dict):  # the key once more, with another value
        other = draw.choice(LITERALS[:-1])
        del parent[key]
        parent[mark], name = value, json.dumps(key)
        twice = f"{name}: {draw.choice(LITERALS[:-1])}, {name}:"
        return json.dumps(content).replace(f'"{mark}":', twice), [path]
    elif kind == 2:
        other = draw.choice([one for one in by_depth[len(path)] if one[-1] == key] or [path])
        parent[key], _at(content, other[:-1])[other[-1]] = _at(content, other), value
        return json.dumps(content), [path, other]
    elif kind == 3 and isinstance(value, (int, float, str)):
        parent[key] = (
            # a quarter is exact, so that no pixel is on an edge for one reading alone
            draw.choice((-value, value + 1, value * 1000, value / 4, str(value)))
            if not isinstance(value, str)
            else damaged(value.encode(), seed).decode("latin-1")
            if value
            else "x"
        )
    elif kind == 4 and isinstance(value, list) and value:
        parent[key] = draw.choice((value[:-1], value + value[:1], [value], value[::-1]))
    else:
        parent[key] = mark
        return json.dumps(content).replace(f'"{mark}"', draw.choice(LITERALS)), [path]
    return json.dumps(content), [path]


# === What must not happen ===

MEMORY = 400_000_000  # bytes that reading a small file may take beyond those of the process


def _most_memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextlib.contextmanager
def within_limits(what, seconds=60):
    """A reader that hangs ends the tests; one that takes much memory fails."""
    before = _most_memory()
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
    assert _most_memory() - before < MEMORY, what


def check_message(error, names, what):
    """An error is of the project's kind, names what it is of, and does nothing to a terminal."""
    assert isinstance(error, (ValueError, OSError)), (what, repr(error))
    text = str(error)
    assert any(name in text for name in names), (what, text)
    assert text == without_escapes(text) and len(text) < 2000, (what, text)


def ended_with(*arguments):
    """What a command ends with, and what it said, which must do nothing to a terminal."""
    out, code = io.StringIO(), None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        try:
            main(arguments)
        except SystemExit as ended:
            code = ended.code
    said = out.getvalue() + (code if isinstance(code, str) else "")
    assert said == without_escapes(said), said
    return code, said


def try_in_another_process(module, kind, seeds, folder):
    """Run ``try_damage(kind, seed, folder)`` of a test module for a range of seeds in a process of
    its own: a crash of it then fails one test, and says of which seed.
    """
    program = (
        f"import logging\nfrom {module} import try_damage\nlogging.disable()\n"
        f"for seed in range({seeds.start}, {seeds.stop}):\n"
        f"    print(seed, flush=True)\n    try_damage({kind!r}, seed, {str(folder)!r})\n"
    )
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-X", "faulthandler", "-c", program],
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
    )
    assert ended.returncode == 0, (kind, ended.stdout.split()[-1:], ended.stderr[-3000:])
