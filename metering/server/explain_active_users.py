"""Why a day has so many active users: by source and by overlap, in numbers only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any

from metering.server.application_log import source_name
from metering.server.collectors.active_users import ActiveUsers, People, collector
from metering.server.config import Config, Instance
from metering.server.errors import MeterError, SourceError
from metering.server.logs import Reading
from metering.server.pseudonyms import Pseudonyms
from metering.server.run import Run
from metering.server.state import State


@dataclass(frozen=True, slots=True)
class ActiveUsersExplained:
    """The numbers of one day. `sources`: people by source; `overlaps`: people by the sources that all of them show
    and no other does, such as `columns + logins`; `earlier`: people whom only an earlier collection saw;
    `not_counted`: people whom a source shows, by the reason why they do not count.
    """

    instance: str
    day: date
    active_users: int
    sources: Mapping[str, int]
    overlaps: Mapping[str, int]
    earlier: int
    not_counted: Mapping[str, int]
    note: str

    def values(self) -> dict[str, Any]:
        """The same for programs."""
        return {**asdict(self), "day": self.day.isoformat()}


def explain_active_users(config: Config, slug: str, day: date, now: datetime) -> ActiveUsersExplained:
    """Ask the sources again, as a collection would; logins are those that the last collection read.

    MeterError (status 2) when there is nothing to explain, (status 1) when a source cannot be read.
    """
    instance = _instance(config, slug)
    today = now.astimezone(config.timezone).date()
    if day > today:
        raise MeterError(f"DAY: {day} is in the future", f"today is {today}", status=2)
    readings = {source_name(slug): Reading()}
    with State(config.state) as state:
        # The first day of which anything is known, without remembering that it was asked.
        horizon = min([*state.collected_days(), today - timedelta(days=1)])
        run = Run(config, state, Pseudonyms(config.state / "keys"), today, horizon, readings)
        active_users = collector(run, instance)
        if active_users is None:
            raise _uncounted(slug)
        return explained(slug, day, _people(active_users, slug, day))


def explained(slug: str, day: date, people: People) -> ActiveUsersExplained:
    """The numbers of `people`. Pure."""
    overlaps: Counter[str] = Counter()
    for one in frozenset().union(*people.sources.values()):
        overlaps[" + ".join(source for source, shown in people.sources.items() if one in shown)] += 1
    return ActiveUsersExplained(
        instance=slug,
        day=day,
        active_users=len(people.active),
        sources={source: len(shown) for source, shown in people.sources.items()},
        overlaps=dict(sorted(overlaps.items(), key=lambda item: (item[0].count("+"), item[0]))),
        earlier=len(people.earlier),
        not_counted={
            "service accounts": people.service_accounts,
            "disabled": people.disabled,
            "unknown": people.strangers,
        },
        note=people.lost,
    )


def describe(found: ActiveUsersExplained) -> str:
    """The numbers as lines of text."""
    rows = [(source, number, "") for source, number in found.sources.items()]
    if found.earlier:
        rows.append(("earlier", found.earlier, "seen by an earlier collection, no longer shown by a source"))
    lines = [f"{found.instance}, {found.day}: {found.active_users} active users", *_table(rows)]
    if found.overlaps:
        lines += ["each of them is shown by", *_table([(name, number, "") for name, number in found.overlaps.items()])]
    meanings = {"unknown": "ids or login names that no user has"}
    lines += ["shown and not counted"]
    lines += _table([(name, number, meanings.get(name, "")) for name, number in found.not_counted.items()])
    return "\n".join([*lines, *([f"note: {found.note}"] if found.note else [])])


def _table(rows: list[tuple[str, int, str]]) -> list[str]:
    width = max((len(name) for name, _, _ in rows), default=0)
    return [f"  {name:<{width}}  {number:>6}  {meaning}".rstrip() for name, number, meaning in rows]


def _instance(config: Config, slug: str) -> Instance:
    instance = config.instances.get(slug)
    if instance is None:
        known = ", ".join(sorted(config.instances)) or "none"
        raise MeterError(f"SLUG: {slug!r} is not an instance of {config.path}", f"known: {known}", status=2)
    if not instance.dsn:
        raise _uncounted(slug)
    return instance


def _uncounted(slug: str) -> MeterError:
    hint = f'[instances.{slug}] wants dsn = "postgresql:///…"'
    return MeterError(f"active users of {slug} are not counted on this server", hint, status=2)


def _people(active_users: ActiveUsers, slug: str, day: date) -> People:
    try:
        return active_users.people(day)
    except SourceError as failure:
        raise MeterError(f"active_users of {slug}, {day}: {failure.reason}") from None
    finally:
        active_users.close()
