"""What failed, in few words. Pure."""

from __future__ import annotations

import os
import traceback
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from metering.server.state import Key


def describe(failures: Sequence[tuple[Key, str]]) -> str:
    """One indented line per metric, instance and reason, with the days."""
    days: dict[tuple[str, str, str], list[date]] = {}
    for key, reason in failures:
        days.setdefault((key.metric, key.instance, reason), []).append(key.day)
    return "\n".join(
        f"    {metric} of {instance}, {_range(found)}: {reason}" for (metric, instance, reason), found in days.items()
    )


def describe_mistake(mistake: Exception) -> str:
    """An exception that nobody foresaw: its kind and its place in our code, and nothing of what it says."""
    frames = traceback.extract_tb(mistake.__traceback__)
    ours = [frame for frame in frames if f"{Path('metering')}{os.sep}" in frame.filename] or frames
    place = f" in {Path(ours[-1].filename).name}, line {ours[-1].lineno}" if ours else ""
    return f"a mistake of chill-meter: {type(mistake).__name__}{place}; please report it"


def _range(days: Sequence[date]) -> str:
    first, last = min(days), max(days)
    return f"{first}" if first == last else f"{first} to {last} ({len(set(days))} days)"
