"""What the commands of chill-provision share: options, types of arguments, and how they print."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from provision.completion import complete_slug
from provision.console import fold_for_terminal
from provision.errors import PartlyDone, RequestError
from provision.fleet_directory import FLEET_VARIABLE, fleet_directory
from provision.languages import Language

if TYPE_CHECKING:
    # Imported where they are used: help and completion do not wait for them.
    from rich.console import Console, RenderableType

    from provision.fleet import Fleet
    from provision.graph import GraphCredentials
    from provision.plan import Delivery

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
    from provision.fleet_reader import load_fleet

    return load_fleet(fleet_directory(fleet))


def messages() -> Console:
    """Where all is told that is not data."""
    from rich.console import Console

    return Console(stderr=True)


def say(text: str) -> None:
    """Tell something on stderr; a terminal folds it between words."""
    click.echo(fold_for_terminal(text), err=True)


def output(content: RenderableType, data: Any, as_json: bool) -> None:
    """Print `content` for people, or `data` for programs."""
    if as_json:
        click.echo(json.dumps(data, indent=2, ensure_ascii=False))
        return
    from rich.console import Console

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


def refuse_degraded(degraded: Mapping[str, str], slugs: Sequence[str]) -> None:
    """PartlyDone when something is missing of environments that otherwise stand."""
    if degraded:
        lines = "\n".join(f"{domain}: {reason}" for domain, reason in degraded.items())
        raise PartlyDone(
            f"all stands but what is missing here:\n{lines}",
            f"{' '.join(('chill-provision apply', *slugs))} tries again",
        )


def slugs_argument(command: Command) -> Command:
    return click.argument("slugs", metavar="[SLUG]…", nargs=-1, shell_complete=complete_slug)(command)


def letter_options(command: Command) -> Command:
    """How a letter with passwords travels: --letter-to, --mail/--no-mail, --lang."""
    options = (
        click.option(
            "--letter-to",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Also write the letter to a file (.asc).",
        ),
        click.option(
            "--mail/--no-mail",
            "by_mail",
            default=True,
            help="Send the letter by mail (the default), or only write it.",
        ),
        click.option(
            "--lang",
            "language",
            type=click.Choice(get_args(Language)),
            help="The letter's language; else that of chill.toml.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def graph_source(source: str, place: str, fleet: Fleet, today: date, *, asking: bool) -> GraphCredentials:
    """The credentials of Microsoft Graph that FILE or `-` names; `asking`: a confirmation will be asked for."""
    from provision.graph_source import STANDARD_INPUT, read_credentials

    if source == STANDARD_INPUT and asking:
        raise RequestError(
            f"{place}: the credentials come by standard input, where the confirmation would be typed", "add --yes"
        )
    return read_credentials(source, place, sys.stdin.buffer, fleet, today)


def travelling(fleet: Fleet, letter_to: Path | None, *, by_mail: bool, language: Language | None) -> Delivery:
    """How the letter travels, by the options; RequestError when it would go nowhere."""
    from provision.plan import Delivery

    if not by_mail and letter_to is None:
        raise RequestError("--no-mail: the letter would go nowhere", "name a file with --letter-to FILE")
    return Delivery(language or fleet.settings.language, by_mail, letter_to)


def confirm() -> bool:
    """Ask; RequestError where nobody can answer."""
    if not sys.stdin.isatty():
        raise RequestError("there is no terminal to ask for confirmation, and nothing was changed", "add --yes")
    return click.confirm("\nDo this?", err=True)
