"""The state of a ledger for a terminal of 80 columns, or wider: a line per metric, and one for what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from metering.ledger.coverage import DAILY
from metering.ledger.quota import Quota
from metering.ledger.status import DAYS_SHOWN, FleetStatus, MetricStatus
from metering.samples import METRICS

GAPS_SHOWN = 3
BARS, GAP = "▁▂▃▄▅▆▇█", "·"
# For terminals that cannot show the others.
ASCII_BARS, ASCII_GAP = "01234567", "?"
# From so many columns on there is room for how many days have a sample.
WIDE = 90
INDENT = "    "

_UNITS = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3))
_METRIC_WIDTH = max(len(metric) for metric in METRICS)

# A line is a sequence of pieces of text, each with its style.
Line = Sequence[tuple[str, str]]


def render(status: FleetStatus, console: Console) -> None:
    """Print the rows; colours only on a terminal."""
    bars, gap = (BARS, GAP) if _can_show(BARS + GAP, console.encoding) else (ASCII_BARS, ASCII_GAP)
    lines = _lines(status.rows, console.width >= WIDE, bars, gap)
    if console.is_terminal:
        for line in lines:
            indent = len(INDENT) if line[0][0] == INDENT else 0
            console.print(Padding(Text.assemble(*line[1:] if indent else line), (0, 0, 0, indent)))
    else:
        # Perhaps tens of thousands of lines, for a program or a file: written as they are.
        console.file.write("".join([f"{''.join([text for text, _ in line]).rstrip()}\n" for line in lines]))


def _can_show(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeError, LookupError):
        return False
    return True


def _lines(rows: Sequence[MetricStatus], wide: bool, bars: str, gap: str) -> Iterator[Line]:
    values = [_value(row) for row in rows]
    width = max((len(value) for value in values), default=0)
    width = max(width, len("value"))
    days = f" {'days':>7}" if wide else ""
    heading = f"{'last sample':<11} {'value':>{width}} {f'last {DAYS_SHOWN} days':<{DAYS_SHOWN}}{days} quota"
    yield [(f"{'':{_METRIC_WIDTH + 2}} {heading}", "bold")]
    previous = ""
    for row, value, recent in zip(rows, values, sparklines(rows, bars, gap), strict=True):
        if row.coverage.instance != previous:
            previous = row.coverage.instance
            yield [(previous, "bold")]
        yield _line(row, value.rjust(width), wide, recent)
        if wrong := _remark(row):
            yield [(INDENT, ""), (wrong, "red" if row.missing else "dim")]


def _line(row: MetricStatus, value: str, wide: bool, recent: str) -> Line:
    found = row.coverage
    day = found.last_day.isoformat() if found.last_day else "-"
    days = f" {'-' if found.expected is None else f'{found.days_sampled}/{found.days_expected}':>7}" if wide else ""
    text = (f"  {found.metric:<{_METRIC_WIDTH}} {day:<11} {value} {recent}{days}", "")
    return (text,) if row.quota is None else (text, _quota(row.quota))


def _quota(quota: Quota) -> tuple[str, str]:
    if quota.percent is None:
        return "     -", ""
    marks = quota.marks
    reached = max(marks, default=0)
    style = "bold red" if reached >= 100 else "yellow" if reached else ""
    return f" {f'{quota.percent}%':>5}{'!' * len(marks)}", style


def render_quotas(quotas: Sequence[Quota], console: Console) -> None:
    """Print how much of each quota is used."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("instance", "metric"):
        table.add_column(heading, no_wrap=True)
    for heading in ("used", "included", "quota"):
        table.add_column(heading, justify="right", no_wrap=True)
    for quota in quotas:
        used = "-" if quota.used is None else _number(quota.used, quota.metric)
        text, style = _quota(quota)
        included = _number(quota.included, quota.metric)
        table.add_row(quota.instance, quota.metric, used, included, Text(text.strip().ljust(6), style))
    console.print(table)


def sparkline(row: MetricStatus, bars: str = BARS, gap: str = GAP) -> str:
    """The last days as one character each: a bar between 0 and the highest of them, `gap` where a sample is missing, a
    blank where none is expected.
    """
    return sparklines([row], bars, gap)[0]


def sparklines(rows: Sequence[MetricStatus], bars: str, gap: str) -> Sequence[str]:
    """The sparkline of each row. All at once: a million days of a large fleet, one by one, take most of the time."""
    if not rows:
        return []
    values = [
        row.recent if None not in row.recent else [-1 if one is None else one for one in row.recent] for row in rows
    ]
    days = np.fromiter(chain.from_iterable(values), np.int64).reshape(len(rows), -1)
    shown = _heights(days, len(bars) - 1)
    shown[days < 0] = len(bars)
    for line, row in zip(shown, rows, strict=True):
        if row.lacking:
            line[np.array(row.lacking, bool)] = len(bars) + 1
    characters = np.array([*bars, " ", gap])[shown]
    found: list[str] = characters.view(f"U{days.shape[1]}").ravel().tolist()
    return found


def _heights(days: npt.NDArray[np.int64], top: int) -> npt.NDArray[np.int8]:
    """Each value as a part of the highest of its row, in steps from 0 to `top`, rounded up: only 0 is drawn as 0."""
    highest = days.max(axis=1, keepdims=True)
    heights = np.zeros(days.shape, np.int8)
    for step in range(top):
        # step * highest // top, which might not fit in 64 bits.
        heights += days > step * (highest // top) + step * (highest % top) // top
    return heights


def _value(row: MetricStatus) -> str:
    value = row.coverage.last_value
    return "-" if value is None else _number(value, row.coverage.metric)


def _number(value: int, metric: str) -> str:
    if METRICS[metric] == "bytes":
        for unit, size in _UNITS:
            if value >= size:
                return f"{value / size:.2f} {unit}"
        return f"{value} B"
    return f"{value:,}".replace(",", " ")


def _remark(row: MetricStatus) -> str:
    found = row.coverage
    if not found.collected:
        # A metric that nobody collects is said once it should be there, and otherwise where its line is empty anyway.
        return "nothing is collected" if row.missing else "" if found.metric not in DAILY else "not collected"
    if not found.gaps and not row.failure:
        return ""
    text = f"missing {sum(map(len, found.gaps))} of {found.days_expected} days: {_gaps(row)}" if found.gaps else ""
    if row.failure:
        separator = "; " if text else ""
        text += f"{separator}failed on {row.failure.day}: {_printable(row.failure.note)}"
    return text


def _gaps(row: MetricStatus) -> str:
    gaps = row.coverage.gaps
    parts = [str(gap) for gap in gaps[-GAPS_SHOWN:]]
    if len(gaps) > GAPS_SHOWN:
        parts.insert(0, f"{sum(len(gap) for gap in gaps[:-GAPS_SHOWN])} before {gaps[-GAPS_SHOWN].first}")
    return ", ".join(parts)


def _printable(note: str) -> str:
    """A note without what could drive a terminal: it was written on a server."""
    return "".join(character if character.isprintable() else " " for character in note)
