"""Statements and usage → CSV for accounting: UTF-8, comma, `\\n`, a header row, decimal dots.

The columns are those of docs/reports.md. Text cells that a spreadsheet would run as a formula are made harmless.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Final

from reports.lines import UNITS, Line
from reports.statement import Statement
from reports.table import Words, decimal_text

USAGE_HEADER: Final = [
    "year",
    "instance",
    "client",
    "line",
    "quantity",
    "unit",
    "included",
    "billable",
    "unit_price",
    "amount",
    "currency",
    "months",
    "days_sampled",
    "days_expected",
    "note",
]
MONTHLY_HEADER: Final = [
    "year",
    "month",
    "instance",
    "active_users",
    "mean_daily_active",
    "peak_daily_active",
    "sms",
    "emails",
    "mean_document_bytes",
    "days_sampled",
]

# What a spreadsheet takes for the start of a formula; some take the full-width forms, too.
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
# Line breaks and controls: a cell stays on its line, because not every reader minds the quotes around a break.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def usage_csv(statements: Iterable[Statement], words: Words) -> str:
    """`usage-<YEAR>.csv`: one row per instance and line, then total, vat and total_with_vat; sorted by instance."""
    rows: list[Sequence[object]] = []
    for statement in _sorted(statements):
        rows += [_line_row(statement, line, words) for line in statement.lines]
        rows += [
            _total_row(statement, "total", statement.total),
            _total_row(statement, "vat", statement.vat),
            _total_row(statement, "total_with_vat", statement.total_with_vat),
        ]
    return _text(USAGE_HEADER, rows)


def monthly_csv(statements: Iterable[Statement]) -> str:
    """`monthly-<YEAR>.csv`: one row per instance and billed month; what has no sample is an empty cell."""
    rows = [
        (
            statement.year,
            month.month,
            statement.customer.instance,
            month.active_users,
            _decimal(month.mean_daily_active, 2),
            month.peak_daily_active,
            month.sms,
            month.emails,
            _decimal(month.mean_document_bytes, 0),
            month.days_sampled,
        )
        for statement in _sorted(statements)
        for month in statement.billed_months
    ]
    return _text(MONTHLY_HEADER, rows)


def harmless(text: str) -> str:
    """Text on one line that no spreadsheet runs: an apostrophe goes before what would start a formula."""
    line = _CONTROL.sub(" ", text)
    return f"'{line}" if line.lstrip().startswith(_FORMULA) else line


def _sorted(statements: Iterable[Statement]) -> list[Statement]:
    return sorted(statements, key=lambda statement: statement.customer.instance)


def _line_row(statement: Statement, line: Line, words: Words) -> Sequence[object]:
    notes = (words.note(note, statement.year, iso=True) for note in line.notes)
    return (
        statement.year,
        statement.customer.instance,
        harmless(statement.customer.client),
        line.name,
        _decimal(line.quantity, 0),
        UNITS[line.name],
        line.included,
        line.billable,
        line.unit_price,
        line.amount,
        statement.currency,
        statement.months,
        line.days_sampled,
        line.days_expected,
        harmless("; ".join(notes)),
    )


def _total_row(statement: Statement, name: str, amount: object) -> Sequence[object]:
    customer = statement.customer
    head = (statement.year, customer.instance, harmless(customer.client), name)
    return (*head, None, None, None, None, None, amount, statement.currency, statement.months, None, None, None)


def _decimal(value: Fraction | int | None, digits: int) -> str | None:
    return None if value is None else f"{decimal_text(value, digits):f}"


def _text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return stream.getvalue()
