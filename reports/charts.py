"""The year month by month: a statement → charts with their quotas, for `templates/annex.typ`. Pure.

A chart is columns of shares of the chart's height, with a text for those who do not see them: every month's value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import accumulate
from typing import Any, Final

from metering.ledger.usage import MonthUsage
from reports.lines import GIGABYTE, Line, MeasuredName
from reports.statement import Statement
from reports.table import Words

Value = Fraction | int
# A longer number does not fit over a column.
_WIDEST: Final = 6


# A chart in hundredths of a millimetre: its height, the width of a month, of a column and of what is beside it.
_HEIGHT, _MONTH, _COLUMN, _BESIDE, _LEAST = 1400, 700, 490, 105, 25


class Drawing(str):
    """Path data (SVG 1.1, 8.3), which is no text that is printed."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class _Series:
    """One measure by month: how a month is read, and how many units of the papers one counted unit is."""

    name: MeasuredName
    read: Callable[[MonthUsage], Value | None]
    unit: int = 1
    # Whether the quota is for a whole period, so that what counts is the sum since it began.
    adds_up: bool = False


_SERIES: Final = (
    _Series("active_users", lambda month: month.active_users),
    _Series("documents", lambda month: month.mean_document_bytes, unit=GIGABYTE),
    _Series("emails", lambda month: month.emails, adds_up=True),
    _Series("sms", lambda month: month.sms),
)


def charts(statement: Statement, words: Words) -> dict[str, Any]:
    """`title`, `months` (12 names), `legend` and `charts`: one per measure that has months; none for an opening."""
    shown = statement.paper == "annual" and statement.billed_months
    return {
        "title": words.text("charts.title"),
        "months": [words.short_month(month) for month in range(1, 13)],
        "charts": [_chart(series, statement, words) for series in _SERIES] if shown else [],
        "legend": _legend(statement, words),
    }


def quota_left(line: Line, words: Words) -> dict[str, Any] | None:
    """What a quota leaves, or what is above it: `text`, `share` of the quota that is used (0 to 1), whether `over`.

    None where there is no quota, nothing is billed or there is no sample.
    """
    if not line.billed or not line.included or line.quantity is None:
        return None
    unit = GIGABYTE if line.name == "documents" else 1
    quota = line.included * unit
    written = words.gigabytes if line.name == "documents" else words.number
    over = line.quantity > quota
    text = words.text(
        "charts.over" if over else "charts.left",
        count=written(line.quantity - quota if over else quota - line.quantity),
        quota=_quota_text(line.included, line.name, words),
    )
    return {"text": text, "share": float(min(Fraction(line.quantity) / quota, Fraction(1))), "over": over}


def crossed_in(line: Line, statement: Statement) -> int | None:
    """The first month, 1 to 12, in which a line's quota was exceeded; None when no month alone tells."""
    series = next((series for series in _SERIES if series.name == line.name), None)
    if series is None or not line.included:
        return None
    quota = line.included * series.unit
    months = statement.parts[line.part].window.months
    total: Value = 0
    for month in statement.billed_months:
        value = series.read(month)
        if month.month not in months or value is None:
            continue
        total += value
        if (total if series.adds_up else value) > quota:
            return month.month
    return None


def _chart(series: _Series, statement: Statement, words: Words) -> dict[str, Any]:
    lines = [line for line in statement.lines if line.name == series.name]
    read = {month.month: series.read(month) for month in statement.billed_months}
    quotas = _quotas(series, statement, lines)
    running = series.adds_up and any(quotas)
    values = [read.get(month) for month in range(1, 13)]
    bases = _bases(statement, values) if running else [0] * 12
    tops = [None if value is None else base + value for base, value in zip(bases, values, strict=True)]
    highest = max([*(top for top in tops if top is not None), *(quota for quota in quotas if quota)], default=0)
    scale = highest or 1
    texts = _texts(series, tops, words)
    left = quota_left(lines[-1], words) if lines else None
    columns = [
        {
            "text": texts[month - 1] if month in read else "",
            "base": _share(bases[month - 1], scale) if month in read else 0.0,
            "height": _share(values[month - 1] or 0, scale),
            "quota": _share(quotas[month - 1], scale),
        }
        for month in range(1, 13)
    ]
    return {
        "title": words.text(f"lines.{series.name}"),
        "unit": words.text(f"charts.unit_{series.name}{'_running' if running else ''}"),
        "left": left,
        "alt": _alt(series, statement, read, lines, words),
        "columns": columns,
        "drawing": _drawing(columns),
    }


def _share(value: Value, scale: Value) -> float:
    """A value as a part of another: the nearest number to the exact one."""
    return (value.numerator * scale.denominator) / (value.denominator * scale.numerator)


def _drawing(columns: Sequence[dict[str, Any]]) -> dict[str, Drawing]:
    """The columns as path data: what came before each month, the month itself, the quotas."""
    bases, heights, quotas = [], [], []
    for month, column in enumerate(columns):
        left, base = month * _MONTH, round(column["base"] * _HEIGHT)
        if base:
            bases.append(_rectangle(left, 0, base))
        if column["height"]:
            # What is hardly more than nothing is seen all the same.
            heights.append(_rectangle(left, base, max(round(column["height"] * _HEIGHT), _LEAST)))
        if column["quota"]:
            quotas.append(f"M{left} {_HEIGHT - round(column['quota'] * _HEIGHT)}h{_MONTH}")
    return {
        name: Drawing("".join(parts)) for name, parts in (("bases", bases), ("heights", heights), ("quotas", quotas))
    }


def _rectangle(left: int, above: int, height: int) -> str:
    """A column of a chart, so much above its floor."""
    return f"M{left + _BESIDE} {_HEIGHT - above}v-{height}h{_COLUMN}v{height}z"


def _quotas(series: _Series, statement: Statement, lines: Sequence[Line]) -> list[Value]:
    """The quota that holds in each month, in what is counted; 0 where there is none."""
    quotas: list[Value] = [0] * 12
    for line in lines:
        for month in statement.parts[line.part].window.months:
            quotas[month - 1] = (line.included or 0) * series.unit if line.billed else 0
    return quotas


def _bases(statement: Statement, values: Sequence[Value | None]) -> list[Value]:
    """What the months before each one came to, in the same period of the contract: its quota holds for all of it."""
    bases: list[Value] = [0] * 12
    for part in statement.parts:
        months = [month - 1 for month in part.window.months]
        sums: Iterator[Value] = accumulate((values[month] or 0 for month in months), initial=0)
        for month, before in zip(months, sums, strict=False):
            bases[month] = before
    return bases


def _texts(series: _Series, values: Sequence[Value | None], words: Words) -> list[str]:
    """What is written over the columns: shortened, all of them, when one would be too wide."""
    numbers = [
        None if value is None else value if series.unit == 1 else Fraction(value, series.unit) for value in values
    ]
    highest = max((number for number in numbers if number is not None), default=0)
    digits = 1 if series.name == "documents" and highest < 1000 else 0
    # No number is longer than the highest.
    write = words.short_number if len(words.number(highest, digits)) > _WIDEST else partial(words.number, digits=digits)
    return [words.text("annex.gap") if number is None else write(number) for number in numbers]


def _alt(
    series: _Series, statement: Statement, read: dict[int, Value | None], lines: Sequence[Line], words: Words
) -> str:
    """The chart in words: every month's value, and what is included."""

    def value(found: Value | None) -> str:
        if found is None:
            return words.text("notes.no_sample")
        return words.gigabytes(found) if series.name == "documents" else words.number(found)

    months = ", ".join(f"{words.month(month)} {value(found)}" for month, found in read.items())
    text = words.text(
        "charts.alt",
        title=words.text(f"lines.{series.name}"),
        unit=words.text(f"charts.unit_{series.name}"),
        year=statement.year,
        months=months,
    )
    quotas = dict.fromkeys(_quota_text(line.included, series.name, words) for line in lines if line.included)
    return " ".join([text, *(words.text("charts.alt_quota", quota=quota) for quota in quotas)])


def _quota_text(included: int, name: str, words: Words) -> str:
    number = words.number(included)
    return words.text("gigabytes", number=number) if name == "documents" else number


def _legend(statement: Statement, words: Words) -> list[str]:
    return list(_legends(statement, words))


def _legends(statement: Statement, words: Words) -> Iterator[str]:
    """What in the charts has to be explained: only what is there."""
    if any(line.included and line.billed for line in statement.lines):
        yield words.text("charts.legend_quota")
    kinds = {note.kind for line in statement.lines for note in line.notes}
    if kinds & {"no_sample", "months_without_sample"}:
        yield words.text("charts.legend_gap")
    if len(statement.billed_months) < 12:
        yield words.text("charts.legend_blank")
