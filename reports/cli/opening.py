"""`chill-report opening`: the papers that are invoiced when an instance opens."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.fleet_directory import fleet_directory
from provision.fleet_reader import load_fleet
from provision.settings import Language
from reports.cli.options import fleet_option, fleet_today, lang_option, slug_argument
from reports.cli.tables import plain_table

if TYPE_CHECKING:
    from reports.opening import Opening


@click.command()
@slug_argument
@fleet_option
@click.option(
    "--date",
    "day",
    metavar="DAY",
    type=click.DateTime(["%Y-%m-%d"]),
    help="One-off lines dated after this day are left to the annual statement; default: today.",
)
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where the papers go; default: opening-SLUG in the current directory.",
)
@lang_option
def opening(slug: str, fleet: str | None, day: datetime | None, out: Path | None, lang: Language | None) -> None:
    """Write what is invoiced at the opening of SLUG: the base fee until December of its first year.

    One-off lines and credits of the contract that are dated until then stand on it too. When it was invoiced, say so
    in the contract, as the command shows: the statement of the first year takes it off then.

    \b
    Example:
      chill-report opening acme --date 2026-03-05
    """
    from reports.opening import opening as write_papers

    loaded = load_fleet(fleet_directory(fleet))
    invoiced = loaded.instance(slug).contract.opening_invoiced
    until = day.date() if day else invoiced.day if invoiced else fleet_today(loaded)
    made = write_papers(loaded, slug, until, out or Path(f"opening-{slug}"), lang or loaded.settings.language)
    click.echo(_summary(made))
    if invoiced:
        click.echo(f"note: {invoiced.amount} was invoiced on {invoiced.day}, says the contract", err=True)
    else:
        total = made.statement.total
        click.echo(
            f"when it is invoiced, write under contract: in inventory/instances/{slug}.yml\n"
            f'  opening_invoiced: {{day: {until}, amount: "{total}"}}',
            err=True,
        )


def _summary(made: Opening) -> str:
    """The lines, their totals and the files."""
    from reports.table import words

    english, statement = words("en"), made.statement
    rows = [(english.label(line), str(line.amount)) for line in statement.lines]
    rows += [
        ("before VAT", str(statement.total)),
        ("VAT", str(statement.vat)),
        ("with VAT", str(statement.total_with_vat)),
    ]
    return "\n".join([plain_table(("line", statement.currency), rows), "", *(str(path) for path in made.files)])
