"""Passwords that people hold: credentials rotate."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from provision.cli.options import (
    confirm,
    fleet_option,
    json_option,
    letter_options,
    load,
    messages,
    print_hosts,
    say,
    travelling,
)
from provision.completion import complete_slug
from provision.languages import Language


@click.group()
def credentials() -> None:
    """Passwords that people hold.

    Example: chill-provision credentials rotate acme
    """


@credentials.command(short_help="New passwords, in a new letter.")
@click.argument("slug", shell_complete=complete_slug)
@click.option(
    "--to",
    "fingerprints",
    metavar="FINGERPRINT",
    multiple=True,
    help="Whose key the letter is encrypted to, in place of the responsible's; may be given several times.",
)
@letter_options
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@fleet_option
@json_option
def rotate(
    slug: str,
    fingerprints: tuple[str, ...],
    fleet: Path | None,
    letter_to: Path | None,
    by_mail: bool,
    language: Language | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Give the first accounts of an instance new passwords, and send them in an encrypted letter.

    The site of the test environment gets a new one, too. The present passwords end at once. Without --to the letter
    goes to the responsible; with it, to the owners of these keys of the keyring, at the address in each key.

    \b
    Examples:
      chill-provision credentials rotate acme
      chill-provision credentials rotate acme --to 0123456789ABCDEF0123456789ABCDEF01234567
    """
    from provision.rotate import carry_out, prepare

    loaded = load(fleet)
    delivery = travelling(loaded, letter_to, by_mail=by_mail, language=language)
    rotation = prepare(slug, fingerprints, delivery, loaded, datetime.now(UTC).date())
    say(str(rotation))
    if not yes and not confirm():
        say("Nothing was changed.")
        return
    outcome = carry_out(rotation, loaded, messages())
    print_hosts(outcome.hosts, as_json, instance=slug, letter=outcome.letter, log=str(outcome.log))
