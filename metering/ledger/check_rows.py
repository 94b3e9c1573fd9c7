"""What the rows of a ledger may not say, or are hard to believe for: the checks of `check.py` that look at rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from metering.ledger.findings import Finding, MonthSubject
from metering.samples import MANUAL, compact_time, parse_iso_time
from provision.errors import Problem

# What a later run of a collector only ever raises: lines that arrived late.
RISING = ("sms_sent", "emails_sent")
_LOOK = "see on the server what happened that day; if it is wrong, collect the day again and pull"


@dataclass(frozen=True, slots=True)
class Jump:
    """A value is hard to believe when it is more than `times` the highest of all days before and at least `floor`."""

    times: int
    floor: int


JUMPS: Mapping[str, Jump] = {
    "active_users": Jump(10, 100),
    "sms_sent": Jump(100, 1_000),
    "emails_sent": Jump(100, 10_000),
    "document_bytes": Jump(100, 10 * 10**9),
}
# A beginning has nothing to be compared with.
DAYS_BEFORE = 7


def unknown_instances(month: MonthSubject) -> Iterator[Finding]:
    """Instances that the fleet does not have; of these, test environments, which are never counted."""
    fleet = month.subject.fleet
    for row in _grouped(month.samples, ["instance"], [("run", "min"), ("run", "count_distinct"), ("metric", "min")]):
        slug = row["instance"]
        if slug in fleet.instances:
            continue
        of_test = {n.names.test.domain: n.slug for n in fleet.instances.values()}
        of_test |= {f"{known}-test": known for known in fleet.instances}
        if slug in of_test:
            message = f"{slug!r} is the test environment of {of_test[slug]}: only production is counted"
            hint = "take its table out of /etc/chill/meter.toml, and move its files out of the ledger"
        else:
            message = f"{slug!r} is not an instance of this fleet"
            hint = "add inventory/instances/<slug>.yml for it, or move its files out of the ledger"
        others = row["run_count_distinct"] - 1
        more = f" (and in {others} more file{'s' if others > 1 else ''} of the month)" if others else ""
        place = month.place(row["run_min"], slug, row["metric_min"])
        yield Finding("error", Problem(place, f"{message}{more}", hint))


def foreign_moments(month: MonthSubject) -> Iterator[Finding]:
    """Rows collected at another moment than their file's name says."""
    for row in _grouped(month.samples, ["run", "collected_at"], [("instance", "min"), ("metric", "min")]):
        named = row["run"].rpartition(".")[2]
        if compact_time(parse_iso_time(row["collected_at"])) != named:
            place = month.place(row["run"], row["instance_min"], row["metric_min"])
            message = f"collected_at is {row['collected_at']}, the file's name says {named}"
            yield Finding("error", Problem(place, message, "find out how the file came to be; collect the day again"))


def fallen_counts(month: MonthSubject) -> Iterator[Finding]:
    """E-mails and SMS of which a later run counted fewer than an earlier one: it only ever reads more lines."""
    keys = ["day", "instance", "metric", "source"]
    ok = _ok(month.samples)
    chosen = pc.and_(
        pc.is_in(_text(ok, "metric"), pa.array(RISING)),
        pc.not_equal(_text(ok, "source"), MANUAL),
    )
    rising = _plain(ok.filter(chosen), [*keys, "run", "collected_at", "value"])
    several = {
        tuple(row[key] for key in keys)
        for row in rising.group_by(keys).aggregate([("value", "count")]).to_pylist()
        if row["value_count"] > 1
    }
    highest: dict[tuple[Any, ...], int] = {}
    for row in rising.sort_by("collected_at").to_pylist() if several else ():
        key = tuple(row[name] for name in keys)
        if key not in several:
            continue
        before = highest.get(key, 0)
        if row["value"] < before:
            place = month.place(row["run"], row["instance"], row["metric"])
            message = f"{row['metric']} of {row['instance']} fell from {before} to {row['value']} when collected again"
            yield Finding("suspicion", Problem(place, message, _LOOK))
        highest[key] = max(before, row["value"])


MONTH_CHECKS: Sequence[Callable[[MonthSubject], Iterator[Finding]]] = (
    unknown_instances,
    foreign_moments,
    fallen_counts,
)


@dataclass(slots=True)
class Known:
    """What is known of one metric of one instance and source: the highest value so far, and of how many days."""

    highest: int = 0
    days: int = 0


@dataclass(slots=True)
class History:
    """Remembers, month after month, the highest value of each instance, metric and source."""

    known: dict[tuple[str, str, str], Known] = field(default_factory=dict)

    def look(self, month: MonthSubject) -> Iterator[Finding]:
        """Values far above anything before: a counter that counts something else, a directory that is not the
        instance's.
        """
        names = ["day", "instance", "metric", "source", "run", "value"]
        counting = _plain(month.samples.filter(pc.greater(month.samples["addends"], 0)), names).sort_by("day")
        for day, instance, metric, source, run, value in zip(
            *(counting[name].to_pylist() for name in names), strict=True
        ):
            jump = JUMPS.get(metric)
            if jump is None or source == MANUAL:
                continue
            known = self.known.setdefault((instance, metric, source), Known())
            if known.days >= DAYS_BEFORE and value >= jump.floor and value > known.highest * jump.times:
                place = month.place(run, instance, metric)
                message = f"{metric} of {instance} is {value} on {day}, and was never more than {known.highest} before"
                yield Finding("suspicion", Problem(place, message, _LOOK))
            known.highest = max(known.highest, value)
            known.days += 1


def _ok(samples: pa.Table) -> pa.Table:
    return samples.filter(pc.equal(_text(samples, "status"), "ok"))


def _text(samples: pa.Table, name: str) -> Any:
    return samples[name].cast(pa.string())


def _plain(samples: pa.Table, names: Sequence[str]) -> pa.Table:
    """These columns, text as text."""
    columns = [_text(samples, name) if pa.types.is_dictionary(samples[name].type) else samples[name] for name in names]
    return pa.table(columns, names=list(names))


def _grouped(samples: pa.Table, keys: Sequence[str], wanted: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """The rows grouped by `keys`, in their order, with the aggregates `wanted` as `<column>_<function>`."""
    names = [*keys, *dict.fromkeys(name for name, _ in wanted)]
    grouped = _plain(samples, names).group_by(list(keys)).aggregate(list(wanted))
    rows: list[dict[str, Any]] = grouped.sort_by([(key, "ascending") for key in keys]).to_pylist()
    return rows
