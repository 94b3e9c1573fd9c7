"""sms_sent: messages that the provider took, from the instance's own log."""

from __future__ import annotations

from datetime import date

from metering.server.application_log import source_name
from metering.server.config import Instance
from metering.server.run import Measured, Run
from metering.server.state import Key


def collector(run: Run, instance: Instance) -> Sms | None:
    """Collected where the instance has logs."""
    return Sms(run, instance) if instance.logs else None


class Sms:
    """Failures and retries leave other lines, and are not counted."""

    def __init__(self, run: Run, instance: Instance) -> None:
        self._run = run
        self._slug = instance.slug

    def measure(self, day: date) -> Measured:
        return self._run.logged(Key(day, self._slug, "sms_sent"), source_name(self._slug))

    def close(self) -> None:
        """Nothing is open."""
