"""chill-meter explain: why a day has the number it has. On servers; numbers and queue ids, never a person."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import click

from metering.cli.options import a_day, as_date, json_option
from metering.cli.server import config_option
from metering.server.config import load_config


@click.group()
def explain() -> None:
    """Show why a day has the number it has: emails, active_users."""


@explain.command()
@click.argument("slug", metavar="SLUG")
@click.argument("day", type=a_day, metavar="DAY")
@config_option
@json_option
def emails(slug: str, day: str | date, config_path: Path, as_json: bool) -> None:
    """Show what the mail log says about DAY: what was counted for SLUG, what was not, and why.

    It reads the logs that are still there anew, changes nothing, and shows numbers and Postfix's queue ids only;
    `grep QUEUE_ID /var/log/mail.log` shows the rest to whoever may read the log. DAY is a date, today or yesterday.

    \b
    Example:
      chill-meter explain emails acme 2026-11-22
    """
    from metering.server.explain_emails import describe, explain_emails

    config = load_config(config_path)
    today = datetime.now(UTC).astimezone(config.timezone).date()
    found = explain_emails(config, slug, as_date(day, today) or today, datetime.now(UTC))
    click.echo(json.dumps(found.values(), indent=2) if as_json else describe(found))


@explain.command("active_users")
@click.argument("slug", metavar="SLUG")
@click.argument("day", type=a_day, metavar="DAY")
@config_option
@json_option
def active_users(slug: str, day: str | date, config_path: Path, as_json: bool) -> None:
    """Show how many people each source tells of on DAY, in how many they agree, and who does not count.

    It asks the database of SLUG anew, and takes the logins that the last collection read; it changes nothing, and shows
    numbers only. DAY is a date, today or yesterday.

    \b
    Example:
      chill-meter explain active_users acme 2026-11-22
    """
    from metering.server.explain_active_users import describe, explain_active_users

    config = load_config(config_path)
    now = datetime.now(UTC)
    today = now.astimezone(config.timezone).date()
    found = explain_active_users(config, slug, as_date(day, today) or today, now)
    click.echo(json.dumps(found.values(), indent=2) if as_json else describe(found))
