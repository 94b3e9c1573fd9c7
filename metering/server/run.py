"""One run: what the collectors are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

from metering.server.config import Config
from metering.server.errors import SourceError
from metering.server.logs import Reading
from metering.server.pseudonyms import Pseudonyms
from metering.server.state import Key, State


@dataclass(frozen=True, slots=True)
class Measured:
    """A value in the metric's unit; for active users, their pseudonyms as well (`value` of them)."""

    value: int
    users: frozenset[str] = frozenset()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """The configuration, what the server remembers, the local day, and how reading each log source went."""

    config: Config
    state: State
    pseudonyms: Pseudonyms
    today: date
    horizon: date
    readings: Mapping[str, Reading] = field(hash=False)

    @property
    def yesterday(self) -> date:
        return self.today - timedelta(days=1)

    def oldest_day(self, source: str) -> date:
        """The first day that the logs of a source tell about.

        A log that was never rotated has lost nothing: it is silent because nothing happened. One that is
        rotated tells nothing about the days before its oldest line.
        """
        first, rotated = self.state.first_day(source)
        return first if rotated and first else self.horizon

    def require_logs(self, source: str, day: date) -> None:
        """SourceError unless the logs of a source were all read and tell about `day`."""
        failure = self.readings[source].failure
        if failure:
            raise SourceError(failure)
        oldest = self.oldest_day(source)
        if day < oldest:
            raise SourceError(f"the logs of this day are gone: they go back to {oldest.isoformat()}", final=True)

    def logged(self, key: Key, source: str) -> Measured:
        """What the logs of a source say about a key; 0 when they tell about the day and say nothing."""
        self.require_logs(source, key.day)
        return Measured(self.state.count(key))
