"""Tables on a terminal: figures to the right, nothing cut or folded where there is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence


def plain_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """Rows under their titles as text; the first `left` columns stand to the left, all others to the right."""
    cells = [[" ".join(cell.split()) for cell in row] for row in rows]
    lines = _on_terminal(columns, cells, left) if sys.stdout.isatty() else _padded([list(columns), *cells], left)
    return "\n".join(line.rstrip() for line in lines)


def _on_terminal(columns: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> Iterable[str]:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, title in enumerate(columns):
        table.add_column(title, justify="left" if number < left else "right", no_wrap=number != left - 1)
    for row in rows:
        # Text, because a client's name may hold what rich reads as markup.
        table.add_row(*map(Text, row))
    console = Console(highlight=False)
    with console.capture() as captured:
        console.print(table)
    return captured.get().splitlines()


def _padded(rows: Sequence[Sequence[str]], left: int) -> Iterable[str]:
    """As on a terminal without an edge, and at once for thousands of rows."""
    from rich.cells import cell_len

    widths = [[cell_len(cell) for cell in row] for row in rows]
    columns = [max(column) for column in zip(*widths, strict=True)]
    for row, of_row in zip(rows, widths, strict=True):
        parts = []
        for number, (cell, width) in enumerate(zip(row, of_row, strict=True)):
            room = " " * (columns[number] - width)
            parts.append(f"{cell}{room}" if number < left else f"{room}{cell}")
        yield "  ".join(parts)
