"""chill-meter: counts what instances use, on their servers, and gathers it on the control machine.

Only `collect` runs on servers; what the other commands need is imported inside them, so that servers do
without it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metering.samples import METRICS
from metering.server.config import DEFAULT_PATH, load_config
from metering.server.errors import MeterError
from metering.server.failures import describe
from provision.console import Commands
from provision.errors import ChillError, PartlyDone, RequestError

if TYPE_CHECKING:
    from metering.server.collect import Outcome
    from provision.fleet import Fleet


class MeterCommands(Commands):
    """The errors of the server's side end a command as those of the control machine do."""

    expected = (ChillError, MeterError)


def a_day(value: str | date) -> str | date:
    """A date such as 2026-11-23, or one of two words, which stay words for want of a time zone."""
    if isinstance(value, date) or value in ("today", "yesterday"):
        return value
    try:
        return datetime.strptime(value, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a date such as 2026-11-23, today or yesterday.") from None


fleet_option = click.option(
    "--fleet",
    "fleet_path",
    metavar="DIR",
    help="The fleet directory; else $CHILL_FLEET, else the current directory.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON to standard output.")


@click.group(cls=MeterCommands)
def main() -> None:
    """Count what instances use.

    On a server, every night: collect. On the control machine: pull, record, status.
    """


@main.command()
@click.option(
    "--config",
    "config_path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    default=DEFAULT_PATH,
    show_default=True,
    help="What to collect on this server.",
)
@click.option("--since", type=a_day, metavar="DAY", help="Collect every day from here on, even again.")
@click.option("--until", type=a_day, metavar="DAY", help="The last day; default: yesterday.")
@click.option("-v", "--verbose", is_flag=True, help="Tell progress and the files written, terminal or not.")
@json_option
def collect(
    config_path: Path, since: str | date | None, until: str | date | None, verbose: bool, as_json: bool
) -> None:
    """Count what the instances of this server used, and write sample files into the spool.

    DAY is a date, today or yesterday. Without days: every day that is complete and was not collected yet.

    It is silent when all is well, because cron mails what it says. Exit status 3 means that a source failed:
    the others were written all the same.

    \b
    Examples:
      chill-meter collect
      chill-meter collect --config ./meter.toml --since 2026-11-01 --until 2026-11-22
    """
    from metering.server.collect import collect as collect_days

    config = load_config(config_path)
    now = datetime.now(UTC)
    today = now.astimezone(config.timezone).date()
    told = verbose or sys.stderr.isatty()
    report = _say if told else _say_nothing
    outcome = collect_days(config, _as_date(since, today), _as_date(until, today), now, report)
    if as_json:
        click.echo(json.dumps(_outcome_values(outcome), indent=2))
    elif verbose or sys.stdout.isatty():
        for path in outcome.files:
            click.echo(path)
    for notice in outcome.notices:
        _say(f"notice: {notice}")
    if outcome.failures:
        raise MeterError(
            f"not everything could be collected\n{describe(outcome.failures)}",
            "the other sources were collected; what can still be had is tried again at the next run",
            status=3,
        )
    if told:
        _say(f"{outcome.rows} samples in {len(outcome.files)} files")


def _say(text: str) -> None:
    click.echo(text, err=True)


def _say_nothing(text: str) -> None:
    """For runs by cron."""


def _as_date(value: str | date | None, today: date) -> date | None:
    if isinstance(value, str):
        return today if value == "today" else today - timedelta(days=1)
    return value


def _outcome_values(outcome: Outcome) -> dict[str, Any]:
    return {
        "days": [day.isoformat() for day in outcome.days],
        "files": [str(path) for path in outcome.files],
        "rows": outcome.rows,
        "failed": [
            {"day": key.day.isoformat(), "instance": key.instance, "metric": key.metric, "note": reason}
            for key, reason in outcome.failures
        ],
        "notices": list(outcome.notices),
    }


@main.command()
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
    fleet = _load_fleet(fleet_path)
    from metering.ledger.pull import pull as pull_files

    result = pull_files(fleet, servers, _say)
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
        _say(f"{result.new_files} new files")


@main.command()
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
    fleet = _load_fleet(fleet_path)
    from metering.ledger.record import record as record_value

    now = datetime.now(UTC)
    today = _today(fleet, now)
    click.echo(record_value(fleet, slug, metric, value, _as_date(day, today) or today, note, now))


@main.command()
@fleet_option
@json_option
def status(fleet_path: str | None, as_json: bool) -> None:
    """Show what the ledger holds of each instance and metric, and what is missing.

    Exit status 3 when something is missing, fit for monitoring.

    \b
    Example:
      chill-meter status --json
    """
    fleet = _load_fleet(fleet_path)
    from metering.ledger import status as ledger_status

    rows = ledger_status.status(fleet, _today(fleet, datetime.now(UTC)))
    if as_json:
        click.echo(ledger_status.to_json(rows))
    else:
        from rich.console import Console

        ledger_status.render(rows, Console())
    if ledger_status.missing(rows):
        raise PartlyDone("samples are missing", "chill-meter pull fetches what the servers have collected")


def _load_fleet(path: str | None) -> Fleet:
    try:
        from provision.fleet import fleet_directory, load_fleet
    except ImportError:
        hint = "run it on the control machine, where the toolkit is installed with its extra [control]"
        raise RequestError("this command needs the fleet, which servers do not have", hint) from None
    return load_fleet(fleet_directory(path))


def _today(fleet: Fleet, now: datetime) -> date:
    from zoneinfo import ZoneInfo

    return now.astimezone(ZoneInfo(fleet.settings.timezone)).date()


if __name__ == "__main__":
    main()
