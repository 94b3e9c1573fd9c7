"""emails_sent: recipients of final external delivery, from the mail server's log."""

from __future__ import annotations

from datetime import date
from typing import Final

from metering.server.config import Instance
from metering.server.postfix import SOURCE
from metering.server.run import Measured, Run
from metering.server.state import Key

METRIC: Final = "emails_sent"


def collector(run: Run, instance: Instance) -> Emails | None:
    """Collected where the server has a mail log and the instance says who sends in its name."""
    return Emails(run, instance) if instance.mail and run.config.postfix else None


class Emails:
    """What is a delivery, and whose it is: postfix.py and mailqueue.py."""

    def __init__(self, run: Run, instance: Instance) -> None:
        self._run = run
        self._slug = instance.slug

    def measure(self, day: date) -> Measured:
        return self._run.logged(Key(day, self._slug, "emails_sent"), SOURCE)

    def close(self) -> None:
        """Nothing is open."""
