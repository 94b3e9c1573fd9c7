"""The fleet itself: init, list, show."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from provision.cli.options import fleet_option, json_option, load, output, say
from provision.completion import complete_slug


@click.command(short_help="Write a new fleet directory.")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
def init(directory: Path) -> None:
    """Write a new fleet directory, with a commented example of each file.

    Example: chill-provision init ~/fleet
    """
    from provision.init import init_fleet

    for path in init_fleet(directory):
        click.echo(directory / path)
    say(f"Now fill in {directory / 'chill.toml'} and {directory / 'inventory/servers.yml'}.")


@click.command("list", short_help="List the instances, with their state.")
@fleet_option
@json_option
def list_instances(fleet: Path | None, as_json: bool) -> None:
    """List the instances of the fleet, with their state, and remind of secrets that expire within 60 days.

    Example: chill-provision list
    """
    from provision.listing import list_table, list_values, reminders

    rows = list_values(load(fleet), datetime.now(UTC).date())
    if not rows and not as_json:
        say("There is no instance yet: chill-provision create --help")
        return
    output(list_table(rows), rows, as_json)
    for line in reminders(rows):
        say(line)


@click.command(short_help="Show all that is known of an instance.")
@click.argument("slug", shell_complete=complete_slug)
@fleet_option
@json_option
def show(slug: str, fleet: Path | None, as_json: bool) -> None:
    """Show all that is known of an instance, and what was done last.

    Example: chill-provision show acme
    """
    from provision.listing import show_table, show_values

    values = show_values(load(fleet), slug, datetime.now(UTC).date())
    output(show_table(values), values, as_json)
