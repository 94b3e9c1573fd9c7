"""`chill-report preview` and `compare`: what a year will come to, and what moved between two years."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.errors import RequestError
from provision.fleet_directory import fleet_directory
from provision.fleet_reader import load_fleet
from reports.cli.options import FIRST_YEAR, LAST_YEAR, fleet_option, fleet_today, json_option
from reports.cli.tables import plain_table

if TYPE_CHECKING:
    from reports.compare import Comparison
    from reports.lines import Line
    from reports.preview import Preview

_out_option = click.option(
    "--out", metavar="DIR", type=click.Path(path_type=Path), help="Also write a CSV file there; default: write nothing."
)
_year = click.IntRange(FIRST_YEAR, LAST_YEAR)


@click.command()
@click.argument("slug", required=False)
@click.option("--all", "everyone", is_flag=True, help="Every instance of the fleet, one row each.")
@fleet_option
@json_option
@_out_option
def preview(slug: str | None, everyone: bool, fleet: str | None, as_json: bool, out: Path | None) -> None:
    """Show what the running year comes to so far for SLUG, and what it will come to if it goes on as it did.

    The year is that of yesterday, the last complete day. Nothing is written unless --out is given.

    \b
    Example:
      chill-report preview acme
      chill-report preview --all --json
    """
    from reports.preview import previews, to_plain
    from reports.previews_csv import preview_csv

    if (slug is None) != everyone:
        raise RequestError("SLUG: expected either an instance or --all", "chill-report preview acme")
    loaded = load_fleet(fleet_directory(fleet))
    made = previews(loaded, [slug] if slug else loaded.instances, fleet_today(loaded))
    if as_json:
        click.echo(json.dumps([to_plain(one) for one in made], indent=2, ensure_ascii=False))
    else:
        click.echo(_all_previews(made) if everyone else _one_preview(made[0]))
    if out:
        _write(out, f"preview-{made[0].until.year}.csv", preview_csv(made))


@click.command()
@click.argument("before", metavar="YEAR", type=_year)
@click.argument("after", metavar="YEAR", type=_year)
@click.argument("slugs", metavar="[SLUG]...", nargs=-1)
@fleet_option
@json_option
@_out_option
def compare(
    before: int, after: int, slugs: tuple[str, ...], fleet: str | None, as_json: bool, out: Path | None
) -> None:
    """Show what moved between two years for each customer, line by line, and why. Amounts are before VAT.

    Quantity: more or less was used. Price: other prices, quotas, measures or particular conditions. Proration: other
    months are billed. Contract: a customer who came or left, one-off lines, a year of several periods. The effects add
    up to the difference, to the cent.

    \b
    Example:
      chill-report compare 2025 2026 acme
    """
    from reports.compare import compare as compare_years
    from reports.compare import to_plain
    from reports.previews_csv import compare_csv

    made = compare_years(load_fleet(fleet_directory(fleet)), before, after, slugs)
    if as_json:
        click.echo(json.dumps([to_plain(one, before, after) for one in made], indent=2, ensure_ascii=False))
    else:
        click.echo(_comparisons(made, before, after))
    for one in made:
        if one.difference is None:
            currencies = " to ".join(one.currencies)
            click.echo(f"note: {one.customer.instance}: went from {currencies}: nothing can be subtracted", err=True)
    if out:
        _write(out, f"compare-{before}-{after}.csv", compare_csv(made, before, after))


def _write(out: Path, name: str, content: str) -> None:
    from reports.staging import staging

    with staging(out) as stage:
        stage.write(name, content)
        for path in stage.publish():
            click.echo(f"written: {path}", err=True)


def _one_preview(made: Preview) -> str:
    projected, so_far = made.projected, made.so_far
    rows = [
        (_label(line), _quantity(before), str(before.amount) if before else "–", _quantity(line), str(line.amount))
        for before, line in made.lines
    ]
    for title, name in (("before VAT", "total"), ("VAT", "vat"), ("with VAT", "total_with_vat")):
        rows.append((title, "", str(getattr(so_far, name)) if so_far else "–", "", str(getattr(projected, name))))
    head = f"{projected.customer.instance}, {projected.year}, in {projected.currency}"
    columns = ("line", "so far", "amount", "projected", "amount")
    return "\n".join([head, "", plain_table(columns, rows), "", made.method])


def _all_previews(made: Sequence[Preview]) -> str:
    from reports.table import percent_text

    rows = [
        (
            one.projected.customer.instance,
            one.projected.customer.client,
            f"{percent_text(one.so_far.coverage) or '–'} %" if one.so_far else "–",
            str(one.so_far.total) if one.so_far else "–",
            str(one.projected.total),
            one.projected.currency,
        )
        for one in made
    ]
    columns = ("instance", "client", "sampled", "so far", "projected", "")
    return "\n".join([plain_table(columns, rows, left=2), "", f"Before VAT. {made[0].method}"])


def _label(line: Line) -> str:
    from reports.table import words

    return words("en").label(line)


def _quantity(line: Line | None) -> str:
    """A quantity with its unit, a dash where there is none."""
    from reports.preview import plain_quantity
    from reports.table import words

    if line is None or line.quantity is None:
        return "–"
    if line.name == "documents":
        return words("en").gigabytes(line.quantity)
    return f"{plain_quantity(line)} {line.unit}".strip()


def _comparisons(made: Sequence[Comparison], before: int, after: int) -> str:
    columns = (
        *("instance", "line", str(before), str(after)),
        *("difference", "quantity", "price", "proration", "contract", ""),
    )
    return plain_table(columns, (row for one in made for row in _comparison(one)), left=2)


def _comparison(one: Comparison) -> Iterator[Sequence[str]]:
    """A customer's lines that moved, and the total; the years' totals alone when the currency changed."""
    slug = one.customer.instance
    currency = " → ".join(one.currencies)
    for change in one.changes:
        if change.difference:
            effects = (change.difference, change.quantity, change.price, change.proration, change.contract)
            signed = (f"{effect:+}" if effect else "" for effect in effects)
            yield (slug, change.line, str(change.before), str(change.after), *signed, currency)
    totals = (str(statement.total) if statement else "–" for statement in (one.before, one.after))
    difference = "–" if one.difference is None else f"{one.difference:+}"
    yield (slug, "total", *totals, difference, "", "", "", "", currency)
