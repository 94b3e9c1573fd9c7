"""Statements and usage → JSON for programs: `usage-<YEAR>.json`. Pure.

Money and everything else with decimals is text, because most readers make floats of JSON's numbers; counts are numbers;
a gap is null. What may be null or empty is as in the CSV of docs/reports.md, whose names the keys have.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from reports.lines import Line
from reports.statement import Statement
from reports.table import Words
from reports.to_csv import MONTHLY_HEADER, USAGE_HEADER, line_cells, month_cells, sorted_by_instance

# What the statement says once, and its lines need not repeat.
_OF_STATEMENT = ("year", "instance", "client", "currency")


def usage_json(statements: Iterable[Statement], year: int, words: Words) -> str:
    """All statements of a year with their lines and billed months, sorted by instance."""
    document = {
        "year": year,
        "language": words.language,
        "statements": [_statement(one, words) for one in sorted_by_instance(statements)],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _statement(statement: Statement, words: Words) -> dict[str, Any]:
    window = statement.window
    return {
        "instance": statement.customer.instance,
        "client": statement.customer.client,
        "domain": statement.customer.domain,
        "first_day": window.first_day.isoformat(),
        "last_day": window.last_day.isoformat(),
        "months": statement.months,
        "tariff": statement.tariff,
        "currency": statement.currency,
        "lines": [_line(statement, line, words) for line in statement.lines],
        "total": str(statement.total),
        "vat_treatment": statement.vat_terms.treatment,
        "vat_percent": f"{statement.vat_percent:f}",
        "vat": str(statement.vat),
        "total_with_vat": str(statement.total_with_vat),
        "vat_mention": words.vat_mention(statement.vat_terms),
        "estimated": statement.estimated,
        "usage": [_plain(zip(MONTHLY_HEADER, cells, strict=True)) for cells in month_cells(statement)],
    }


def _line(statement: Statement, line: Line, words: Words) -> dict[str, Any]:
    cells = _plain(zip(USAGE_HEADER, line_cells(statement, line, words), strict=True))
    part = statement.parts[line.part].window if line.measured else None
    days = {"first_day": part.first_day.isoformat(), "last_day": part.last_day.isoformat()} if part else {}
    day = {"day": line.day.isoformat()} if line.day else {}
    return cells | days | day | {"billed": line.billed, "estimated": line.estimated}


def _plain(cells: Iterable[tuple[str, object]] | Mapping[str, object]) -> dict[str, Any]:
    """Cells as JSON's values, without what the statement says."""
    pairs = dict(cells).items()
    return {
        name: f"{cell:f}" if isinstance(cell, Decimal) else cell for name, cell in pairs if name not in _OF_STATEMENT
    }
