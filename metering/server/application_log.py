"""What an instance's own log says: SMS that the provider took, and who logged in."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime
from typing import Final
from zoneinfo import ZoneInfo

from metering.server.config import Instance
from metering.server.moments import Moment
from metering.server.monolog import MonologParser
from metering.server.pseudonyms import Pseudonyms
from metering.server.state import State

# Under this name the state keeps what the SMS of a day cost, where the log says so. It is no metric.
CREDITS: Final = "sms_credits"


def source_name(slug: str) -> str:
    """The name under which the state knows the logs of an instance."""
    return f"application:{slug}"


class ApplicationLog:
    """Counts the SMS of one instance, and remembers logins as keyed digests. A `logs.Consumer`."""

    def __init__(self, instance: Instance, zone: ZoneInfo, pseudonyms: Pseudonyms) -> None:
        self._slug = instance.slug
        # Without a database nobody can say who is a user: then logins are not even remembered.
        self._wants_logins = bool(instance.dsn) and "logins" in instance.active_users
        self._parser = MonologParser(zone, instance.sms)
        self._pseudonyms = pseudonyms
        self._sms: Counter[str] = Counter()
        self._credits: Counter[str] = Counter()
        self._logins: set[tuple[str, str]] = set()

    def first_moment(self, head: bytes, reference: date) -> Moment | None:
        del reference
        return self._parser.first_moment(head)

    def begin(self, context: str, reference: date) -> None:
        """Every line stands alone: there is nothing to go on with."""

    def feed(self, block: bytes) -> None:
        for event in self._parser.events(block):
            day = event.moment.day
            if event.sent:
                self._sms[day] += event.sent.messages
                self._credits[day] += event.sent.credits or 0
            elif self._wants_logins and int(day[:4]) not in self._pseudonyms.forgotten:
                digest = self._pseudonyms.of_login(self._slug, int(day[:4]), event.user)
                self._logins.add((day, digest))

    def context(self) -> str:
        return ""

    def finish(self, now: datetime) -> None:
        """Nothing waits for the end."""

    def store(self, state: State) -> None:
        for day, number in self._sms.items():
            state.add_count(day, self._slug, "sms_sent", number)
        for day, number in self._credits.items():
            if number:
                state.add_count(day, self._slug, CREDITS, number)
        for day, digest in self._logins:
            state.add_login(day, self._slug, digest)
        self._sms.clear()
        self._credits.clear()
        self._logins.clear()
