"""The content of a customer's annex: a statement → texts and bar heights, laid out by `templates/annex.typ`. Pure.

The page is plain data (JSON): the template computes nothing but positions, and no text of a customer is ever
read as markup.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from metering.ledger.usage import MonthUsage
from reports.lines import GIGABYTE, Line, LineName, Step
from reports.statement import Statement
from reports.table import Words

Page = dict[str, Any]


def annex_page(statement: Statement, words: Words) -> Page:
    """Everything `templates/annex.typ` shows, as JSON-ready values; its keys are listed in that template."""
    year = statement.year
    return {
        "lang": words.language,
        "title": words.text("annex.title", year=year),
        "subject": words.text("annex.subject"),
        "client": statement.customer.client,
        "instance": statement.customer.domain,
        "facts": [list(fact) for fact in _facts(statement, words)],
        "due": {
            "label": words.text("annex.amount_due"),
            "amount": words.money(statement.total_with_vat, statement.currency),
            "before_vat": words.text("annex.before_vat_of", total=words.money(statement.total, statement.currency)),
        },
        "head": [words.text(f"annex.{column}") for column in _COLUMNS],
        "lines": [_line(line, statement, words) for line in statement.lines],
        "totals": [
            [words.text("annex.total"), words.money(statement.total, statement.currency)],
            [_vat_label(statement, words), words.money(statement.vat, statement.currency)],
            [words.text("annex.total_with_vat"), words.money(statement.total_with_vat, statement.currency)],
        ],
        "months": _months(statement, words),
        "gaps": _gaps(statement, words),
        "page": words.text("annex.page", page="{page}", pages="{pages}"),
    }


_COLUMNS = ("line", "quantity", "included", "billable", "unit_price", "amount")


def _vat_label(statement: Statement, words: Words) -> str:
    return words.text("annex.vat", percent=words.percent(statement.vat_percent))


def _facts(statement: Statement, words: Words) -> Iterator[tuple[str, str]]:
    """Whose statement it is, for which period, by which price list: label and value."""
    first, last = statement.window.first_day, statement.window.last_day
    yield words.text("annex.instance"), statement.customer.domain
    yield words.text("annex.period"), f"{words.day(first)} – {words.day(last)}"
    yield words.text("annex.months_billed"), words.text("annex.months_of", months=statement.months)
    since = words.day(statement.version.valid_from)
    yield words.text("annex.tariff"), words.text("annex.tariff_of", name=statement.tariff, day=since)


def _line(line: Line, statement: Statement, words: Words) -> Page:
    graduated = line.name == "active_users" and line.billed
    price = words.price(line.unit_price, statement.currency) if line.unit_price is not None else ""
    return {
        "label": words.text(f"lines.{line.name}"),
        "measure": words.text(f"measures.{_measure(line, statement)}"),
        "calculation": _calculation(line, statement, words),
        "quantity": _in_unit(line, line.quantity, words),
        "included": _billing_unit(line, line.included, words),
        "billable": _billing_unit(line, line.billable, words),
        "unit_price": words.text("annex.graduated") if graduated else price,
        "amount": words.money(line.amount, statement.currency) if line.billed else words.text("notes.not_billed"),
        "billed": line.billed,
    }


def _measure(line: Line, statement: Statement) -> str:
    """Which measure a line is taken by: the tariff's choice, or the only one there is."""
    version = statement.version
    if line.name == "active_users":
        return version.active_users.measure if version.active_users else "mean_monthly"
    if line.name == "documents":
        return version.documents.measure if version.documents else "mean_daily"
    return line.name


def _in_unit(line: Line, quantity: Fraction | int | None, words: Words) -> str:
    """A measured quantity: months, documents in GB, or a whole number; a dash where there is no sample."""
    if quantity is None:
        return words.text("annex.gap")
    if line.name == "base":
        return words.text("month_count" if quantity == 1 else "months_count", count=words.number(quantity))
    return words.gigabytes(quantity) if line.name == "documents" else words.number(quantity)


def _billing_unit(line: Line, count: int | None, words: Words) -> str:
    """A quota or a billed quantity, in the unit that is billed."""
    if count is None:
        return ""
    number = words.number(count)
    return words.text("gigabytes", number=number) if line.name == "documents" else number


def _calculation(line: Line, statement: Statement, words: Words) -> str:
    """How the amount comes about, such as `(20 × 40,00 € + 3 × 30,00 €) × 10/12`; empty where it is plain."""
    share = f"{statement.months}/12"
    if line.name == "base":
        return words.text("steps.prorated", months=statement.months) if line.prorated else ""
    if not line.billed or line.billable is None:
        return ""
    if not line.steps:
        return words.text("steps.within") if line.included else ""
    parts = [_step(line, step, statement, words) for step in line.steps]
    text = " + ".join(parts)
    if line.name == "emails" and statement.version.emails and statement.months < 12:
        quota = words.number(statement.version.emails.included)
        return words.text("steps.quota", step=text, quota=quota, share=share)
    if not line.prorated:
        return text
    return f"({text}) × {share}" if len(parts) > 1 else f"{text} × {share}"


def _step(line: Line, step: Step, statement: Statement, words: Words) -> str:
    price = words.price(step.price, statement.currency)
    count = words.number(step.count)
    if line.name == "emails" and statement.version.emails:
        key = "steps.block" if step.count == 1 else "steps.blocks"
        return words.text(key, count=count, per=words.number(statement.version.emails.per), price=price)
    key = "steps.gigabytes" if line.name == "documents" else "steps.times"
    return words.text(key, count=count, price=price)


@dataclass(frozen=True, slots=True)
class _Series:
    """One row of the months: how a month is read, how it is written, and the level that is included, if monthly."""

    name: LineName
    read: Callable[[MonthUsage], Fraction | int | None]
    write: Callable[[Fraction | int], str]
    quota: Fraction | int | None = None


def _months(statement: Statement, words: Words) -> Page:
    """The months as a table whose cells carry a bar: its height is a share of the row's highest value or quota."""
    version = statement.version

    def in_gigabytes(size: Fraction | int) -> str:
        return words.number(Fraction(size, GIGABYTE), 1)

    users = version.active_users.included if version.active_users else None
    size = version.documents.included_gb * GIGABYTE if version.documents else None
    series = (
        _Series("active_users", lambda month: month.active_users, words.number, users),
        _Series("sms", lambda month: month.sms, words.number),
        _Series("emails", lambda month: month.emails, words.number),
        _Series("documents", lambda month: month.mean_document_bytes, in_gigabytes, size),
    )
    return {
        "title": words.text("annex.months_title"),
        "alt": words.text("annex.months_alt"),
        "label": words.text("annex.month"),
        "head": [words.short_month(month) for month in range(1, 13)],
        "rows": [_series_row(row, statement, words) for row in series],
        "legend": words.text("annex.legend") if _needs_legend(statement) else "",
    }


def _needs_legend(statement: Statement) -> bool:
    """Whether a month is blank or a dash, so that it must be said what these mean."""
    kinds = {note.kind for line in statement.lines for note in line.notes}
    return statement.months < 12 or bool(kinds & {"no_sample", "months_without_sample"})


def _series_row(series: _Series, statement: Statement, words: Words) -> Page:
    values = {month.month: series.read(month) for month in statement.billed_months}
    highest = max([*(value for value in values.values() if value is not None), series.quota or 0])
    scale = highest or 1
    cells = []
    for month in range(1, 13):
        value = values.get(month)
        text = "" if month not in values else words.text("annex.gap") if value is None else series.write(value)
        cells.append({"text": text, "height": float(Fraction(value) / scale) if value else 0.0})
    quota = None
    if series.quota:
        text = words.text("annex.quota", quota=series.write(series.quota))
        quota = {"height": float(Fraction(series.quota) / scale), "text": text}
    return {
        "label": words.text(f"lines.{series.name}"),
        "unit": words.text(f"annex.unit_{series.name}"),
        "cells": cells,
        "quota": quota,
    }


def _gaps(statement: Statement, words: Words) -> Page:
    rows = []
    for line in statement.lines:
        found = [note for note in line.notes if note.kind != "not_billed"]
        if found:
            remarks = [words.note(note, statement.year, iso=False) for note in found]
            rows.append(
                [words.text(f"lines.{line.name}"), _coverage(line, words), words.text("separator").join(remarks)]
            )
    text = words.text("annex.gaps_rule") if rows else words.text("annex.no_gaps")
    return {"title": words.text("annex.gaps_title"), "rows": rows, "text": text}


def _coverage(line: Line, words: Words) -> str:
    """Days sampled of days expected; nothing for what is recorded once a year."""
    if line.name == "collabora_users":
        return ""
    return words.text("annex.days_of", sampled=line.days_sampled, expected=line.days_expected)


def coverage_percent(lines: Sequence[Line]) -> Fraction | None:
    """The share of the expected days with a sample, out of 100, of the least complete billed daily measure."""
    shares = [
        Fraction(100 * (line.days_sampled or 0), line.days_expected)
        for line in lines
        if line.billed and line.days_expected and line.name != "collabora_users"
    ]
    return min(shares, default=None)
