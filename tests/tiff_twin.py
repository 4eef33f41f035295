"""What a TIFF without compression, or with deflate, holds: written from the specification, strict
where the project is not, and slow.
"""

import struct
import zlib

import numpy as np

SIZES = {1: "B", 2: "s", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 16: "Q"}


class UnsupportedError(Exception):
    """A kind of TIFF that is not read here; ``deep``: of more than 8 bits, or of planes."""

    def __init__(self, deep):
        super().__init__()
        self.deep = deep


def tags_of(content):
    """({tag: tuple of numbers} of the first page, "<" or ">")."""
    order = {b"II": "<", b"MM": ">"}[content[:2]]
    if struct.unpack(f"{order}H", content[2:4])[0] != 42:
        raise UnsupportedError(deep=True)
    (start,) = struct.unpack(f"{order}I", content[4:8])
    (count,) = struct.unpack(f"{order}H", content[start : start + 2])
    tags = {}
    for number in range(count):
        entry = content[start + 2 + 12 * number :][:12]
        tag, kind, length = struct.unpack(f"{order}HHI", entry[:8])
        if kind not in SIZES or kind == 2 or length > len(content):
            continue
        size = struct.calcsize(SIZES[kind]) * length
        (place,) = struct.unpack(f"{order}I", entry[8:])
        value = entry[8 : 8 + size] if size <= 4 else content[place : place + size]
        if len(value) < size:  # cut short: the lengths of strips, say, which may not be needed
            continue
        # of a tag that is there twice the first counts
        tags.setdefault(tag, struct.unpack(f"{order}{length}{SIZES[kind]}", value))
    return tags, order


def pixels_of(content):
    """[height, width] or [height, width, samples] as stored, in the order of the file.

    Raises:
        UnsupportedError: another compression, depth or colour.
        Exception: any, of a damaged file.
    """
    tags, order = tags_of(content)

    def one(tag, default=None):
        return tags[tag][0] if default is None else tags.get(tag, (default,))[0]

    width, height, samples, planar = one(256), one(257), one(277, 1), one(284, 1)
    bits, kind = one(258, 1), {1: "u", 2: "i", 3: "f"}.get(one(339, 1))
    plain = len({*tags.get(258, (1,))}) == 1 and len({*tags.get(339, (1,))}) == 1
    known = (
        plain
        and (kind, bits) in {(a, b) for a in "ui" for b in (8, 16, 32)} | {("f", 32), ("f", 64)}
        and one(259, 1) in (1, 8, 32946)
        and one(317, 1) == 1
        and one(262) in ((0, 1, 2) if kind == "u" else (1, 2))
        and one(266, 1) == 1
        and one(274, 1) == 1
        and planar in (1, 2)
        and height * width * samples < 10**7
    )
    if not known:
        raise UnsupportedError(deep=bits > 8 or planar == 2 or len(tags.get(258, (1,))) > 4)
    dtype = np.dtype(f"{order}{kind}{bits // 8}")
    planes, deep = (samples, 1) if planar == 2 else (1, samples)
    if 322 in tags:
        high, wide, starts, counts = one(323), one(322), tags[324], tags.get(325)
    else:
        high, wide, starts, counts = one(278, height), width, tags[273], tags.get(279)
    if one(259, 1) == 1:  # then it is known how long they are, whatever the file says
        counts = [len(content)] * len(starts)
    down, across = -(-height // high), -(-width // wide)
    needed = planes * down * across
    if min(len(starts), len(counts)) < needed:  # more are passed over, as libtiff does
        raise ValueError("too few strips")
    whole = np.zeros((planes, down * high, across * wide, deep), dtype.newbyteorder("="))
    for number, (start, count) in enumerate(zip(starts[:needed], counts, strict=False)):
        plane, place = divmod(number, down * across)
        y, x = place // across * high, place % across * wide
        rows = high if 322 in tags else min(high, height - y)
        part = content[start : start + count]
        if (one(259, 1) != 1 and len(part) < count) or start == 0:
            raise ValueError("cut short")
        part = part if one(259, 1) == 1 else zlib.decompress(part)
        values = np.frombuffer(part, dtype, rows * wide * deep).reshape(rows, wide, deep)
        whole[plane, y : y + rows, x : x + wide] = values
    whole = whole[:, :height, :width]
    whole = np.moveaxis(whole[..., 0], 0, -1) if planar == 2 else whole[0]
    whole = whole[..., 0] if samples == 1 else whole
    return np.iinfo(dtype).max - whole if one(262) == 0 else whole
