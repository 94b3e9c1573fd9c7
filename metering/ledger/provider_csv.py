"""An SMS provider's export, read: how many messages it counts per day and instance. Pure but for the reading.

Every provider has columns of its own: a Layout says what they mean. The cells of such a file are about people (numbers,
texts): a problem names line and column, never the cell, and only counts leave this module.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final, Literal, TextIO, get_args
from zoneinfo import ZoneInfo

from provision.errors import InvalidFiles, Problem

Field = Literal["date", "account", "count", "credits", "status"]
FIELDS: Final[tuple[Field, ...]] = get_args(Field)
SEPARATORS: Final = (",", ";", "\t", "|")
# A file of the wrong form has a problem on every line: these are shown, the rest is counted.
SHOWN: Final = 20
# More for one row is a number of another kind, perhaps somebody's.
MOST_CREDITS: Final = 10**6
# Directives of strptime without which a date has no time of day.
_CLOCK: Final = re.compile(r"%-?[HIXcs]")


@dataclass(frozen=True, slots=True)
class Layout:
    """What an export's columns mean.

    `columns`: the header's name of each field; only `date` must be there. Without `count` a row is one message.
    `separator`: one character, empty for whichever the header shows. `date_format` as strptime takes it, empty for
    ISO 8601; a time without an offset is in `zone`, a date without a time stands for itself. `accounts`: the slug of
    each account; one that is not named must be a slug itself. `instance`: the slug of all rows, where no column says
    it. `sent`: the texts of `status` that mean a sent message; empty: every row is one.
    """

    columns: Mapping[Field, str]
    zone: ZoneInfo
    separator: str = ""
    encoding: str = "utf-8-sig"
    date_format: str = ""
    accounts: Mapping[str, str] = field(default_factory=dict)
    instance: str = ""
    sent: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Export:
    """What an export says: messages, and credits where it tells them, by (day of the fleet's time zone, slug); `rows`
    is the number of rows read, `unsent` of those with another status.
    """

    messages: Mapping[tuple[date, str], int]
    credits: Mapping[tuple[date, str], Decimal]
    rows: int
    unsent: int


@dataclass(frozen=True, slots=True)
class _Row:
    day: date
    slug: str
    messages: int
    credits: Decimal | None


def read_export(path: Path, layout: Layout, slugs: frozenset[str], fleet_zone: ZoneInfo) -> Export:
    """Read an export. InvalidFiles with every problem found, each with its line and column."""
    problems: list[Problem] = []
    messages: Counter[tuple[date, str]] = Counter()
    credits: dict[tuple[date, str], Decimal] = {}
    rows = unsent = 0
    for found in _rows(path, layout, slugs, fleet_zone):
        rows += 1
        if isinstance(found, Problem):
            problems.append(found)
        elif found is None:
            unsent += 1
        else:
            key = found.day, found.slug
            messages[key] += found.messages
            if found.credits is not None:
                credits[key] = credits.get(key, Decimal(0)) + found.credits
    if problems:
        more = len(problems) - SHOWN
        rest = [Problem(path.name, f"and {more} more problems")] if more > 0 else []
        raise InvalidFiles(
            [*problems[:SHOWN], *rest], "correct --map, or the file, and run it again; nothing was changed"
        )
    return Export(messages, credits, rows, unsent)


def _rows(path: Path, layout: Layout, slugs: frozenset[str], zone: ZoneInfo) -> Iterator[_Row | Problem | None]:
    """Each row's meaning; None for one that was not sent."""
    line = 1
    try:
        with path.open(encoding=layout.encoding, newline="") as stream:
            separator = layout.separator or _separator(stream, layout)
            reader = csv.reader(stream, delimiter=separator, strict=True)
            header = next(reader, [])
            places = _places(path, header, layout)
            parser = _RowParser(path, layout, places, len(header), slugs, zone)
            for cells in reader:
                line = reader.line_num
                if cells:
                    yield parser.parse(cells, line)
    except UnicodeError as error:
        hint = "name the file's encoding, for example --encoding cp1252"
        where = f" near byte {error.start}" if isinstance(error, UnicodeDecodeError) else ""
        raise InvalidFiles([Problem(path.name, f"is not {layout.encoding} text{where}", hint)]) from None
    except csv.Error:
        hint = "see whether --separator is right, and whether the file is whole"
        raise InvalidFiles([Problem(f"{path.name}: after line {line}", "is not CSV", hint)]) from None
    except OSError as error:
        raise InvalidFiles([Problem(str(path), f"cannot be read: {error.strerror}")]) from None


def _separator(stream: TextIO, layout: Layout) -> str:
    """The one by which the header has most of the columns asked for; the stream stands at its beginning again."""
    first = stream.readline(100_000)
    stream.seek(0)
    wanted = set(layout.columns.values())

    def having(separator: str) -> int:
        return len(wanted.intersection(cell.strip() for cell in next(csv.reader([first], delimiter=separator), [])))

    return max(SEPARATORS, key=having)


def _places(path: Path, header: Sequence[str], layout: Layout) -> dict[Field, int]:
    names = [name.strip() for name in header]
    problems = []
    for meaning, column in layout.columns.items():
        if names.count(column) != 1:
            # Its own columns are not shown: a file without a header begins with somebody's number.
            what = "has no column" if column not in names else "has more than one column"
            hint = (
                f"look at the first line of the file, then: --map {meaning}=COLUMN (and --separator, if it is unusual)"
            )
            problems.append(Problem(f"{path.name}: line 1", f"{what} {column!r}", hint))
    if problems:
        raise InvalidFiles(problems)
    return {meaning: names.index(column) for meaning, column in layout.columns.items()}


class _RowParser:
    def __init__(
        self,
        path: Path,
        layout: Layout,
        places: Mapping[Field, int],
        width: int,
        slugs: frozenset[str],
        zone: ZoneInfo,
    ) -> None:
        self._name = path.name
        self._layout = layout
        self._places = places
        self._width = width
        self._slugs = slugs
        self._zone = zone

    def parse(self, cells: Sequence[str], line: int) -> _Row | Problem | None:
        if len(cells) != self._width:
            what = f"has {len(cells)} cells, the first line {self._width}"
            return Problem(f"{self._name}: line {line}", what, "see whether --separator is right")
        meaning: Field = "status"
        try:
            if self._layout.sent and self._cell(cells, "status") not in self._layout.sent:
                return None
            meaning = "date"
            day = self._day(self._cell(cells, "date"))
            meaning = "account"
            slug = self._slug(cells)
            meaning = "count"
            messages = _whole(self._cell(cells, "count")) if "count" in self._places else 1
            meaning = "credits"
            credits = _decimal(self._cell(cells, "credits")) if "credits" in self._places else None
        except ValueError as fault:
            column = self._layout.columns[meaning]
            return Problem(f"{self._name}: line {line}, column {column!r}", *fault.args)
        return _Row(day, slug, messages, credits)

    def _cell(self, cells: Sequence[str], meaning: Field) -> str:
        return cells[self._places[meaning]].strip()

    def _day(self, text: str) -> date:
        form = self._layout.date_format
        try:
            moment = datetime.strptime(text, form) if form else datetime.fromisoformat(text)  # noqa: DTZ007 (below)
            if moment.tzinfo is None and not (_CLOCK.search(form) if form else len(text) > len("2026-11-22")):
                return moment.date()
            moment = moment if moment.tzinfo else moment.replace(tzinfo=self._layout.zone)
            return moment.astimezone(self._zone).date()
        except (ValueError, OverflowError):
            shape = f"of the form {form}" if form else "of ISO 8601, such as 2026-11-22 or 2026-11-22T10:00:00+01:00"
            hint = "name its form, for example --date-format '%d/%m/%Y %H:%M'"
            raise ValueError(f"is no date {shape}", hint) from None

    def _slug(self, cells: Sequence[str]) -> str:
        if "account" not in self._places:
            return self._layout.instance
        account = self._cell(cells, "account")
        slug = self._layout.accounts.get(account, account)
        if slug not in self._slugs:
            raise ValueError("is neither an instance nor an account that is named", "name it: --account ACCOUNT=SLUG")
        return slug


def _whole(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise ValueError("is not a whole number, 0 or more", "")
    return int(text)


def _decimal(text: str) -> Decimal:
    try:
        number = Decimal(text.replace(",", "."))
    except InvalidOperation:
        raise ValueError("is not a number", "") from None
    if not number.is_finite() or not 0 <= number < MOST_CREDITS:
        raise ValueError("is not a number, 0 or more", "")
    return number
