"""The metrics: one file each, and one line each in COLLECTORS (docs/metering.md says how to add one)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Final, Protocol

from metering.server.collectors import active_users, documents, emails, sms
from metering.server.config import Instance
from metering.server.run import Measured, Run


class Collector(Protocol):
    """Measures one metric of one instance."""

    def measure(self, day: date) -> Measured:
        """The value of a local day. SourceError when it cannot be had."""
        ...

    def close(self) -> None:
        """Give back what was opened."""
        ...


# By metric: what makes its collector, or None when the configuration names no source for it.
COLLECTORS: Final[dict[str, Callable[[Run, Instance], Collector | None]]] = {
    "active_users": active_users.collector,
    "sms_sent": sms.collector,
    "emails_sent": emails.collector,
    "document_bytes": documents.collector,
}
