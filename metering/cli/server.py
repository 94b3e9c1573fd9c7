"""What chill-meter does on a server: collect; and forget, which both sides do."""

from __future__ import annotations

import json
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metering.cli.options import a_day, as_date, json_option, say, say_nothing
from metering.server.config import DEFAULT_PATH, load_config
from metering.server.errors import MeterError
from metering.server.failures import describe

if TYPE_CHECKING:
    from metering.server.collect import Outcome


config_option = click.option(
    "--config",
    "config_path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    default=DEFAULT_PATH,
    show_default=True,
    help="What to collect on this server.",
)


@click.command()
@config_option
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
    report = say if told else say_nothing
    outcome = collect_days(config, as_date(since, today), as_date(until, today), now, report)
    if as_json:
        click.echo(json.dumps(_outcome_values(outcome), indent=2))
    elif verbose or sys.stdout.isatty():
        for path in outcome.files:
            click.echo(path)
    for notice in outcome.notices:
        say(f"notice: {notice}")
    if outcome.failures:
        raise MeterError(
            f"not everything could be collected\n{describe(outcome.failures)}",
            "the other sources were collected; what can still be had is tried again at the next run",
            status=3,
        )
    if told:
        say(f"{outcome.rows} samples in {len(outcome.files)} files")


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


@click.command()
@click.argument("year", type=click.IntRange(2000, 9999), metavar="YEAR")
@config_option
@click.option("--pulled", is_flag=True, help="The ledger has what the spool holds of YEAR: remove it from the spool.")
@click.option("--fleet", "fleet_path", metavar="DIR", help="Forget YEAR in this fleet's ledger, not on a server.")
@json_option
def forget(year: int, config_path: Path, pulled: bool, fleet_path: str | None, as_json: bool) -> None:
    """Destroy what tells one person of YEAR from another, so that only counts are left.

    On a server: the keys of that year's pseudonyms, who was active and who logged in. Afterwards that year's
    active users cannot be counted any more. On the control machine, with --fleet: every users file of that year, once
    the year is closed; its counts are kept in forgotten/. There is no way back.

    \b
    Examples:
      chill-meter forget 2025 --pulled
      chill-meter forget 2025 --fleet ~/fleet
    """
    if fleet_path is not None:
        from metering.cli.imports import forget_in_the_ledger

        forget_in_the_ledger(fleet_path, year, as_json)
        return
    from metering.server.forget import forget as forget_year

    done = forget_year(load_config(config_path), year, datetime.now(UTC), pulled)
    if as_json:
        click.echo(json.dumps({"year": done.year, "keys": done.keys, "rows": done.rows, "files": done.files}))
    else:
        what = f"{done.keys} keys, {done.rows} rows about people and {done.files} files of the spool"
        click.echo(f"{year} is forgotten: {what} were destroyed")
