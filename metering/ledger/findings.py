"""What a check of the ledger looks at, and what it finds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Literal
from zoneinfo import ZoneInfo

import pyarrow as pa

from metering.ledger.files import LedgerFile
from metering.ledger.month_files import MonthFiles
from metering.ledger.months import Month
from metering.ledger.rows import split_rows
from metering.samples import FileName
from provision.errors import Problem
from provision.fleet import Fleet

Level = Literal["error", "suspicion"]


@dataclass(frozen=True, slots=True)
class Finding:
    """An error breaks the format or a promise of the ledger; a suspicion may be true, and someone should look."""

    level: Level
    problem: Problem


@dataclass(frozen=True, slots=True)
class Subject:
    """What is checked: the fleet, the files of its ledger, and what day it is there."""

    fleet: Fleet
    files: Sequence[LedgerFile]
    compacted: Sequence[Month]
    now: datetime

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.fleet.settings.timezone)

    def folded(self) -> Iterator[tuple[Month, FileName, str]]:
        """The files whose rows compacted months hold, with their checksums."""
        for month in self.compacted:
            for text, digest in month.folded().items():
                if name := FileName.parse(text):
                    yield month, name, digest

    def names(self) -> Iterator[tuple[str, FileName]]:
        """Every file, with the place that messages name; also those that only compacted months hold."""
        present = set()
        for file in self.files:
            present.add(file.name)
            yield file.place, file.name
        for month, name, _ in self.folded():
            if name not in present:
                yield f"{month.place}/{name}", name


@dataclass(frozen=True)
class MonthSubject:
    """The settled rows (`settle.py`) of one month, and where they come from."""

    subject: Subject
    files: MonthFiles
    samples: pa.Table

    @cached_property
    def _by_run(self) -> Mapping[str, LedgerFile]:
        return {file.run: file for file in self.files.files if file.name.kind == "samples"}

    def place(self, run: str, instance: str, metric: str) -> str:
        """Where a row stands: file and line, or the compacted month that holds it and the name of its run."""
        file = self._by_run.get(run)
        if file is None:
            return f"{self.files.compacted.place}/samples.parquet: {run}" if self.files.compacted else run
        rows, _ = split_rows(file.path.read_bytes(), "samples", file.place)
        lines = [row.line for row in rows if tuple(row.cells[1:3]) == (instance, metric)]
        return f"{file.place}:{lines[0]}" if lines else file.place
