"""`chill-report annual`: the papers of a year."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provision.errors import PartlyDone
from provision.fleet_directory import fleet_directory
from provision.fleet_reader import load_fleet
from provision.settings import Language
from reports.cli.options import (
    count,
    fleet_option,
    format_option,
    json_option,
    lang_option,
    out_option,
    progress_bar,
    year_argument,
)
from reports.cli.tables import plain_table

if TYPE_CHECKING:
    from reports.annual import Annual
    from reports.formats import Format
    from reports.statement import Statement


@click.command()
@year_argument
@fleet_option
@out_option
@lang_option
@json_option
@format_option
@click.option(
    "--estimate",
    is_flag=True,
    help="Count SMS and e-mails of days without a sample as the mean of the other days; every paper says so.",
)
def annual(
    year: int,
    fleet: str | None,
    out: Path | None,
    lang: Language | None,
    as_json: bool,
    formats: tuple[Format, ...],
    estimate: bool,
) -> None:
    """Write every customer's statement of YEAR: CSV for accounting, a PDF for each customer and one for the fleet.

    --format csv,xlsx,json writes the figures as a workbook and as JSON, too; csv-fr is CSV for spreadsheets that read
    decimal commas. A run that was interrupted is taken up where it stopped by the same command.

    Nothing is written when a tariff or a file of the ledger is wrong. When samples are missing for a month
    or more, the papers are written and say so, and the exit status is 3. Customers of whom fewer days were sampled
    than reports.coverage_percent of chill.toml asks come first.

    \b
    Example:
      chill-report annual 2026 --fleet ~/fleet --out reports-2026
      chill-report annual 2026 --format csv,xlsx
    """
    # Here, because the engine of the ledger takes a moment to load and --help should not wait for it.
    from reports.annual import annual as write_papers

    loaded = load_fleet(fleet_directory(fleet))
    language = lang or loaded.settings.language
    with progress_bar("papers") as progress:
        made = write_papers(
            loaded, year, out or Path(f"reports-{year}"), language, progress, estimate=estimate, formats=formats
        )
    if made.closed:
        _tell_closed(year, made.closed.manifest.language, lang, estimate)
    threshold = loaded.settings.reports.coverage_percent
    _tell_gaps(made)
    _tell_coverage(made, threshold)
    click.echo(_json(year, made, threshold) if as_json else _summary(made))
    if made.incomplete:
        customers = count(len(made.incomplete), "customer")
        raise PartlyDone(
            f"the papers are written, but samples that are billed are missing for {customers}",
            "chill-meter status shows what is missing; collect or record it, then run this command again",
        )


def _tell_closed(year: int, language: Language, asked: Language | None, estimate: bool) -> None:
    """That a year is closed, and which wishes that leaves unfulfilled, on stderr."""
    click.echo(f"{year} is closed: these are its papers, byte for byte", err=True)
    if asked not in (None, language):
        click.echo(f"warning: --lang {asked} has no effect: the papers were closed in {language}", err=True)
    if estimate:
        click.echo("warning: --estimate has no effect: the papers are those that were closed", err=True)


def _tell_gaps(made: Annual) -> None:
    """What is missing, on stderr: first what makes the exit status 3, then the rest in one line."""
    from reports.table import words

    english = words("en")
    for statement in made.incomplete:
        for line in statement.incomplete:
            notes = ", ".join(english.note(note, statement.year, iso=True) for note in line.gaps)
            click.echo(f"missing: {statement.customer.instance}: {line.name}: {notes}", err=True)
    partial = [s for s in made.statements if not s.incomplete and any(line.gaps and line.billed for line in s.lines)]
    if partial:
        slugs = ", ".join(statement.customer.instance for statement in partial[:10])
        more = ", …" if len(partial) > 10 else ""
        click.echo(f"warning: single days have no sample, as their papers say: {slugs}{more}", err=True)
    for path in made.leftovers:
        click.echo(f"warning: {path} is of an earlier run and was left alone", err=True)


def _tell_coverage(made: Annual, percent: int) -> None:
    """Who is listed first and why, and whether anything was estimated, on stderr."""
    from reports.statement import below

    short = [statement.customer.instance for statement in made.statements if below(statement, percent)]
    if short:
        customers = count(len(short), "customer")
        click.echo(f"warning: less than {percent} % of the days were sampled for {customers}, listed first", err=True)
    estimated = [statement.customer.instance for statement in made.statements if statement.estimated]
    if estimated:
        customers = count(len(estimated), "customer")
        click.echo(f"warning: days without a sample were estimated for {customers}, as their papers say", err=True)


def _summary(made: Annual) -> str:
    """The amounts of each customer and the files, as text without any cut."""
    columns = ("instance", "client", "before VAT", "VAT", "with VAT", "")
    rows = [
        (
            statement.customer.instance,
            statement.customer.client,
            *(str(amount) for amount in (statement.total, statement.vat, statement.total_with_vat)),
            statement.currency,
        )
        for statement in made.statements
    ]
    return "\n".join([plain_table(columns, rows, left=2), "", *(str(path) for path in made.files)])


def _json(year: int, made: Annual, threshold: int) -> str:
    document = {
        "year": year,
        "files": [str(path) for path in made.files],
        "statements": [_statement(statement, threshold) for statement in made.statements],
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def _statement(statement: Statement, threshold: int) -> dict[str, Any]:
    """A statement's amounts, as text, because JSON numbers are read as floats. Lines of one name are added up."""
    from reports.statement import below
    from reports.table import percent_text

    names = dict.fromkeys(line.name for line in statement.lines)
    return {
        "instance": statement.customer.instance,
        "client": statement.customer.client,
        "currency": statement.currency,
        "months": statement.months,
        "lines": {name: str(statement.amount_of(name)) for name in names},
        "total": str(statement.total),
        "vat": str(statement.vat),
        "total_with_vat": str(statement.total_with_vat),
        "vat_treatment": statement.vat_terms.treatment,
        "incomplete": list(dict.fromkeys(line.name for line in statement.incomplete)),
        "coverage_percent": percent_text(statement.coverage),
        "below_coverage": below(statement, threshold),
        "estimated": statement.estimated,
    }
