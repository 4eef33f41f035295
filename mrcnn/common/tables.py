"""Tables of text, in a notebook or on a terminal."""

import html
import sys
from collections.abc import Iterable

from mrcnn.common.words import on_one_line


def display_table(table: Iterable[Iterable[object]]) -> None:
    """Show rows of cells: an HTML table in a notebook, aligned text elsewhere."""
    rows = [[str(cell) for cell in row] for row in table]
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if hasattr(shell, "kernel"):
        from IPython.display import HTML, display

        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in rows
        )
        display(HTML(f"<table>{body}</table>"))
        return
    print(format_table(rows))


def format_table(table: Iterable[Iterable[object]]) -> str:
    """Rows of cells, all of one length, as lines of text with aligned columns."""
    rows = [[on_one_line(str(cell)) for cell in row] for row in table]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows
    )
