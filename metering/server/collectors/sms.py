"""sms_sent: messages that the provider took, from the instance's own log."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Final

from metering.server.application_log import CREDITS, source_name
from metering.server.config import Instance
from metering.server.run import Measured, Run
from metering.server.state import Key

METRIC: Final = "sms_sent"


def collector(run: Run, instance: Instance) -> Sms | None:
    """Collected where the instance has logs."""
    return Sms(run, instance) if instance.logs else None


class Sms:
    """Which records stand for how many messages: sms_patterns.py. What they cost goes into the note, where the log
    says it.
    """

    def __init__(self, run: Run, instance: Instance) -> None:
        self._run = run
        self._slug = instance.slug

    def measure(self, day: date) -> Measured:
        measured = self._run.logged(Key(day, self._slug, METRIC), source_name(self._slug))
        credits = self._run.state.count(Key(day, self._slug, CREDITS))
        return replace(measured, note=f"{credits} credits") if credits else measured

    def close(self) -> None:
        """Nothing is open."""
