"""Out of service and back: suspend, archive, resume."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.cli.options import confirm, fleet_option, json_option, load, messages, print_hosts, say
from provision.completion import complete_slug

if TYPE_CHECKING:
    from provision.lifecycle import Verb

Taken = Callable[[str, str, bool, Path | None, bool], None]


def _command(verb: Verb, short: str, text: str) -> click.Command:
    """One of the three commands: they take the same, and ask before they do it."""

    @click.command(verb, short_help=short, help=f"{text}\n\nExample: chill-provision {verb} acme")
    @click.argument("slug", shell_complete=complete_slug)
    @click.option("--why", default="", metavar="TEXT", help="The reason, for the journal.")
    @click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
    @fleet_option
    @json_option
    def command(slug: str, why: str, yes: bool, fleet: Path | None, as_json: bool) -> None:
        from provision.lifecycle import CHANGES, carry_out, prepare

        loaded = load(fleet)
        instance = prepare(verb, slug, loaded)
        say(f"{verb} {slug} ({instance.client}): {CHANGES[verb].told}.")
        if not yes and not confirm():
            say("Nothing was changed.")
            return
        print_hosts(carry_out(verb, instance, why, loaded, messages()), as_json, instance=slug)

    return command


suspend = _command(
    "suspend",
    "Take an instance out of service for a while.",
    "Take both environments of an instance out of service for a while. A page says so to who comes; nobody can log in, "
    "no job runs, everything is kept, and document volume is still counted.",
)
archive = _command(
    "archive",
    "Take an instance out of service for good.",
    "Take both environments of an instance out of service for good: a contract that ended, or a creation that failed. "
    "Nothing is deleted: databases and documents stay on the server until somebody removes them by hand. Usage is no "
    "longer counted, so collect the last day of the contract first.",
)
resume = _command(
    "resume",
    "Bring a suspended or archived instance back.",
    "Bring both environments of a suspended or archived instance back into service, with the accounts and the data "
    "that they had.",
)
