"""The state of a ledger as a file for the textfile collector of Prometheus' node exporter.

Format: Prometheus, "Text-based format", version 0.0.4. The label is `slug`, because Prometheus sets `instance` itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from metering.ledger.status import FleetStatus, MetricStatus
from provision.errors import ChillError

FILE_MODE = 0o644
Value = int | float | None


def _midnight(day: date | None) -> Value:
    return None if day is None else int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def _used(row: MetricStatus) -> Value:
    return row.quota.used / row.quota.included if row.quota and row.quota.used is not None else None


# Name, help, and the value of each instance and metric; without one there is no line.
_GAUGES: Sequence[tuple[str, str, Callable[[MetricStatus], Value]]] = (
    (
        "chill_meter_last_sample_timestamp_seconds",
        "The day of the last sample, as its beginning in UTC.",
        lambda row: _midnight(row.coverage.last_day),
    ),
    (
        "chill_meter_last_sample_value",
        "The value of the last sample, in the unit of the metric.",
        lambda row: row.coverage.last_value,
    ),
    (
        "chill_meter_samples_expected",
        "Days of the year so far on which a sample is expected.",
        lambda row: row.coverage.days_expected if row.coverage.expected else None,
    ),
    (
        "chill_meter_samples_missing",
        "Expected days without a sample; 0 for a metric that is not collected by choice.",
        lambda row: (sum(map(len, row.coverage.gaps)) if row.missing else 0) if row.coverage.expected else None,
    ),
    (
        "chill_meter_last_failure_timestamp_seconds",
        "The last day that failed and that no later run made up for, as its beginning in UTC.",
        lambda row: _midnight(row.failure.day) if row.failure else None,
    ),
    (
        "chill_meter_quota_included",
        "What the contract includes in the year, in the unit of the metric.",
        lambda row: row.quota.included if row.quota else None,
    ),
    ("chill_meter_quota_used_ratio", "The part of what is included that is used: 1 is all of it.", _used),
)


def metrics_text(status: FleetStatus, now: datetime) -> str:
    """The whole file. `now` becomes the time at which the ledger was looked at."""
    return "\n".join(_text(status, now)) + "\n"


def _text(status: FleetStatus, now: datetime) -> Iterator[str]:
    yield from _head("chill_meter_status_timestamp_seconds", "When the ledger was looked at.")
    yield f"chill_meter_status_timestamp_seconds {int(now.timestamp())}"
    for name, explanation, value_of in _GAUGES:
        values = [(row.coverage, value_of(row)) for row in status.rows]
        found = [(coverage, value) for coverage, value in values if value is not None]
        if found:
            yield from _head(name, explanation)
        for coverage, value in found:
            yield f'{name}{{slug="{coverage.instance}",metric="{coverage.metric}"}} {value!r}'


def _head(name: str, explanation: str) -> Iterator[str]:
    yield f"# HELP {name} {explanation}"
    yield f"# TYPE {name} gauge"


def write_metrics(path: Path, status: FleetStatus, now: datetime) -> None:
    """Write the file, whole or not at all: whoever reads it meanwhile reads the one before. ChillError when it cannot
    be written.
    """
    # The collector reads *.prom only.
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        try:
            beside.write_text(metrics_text(status, now), encoding="utf-8")
            beside.chmod(FILE_MODE)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        hint = "give a file in the directory of the node exporter's textfile collector, which you may write"
        raise ChillError(f"--prometheus: {path}: cannot be written: {error.strerror}", hint) from None
