"""What the commands of chill-provision share: options, types of arguments, and how they print."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console, RenderableType

from provision.completion import complete_slug
from provision.fleet import FLEET_VARIABLE, Fleet, fleet_directory, load_fleet

Command = TypeVar("Command", bound=Callable[..., Any])


class Day(click.ParamType[date]):
    """A calendar day, as 2026-03-01."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a day; expected the form 2026-03-01", param, ctx)


def fleet_option(command: Command) -> Command:
    return click.option(
        "--fleet",
        type=click.Path(path_type=Path, file_okay=False),
        # Before the others, so that they can be completed from it.
        is_eager=True,
        help=f"The fleet directory; else ${FLEET_VARIABLE}, else the current directory.",
    )(command)


def json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for a program to read.")(command)


def load(fleet: Path | None) -> Fleet:
    """The fleet that the option names."""
    return load_fleet(fleet_directory(fleet))


def messages() -> Console:
    """Where all is told that is not data."""
    return Console(stderr=True)


def say(line: str) -> None:
    """Tell a line on stderr."""
    click.echo(line, err=True)


def output(content: RenderableType, data: Any, as_json: bool) -> None:
    """Print `content` for people, or `data` for programs."""
    if as_json:
        click.echo(json.dumps(data, indent=2, ensure_ascii=False))
        return
    # Not on a terminal nothing is cut or folded to a width that is not there.
    console = Console(width=None if sys.stdout.isatty() else 1000, highlight=False)
    with console.capture() as text:
        console.print(content)
    click.echo("\n".join(line.rstrip() for line in text.get().splitlines()))


def print_hosts(hosts: Mapping[str, Any], as_json: bool, **more: Any) -> None:
    """Print the counts of each host; `more` goes into the JSON alone."""
    if as_json:
        counts = {
            host: {"ok": result.ok, "changed": result.changed, "failed": result.failed}
            for host, result in hosts.items()
        }
        click.echo(json.dumps({"hosts": counts} | more, indent=2, ensure_ascii=False))
        return
    for host, result in hosts.items():
        click.echo(f"{host}: {result}")


def slugs_argument(command: Command) -> Command:
    return click.argument("slugs", metavar="[SLUG]…", nargs=-1, shell_complete=complete_slug)(command)
