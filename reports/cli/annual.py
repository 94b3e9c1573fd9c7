"""`chill-report annual`: the papers of a year."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provision.errors import PartlyDone
from provision.fleet import fleet_directory, load_fleet
from provision.settings import Language
from reports.cli.options import count, fleet_option, json_option, lang_option, out_option, progress_bar, year_argument

if TYPE_CHECKING:
    from reports.annual import Annual
    from reports.statement import Statement


@click.command()
@year_argument
@fleet_option
@out_option
@lang_option
@json_option
def annual(year: int, fleet: str | None, out: Path | None, lang: Language | None, as_json: bool) -> None:
    """Write every customer's statement of YEAR: CSV for accounting, a PDF for each customer and one for the fleet.

    Nothing is written when a tariff or a file of the ledger is wrong. When samples are missing for a month
    or more, the papers are written and say so, and the exit status is 3.

    \b
    Example:
      chill-report annual 2026 --fleet ~/fleet --out reports-2026
    """
    # Here, because the engine of the ledger takes a moment to load and --help should not wait for it.
    from reports.annual import annual as write_papers

    loaded = load_fleet(fleet_directory(fleet))
    with progress_bar("papers") as progress:
        made = write_papers(loaded, year, out or Path(f"reports-{year}"), lang or loaded.settings.language, progress)
    _tell_gaps(made)
    click.echo(_json(year, made) if as_json else _summary(made))
    if made.incomplete:
        customers = count(len(made.incomplete), "customer")
        raise PartlyDone(
            f"the papers are written, but samples that are billed are missing for {customers}",
            "chill-meter status shows what is missing; collect or record it, then run this command again",
        )


def _tell_gaps(made: Annual) -> None:
    """What is missing, on stderr: first what makes the exit status 3, then the rest in one line."""
    from reports.table import words

    english = words("en")
    for statement in made.incomplete:
        for line in statement.incomplete:
            notes = ", ".join(english.note(note, statement.year, iso=True) for note in line.notes)
            click.echo(f"missing: {statement.customer.instance}: {line.name}: {notes}", err=True)
    partial = [s for s in made.statements if not s.incomplete and any(line.notes and line.billed for line in s.lines)]
    if partial:
        slugs = ", ".join(statement.customer.instance for statement in partial[:10])
        more = ", …" if len(partial) > 10 else ""
        click.echo(f"warning: single days have no sample, as their papers say: {slugs}{more}", err=True)
    for path in made.leftovers:
        click.echo(f"warning: {path} is of an earlier run and was left alone", err=True)


def _summary(made: Annual) -> str:
    """The amounts of each customer and the files, as text without any cut."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("instance", no_wrap=True)
    table.add_column("client")
    for title in ("before VAT", "VAT", "with VAT"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("")
    for statement in made.statements:
        amounts = [str(statement.total), str(statement.vat), str(statement.total_with_vat)]
        # Text, because a client's name may hold what rich reads as markup.
        client = Text(" ".join(statement.customer.client.split()))
        table.add_row(statement.customer.instance, client, *amounts, statement.currency)
    # Not on a terminal nothing is cut or folded to a width that is not there.
    console = Console(width=None if sys.stdout.isatty() else 1000, highlight=False)
    with console.capture() as captured:
        console.print(table)
    lines = [line.rstrip() for line in captured.get().splitlines()]
    return "\n".join([*lines, "", *(str(path) for path in made.files)])


def _json(year: int, made: Annual) -> str:
    document = {
        "year": year,
        "files": [str(path) for path in made.files],
        "statements": [_statement(statement) for statement in made.statements],
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def _statement(statement: Statement) -> dict[str, Any]:
    """A statement's amounts, as decimal text, because JSON numbers are read as floats."""
    return {
        "instance": statement.customer.instance,
        "client": statement.customer.client,
        "currency": statement.currency,
        "months": statement.months,
        "lines": {line.name: str(line.amount) for line in statement.lines},
        "total": str(statement.total),
        "vat": str(statement.vat),
        "total_with_vat": str(statement.total_with_vat),
        "incomplete": [line.name for line in statement.incomplete],
    }
