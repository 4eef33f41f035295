"""Which texts can be a NAME, after which a run's folder and its files are called."""

from __future__ import annotations

import re
import unicodedata

# File systems take 255 bytes in the name of a file. That of a state file has 26 besides NAME and
# more for epochs of many digits: "mask_rcnn_<NAME>_<epoch>.state.npz".
LONGEST = 210
ALLOWED = (
    "it is a part of the names of files and folders, so it can have letters, digits, spaces and "
    "other characters, but no / or \\, no line end or other control character, and at most "
    f"{LONGEST} bytes"
)
# What Windows takes for a device, whatever follows the dot.
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d) *\.", re.IGNORECASE)


def name_problem(name: str) -> str | None:
    """A sentence that says why a text cannot be a NAME and what can, or None where it can."""
    size = len(name.lower().encode("utf-8", "surrogatepass"))
    if size > LONGEST:
        return f"NAME is {name[:20]!r}... of {size} bytes; {ALLOWED}"
    if not name.strip(". "):
        return f"NAME is {name!r}; {ALLOWED}, and needs more than dots and spaces"
    if _DEVICE.match(name):
        return f"NAME is {name!r}, which starts with the name of a device of Windows; {ALLOWED}"
    if any(character in "/\\" or _is_control(character) for character in name):
        return f"NAME is {name!r}; {ALLOWED}"
    return None


def _is_control(character):
    """Whether it is a control character, a line or paragraph separator or half a character."""
    return unicodedata.category(character) in ("Cc", "Zl", "Zp", "Cs")
