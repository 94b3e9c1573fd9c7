"""The content of the fleet's paper: all customers of a year, one row each, totals by currency. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from math import floor

from reports.annex import Page, coverage_percent
from reports.lines import cents, money
from reports.statement import Statement
from reports.table import Words

_AMOUNTS = ("base", "active_users", "sms", "emails", "documents", "collabora_users")
_TOTALS: tuple[Callable[[Statement], Decimal], ...] = (
    lambda statement: statement.total,
    lambda statement: statement.vat,
    lambda statement: statement.total_with_vat,
)


def overview_page(statements: Sequence[Statement], year: int, words: Words) -> Page:
    """Everything `templates/fleet.typ` shows, as JSON-ready values; amounts of different currencies are never added."""
    currencies = sorted({statement.currency for statement in statements})
    count = len(statements)
    columns = ("client", "months", *_AMOUNTS, "total", "vat", "total_with_vat", "coverage")
    return {
        "lang": words.language,
        "title": words.text("fleet.title", year=year),
        "subject": words.text("fleet.subject"),
        "count": words.text("fleet.customer" if count == 1 else "fleet.customers", count=words.number(count)),
        "head": [words.text(f"fleet.{column}") for column in columns],
        "rows": [_row(statement, words) for statement in statements],
        "sums": [_sums([s for s in statements if s.currency == currency], words) for currency in currencies],
        "incomplete": {
            "title": words.text("fleet.incomplete_title"),
            "rule": words.text("fleet.coverage_rule"),
            "rows": [_missing(statement, words) for statement in statements if statement.incomplete],
        },
        "page": words.text("annex.page", page="{page}", pages="{pages}"),
    }


def _row(statement: Statement, words: Words) -> Page:
    currency = statement.currency
    amounts = [words.money(line.amount, currency) if line.billed else "" for line in statement.lines]
    totals = [words.money(read(statement), currency) for read in _TOTALS]
    covered = coverage_percent(statement.lines)
    return {
        "client": statement.customer.client,
        "instance": statement.customer.domain,
        # Rounded down: 100 % is said only where nothing is missing.
        "cells": [
            words.number(statement.months),
            *amounts,
            *totals,
            "" if covered is None else words.percent(Decimal(floor(covered))),
        ],
        "incomplete": bool(statement.incomplete),
    }


def _sums(statements: Sequence[Statement], words: Words) -> list[str]:
    """One currency's label and totals: each line's, before VAT, VAT, with VAT."""
    currency = statements[0].currency
    by_line = [_sum(s.lines[position].amount for s in statements) for position in range(len(_AMOUNTS))]
    totals = [_sum(read(s) for s in statements) for read in _TOTALS]
    label = words.text("fleet.sum", currency=currency)
    return [label, "", *(words.money(amount, currency) for amount in (*by_line, *totals)), ""]


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    return money(sum(cents(Fraction(amount)) for amount in amounts))


def _missing(statement: Statement, words: Words) -> list[str]:
    """A customer and the billed lines that lack samples for a month or more."""
    remarks = []
    for line in statement.incomplete:
        notes = [words.note(note, statement.year, iso=False) for note in line.notes]
        label = words.text(f"lines.{line.name}")
        remarks.append(words.text("between", label=label, value=", ".join(notes)))
    return [statement.customer.client, words.text("separator").join(remarks)]
