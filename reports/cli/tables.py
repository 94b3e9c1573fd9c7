"""Tables on a terminal: figures to the right, nothing cut or folded where there is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence


def plain_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """Rows under their titles as text; the first `left` columns stand to the left, all others to the right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, title in enumerate(columns):
        table.add_column(title, justify="left" if number < left else "right", no_wrap=number != left - 1)
    for row in rows:
        # Text, because a client's name may hold what rich reads as markup.
        table.add_row(*(Text(" ".join(cell.split())) for cell in row))
    # Not on a terminal nothing is cut or folded to a width that is not there.
    console = Console(width=None if sys.stdout.isatty() else 1000, highlight=False)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())
