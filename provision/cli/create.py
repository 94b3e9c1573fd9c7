"""chill-provision create."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from provision.cli.options import (
    Day,
    confirm,
    fleet_option,
    graph_source,
    json_option,
    letter_options,
    load,
    messages,
    print_hosts,
    refuse_degraded,
    say,
    travelling,
)
from provision.completion import complete_server, complete_server_or_auto, complete_slug, complete_tariff
from provision.languages import Language


@click.command(short_help="Create the environments of a customer.")
@click.argument("slug", shell_complete=complete_slug)
@click.option("--client", help="The customer's name.")
@click.option(
    "--server", help="The server to live on; auto: the one with the most room.", shell_complete=complete_server_or_auto
)
@click.option(
    "--test-server", help="The test environment's server; else that of --server.", shell_complete=complete_server
)
@click.option("--responsible-name", help="Who receives the passwords.")
@click.option("--responsible-email", help="Where the letter goes.")
@click.option("--fingerprint", help="Of the OpenPGP key that passwords are encrypted to: 40 hex digits.")
@click.option("--starts", type=Day(), help="The contract's first day, as 2026-03-01.")
@click.option("--ends", type=Day(), help="The contract's last day, if it is known.")
@click.option("--tariff", help="The price list: a file of tariffs/, without .toml.", shell_complete=complete_tariff)
@click.option("--technical-contact", help='At the customer\'s: "Alix Martin <alix@example.org>".')
@click.option("--graph", metavar="FILE|-", help="Credentials of Microsoft Graph, OpenPGP-encrypted; -: standard input.")
@letter_options
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--plan", "plan_only", is_flag=True, help="Check everything, show the plan, change nothing.")
@fleet_option
@json_option
def create(
    graph: str | None,
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

    A new instance needs a client, a server, the responsible's name, e-mail address and key, and the contract's
    first day and tariff; what is missing is told all at once. For an instance that exists, SLUG is enough: what is
    missing or was interrupted is done, the rest is left as it is, and no second letter is sent.

    \b
    Examples:
      chill-provision create acme
      chill-provision create acme --client "ASBL Acme" --server srv1.example.net \\
        --responsible-name "Camille Dubois" --responsible-email camille@example.org \\
        --fingerprint 0123456789ABCDEF0123456789ABCDEF01234567 \\
        --starts 2026-03-01 --tariff standard
    """
    from provision.create import carry_out, prepare
    from provision.plan import Request
    from provision.plan_text import plan_text

    loaded = load(fleet)
    delivery = travelling(loaded, letter_to, by_mail=by_mail, language=language)
    today = datetime.now(UTC).date()
    asking = not (yes or plan_only)
    credentials = graph_source(graph, "--graph", loaded, today, asking=asking) if graph else None
    prepared = prepare(Request(**request), delivery, loaded, today, credentials)
    if plan_only:
        click.echo(plan_text(prepared.plan))
        return
    say(plan_text(prepared.plan))
    if not yes and not confirm():
        say("Nothing was changed.")
        return
    outcome = carry_out(prepared, loaded, messages())
    say(f"{outcome.instance.slug}: {outcome.checks} checks passed. What was done: {outcome.log}")
    told = {"checks": outcome.checks, "letter": outcome.letter, "log": str(outcome.log)}
    print_hosts(outcome.hosts, as_json, instance=outcome.instance.slug, **told)
    refuse_degraded(outcome.degraded, [outcome.instance.slug])
