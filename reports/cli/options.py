"""What several commands of chill-report take, and how they tell progress."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import get_args
from zoneinfo import ZoneInfo

import click

from provision.fleet import Fleet
from provision.fleet_directory import FLEET_VARIABLE
from provision.settings import Language

FIRST_YEAR, LAST_YEAR = 2000, 2999

year_argument = click.argument("year", type=click.IntRange(FIRST_YEAR, LAST_YEAR))
slug_argument = click.argument("slug")
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


def _format_list(_context: click.Context, _option: click.Parameter, value: str) -> tuple[str, ...]:
    """Names of formats with commas between them → each once."""
    from reports.formats import FORMATS

    asked = [name.strip() for name in value.split(",") if name.strip()]
    unknown = [repr(name) for name in asked if name not in FORMATS]
    if unknown or not asked:
        fault = f"{unknown[0]} is not a format" if unknown else "names no format"
        raise click.BadParameter(f"{fault}; write one or more of {','.join(FORMATS)}")
    return tuple(dict.fromkeys(asked))


format_option = click.option(
    "--format",
    "formats",
    metavar="LIST",
    default="csv",
    show_default=True,
    callback=_format_list,
    help="How the figures are written, beside the PDFs: one or more of csv,csv-fr,xlsx,json.",
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


def fleet_today(fleet: Fleet) -> date:
    """Today, in the fleet's time zone."""
    return datetime.now(ZoneInfo(fleet.settings.timezone)).date()


def count(number: int, noun: str) -> str:
    """`1 customer`, `2 customers`."""
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"
