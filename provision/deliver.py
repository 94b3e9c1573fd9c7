"""Hands a letter with passwords to those it is for, and notes it: the last step of `create` and `credentials rotate`.

A letter that was not delivered is stored nowhere: the next run makes new passwords.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console

from provision import letter as letters
from provision.errors import ChillError, PartlyDone
from provision.fleet import Fleet, Instance
from provision.journal import Journal
from provision.letter import Recipient
from provision.names import INITIAL_ACCOUNT
from provision.openpgp import Keyring
from provision.plan import Delivery
from provision.progress import say
from provision.secrets import Passwords


@dataclass(frozen=True, slots=True)
class Post:
    """A letter that is due: to whom, how, with which passwords, for which command, typed how again."""

    instance: Instance
    recipients: Sequence[Recipient]
    delivery: Delivery
    passwords: Passwords
    command: str
    retry: str
    renewed: bool = False


def deliver(post: Post, fleet: Fleet, console: Console) -> str:
    """Send the letter once, note it in the journal, and tell how it went.

    PartlyDone when the passwords are set but the letter could not be delivered.
    """
    journal, slug = Journal(fleet.journal), post.instance.slug
    done: list[str] = []
    try:
        _send(post, fleet, done)
    except (ChillError, OSError, KeyboardInterrupt) as error:
        reason = error.message if isinstance(error, ChillError) else str(error) or "stopped"
        if not done:
            journal.add(slug, post.command, "letter_sent", result="failed", detail=reason)
            raise PartlyDone(
                f"both environments of {slug} are ready, but the letter was not delivered: {reason}",
                f"{post.retry} makes new passwords and sends them",
            ) from error
        journal.add(slug, post.command, "letter_sent", result="ok", detail=" and ".join(done))
        raise PartlyDone(f"the letter was written ({done[0]}), but not sent: {reason}", "pass the file on") from error
    how = " and ".join(done)
    journal.add(slug, post.command, "letter_sent", result="ok", detail=how)
    say(console, f"letter {how}")
    return how


def _send(post: Post, fleet: Fleet, done: list[str]) -> None:
    """Compose, seal and deliver; `done` gets each way that succeeded."""
    settings, delivery = fleet.settings, post.delivery
    accounts = [
        letters.Account(environment, INITIAL_ACCOUNT, post.passwords.accounts[environment.domain])
        for environment in post.instance.names.environments
    ]
    letter = letters.compose(
        post.instance,
        post.recipients,
        accounts,
        settings,
        delivery.language,
        post.passwords.sites,
        renewed=post.renewed,
    )
    with Keyring(fleet.path(settings.openpgp.home)) as keyring:
        message = letters.seal(letter, post.recipients, keyring, settings, datetime.now(UTC))
    if delivery.file:
        letters.write_armored(message, delivery.file)
        done.append(f"written to {delivery.file}")
    if delivery.by_mail:
        password_file = fleet.path(settings.mail.password_file)
        letters.send(message, settings.mail, lambda: letters.read_password(password_file))
        done.append(f"sent to {', '.join(recipient.email for recipient in post.recipients)}")
