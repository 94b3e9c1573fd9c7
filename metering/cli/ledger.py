"""What chill-meter does on the control machine: pull, record, status."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import click

from metering.cli.options import a_day, as_date, fleet_option, json_option, say
from metering.samples import METRICS
from provision.errors import PartlyDone, RequestError

if TYPE_CHECKING:
    from provision.fleet import Fleet


@click.command()
@click.argument("servers", nargs=-1, metavar="[SERVER]...")
@fleet_option
@json_option
def pull(servers: Sequence[str], fleet_path: str | None, as_json: bool) -> None:
    """Fetch new sample files from the spools of SERVERS (default: all) into the ledger.

    Exit status 3 when a server did not answer: the others were fetched.

    \b
    Example:
      chill-meter pull --fleet ~/fleet
    """
    fleet = load_the_fleet(fleet_path)
    from metering.ledger.pull import pull as pull_files

    result = pull_files(fleet, servers, say)
    if as_json:
        values = {"new_files": result.new_files, "unreachable": list(result.unreachable)}
        click.echo(json.dumps(values, indent=2))
    if result.unreachable:
        names = ", ".join(result.unreachable)
        raise PartlyDone(
            f"{result.new_files} new files; these servers did not answer: {names}",
            "nothing is lost: their files wait in their spools; pull again when they answer",
        )
    if not as_json:
        say(f"{result.new_files} new files")


@click.command()
@click.argument("slug", metavar="SLUG")
@click.argument("metric", type=click.Choice(tuple(METRICS)), metavar="METRIC")
@click.argument("value", type=click.IntRange(min=0), metavar="VALUE")
@click.option("--day", type=a_day, default="today", metavar="DAY", help="The day it was true; default: today.")
@click.option("--note", default="", metavar="TEXT", help="Where the number comes from.")
@fleet_option
def record(slug: str, metric: str, value: int, day: str | date, note: str, fleet_path: str | None) -> None:
    """Write a number that was counted by hand into the ledger.

    METRIC is one of: sms_sent, emails_sent, document_bytes, collabora_users.

    \b
    Example:
      chill-meter record acme collabora_users 12 --note "list of the customer, January"
    """
    fleet = load_the_fleet(fleet_path)
    from metering.ledger.record import record as record_value

    now = datetime.now(UTC)
    today = today_of(fleet, now)
    click.echo(record_value(fleet, slug, metric, value, as_date(day, today) or today, note, now))


@click.command()
@fleet_option
@json_option
def status(fleet_path: str | None, as_json: bool) -> None:
    """Show what the ledger holds of each instance and metric, and what is missing.

    Exit status 3 when something is missing, fit for monitoring.

    \b
    Example:
      chill-meter status --json
    """
    fleet = load_the_fleet(fleet_path)
    from metering.ledger import status as ledger_status

    rows = ledger_status.status(fleet, today_of(fleet, datetime.now(UTC)))
    if as_json:
        click.echo(ledger_status.to_json(rows))
    else:
        from rich.console import Console

        ledger_status.render(rows, Console())
    if ledger_status.missing(rows):
        raise PartlyDone("samples are missing", "chill-meter pull fetches what the servers have collected")


def load_the_fleet(path: str | None) -> Fleet:
    """The fleet; RequestError on a server, which has none."""
    try:
        from provision.fleet import fleet_directory, load_fleet
    except ImportError:
        hint = "run it on the control machine, where the toolkit is installed with its extra [control]"
        raise RequestError("this command needs the fleet, which servers do not have", hint) from None
    return load_fleet(fleet_directory(path))


def today_of(fleet: Fleet, now: datetime) -> date:
    """The day it is in the fleet's time zone."""
    from zoneinfo import ZoneInfo

    return now.astimezone(ZoneInfo(fleet.settings.timezone)).date()
