"""Which files a month of a ledger consists of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from metering.ledger.files import LedgerFile
from metering.ledger.months import Month


@dataclass(frozen=True, slots=True)
class MonthFiles:
    """What a month (2026-03) consists of: its CSV files, less those that are in `compacted`."""

    month: str
    files: Sequence[LedgerFile]
    compacted: Month | None = None


def by_month(files: Sequence[LedgerFile], compacted: Sequence[Month]) -> list[MonthFiles]:
    """The months of which there is anything, in order. Of a run whose samples are not there, nothing is taken: it has
    not arrived whole.

    OSError or ValueError when the list of a compacted month's files cannot be read.
    """
    arrived = {file.run for file in files if file.name.kind == "samples"}
    whole = sorted((f for f in files if f.run in arrived), key=lambda file: file.path.name)
    open_files = {month: list(group) for month, group in groupby(whole, key=lambda file: file.path.name[:7])}
    closed = {month.month: month for month in compacted}
    found = []
    for month in sorted({*open_files, *closed}):
        mine = open_files.get(month, [])
        if mine and month in closed:
            folded = closed[month].folded()
            mine = [file for file in mine if file.path.name not in folded]
        found.append(MonthFiles(month, mine, closed.get(month)))
    return found
