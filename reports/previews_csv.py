"""Previews and comparisons → CSV, as the other CSV files: UTF-8, comma, `\\n`, a header row, decimal dots. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from reports.compare import Comparison
from reports.preview import Preview, plain_quantity
from reports.to_csv import csv_text, harmless

PREVIEW_HEADER: Final = [
    "year",
    "until",
    "instance",
    "client",
    "line",
    "unit",
    "quantity_so_far",
    "amount_so_far",
    "quantity_projected",
    "amount_projected",
    "currency",
    "days_sampled",
    "days_expected",
    "extrapolated",
]
COMPARE_HEADER: Final = [
    "instance",
    "client",
    "line",
    "year_before",
    "year_after",
    "amount_before",
    "amount_after",
    "currency",
    "difference",
    "quantity_effect",
    "price_effect",
    "proration_effect",
    "contract_effect",
]


def preview_csv(previews: Iterable[Preview]) -> str:
    """`preview-<YEAR>.csv`: one row per instance and line, then the total before VAT."""
    rows: list[list[object]] = []
    for preview in previews:
        projected, so_far = preview.projected, preview.so_far
        head = [projected.year, preview.until, projected.customer.instance, harmless(projected.customer.client)]
        for before, line in preview.lines:
            counted = [plain_quantity(before), before.amount if before else None]
            days = [before.days_sampled, before.days_expected] if before else [None, None]
            amounts = [*counted, plain_quantity(line), line.amount, projected.currency]
            extrapolated = "yes" if line.estimated else None
            rows.append([*head, line.name, harmless(line.unit), *amounts, *days, extrapolated])
        totals = [None, so_far.total if so_far else None, None, projected.total, projected.currency]
        rows.append([*head, "total", None, *totals, None, None, None])
    return csv_text(PREVIEW_HEADER, rows)


def compare_csv(comparisons: Iterable[Comparison], before: int, after: int) -> str:
    """`compare-<YEAR>-<YEAR>.csv`: one row per instance and line, with the effects; none where the currency changed."""
    rows = [
        [
            one.customer.instance,
            harmless(one.customer.client),
            change.line,
            before,
            after,
            change.before,
            change.after,
            one.currencies[0],
            change.difference,
            change.quantity,
            change.price,
            change.proration,
            change.contract,
        ]
        for one in comparisons
        for change in one.changes
    ]
    return csv_text(COMPARE_HEADER, rows)
