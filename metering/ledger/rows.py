"""One samples or users file read line by line: every problem, with its line.

The store checks whole years at once and comes here only for the files it finds at fault; `chill-meter
pull` comes here for each new file. Format: docs/ledger-format.md.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from metering.ledger.files import MOVE_IT, LedgerFile
from metering.samples import SAMPLES_HEADER, USERS_HEADER, FileKind, Sample, iso_time, parse_iso_time, parse_sample
from provision.errors import Problem

HEADERS: Mapping[FileKind, tuple[str, ...]] = {"samples": SAMPLES_HEADER, "users": USERS_HEADER}
PSEUDONYM = r"^[0-9a-f]{16}$"
SHOWN_PER_FILE = 10

_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of one row and the line it starts on, from 1; the header is line 1."""

    line: int
    cells: Sequence[str]


@dataclass(frozen=True, slots=True)
class SamplesFile:
    """What a samples file says."""

    file: LedgerFile
    samples: Sequence[Sample] = ()
    problems: Sequence[Problem] = ()

    def active_users(self) -> Mapping[str, int]:
        """By instance, the `ok` active_users value that counts within this file."""
        found = [s for s in self.samples if s.metric == "active_users" and s.value is not None]
        return {s.instance: s.value or 0 for s in sorted(found, key=lambda sample: sample.collected_at)}


@dataclass(frozen=True, slots=True)
class UsersFile:
    """What a users file says: by instance, the number of its rows."""

    file: LedgerFile
    counts: Mapping[str, int] = field(default_factory=dict)
    problems: Sequence[Problem] = ()


def header_line(kind: FileKind) -> bytes:
    """The first line of a file of that kind, with its end."""
    return ",".join(HEADERS[kind]).encode() + b"\n"


def frame_problem(data: bytes, kind: FileKind, place: str) -> Problem | None:
    """What is wrong with a file as a whole, before its rows are looked at: header, line ends, a cut end."""
    header = header_line(kind)
    if not data:
        return Problem(place, "is empty, without even a header", MOVE_IT)
    if not data.startswith(header):
        first = data.split(b"\n", 1)[0][:120].decode("utf-8", "replace")
        return Problem(f"{place}:1", f"the header is {first!r}, expected {header.decode().strip()!r}", MOVE_IT)
    if not data.endswith(b"\n"):
        return Problem(place, "ends in the middle of a line: it is not complete", MOVE_IT)
    if b"\r" in data:
        line = data[: data.index(b"\r")].count(b"\n") + 1
        return Problem(f"{place}:{line}", "has a carriage return; lines end with a line feed alone", MOVE_IT)
    return None


def split_rows(data: bytes, kind: FileKind, place: str) -> tuple[list[Row], list[Problem]]:
    """The rows of a file whose frame is sound, and the problems of those that have not as many cells as
    the header.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        return [], [Problem(f"{place}:{line}", "is not UTF-8 text", MOVE_IT)]
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[Row] = []
    problems: list[Problem] = []
    line = 1
    try:
        for cells in reader:
            if len(cells) == len(HEADERS[kind]):
                rows.append(Row(line, cells))
            else:
                message = f"has {len(cells)} cells, expected {len(HEADERS[kind])}"
                problems.append(Problem(f"{place}:{line}", message, MOVE_IT))
            line = reader.line_num + 1
    except csv.Error as error:
        problems.append(Problem(f"{place}:{line}", f"is not CSV: {error}", MOVE_IT))
    return rows[1:], problems


def read_samples(file: LedgerFile) -> SamplesFile:
    """Read a samples file whole. OSError when it cannot be read."""
    rows, problems = _rows(file)
    samples: list[Sample] = []
    seen: dict[tuple[str, str, object], int] = {}
    for row in rows:
        try:
            sample = _sample(row.cells, file)
            key = (sample.instance, sample.metric, sample.collected_at)
            if key in seen:
                raise ValueError(f"{sample.instance} {sample.metric} stands on line {seen[key]} already")
        except ValueError as error:
            problems.append(Problem(f"{file.place}:{row.line}", str(error), MOVE_IT))
            continue
        seen[key] = row.line
        samples.append(sample)
    return SamplesFile(file, samples, _shortened(problems, file.place))


def _sample(cells: Sequence[str], file: LedgerFile) -> Sample:
    """A sample that fits its file. ValueError names the cell at fault."""
    named = dict(zip(SAMPLES_HEADER, cells, strict=True))
    _check_day(named["day"], file)
    sample = parse_sample(named)
    if not is_time(named["collected_at"]):
        raise ValueError(f"collected_at is {named['collected_at']!r}, expected 2026-11-23T00:15:00Z")
    if sample.source != file.name.server:
        raise ValueError(f"source is {sample.source!r}, the file's name says {file.name.server!r}")
    if not sample.instance:
        raise ValueError("instance is empty")
    return sample


def is_time(text: str) -> bool:
    """Whether `text` is a moment as cells have it, such as 2026-11-23T00:15:00Z."""
    try:
        return bool(_TIME.fullmatch(text)) and iso_time(parse_iso_time(text)) == text
    except ValueError:
        return False


def _check_day(day: str, file: LedgerFile) -> None:
    if day != file.name.day.isoformat():
        raise ValueError(f"day is {day!r}, the file's name says {file.name.day.isoformat()!r}")


def read_users(file: LedgerFile) -> UsersFile:
    """Read a users file whole. OSError when it cannot be read."""
    rows, problems = _rows(file)
    counts: Counter[str] = Counter()
    seen: dict[tuple[str, str], int] = {}
    for row in rows:
        day, instance, user = row.cells
        try:
            _check_day(day, file)
            if not instance:
                raise ValueError("instance is empty")
            if not re.fullmatch(PSEUDONYM, user):
                # The cell may hold what it should not, such as a name: it is not repeated here.
                raise ValueError("user is not a pseudonym of 16 hex digits")
            if (instance, user) in seen:
                raise ValueError(f"this user of {instance} stands on line {seen[instance, user]} already")
        except ValueError as error:
            problems.append(Problem(f"{file.place}:{row.line}", str(error), MOVE_IT))
            continue
        seen[instance, user] = row.line
        counts[instance] += 1
    return UsersFile(file, counts, _shortened(problems, file.place))


def _rows(file: LedgerFile) -> tuple[list[Row], list[Problem]]:
    data = Path(file.path).read_bytes()
    if problem := frame_problem(data, file.name.kind, file.place):
        return [], [problem]
    return split_rows(data, file.name.kind, file.place)


def _shortened(problems: Sequence[Problem], place: str) -> Sequence[Problem]:
    """The first problems of one file and how many follow: a file of the wrong kind has one in every line."""
    if len(problems) <= SHOWN_PER_FILE:
        return tuple(problems)
    rest = Problem(place, f"and {len(problems) - SHOWN_PER_FILE} more lines are wrong", MOVE_IT)
    return (*problems[:SHOWN_PER_FILE], rest)


def pair_problems(samples: SamplesFile, users: UsersFile | None) -> Iterator[Problem]:
    """Where the users file of a run contradicts its samples. None stands for a users file that is not
    there.
    """
    values = samples.active_users()
    counts = users.counts if users else {}
    for instance in sorted({*values, *counts}):
        yield from pair_problem(
            samples.file.place, instance, values.get(instance), counts.get(instance), users is not None
        )


def pair_problem(place: str, instance: str, value: int | None, count: int | None, present: bool) -> Iterator[Problem]:
    """The contradiction between one `active_users` value and the rows in the users file beside it, if
    there is one.

    `place` names the samples file; `value` is None without an `ok` row, `count` None without rows;
    `present` says whether there is a users file at all. A value of 0 needs none.
    """
    beside = place.removesuffix(".samples.csv") + ".users.csv"
    if value is None:
        yield Problem(
            beside,
            f"holds {count} users of {instance}, without an ok active_users row in its samples file",
            MOVE_IT,
        )
    elif value != (count or 0):
        found = f"its users file holds {count or 0}" if present else "its users file is missing"
        hint = "bring both files of a run into the ledger" if not present else MOVE_IT
        yield Problem(place, f"active_users of {instance} is {value}, but {found}", hint)
