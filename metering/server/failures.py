"""What failed, in few lines: the same reason on many days is one line. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from metering.server.state import Key


def describe(failures: Sequence[tuple[Key, str]]) -> str:
    """One indented line per metric, instance and reason, with the days."""
    days: dict[tuple[str, str, str], list[date]] = {}
    for key, reason in failures:
        days.setdefault((key.metric, key.instance, reason), []).append(key.day)
    return "\n".join(
        f"    {metric} of {instance}, {_range(found)}: {reason}" for (metric, instance, reason), found in days.items()
    )


def _range(days: Sequence[date]) -> str:
    first, last = min(days), max(days)
    return f"{first}" if first == last else f"{first} to {last} ({len(set(days))} days)"
