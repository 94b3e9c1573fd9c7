"""Microsoft Graph, for calendars: graph set, graph letter."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import click

from provision.cli.options import (
    confirm,
    fleet_option,
    graph_source,
    json_option,
    load,
    messages,
    print_hosts,
    say,
)
from provision.completion import complete_slug
from provision.languages import Language


@click.group()
def graph() -> None:
    """Microsoft Graph, through which Chill synchronises calendars.

    Example: chill-provision graph letter acme
    """


@graph.command("set", short_help="Give an instance credentials.")
@click.argument("slug", shell_complete=complete_slug)
@click.argument("source", metavar="FILE|-", type=click.Path(allow_dash=True))
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@fleet_option
@json_option
def set_credentials(slug: str, source: str, yes: bool, fleet: Path | None, as_json: bool) -> None:
    """Give the production environment of an instance credentials of Microsoft Graph, or new ones.

    They are four lines of TOML, tenant, client_id, client_secret and expires, in an OpenPGP-encrypted file or on
    standard input (-). Microsoft is asked whether they work before anything is changed. The test environment gets
    none.

    \b
    Examples:
      chill-provision graph set acme graph.toml.asc
      pass show acme/graph | chill-provision graph set acme - --yes
    """
    from provision.graph import missing_permissions
    from provision.graph_set import carry_out, prepare

    loaded = load(fleet)
    credentials = graph_source(source, "FILE", loaded, datetime.now(UTC).date(), asking=not yes)
    change = prepare(slug, credentials, "FILE", loaded)
    say(str(change))
    if change.missing:
        say(f"Missing: {missing_permissions(change.missing, slug)}.")
    if not yes and not confirm():
        say("Nothing was changed.")
        return
    hosts = carry_out(change, loaded, messages())
    print_hosts(hosts, as_json, instance=slug, expires=credentials.expires.isoformat())


@graph.command(short_help="What the technical contact must do.")
@click.argument("slug", shell_complete=complete_slug)
@click.option("--mail", "by_mail", is_flag=True, help="Send it to the technical contact; else it is only printed.")
@click.option(
    "--lang", "language", type=click.Choice(get_args(Language)), help="The letter's language; else that of chill.toml."
)
@fleet_option
def letter(slug: str, by_mail: bool, language: Language | None, fleet: Path | None) -> None:
    """Print the letter to the customer's technical contact: which permissions to grant, what to send back, and how.

    It holds no secret. With --mail it is sent too.

    Example: chill-provision graph letter acme --mail --lang nl
    """
    from provision.graph_letter import compose, send_letter

    loaded, now = load(fleet), datetime.now(UTC)
    instance = loaded.instance(slug)
    written = compose(instance, loaded, language or loaded.settings.language, now.date())
    if by_mail:
        say(f"sent to {send_letter(written, instance, loaded, now)}")
    click.echo(f"{written.subject}\n\n{written.body}", nl=False)
