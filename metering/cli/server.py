"""What chill-meter does on a server: collect."""

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


@click.command()
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
