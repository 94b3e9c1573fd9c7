"""`chill-report trace`: the samples behind an amount."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from provision.fleet_directory import fleet_directory
from provision.fleet_reader import load_fleet
from reports.cli.options import count, fleet_option, json_option, slug_argument, year_argument

if TYPE_CHECKING:
    from reports.lines import LineName
    from reports.trace import Counted, Trace, TracedLine

# Spelled out, because loading the lines' own module takes a moment and --help should not wait for it; a test compares.
LINES = (
    *("base", "active_users", "sms", "emails", "documents", "collabora_users"),
    *("extra", "credit", "advance", "correction"),
)


@click.command()
@slug_argument
@year_argument
@click.argument("line", metavar="LINE", type=click.Choice(LINES))
@fleet_option
@json_option
def trace(slug: str, year: int, line: LineName, fleet: str | None, as_json: bool) -> None:
    """Show the samples behind a LINE of SLUG's statement of YEAR, and how the amount came about.

    LINE is one of base, active_users, sms, emails, documents, collabora_users, extra, credit, advance, correction.

    Each sample that counts is shown with its day, value, source, moment of collection and file; people are counted,
    never listed. Of a closed year, what was closed is shown; of any other, what the ledger holds now.

    \b
    Example:
      chill-report trace acme 2026 sms
    """
    from reports.trace import trace as trace_line

    found = trace_line(load_fleet(fleet_directory(fleet)), slug, year, line)
    click.echo(_json(found) if as_json else "\n".join(_text(found)))


def _text(found: Trace) -> list[str]:
    statement = found.statement
    state = f"closed on {found.closed.manifest.closed_at:%Y-%m-%d}" if found.closed else "draft"
    lines = [f"{statement.customer.instance} {statement.year}, {state}"]
    for one in found.lines:
        lines += ["", f"{one.line.name}: {one.line.amount} {statement.currency}"]
        lines += [f"  {step}" for step in one.steps]
        for month in one.months:
            figure = "no sample" if month.figure is None else f"{month.figure} {one.line.unit}"
            lines.append(f"  {statement.year}-{month.month:02d}: {figure}, {count(len(month.samples), 'sample')}")
            lines += [f"    {_sample(sample)}" for sample in month.samples]
        lines += [f"  came late: {place}" for place in one.late]
    if found.forgotten:
        lines += ["", f"The samples were removed on purpose; counts of days and months stand in {found.forgotten}"]
    return lines


def _sample(sample: Counted) -> str:
    return f"{sample.day} {sample.value:>15} {sample.source} {sample.collected_at} {sample.file}"


def _json(found: Trace) -> str:
    statement = found.statement
    document = {
        "instance": statement.customer.instance,
        "year": statement.year,
        "closed_at": found.closed.manifest.closed_at.strftime("%Y-%m-%dT%H:%M:%SZ") if found.closed else None,
        "currency": statement.currency,
        "forgotten": str(found.forgotten) if found.forgotten else None,
        "lines": [_line(one) for one in found.lines],
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def _line(one: TracedLine) -> dict[str, Any]:
    line = one.line
    return {
        "line": line.name,
        "quantity": None if line.quantity is None else str(line.quantity),
        "unit": line.unit,
        "included": line.included,
        "billable": line.billable,
        "amount": str(line.amount),
        "steps": list(one.steps),
        "corrects": {"year": line.origin.year, "line": line.origin.line} if line.origin else None,
        "late_files": list(one.late),
        "months": [
            {
                "month": month.month,
                "figure": month.figure,
                "samples": [
                    {
                        "day": sample.day.isoformat(),
                        "value": sample.value,
                        "source": sample.source,
                        "collected_at": sample.collected_at,
                        "file": sample.file,
                    }
                    for sample in month.samples
                ],
            }
            for month in one.months
        ],
    }
