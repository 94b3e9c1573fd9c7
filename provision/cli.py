"""chill-provision: parses arguments, calls one function, prints.

Data goes to stdout, all that is said to stderr.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeVar, get_args

import click
from rich.console import Console, RenderableType

from provision.completion import complete_server, complete_slug, complete_tariff
from provision.console import Commands
from provision.errors import ChillError, RequestError
from provision.fleet import FLEET_VARIABLE, Fleet, fleet_directory, load_fleet
from provision.journal import toolkit_version
from provision.settings import Language

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


def _load(fleet: Path | None) -> Fleet:
    return load_fleet(fleet_directory(fleet))


def _messages() -> Console:
    return Console(stderr=True)


def _say(line: str) -> None:
    click.echo(line, err=True)


def _print(content: RenderableType, data: Any, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(data, indent=2, ensure_ascii=False))
        return
    # Not on a terminal nothing is cut or folded to a width that is not there.
    console = Console(width=None if sys.stdout.isatty() else 1000, highlight=False)
    with console.capture() as text:
        console.print(content)
    click.echo("\n".join(line.rstrip() for line in text.get().splitlines()))


def _print_hosts(hosts: Mapping[str, Any], as_json: bool, **more: Any) -> None:
    if as_json:
        counts = {
            host: {"ok": result.ok, "changed": result.changed, "failed": result.failed}
            for host, result in hosts.items()
        }
        click.echo(json.dumps({"hosts": counts} | more, indent=2, ensure_ascii=False))
        return
    for host, result in hosts.items():
        click.echo(f"{host}: {result}")


@click.group(cls=Commands)
@click.version_option(toolkit_version(), prog_name="chill-provision")
def main() -> None:
    """Make and keep the environments of hosted Chill instances.

    A fleet is a directory of plain files: settings, inventory, price lists, ledger, journal.

    Begin with: chill-provision init DIR
    """


@main.command(short_help="Write a new fleet directory.")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
def init(directory: Path) -> None:
    """Write a new fleet directory, with a commented example of each file.

    Example: chill-provision init ~/fleet
    """
    from provision.init import init_fleet

    for path in init_fleet(directory):
        click.echo(directory / path)
    _say(f"Now fill in {directory / 'chill.toml'} and {directory / 'inventory/servers.yml'}.")


@main.group()
def server() -> None:
    """Servers of the fleet.

    Example: chill-provision server prepare srv1.example.net
    """


@server.command(short_help="Install what environments need.")
@click.argument("names", metavar="NAME…", nargs=-1, required=True, shell_complete=complete_server)
@fleet_option
@json_option
def prepare(names: tuple[str, ...], fleet: Path | None, as_json: bool) -> None:
    """Install and configure what environments need on servers. What is there already is left as it is.

    Example: chill-provision server prepare srv1.example.net
    """
    from provision.apply import prepare_servers
    from provision.progress import progress_for

    result = prepare_servers(_load(fleet), names, progress_for(_messages()))
    _print_hosts(result.hosts, as_json)


@main.command(short_help="Create the environments of a customer.")
@click.argument("slug", shell_complete=complete_slug)
@click.option("--client", help="The customer's name.")
@click.option("--server", help="The server to live on.", shell_complete=complete_server)
@click.option("--test-server", help="The test environment's server, if another.", shell_complete=complete_server)
@click.option("--responsible-name", help="Who receives the passwords.")
@click.option("--responsible-email", help="Where the letter goes.")
@click.option("--fingerprint", help="Of the OpenPGP key that passwords are encrypted to: 40 hex digits.")
@click.option("--starts", type=Day(), help="The contract's first day, as 2026-03-01.")
@click.option("--ends", type=Day(), help="The contract's last day, if it is known.")
@click.option("--tariff", help="The price list: a file in tariffs/, without .toml.", shell_complete=complete_tariff)
@click.option("--technical-contact", help='At the customer\'s: "Alix Martin <alix@example.org>".')
@click.option(
    "--letter-to",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the letter to a file (.asc).",
)
@click.option(
    "--mail/--no-mail",
    "by_mail",
    default=True,
    help="Send the letter by mail (the default), or only write it.",
)
@click.option("--lang", "language", type=click.Choice(get_args(Language)), help="The letter's language.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--plan", "plan_only", is_flag=True, help="Check everything, show the plan, change nothing.")
@fleet_option
@json_option
def create(
    fleet: Path | None,
    letter_to: Path | None,
    by_mail: bool,
    language: Language | None,
    yes: bool,
    plan_only: bool,
    as_json: bool,
    **request: Any,
) -> None:
    """Create the two environments of a new customer, verify them, and send the encrypted letter.

    For an instance that exists, SLUG is enough: what is missing or was interrupted is done, the rest is left
    as it is, and no second letter is sent.

    \b
    Example:
      chill-provision create acme --client "ASBL Acme" --server srv1.example.net \\
        --responsible-name "Camille Dubois" --responsible-email camille@example.org \\
        --fingerprint 0123456789ABCDEF0123456789ABCDEF01234567 \\
        --starts 2026-03-01 --tariff standard
    """
    from provision.create import carry_out, prepare
    from provision.plan import Delivery, Request, plan_text

    if not by_mail and letter_to is None:
        raise RequestError("--no-mail: the letter would go nowhere", "name a file with --letter-to FILE")
    loaded = _load(fleet)
    delivery = Delivery(language or loaded.settings.language, by_mail, letter_to)
    prepared = prepare(Request(**request), delivery, loaded, datetime.now(UTC).date())
    if plan_only:
        click.echo(plan_text(prepared.plan))
        return
    _say(plan_text(prepared.plan))
    if not yes and not _confirmed():
        _say("Nothing was changed.")
        return
    outcome = carry_out(prepared, loaded, _messages())
    more = {
        "instance": outcome.instance.slug,
        "checks": outcome.checks,
        "letter": outcome.letter,
        "log": str(outcome.log),
    }
    _print_hosts(outcome.hosts, as_json, **more)


def _confirmed() -> bool:
    if not sys.stdin.isatty():
        raise RequestError("there is no terminal to ask for confirmation, and nothing was changed", "add --yes")
    return click.confirm("\nDo this?", err=True)


@main.command(short_help="Mend what drifted, install a new release.")
@click.argument("slugs", metavar="[SLUG]…", nargs=-1, shell_complete=complete_slug)
@fleet_option
@json_option
def apply(slugs: tuple[str, ...], fleet: Path | None, as_json: bool) -> None:
    """Bring environments to what the fleet says: mend what drifted, install a new release. Passwords stay.

    Example: chill-provision apply acme
    """
    from provision import apply as verb
    from provision.progress import progress_for

    result = verb.apply(_load(fleet), slugs, progress_for(_messages()))
    _print_hosts(result.hosts, as_json)


@main.command(short_help="Check environments, change nothing.")
@click.argument("slugs", metavar="[SLUG]…", nargs=-1, shell_complete=complete_slug)
@fleet_option
@json_option
def verify(slugs: tuple[str, ...], fleet: Path | None, as_json: bool) -> None:
    """Check that environments are what they should be, and change nothing. Exit status 1 when a check fails.

    Example: chill-provision verify acme
    """
    from provision import verify as checks
    from provision.listing import checks_table
    from provision.progress import checking

    loaded = _load(fleet)
    instances = [loaded.instance(slug) for slug in slugs] if slugs else list(loaded.instances.values())
    results = []
    for instance in instances:
        with checking(_messages(), f"verifying {instance.slug}") as report:
            results += checks.run(loaded, instance, report)
    data = [
        {"environment": one.environment, "check": one.name, "passed": one.passed, "message": one.message}
        for one in results
    ]
    _print(checks_table(results), data, as_json)
    broken = sum(not result.passed for result in results)
    if broken:
        raise ChillError(
            f"{broken} of {len(results)} checks did not pass",
            " ".join(("try: chill-provision apply", *slugs)),
        )


@main.command("list", short_help="List the instances, with their state.")
@fleet_option
@json_option
def list_instances(fleet: Path | None, as_json: bool) -> None:
    """List the instances of the fleet, with their state.

    Example: chill-provision list
    """
    from provision.listing import list_table, list_values

    rows = list_values(_load(fleet))
    if not rows and not as_json:
        _say("There is no instance yet: chill-provision create --help")
        return
    _print(list_table(rows), rows, as_json)


@main.command(short_help="Show all that is known of an instance.")
@click.argument("slug", shell_complete=complete_slug)
@fleet_option
@json_option
def show(slug: str, fleet: Path | None, as_json: bool) -> None:
    """Show all that is known of an instance, and what was done last.

    Example: chill-provision show acme
    """
    from provision.listing import show_table, show_values

    values = show_values(_load(fleet), slug)
    _print(show_table(values), values, as_json)
