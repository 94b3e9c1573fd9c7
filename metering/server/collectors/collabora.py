"""collabora_users: distinct people who opened a document with Collabora since 1 January, from the logs of its calls.

The value of a day covers the year up to that day, because what is billed is the last value of the year
(docs/decisions/0014-collabora-users.md).
"""

from __future__ import annotations

from datetime import date

from metering.server.config import Instance
from metering.server.run import Measured, Run
from metering.server.state import Key
from metering.server.wopi import METRIC, source_name


def collector(run: Run, instance: Instance) -> Collabora | None:
    """Collected where the instance names logs of Collabora's calls."""
    return Collabora(run, instance) if instance.wopi else None


class Collabora:
    """What is an opening, and whose it is: wopi.py and tokens.py."""

    def __init__(self, run: Run, instance: Instance) -> None:
        self._run = run
        self._slug = instance.slug

    def measure(self, day: date) -> Measured:
        return self._run.logged(Key(day, self._slug, METRIC), source_name(self._slug))

    def close(self) -> None:
        """Nothing is open."""
