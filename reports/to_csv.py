"""Statements and usage → CSV for accounting: UTF-8, comma, `\\n`, a header row, decimal dots. Pure.

The columns are those of docs/reports.md. Text cells that a spreadsheet would run as a formula are made harmless. The
same rows are written with semicolons and decimal commas for spreadsheets that read numbers so (`FRENCH`).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

from reports.lines import Line
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


@dataclass(frozen=True, slots=True)
class Dialect:
    """How the cells are written: what stands between them, the decimal sign, what the file begins with."""

    delimiter: str
    decimal: str
    begins: str = ""


PLAIN: Final = Dialect(",", ".")
# As French, Dutch and Belgian spreadsheets read it without being asked. Excel knows UTF-8 by the byte order mark only.
FRENCH: Final = Dialect(";", ",", "\ufeff")

# What a spreadsheet takes for the start of a formula; some take the full-width forms, too.
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
# Line breaks and controls: a cell stays on its line, because not every reader minds the quotes around a break.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def usage_csv(statements: Iterable[Statement], words: Words, dialect: Dialect = PLAIN) -> str:
    """`usage-<YEAR>.csv`: one row per instance and line, then total, vat and total_with_vat; sorted by instance.

    Lines that are billed once stand between the tariff's lines and the total; what they are for is said in `note`.
    """
    rows: list[Sequence[object]] = []
    for statement in sorted_by_instance(statements):
        rows += [_harmless_row(line_cells(statement, line, words)) for line in statement.lines]
        rows += [
            _total_row(statement, "total", statement.total),
            _total_row(statement, "vat", statement.vat, words.vat_mention(statement.vat_terms)),
            _total_row(statement, "total_with_vat", statement.total_with_vat),
        ]
    return csv_text(USAGE_HEADER, rows, dialect)


def monthly_csv(statements: Iterable[Statement], dialect: Dialect = PLAIN) -> str:
    """`monthly-<YEAR>.csv`: one row per instance and billed month; what has no sample is an empty cell."""
    rows = [cells for statement in sorted_by_instance(statements) for cells in month_cells(statement)]
    return csv_text(MONTHLY_HEADER, rows, dialect)


def month_cells(statement: Statement) -> Iterator[Sequence[object]]:
    """The billed months of a statement, each in the columns of `MONTHLY_HEADER`."""
    for month in statement.billed_months:
        yield (
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


def harmless(text: str) -> str:
    """Text on one line that no spreadsheet runs: an apostrophe goes before what would start a formula."""
    line = _CONTROL.sub(" ", text)
    return f"'{line}" if line.lstrip().startswith(_FORMULA) else line


def sorted_by_instance(statements: Iterable[Statement]) -> list[Statement]:
    """The order of every table."""
    return sorted(statements, key=lambda statement: statement.customer.instance)


def line_cells(statement: Statement, line: Line, words: Words) -> Sequence[object]:
    """A line in the columns of `USAGE_HEADER`: text as it is, whole numbers, decimal numbers, None where nothing is."""
    notes = [] if line.measured else [words.said_of(line)]
    notes += [words.note(note, statement.year, iso=True) for note in line.notes]
    return (
        statement.year,
        statement.customer.instance,
        statement.customer.client,
        line.name,
        _decimal(line.quantity, 0) if line.measured else _exact(line.quantity),
        line.unit,
        line.included,
        line.billable,
        line.unit_price,
        line.amount,
        statement.currency,
        statement.parts[line.part].months if line.measured else statement.months,
        line.days_sampled,
        line.days_expected,
        "; ".join(notes),
    )


def _harmless_row(cells: Sequence[object]) -> Sequence[object]:
    return [harmless(cell) if isinstance(cell, str) else cell for cell in cells]


def _total_row(statement: Statement, name: str, amount: object, note: str = "") -> Sequence[object]:
    customer = statement.customer
    head = (statement.year, customer.instance, harmless(customer.client), name)
    tail = (None, None, harmless(note))
    return (*head, None, None, None, None, None, amount, statement.currency, statement.months, *tail)


def _exact(value: Fraction | int | None) -> Decimal | None:
    """A quantity of a contract: it has a finite number of decimals, because it was written in decimals."""
    if value is None:
        return None
    digits = next(digits for digits in range(7) if (Fraction(value) * 10**digits).denominator == 1)
    return _decimal(value, digits)


def _decimal(value: Fraction | int | None, digits: int) -> Decimal | None:
    return None if value is None else decimal_text(value, digits)


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]], dialect: Dialect = PLAIN) -> str:
    """A header and rows as CSV; None is an empty cell."""
    stream = io.StringIO(newline="")
    stream.write(dialect.begins)
    writer = csv.writer(stream, delimiter=dialect.delimiter, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_written(cell, dialect) for cell in row] for row in rows)
    return stream.getvalue()


def _written(cell: object, dialect: Dialect) -> object:
    return f"{cell:f}".replace(".", dialect.decimal) if isinstance(cell, Decimal) else cell
