"""In which formats the figures of a year are written, and under which names. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final, Literal, get_args

from reports.statement import Statement
from reports.table import Words
from reports.to_csv import FRENCH, PLAIN, monthly_csv, usage_csv

# `csv` for programs; `csv-fr` for spreadsheets that read decimal commas; `xlsx` for people; `json` for programs.
Format = Literal["csv", "csv-fr", "xlsx", "json"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)
DEFAULT: Final[tuple[Format, ...]] = ("csv",)


def names(year: int, formats: Collection[Format]) -> list[str]:
    """The files of these formats, in the order in which they are written."""
    of = {
        "csv": [f"usage-{year}.csv", f"monthly-{year}.csv"],
        "csv-fr": [f"usage-{year}.fr.csv", f"monthly-{year}.fr.csv"],
        "xlsx": [f"usage-{year}.xlsx"],
        "json": [f"usage-{year}.json"],
    }
    return [name for one in FORMATS if one in formats for name in of[one]]


def tables(
    statements: Sequence[Statement], year: int, words: Words, formats: Collection[Format]
) -> Iterator[tuple[str, str | bytes]]:
    """The files of these formats by name, with their content."""
    for name in names(year, formats):
        yield name, _content(name, statements, year, words)


def _content(name: str, statements: Sequence[Statement], year: int, words: Words) -> str | bytes:
    if name.endswith(".csv"):
        dialect = FRENCH if name.endswith(".fr.csv") else PLAIN
        monthly = name.startswith("monthly")
        return monthly_csv(statements, dialect) if monthly else usage_csv(statements, words, dialect)
    if name.endswith(".json"):
        from reports.to_json import usage_json

        return usage_json(statements, year, words)
    # Here, because few runs write a workbook and loading its writer takes a moment.
    from reports.to_xlsx import workbook

    return workbook(statements, year, words)
