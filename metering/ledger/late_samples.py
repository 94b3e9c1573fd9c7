"""Server samples that arrive after the provider's count was imported for their day: both would add up, so the import
is taken back in the same pull. Why so: docs/decisions/0025-a-pull-takes-imports-back.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import date, datetime
from pathlib import Path

from metering.samples import MANUAL, FileName
from provision.errors import InvalidFiles, Problem

# The days of files under way into the ledger: a pull that is killed among them leaves it to the next one.
MARK = ".late-samples"


class LateSamples:
    """Of one pull. The ledger's lock must be held as long."""

    def __init__(self, ledger: Path, folded: Iterable[FileName]) -> None:
        """`folded`: the files whose rows are in compacted months."""
        self._ledger = ledger
        self._folded = {name.day for name in folded if name.server == MANUAL}
        self._manual: dict[int, set[date]] = {}
        self._expected = self._read()

    def expect(self, days: Iterable[date]) -> None:
        """Files of these days are about to appear in the ledger."""
        new = {day for day in days if day not in self._expected and day in self._manual_days(day.year)}
        if new:
            self._expected |= new
            staged = self._ledger / f"{MARK}.new"
            with staged.open("w", encoding="ascii") as stream:
                stream.writelines(f"{day}\n" for day in sorted(self._expected))
                stream.flush()
                os.fsync(stream.fileno())
            staged.rename(self._ledger / MARK)

    def settle(self, now: datetime) -> tuple[int, list[Problem]]:
        """Take back what was imported for the days expected and is counted by a server by now; how many values, and
        why it cannot be done.
        """
        if not self._expected:
            return 0, []
        # Only where there is something to take back: reading a ledger costs every other pull some time.
        from metering.ledger.import_sms import take_back

        try:
            taken = take_back(self._ledger, self._expected, now)
        except InvalidFiles as invalid:
            return 0, list(invalid.problems)
        (self._ledger / MARK).unlink()
        return taken, []

    def _read(self) -> set[date]:
        try:
            return {date.fromisoformat(line) for line in (self._ledger / MARK).read_text(encoding="ascii").split()}
        except FileNotFoundError:
            return set()

    def _manual_days(self, year: int) -> set[date]:
        """The days of a year of which something was recorded by hand or imported."""
        if year not in self._manual:
            directory = self._ledger / f"{year:04d}"
            entries = os.scandir(directory) if directory.is_dir() else ()
            names = (FileName.parse(entry.name) for entry in entries if f".{MANUAL}." in entry.name)
            self._manual[year] = {name.day for name in names if name} | self._folded
        return self._manual[year]
