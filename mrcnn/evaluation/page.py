"""HTML pages of one file, with their pictures inside: what the reports have in common."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

# Longer side of the pictures of images, px.
SIDE = 480
# Colours of right, wrong, taken for another class, and neither.
GREEN, RED, ORANGE, GREY = (0.1, 0.75, 0.2), (0.95, 0.15, 0.15), (1.0, 0.6, 0.0), (0.6, 0.6, 0.6)
# Of a class where nothing is, in a picture that has red and orange for the other mistakes.
BLUE = (0.1, 0.4, 1.0)

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1080px; margin: 2em auto;
  padding: 0 1em; color: #222; }
h1 { font-size: 1.6em; } h2 { font-size: 1.2em; margin-top: 2em; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.2em 0.8em; text-align: right; border-bottom: 1px solid #e4e4e4; }
th { background: #f4f4f4; } th:first-child, td:first-child { text-align: left; }
tr.all td { font-weight: bold; border-top: 2px solid #888; }
img { max-width: 100%; height: auto; vertical-align: top; }
figure { margin: 1em 0; } figcaption { margin-bottom: 0.3em; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 8px; }
.triple { display: grid; grid-template-columns: 1fr 1fr 1fr; gap: 8px; }
.side { display: flex; flex-wrap: wrap; gap: 2em; align-items: flex-start; }
.scroll { overflow-x: auto; }
.green { color: #14902b; } .red { color: #d01c1c; }
.orange { color: #b96a00; } .grey { color: #777; } .blue { color: #1a5fe0; }
.chip { display: inline-block; width: 0.9em; height: 0.9em; margin: 0 0.3em 0 0.9em;
  border: 1px solid #888; vertical-align: -0.1em; }
.void { background: repeating-linear-gradient(135deg, #fff 0 3px, #b9b9b9 3px 6px); }
"""


def html_page(title: str, sections: Iterable[str]) -> str:
    """A page that needs no other file.

    Args:
        title: plain text, which is the heading too.
        sections: of HTML.
    """
    title = html.escape(title)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta '
        f'charset="utf-8">\n<title>{title}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join([f"<h1>{title}</h1>", *sections])
        + "\n</body>\n</html>\n"
    )


def bullets(sentences: Iterable[str]) -> str:
    """A list of sentences of plain text."""
    return "<ul>" + "".join(f"<li>{html.escape(sentence)}</li>" for sentence in sentences) + "</ul>"


def number(value: float) -> str:
    """A count as it is, a measure with three digits, "-" for NaN."""
    if isinstance(value, (int, np.integer)):
        return str(value)
    return "-" if np.isnan(value) else f"{value:.3f}"


def percent(share: float) -> str:
    """A share as percent with two digits, "-" for NaN."""
    if np.isnan(share):
        return "-"
    return "<0.01 %" if 0 < share < 0.00005 else f"{100 * share:.2f} %"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], last: str = "") -> str:
    """Cells of plain text.

    Args:
        header: names of the columns.
        rows: lists of cells.
        last: attributes of the last row, such as ' class="all"'.
    """

    def row(cells, tag, kind=""):
        return (
            f"<tr{kind}>"
            + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)
            + "</tr>"
        )

    body = [row(cells, "td") for cells in rows[:-1]] + [
        row(cells, "td", last) for cells in rows[-1:]
    ]
    return "<table>\n" + "\n".join([row(header, "th"), *body]) + "\n</table>"


# === Pictures ===


def image_tag(content: bytes, description: str, kind: str = "png") -> str:
    """A picture inside the page.

    Args:
        content: of its file.
        description: plain text for those who do not see it.
        kind: "png" or "jpeg".
    """
    return (
        f'<img alt="{html.escape(description)}" '
        f'src="data:image/{kind};base64,{base64.b64encode(content).decode("ascii")}">'
    )


def shown_size(image: np.ndarray) -> tuple[int, int, float]:
    """(height, width, scale) that make the longer side `SIDE` px, so that text is as large in every
    picture.
    """
    height, width = image.shape[:2]
    scale = SIDE / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale)), scale


def resize_photo(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """uint8 [h, w, 3] resized to [height, width, 3]."""
    from PIL import Image

    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def as_jpeg(picture: NDArray[np.uint8]) -> bytes:
    """uint8 [h, w, 3] as a file, for photos."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def as_png(picture: NDArray[np.uint8]) -> bytes:
    """uint8 [h, w, 3] as a file, for pictures of few colours."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def nearest(labels: np.ndarray, height: int, width: int) -> np.ndarray:
    """[h, w] resized to [height, width]: each pixel has the value at its centre."""
    rows, columns = (
        np.minimum(((np.arange(side) + 0.5) * (length / side)).astype(int), length - 1)
        for side, length in zip((height, width), labels.shape)
    )
    return labels[np.ix_(rows, columns)]
