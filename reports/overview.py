"""The content of the fleet's paper: all customers of a year, one row each; totals, quotas, what moved. Pure.

Amounts of different currencies are never added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from math import floor
from typing import Final

from reports.annex import Page, named, written_amount, written_money
from reports.charts import crossed_in, quota_left
from reports.lines import UNITS, cents, money
from reports.statement import Statement
from reports.table import Words

_TOTALS: Final[tuple[Callable[[Statement], Decimal], ...]] = (
    lambda statement: statement.total,
    lambda statement: statement.vat,
    lambda statement: statement.total_with_vat,
)
# A part of this size takes Typst some 140 MB, and a second or two.
ROWS_OF_A_PART: Final = 500
_COLUMNS: Final = (
    "client",
    "currency",
    "months",
    *UNITS,
    "other",
    "total",
    "vat",
    "total_with_vat",
    "change",
    "coverage",
)


def overview_page(statements: Sequence[Statement], year: int, words: Words, before: Iterable[Statement] = ()) -> Page:
    """Everything `templates/fleet.typ` shows, as JSON-ready values. `before`: the statements of the year before."""
    count = len(statements)
    currencies = sorted({statement.currency for statement in statements})
    last_year = {one.customer.instance: one for one in before}
    rows = [_row(statement, last_year.get(statement.customer.instance), words) for statement in statements]
    sums = [_sums([s for s in statements if s.currency == currency], last_year, words) for currency in currencies]
    return {
        "lang": words.language,
        "first": 1,
        "title": words.text("fleet.title", year=year),
        "subject": words.text("fleet.subject"),
        "count": words.text("fleet.customer" if count == 1 else "fleet.customers", count=words.number(count)),
        "head": [words.text(f"fleet.{column}") for column in _COLUMNS],
        "widest": _widest(rows, sums),
        "rows": rows,
        "totals": sums,
        "sums": sums,
        "notes": _notes(statements, last_year, year, words),
        "section-head": [words.text("fleet.client"), words.text("fleet.remark")],
        "sections": [
            {"title": words.text(f"fleet.{title}_title"), "rows": rows}
            for title, rows in (
                ("quotas", list(_crossings(statements, words))),
                ("moved", list(_moved(statements, last_year, words))),
                ("incomplete", [_missing(statement, words) for statement in statements if statement.incomplete]),
            )
            if rows
        ],
        "page": words.text("annex.page", page="{page}", pages="{pages}"),
        "page-of-part": words.text("fleet.page", page="{page}"),
    }


def in_parts(page: Page, rows: int = ROWS_OF_A_PART) -> Iterator[Page]:
    """A fleet's paper in parts of at most so many rows: the page itself when it has no more.

    Each part's `first` is to be set to the number of its first page; how many there are in all is not said.
    """
    sections = [(section["title"], some) for section in page["sections"] for some in _batched(section["rows"], rows)]
    if len(page["rows"]) <= rows and len(sections) == len(page["sections"]):
        yield page
        return
    nothing = {"rows": [], "sums": [], "notes": [], "sections": [], "page": page["page-of-part"]}
    tables = list(_batched(page["rows"], rows))
    for some in tables[:-1]:
        yield {**page, **nothing, "rows": some}
    # What closes the table stands under its last rows.
    yield {**page, **nothing, "rows": tables[-1] if tables else [], "sums": page["sums"], "notes": page["notes"]}
    title = ""
    for number, (named_so, some) in enumerate(sections):
        again = number > 0 and named_so == title
        title = named_so
        yield {**page, **nothing, "sections": [{"title": "" if again else title, "rows": some}]}


def _batched(rows: Sequence[Page], size: int) -> Iterator[Sequence[Page]]:
    """Rows, so many at a time."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _widest(rows: Sequence[Page], sums: Sequence[Sequence[str]]) -> list[str]:
    """The longest text of each column: in every part of the paper it is as wide."""
    texts = [["", *row["cells"]] for row in rows] + [list(cells) for cells in sums]
    return [max(column, key=len) for column in zip(*texts, strict=True)] if texts else [""] * len(_COLUMNS)


def _row(statement: Statement, before: Statement | None, words: Words) -> Page:
    billed = {line.name for line in statement.lines if line.billed}
    measured = [written_amount(statement.amount_of(name), words) if name in billed else "" for name in UNITS]
    covered = statement.coverage
    return {
        "client": named(statement.customer.client),
        "instance": statement.customer.domain,
        "cells": [
            statement.currency,
            words.number(statement.months),
            *measured,
            _unless_zero(_other(statement), words),
            *(written_amount(read(statement), words) for read in _TOTALS),
            _change(statement.total, before.total if _comparable(statement, before) and before else None, words),
            # Rounded down: 100 % is said only where nothing is missing.
            "" if covered is None else words.percent(Decimal(floor(covered))),
        ],
        "incomplete": bool(statement.incomplete),
        "estimated": words.text("annex.estimated") if statement.estimated else "",
    }


def _sums(statements: Sequence[Statement], last_year: Mapping[str, Statement], words: Words) -> list[str]:
    """One currency's label and totals: each line's, the others', before VAT, VAT, with VAT; the known change."""
    currency = statements[0].currency
    by_line = [_sum(one.amount_of(name) for one in statements) for name in UNITS]
    totals = [_sum(read(one) for one in statements) for read in _TOTALS]
    pairs = [(one, last_year.get(one.customer.instance)) for one in statements]
    known = [(one.total, before.total) for one, before in pairs if before and _comparable(one, before)]
    change = _change(_sum(now for now, _ in known), _sum(then for _, then in known), words) if known else ""
    return [
        words.text("fleet.sum", currency=currency),
        currency,
        "",
        *(written_amount(amount, words) for amount in by_line),
        _unless_zero(_sum(map(_other, statements)), words),
        *(written_amount(amount, words) for amount in totals),
        change,
        "",
    ]


def _other(statement: Statement) -> Decimal:
    """What is billed once: extras, credits, an advance, corrections."""
    return _sum(line.amount for line in statement.lines if not line.measured)


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    return money(sum(cents(Fraction(amount)) for amount in amounts))


def _unless_zero(amount: Decimal, words: Words) -> str:
    return written_amount(amount, words) if amount else ""


def _comparable(now: Statement, before: Statement | None) -> bool:
    """Whether two years' totals can stand beside each other: not in two currencies, nor when months are missing."""
    return before is not None and now.currency == before.currency and not before.incomplete and not now.incomplete


def _change(now: Decimal, before: Decimal | None, words: Words) -> str:
    """By how much a total before VAT moved, such as +3,2 %; empty when there is nothing to compare with."""
    if not before:
        return ""
    moved = Fraction(now - before) * 100 / Fraction(before)
    sign = "+" if moved > 0 else "\u2212" if moved < 0 else "±"
    return sign + words.text("percent", number=words.number(abs(moved), 1))


def _crossings(statements: Sequence[Statement], words: Words) -> Iterator[Page]:
    """Who is above which quota, by how much, and since when."""
    for statement in statements:
        remarks = []
        for line in statement.lines:
            left = quota_left(line, words)
            if not left or not left["over"]:
                continue
            month = crossed_in(line, statement)
            since = words.text("fleet.since", month=words.month(month)) if month else ""
            label = words.text(f"lines.{line.name}")
            remarks.append(words.text("between", label=label, value=f"{left['text']}{since}"))
        if remarks:
            yield _remark(statement, remarks, words)


def _moved(statements: Sequence[Statement], last_year: Mapping[str, Statement], words: Words) -> Iterator[Page]:
    """Who came and who left since the year before; nothing when that year is not known."""
    if not last_year:
        return
    now = {statement.customer.instance for statement in statements}
    for statement in statements:
        if statement.customer.instance not in last_year:
            yield _remark(statement, [words.text("fleet.came", day=words.day(statement.window.first_day))], words)
    for slug, before in last_year.items():
        if slug not in now:
            total = written_money(before.total, before.currency, words)
            yield _remark(before, [words.text("fleet.left", total=total, year=before.year)], words)


def _missing(statement: Statement, words: Words) -> Page:
    """A customer and the billed lines that lack samples for a month or more."""
    remarks = []
    for line in statement.incomplete:
        notes = [words.note(note, statement.year, iso=False) for note in line.notes]
        label = words.text(f"lines.{line.name}")
        remarks.append(words.text("between", label=label, value=", ".join(notes)))
    return _remark(statement, remarks, words)


def _remark(statement: Statement, remarks: Sequence[str], words: Words) -> Page:
    return {"client": named(statement.customer.client), "text": words.text("separator").join(remarks)}


def _notes(statements: Sequence[Statement], last_year: Mapping[str, Statement], year: int, words: Words) -> list[str]:
    """What the columns mean, as far as it does not go without saying."""
    notes = [words.text("fleet.coverage_rule")]
    if any(not line.measured for statement in statements for line in statement.lines):
        notes.append(words.text("fleet.other_rule"))
    if last_year:
        notes.append(words.text("fleet.change_rule", year=year - 1))
    return notes
