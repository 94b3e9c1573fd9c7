"""What several commands of chill-report take, and how they tell progress."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import click

from provision.fleet import FLEET_VARIABLE
from provision.settings import Language

_FIRST_YEAR, _LAST_YEAR = 2000, 2999

year_argument = click.argument("year", type=click.IntRange(_FIRST_YEAR, _LAST_YEAR))
fleet_option = click.option(
    "--fleet",
    metavar="DIR",
    help=f"The fleet directory; else ${FLEET_VARIABLE}, else the current directory.",
)
out_option = click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where the papers go; default: reports-YEAR in the current directory.",
)
lang_option = click.option(
    "--lang", type=click.Choice(get_args(Language)), help="The papers' language; default: the fleet's."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for a program to read.")


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr while papers are made, on a terminal only."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def count(number: int, noun: str) -> str:
    """`1 customer`, `2 customers`."""
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"
