"""An estimate for the days without a sample, only made on demand: gaps are never filled in silence. Pure.

What adds up day by day (SMS, e-mails) is carried on: each missing day counts as the mean of the days that have a
sample, and the sum is rounded half up to a whole message. Levels (active users, documents, Collabora users) are left
as they are: their measures already rest on what was sampled. What has no sample at all cannot be estimated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction

from metering.ledger.usage import Window, YearUsage
from reports.lines import METRICS, Line, LineName, Note, round_half_up


def estimated_usage(usage: YearUsage, window: Window) -> tuple[YearUsage, Mapping[LineName, int]]:
    """The usage with its missing days estimated, and how many those were, by line; lines without any are left out."""
    days: dict[LineName, int] = {}

    def carried_on(name: LineName, quantity: int | None) -> int | None:
        sampled = usage.days_sampled.get(METRICS[name], 0)
        missing = (window.last_day - window.first_day).days + 1 - sampled
        if quantity is None or not sampled or missing <= 0:
            return quantity
        days[name] = missing
        return round_half_up(quantity + Fraction(quantity * missing, sampled))

    estimated = replace(usage, sms=carried_on("sms", usage.sms), emails=carried_on("emails", usage.emails))
    return estimated, days


def mark_estimated(lines: Iterable[Line], days: Mapping[LineName, int]) -> Iterator[Line]:
    """The lines, with a mark and a note on each of which `days` were estimated."""
    for line in lines:
        if line.name in days:
            note = Note("estimated", days=days[line.name])
            yield replace(line, estimated=True, notes=(*line.notes, note))
        else:
            yield line
