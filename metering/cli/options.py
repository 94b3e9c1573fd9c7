"""What several commands of chill-meter take and say."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import click

fleet_option = click.option(
    "--fleet",
    "fleet_path",
    metavar="DIR",
    help="The fleet directory; else $CHILL_FLEET, else the current directory.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON to standard output.")


def a_day(value: str | date) -> str | date:
    """A date such as 2026-11-23, or one of two words, which stay words for want of a time zone."""
    if isinstance(value, date) or value in ("today", "yesterday"):
        return value
    try:
        return datetime.strptime(value, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a date such as 2026-11-23, today or yesterday.") from None


def as_date(value: str | date | None, today: date) -> date | None:
    """A day of the command line: `today` and `yesterday` are relative to the fleet's or the server's today."""
    if isinstance(value, str):
        return today if value == "today" else today - timedelta(days=1)
    return value


def say(text: str) -> None:
    """Tell it on standard error."""
    click.echo(text, err=True)


def say_nothing(text: str) -> None:
    """For runs by cron."""
