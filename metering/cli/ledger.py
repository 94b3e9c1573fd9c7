"""What chill-meter does on the control machine: pull, record, status."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metering.cli.options import a_day, as_date, fleet_option, json_option, say
from metering.memory import no_collection
from metering.samples import METRICS
from provision.errors import InvalidFiles, PartlyDone, RequestError

if TYPE_CHECKING:
    from metering.ledger.pull import PullResult
    from metering.ledger.quota_letters import Told
    from provision.fleet import Fleet


@click.command()
@click.argument("servers", nargs=-1, metavar="[SERVER]...")
@click.option(
    "--remove-after",
    type=click.IntRange(min=1),
    metavar="DAYS",
    help="Remove files older than this from the spools once the ledger holds them, byte for byte; default: never.",
)
@fleet_option
@json_option
def pull(servers: Sequence[str], remove_after: int | None, fleet_path: str | None, as_json: bool) -> None:
    """Fetch new sample files from the spools of SERVERS (default: all) into the ledger.

    Every file is compared with the SHA-256 that its server tells, and checked line by line. Nothing in the ledger is
    overwritten. Exit status 3 when a server did not answer or a file was refused: the rest was fetched. What was
    imported from a provider is taken back for days that a server has counted by now. In the end the letters about
    quotas are sent that are due, when chill.toml says to whom (metering.quota_mail_to).

    \b
    Examples:
      chill-meter pull --fleet ~/fleet
      chill-meter pull srv1.example.net --remove-after 60
    """
    fleet = load_the_fleet(fleet_path)
    from metering.ledger.pull import pull as pull_files

    now = datetime.now(UTC)
    remove_before = None if remove_after is None else now - timedelta(days=remove_after)
    result = pull_files(fleet, servers, say, remove_before)
    told = tell_of_quotas(fleet, now) if fleet.settings.metering.quota_mail_to else None
    if as_json:
        click.echo(json.dumps(_pull_values(result), indent=2))
    elif not (result.unreachable or result.refused):
        say(f"{result.new_files} new files")
    if result.refused or result.unreachable:
        message, hint = _what_is_missing(result)
        raise PartlyDone(f"{message}\n{told.failure}" if told and told.failure else message, hint)
    if told and told.failure:
        raise PartlyDone(told.failure, told.hint)


def _pull_values(result: PullResult) -> dict[str, Any]:
    return {
        "new_files": result.new_files,
        "removed": result.removed,
        "taken_back": result.taken_back,
        "unreachable": list(result.unreachable),
        "refused": [{"place": problem.place, "message": problem.message} for problem in result.refused],
    }


def _what_is_missing(result: PullResult) -> tuple[str, str]:
    """The message and the next step after a pull that was not whole."""
    lines = [f"{result.new_files} files were added to the ledger"]
    if result.refused:
        lines += ["these were not taken:", *(f"{problem.place}: {problem.message}" for problem in result.refused)]
        hint = "these files stay on their servers; see what is wrong with them there and pull again"
    else:
        hint = "nothing is lost: their files wait in their spools; pull again when they answer"
    if result.unreachable:
        lines.append(f"these servers did not answer, or not to the end: {', '.join(result.unreachable)}")
    return "\n".join(lines), hint


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
@click.option(
    "--prometheus",
    "metrics_path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write it for the textfile collector of Prometheus' node exporter instead of showing it.",
)
@fleet_option
@json_option
def status(metrics_path: Path | None, fleet_path: str | None, as_json: bool) -> None:
    """Show what the ledger holds of each instance and metric, what is missing, and how much of a quota is used.

    The last 30 days are drawn as bars between 0 and their highest value; a dot is a day that is missing. Behind what is
    used of a quota, ! means that 80 % is reached, and !! all of it. Exit status 3 when something is missing, fit for
    monitoring.

    \b
    Examples:
      chill-meter status
      chill-meter status --json
      chill-meter status --prometheus /var/lib/prometheus/node-exporter/chill-meter.prom
    """
    with no_collection():
        _tell_status(load_the_fleet(fleet_path), metrics_path, as_json)


def _tell_status(fleet: Fleet, metrics_path: Path | None, as_json: bool) -> None:
    from metering.ledger import status as ledger_status

    now = datetime.now(UTC)
    found = ledger_status.status(fleet, today_of(fleet, now))
    if metrics_path:
        from metering.ledger.prometheus import write_metrics

        write_metrics(metrics_path, found, now)
    if as_json:
        click.echo(json.dumps(ledger_status.to_plain(found), indent=2, ensure_ascii=False))
    elif not metrics_path:
        from rich.console import Console

        from metering.ledger.status_table import render

        render(found, Console())
    for problem in found.problems:
        say(f"no quotas of {problem.place}: {problem.message}")
    if found.missing:
        raise PartlyDone("samples are missing", "chill-meter pull fetches what the servers have collected")


@click.command()
@click.argument("slugs", nargs=-1, metavar="[SLUG]...")
@click.option("--mail", is_flag=True, help="Send the letters that are due to metering.quota_mail_to, each once.")
@fleet_option
@json_option
def quota(slugs: Sequence[str], mail: bool, fleet_path: str | None, as_json: bool) -> None:
    """Show how much of their quotas of the year the instances SLUG (default: all) have used.

    Quotas are what a tariff includes of e-mails and documents. One ! means that 80 % is reached, !! all of it. Each of
    these marks is told once by mail, at the end of `pull` or with --mail; exit status 3 when a letter was not sent.

    \b
    Examples:
      chill-meter quota acme
      chill-meter quota --mail
    """
    fleet = load_the_fleet(fleet_path)
    from metering.ledger.quota import fleet_quotas
    from metering.ledger.status import quota_to_plain
    from metering.ledger.status_table import render_quotas

    if mail and not fleet.settings.metering.quota_mail_to:
        raise RequestError("chill.toml: metering.quota_mail_to: is missing", "name the address that gets the letters")
    chosen = {fleet.instance(slug).slug for slug in slugs}
    now = datetime.now(UTC)
    found, problems = fleet_quotas(fleet, today_of(fleet, now) - timedelta(days=1))
    if problems:
        raise InvalidFiles(problems)
    rows = [one for one in found.values() if not chosen or one.instance in chosen]
    if as_json:
        values = [{"instance": one.instance, "metric": one.metric, **quota_to_plain(one)} for one in rows]
        click.echo(json.dumps(values, indent=2))
    else:
        from rich.console import Console

        render_quotas(rows, Console())
    if mail and (told := tell_of_quotas(fleet, now)).failure:
        raise PartlyDone(told.failure, told.hint)


def tell_of_quotas(fleet: Fleet, now: datetime) -> Told:
    """Send the letters about quotas that are due, and say which."""
    from metering.ledger.quota_letters import tell_all

    told = tell_all(fleet, today_of(fleet, now), now)
    for one in told.crossings:
        say(f"letter sent: {one.quota.instance} {one.quota.metric} has reached {one.mark}% of {one.quota.year}'s quota")
    return told


def load_the_fleet(path: str | None) -> Fleet:
    """The fleet; RequestError on a server, which has none."""
    load_the_fleet_side()
    from provision.fleet_directory import fleet_directory
    from provision.fleet_reader import load_fleet

    return load_fleet(fleet_directory(path))


def load_the_fleet_side() -> None:
    """Import what the control machine alone has; RequestError on a server."""
    try:
        import provision.fleet  # noqa: F401
    except ImportError:
        hint = "run it on the control machine, where the toolkit is installed with its extra [control]"
        raise RequestError("this command needs the fleet, which servers do not have", hint) from None


def today_of(fleet: Fleet, now: datetime) -> date:
    """The day it is in the fleet's time zone."""
    from zoneinfo import ZoneInfo

    return now.astimezone(ZoneInfo(fleet.settings.timezone)).date()
