"""chill-meter compact: closed months of the ledger become Parquet files."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta

import click

from metering.cli.ledger import load_the_fleet, today_of
from metering.cli.options import fleet_option, json_option, say
from provision.errors import RequestError


@click.command()
@click.option(
    "--until", metavar="MONTH", help="The last month to compact, such as 2026-09; default: the one before last month."
)
@click.option("--keep-csv", is_flag=True, help="Leave the CSV files where they are; they no longer count.")
@fleet_option
@json_option
def compact(until: str | None, keep_csv: bool, fleet_path: str | None, as_json: bool) -> None:
    """Turn the ledger's CSV files of closed months into Parquet files with the same rows.

    Every answer stays the same, and comes much faster. Files of a compacted month that arrive later count as well;
    the next compaction takes them in. It may be interrupted at any moment and run again.

    Exit status 2 when a file breaks the format (nothing was changed), 3 when other months were compacted.

    \b
    Example:
      chill-meter compact --until 2026-09
    """
    fleet = load_the_fleet(fleet_path)
    from metering.ledger.compact import compact as compact_months

    last = last_month(until, today_of(fleet, datetime.now(UTC)))
    done = compact_months(fleet.ledger, last, keep_csv, say)
    if as_json:
        click.echo(json.dumps([asdict(month) for month in done], indent=2))
    elif not done:
        say(f"nothing to compact until {last}")


def last_month(until: str | None, today: date) -> str:
    """The last month to compact, as 2026-09. RequestError when `until` is no month, or one that is not over yet."""
    this_month = today.replace(day=1)
    if until is None:
        last = this_month - timedelta(days=1)
        return f"{last.replace(day=1) - timedelta(days=1):%Y-%m}"
    if not re.fullmatch(r"[0-9]{4}-(0[1-9]|1[0-2])", until):
        raise RequestError(f"--until: {until!r} is not a month", "a valid one: 2026-09")
    if until >= f"{this_month:%Y-%m}":
        raise RequestError(f"--until: {until} is not over", "only a month that has ended can be compacted")
    return until
