"""What `chill-meter status` shows: for each instance and metric the last sample, what is missing, and why."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from metering.ledger.coverage import DAILY, Coverage, DayRange, coverage
from metering.ledger.store import Ledger, open_ledger
from metering.samples import METRICS
from provision.fleet import Fleet

GAPS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Failure:
    """The last day on which a metric failed and no other run made up for it. `note` says why."""

    day: date
    note: str


@dataclass(frozen=True, slots=True)
class MetricStatus:
    """The state of one metric of one instance: its coverage of the year so far, and its last failure.

    `missing`: days are expected and have no sample. A metric that never had a row is "not collected",
    which is a choice of the server's configuration, unless nothing at all of the instance is collected.
    """

    coverage: Coverage
    failure: Failure | None
    missing: bool


def status(fleet: Fleet, today: date) -> list[MetricStatus]:
    """The state of every instance of the fleet, over the year of yesterday until yesterday. `today` in
    the fleet's time zone.

    InvalidFiles when files of the ledger break the format.
    """
    yesterday = today - timedelta(days=1)
    ledger = open_ledger(fleet.ledger, [yesterday.year])
    expected = {
        slug: expected_days(instance.contract.starts, instance.contract.ends, yesterday)
        for slug, instance in fleet.instances.items()
    }
    covered = coverage(ledger, expected)
    failures = _failures(ledger)
    silent = {slug for slug in expected if not any(covered[slug, metric].collected for metric in DAILY)}
    return [
        MetricStatus(found, failures.get(key), bool(found.gaps) and (found.collected or key[0] in silent))
        for key, found in covered.items()
    ]


def expected_days(starts: date, ends: date | None, until: date) -> DayRange | None:
    """The days of the year of `until`, until that day, on which a contract runs; None when there are none."""
    first = max(starts, date(until.year, 1, 1))
    last = min(ends or until, until)
    return DayRange(first, last) if first <= last else None


def _failures(ledger: Ledger) -> Mapping[tuple[str, str], Failure]:
    failed = ledger.failures
    unmended = failed.anti_join(ledger.samples, ["day", "instance", "metric"])
    last = unmended.group_by(["instance", "metric"]).agg(
        day=unmended.day.max(),
        note=unmended.note.argmax(unmended.day.cast("string").concat(unmended.collected_at)),
    )
    return {(row["instance"], row["metric"]): Failure(row["day"], row["note"]) for row in ledger.fetch(last)}


def missing(rows: Sequence[MetricStatus]) -> bool:
    """Whether any sample that should be there is not."""
    return any(row.missing for row in rows)


def render(rows: Sequence[MetricStatus], console: Console) -> None:
    """Print the rows as a table."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("instance", "metric", "last sample"):
        table.add_column(heading, no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("days", justify="right", no_wrap=True)
    table.add_column("missing", overflow="fold")
    previous = ""
    for row in rows:
        found = row.coverage
        shown = "" if found.instance == previous else found.instance
        previous = found.instance
        table.add_row(Text(shown), Text(found.metric), *_figures(found), _missing_text(row))
    console.print(table)


def _figures(found: Coverage) -> tuple[str, str, str]:
    day = found.last_day.isoformat() if found.last_day else "-"
    value = "-" if found.last_value is None else f"{found.last_value:,}".replace(",", " ")
    return day, value, f"{found.days_sampled}/{found.days_expected}" if found.expected else "-"


def _missing_text(row: MetricStatus) -> Text:
    found = row.coverage
    if not found.collected:
        word = "not recorded" if found.metric not in DAILY else "not collected"
        return Text(word, style="red" if row.missing else "dim")
    parts = [str(gap) for gap in found.gaps[-GAPS_SHOWN:]]
    if len(found.gaps) > GAPS_SHOWN:
        earlier = found.gaps[:-GAPS_SHOWN]
        parts.insert(0, f"{sum(len(gap) for gap in earlier)} days before {found.gaps[-GAPS_SHOWN].first},")
    text = " ".join(parts)
    if row.failure:
        text += f"{' ' if text else ''}(failed on {row.failure.day}: {_printable(row.failure.note)})"
    return Text(text, style="red" if row.missing else "")


def _printable(note: str) -> str:
    """A note without what could drive a terminal: it was written on a server."""
    return "".join(character if character.isprintable() else " " for character in note)


def to_json(rows: Sequence[MetricStatus]) -> str:
    """The rows as a JSON array, one object per instance and metric. Days as ISO 8601; null where there is
    nothing.
    """
    return json.dumps([_plain(row) for row in rows], indent=2, ensure_ascii=False)


def _plain(row: MetricStatus) -> dict[str, Any]:
    found = row.coverage
    return {
        "instance": found.instance,
        "metric": found.metric,
        "unit": METRICS[found.metric],
        "collected": found.collected,
        "last_day": found.last_day.isoformat() if found.last_day else None,
        "last_value": found.last_value,
        "days_sampled": found.days_sampled,
        "days_expected": found.days_expected,
        "gaps": [{"first": gap.first.isoformat(), "last": gap.last.isoformat()} for gap in found.gaps],
        "failure": {"day": row.failure.day.isoformat(), "note": row.failure.note} if row.failure else None,
        "missing": row.missing,
    }
