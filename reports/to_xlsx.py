"""Statements and usage → a workbook (Office Open XML, ECMA-376) for people: a sheet for each view. Pure.

    Totals      by currency, as formulas over the customers; beside them the sum of the lines, and the difference: 0
    Customers   one row each: the amounts by item, their total, VAT and total with VAT as formulas
    Lines       one row for each line of each statement, with its quantity, price, amount, days and remarks
    Months      one row for each customer and billed month

Numbers are numbers and days are days; text is always text, never a formula. Every formula stands with its value, for
programs that show a workbook without computing; the values are those of the statements, worked out exactly. A
currency is never added to another. The same statements give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from io import BytesIO
from typing import Any, Final

from xlsxwriter import Workbook
from xlsxwriter.utility import xl_col_to_name, xl_rowcol_to_cell

from reports.lines import UNITS, Line, cents, money
from reports.statement import Statement
from reports.table import Words, decimal_text
from reports.to_csv import line_cells, month_cells, sorted_by_instance

# Number formats as the file stores them: a spreadsheet shows them with the signs of its own language.
_FORMATS: Final = {
    "text": "@",
    "count": "#,##0",
    "number": "#,##0.######",
    "mean": "#,##0.00",
    "price": "#,##0.00####",
    "money": "#,##0.00",
    "percent": "0.0#",
    "day": "yyyy-mm-dd",
    "month": "yyyy-mm",
}
# The columns of a sheet: key of its title, kind of its cells, width in characters.
Columns = Sequence[tuple[str, str, int]]

_TOTALS: Final[Columns] = (
    ("currency", "text", 9),
    ("customer_count", "count", 11),
    ("total", "money", 18),
    ("vat", "money", 16),
    ("total_with_vat", "money", 20),
    ("of_lines", "money", 18),
    ("difference", "money", 12),
)
_CUSTOMERS: Final[Columns] = (
    ("instance", "text", 18),
    ("client", "text", 36),
    ("tariff", "text", 12),
    ("first_day", "day", 11),
    ("last_day", "day", 11),
    ("month_count", "count", 8),
    *((f"lines.{name}", "money", 12) for name in UNITS),
    ("other", "money", 12),
    ("currency", "text", 9),
    ("total", "money", 14),
    ("vat_percent", "percent", 7),
    ("vat", "money", 12),
    ("total_with_vat", "money", 16),
    ("coverage", "percent", 9),
    ("note", "text", 40),
)
_LINES: Final[Columns] = (
    ("instance", "text", 18),
    ("client", "text", 36),
    ("line", "text", 24),
    ("day", "day", 11),
    ("first_day", "day", 11),
    ("last_day", "day", 11),
    ("month_count", "count", 8),
    ("quantity", "number", 16),
    ("unit", "text", 11),
    ("included", "count", 10),
    ("billable", "count", 10),
    ("unit_price", "price", 11),
    ("amount", "money", 13),
    ("currency", "text", 9),
    ("days_sampled", "count", 9),
    ("days_expected", "count", 9),
    ("note", "text", 60),
)
_MONTHS: Final[Columns] = (
    ("month", "month", 9),
    ("instance", "text", 18),
    ("client", "text", 36),
    ("active_users", "count", 11),
    ("mean_daily_active", "mean", 12),
    ("peak_daily_active", "count", 12),
    ("sms", "count", 9),
    ("emails", "count", 9),
    ("mean_document_bytes", "count", 19),
    ("days_sampled", "count", 9),
)


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula, in the notation of the file (English names, commas), and the exact value that it comes to."""

    text: str
    value: Decimal | int


def workbook(statements: Sequence[Statement], year: int, words: Words) -> bytes:
    """`usage-<YEAR>.xlsx`: all statements of a year, in the language of `words`, sorted by instance."""
    ordered = sorted_by_instance(statements)
    stream = BytesIO()
    # Rows go to a file as they are written: a fleet of any size takes little memory. Sheets are written in order.
    book = Workbook(stream, {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False})
    book.set_properties({"created": datetime(year, 12, 31), "title": words.text("fleet.title", year=year)})  # noqa: DTZ001
    sheets = _Sheets(book, words)
    sheets.add("totals", _TOTALS, _totals(ordered, words))
    sheets.add("customers", _CUSTOMERS, _customers(ordered, words))
    sheets.add("lines", _LINES, (_line(one, line, words) for one in ordered for line in one.lines))
    sheets.add("months", _MONTHS, (row for one in ordered for row in _months(one)))
    book.close()
    return stream.getvalue()


class _Sheets:
    """Sheets with a head that stays, filters, and cells by the kind of their column."""

    def __init__(self, book: Workbook, words: Words) -> None:
        self._book, self._words = book, words
        self._cells = {kind: book.add_format({"num_format": code, "valign": "top"}) for kind, code in _FORMATS.items()}
        self._head = book.add_format({"bold": True, "text_wrap": True, "valign": "top", "bottom": 1})

    def add(self, name: str, columns: Columns, rows: Iterator[Sequence[Any]]) -> None:
        sheet = self._book.add_worksheet(self._words.text(f"workbook.{name}"))
        sheet.set_landscape()
        sheet.set_paper(9)  # A4
        sheet.repeat_rows(0)
        # The head, and of long rows whose they are, stay in sight.
        sheet.freeze_panes(1, 0 if columns is _TOTALS else 2)
        for column, (_, kind, width) in enumerate(columns):
            sheet.set_column(column, column, width, self._cells[kind])
        for column, (key, _, _) in enumerate(columns):
            sheet.write_string(0, column, self._words.text(key if "." in key else f"workbook.{key}"), self._head)
        last = 0
        for last, row in enumerate(rows, 1):
            for column, (value, (_, kind, _)) in enumerate(zip(row, columns, strict=True)):
                self._write(sheet, last, column, value, self._cells[kind])
        sheet.autofilter(0, 0, last, len(columns) - 1)

    def _write(self, sheet: Any, row: int, column: int, value: Any, form: Any) -> None:
        if isinstance(value, Formula):
            sheet.write_formula(row, column, f"={value.text}", form, float(value.value))
        elif isinstance(value, str):
            if value:
                sheet.write_string(row, column, value, form)
        elif isinstance(value, date):
            sheet.write_datetime(row, column, datetime(value.year, value.month, value.day), form)  # noqa: DTZ001
        elif value is not None:
            sheet.write_number(row, column, float(value), form)


def _totals(statements: Sequence[Statement], words: Words) -> Iterator[Sequence[Any]]:
    """Of each currency its totals over the sheet of customers, and the sum over the sheet of lines."""
    customers = _Ranges("customers", _CUSTOMERS, len(statements), words)
    lines = _Ranges("lines", _LINES, sum(len(one.lines) for one in statements), words)
    for row, currency in enumerate(sorted({one.currency for one in statements}), 1):
        of = [one for one in statements if one.currency == currency]
        where = xl_rowcol_to_cell(row, 0, col_abs=True)
        total = _sum([one.total for one in of])
        yield (
            currency,
            Formula(f"COUNTIF({customers['currency']},{where})", len(of)),
            Formula(customers.sum_of("total", where), total),
            Formula(customers.sum_of("vat", where), _sum([one.vat for one in of])),
            Formula(customers.sum_of("total_with_vat", where), _sum([one.total_with_vat for one in of])),
            Formula(lines.sum_of("amount", where), total),
            Formula(f"ROUND({_cell(row, _TOTALS, 'total')}-{_cell(row, _TOTALS, 'of_lines')},2)", money(0)),
        )


def _customers(statements: Sequence[Statement], words: Words) -> Iterator[Sequence[Any]]:
    for row, statement in enumerate(statements, 1):
        measured = [statement.amount_of(name) for name in UNITS]
        first = xl_rowcol_to_cell(row, _place(_CUSTOMERS, "lines.base"))
        total, percent, vat = (_cell(row, _CUSTOMERS, name) for name in ("total", "vat_percent", "vat"))
        yield (
            statement.customer.instance,
            statement.customer.client,
            statement.tariff,
            statement.window.first_day,
            statement.window.last_day,
            statement.months,
            *measured,
            _sum([line.amount for line in statement.lines if not line.measured]),
            statement.currency,
            Formula(f"ROUND(SUM({first}:{_cell(row, _CUSTOMERS, 'other')}),2)", statement.total),
            statement.vat_percent,
            # The rate in percent: a product of two numbers that are exact, or nearly so, rounds as it does on paper.
            Formula(f"ROUND({total}*{percent}/100,2)", statement.vat),
            Formula(f"ROUND({total}+{vat},2)", statement.total_with_vat),
            _rounded_down(statement.coverage),
            _remarks(statement, words),
        )


def _remarks(statement: Statement, words: Words) -> str:
    said = [words.vat_mention(statement.vat_terms), words.text("annex.estimated") if statement.estimated else ""]
    return words.text("separator").join(one for one in said if one)


def _line(statement: Statement, line: Line, words: Words) -> Sequence[Any]:
    """A line as in the CSV, with its days as days, and its name in words."""
    _, instance, client, _, quantity, unit, *bill, months, sampled, expected, note = line_cells(statement, line, words)
    included, billable, unit_price, amount, currency = bill
    window = statement.parts[line.part].window if line.measured else None
    return (
        instance,
        client,
        words.label(line),
        line.day,
        window.first_day if window else None,
        window.last_day if window else None,
        months,
        quantity,
        unit,
        included,
        billable,
        unit_price,
        amount,
        currency,
        sampled,
        expected,
        note,
    )


def _months(statement: Statement) -> Iterator[Sequence[Any]]:
    for year, month, instance, *figures in month_cells(statement):
        yield date(_whole(year), _whole(month), 1), instance, statement.customer.client, *figures


def _whole(cell: object) -> int:
    assert isinstance(cell, int)  # noqa: S101  # the first two columns of the monthly table
    return cell


@dataclass(frozen=True, slots=True)
class _Ranges:
    """The columns of a sheet as ranges that another sheet's formulas name: `'Lines'!$M$2:$M$9`."""

    sheet: str
    columns: Columns
    rows: int
    words: Words

    def __getitem__(self, key: str) -> str:
        column = xl_col_to_name(_place(self.columns, key), True)
        title = self.words.text(f"workbook.{self.sheet}")
        return f"'{title}'!{column}$2:{column}${max(1, self.rows) + 1}"

    def sum_of(self, key: str, currency: str) -> str:
        return f"ROUND(SUMIFS({self[key]},{self['currency']},{currency}),2)"


def _place(columns: Columns, key: str) -> int:
    return next(place for place, (name, _, _) in enumerate(columns) if name == key)


def _cell(row: int, columns: Columns, key: str) -> str:
    return str(xl_rowcol_to_cell(row, _place(columns, key)))


def _sum(amounts: Sequence[Decimal]) -> Decimal:
    return money(sum(cents(Fraction(amount)) for amount in amounts))


def _rounded_down(share: Fraction | None) -> Decimal | None:
    """With one decimal: 100 is said only where nothing is missing."""
    return None if share is None else decimal_text(Fraction(share * 10 // 1, 10), 1)
