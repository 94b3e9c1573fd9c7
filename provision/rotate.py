"""The verb `credentials rotate`: new passwords of the first accounts, in a letter to whom they are for.

`prepare` asks and changes nothing; `carry_out` does the work. Until the letter was delivered, running it again is how
one goes on: it makes other passwords, and those of before end.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from email.utils import parseaddr
from pathlib import Path

from rich.console import Console

from provision import locks
from provision.certificates import tls_problems
from provision.create import Outcome, build, new_passwords
from provision.deliver import Post, deliver
from provision.errors import ChillError, Interrupted, InvalidFiles, Problem, RequestError
from provision.fleet import Fleet, Instance
from provision.journal import Journal, Result, letter_sent
from provision.letter import Recipient, to_responsible
from provision.openpgp import Key, Keyring
from provision.plan import Delivery
from provision.preflight import check_servers, letter_problems, release_problems, writable_problems
from provision.progress import progress_for, say

COMMAND = "credentials rotate"


@dataclass(frozen=True, slots=True)
class Rotation:
    """A rotation that passed preflight."""

    instance: Instance
    recipients: Sequence[Recipient]
    delivery: Delivery
    log: Path

    def __str__(self) -> str:
        """What will be done, for the person who confirms it."""
        people = "\n".join(
            f"  {recipient.name} <{recipient.email}>, key {recipient.key.fingerprint}" for recipient in self.recipients
        )
        ways = [f"into {self.delivery.file}"] * bool(self.delivery.file) + ["by mail"] * self.delivery.by_mail
        domains = " and ".join(environment.domain for environment in self.instance.names.environments)
        return (
            f"New passwords for the first accounts of {domains}, and for the site of the latter; "
            "the present ones end at once.\n"
            f"They go, encrypted, {' and '.join(ways)} to\n{people}"
        )


def prepare(slug: str, fingerprints: Sequence[str], delivery: Delivery, fleet: Fleet, today: date) -> Rotation:
    """Check a request in full: keys first, then files, then servers. Changes nothing; raises what is wrong.

    `fingerprints` name who gets the letter, by keys in the keyring; none: the responsible.
    """
    instance = fleet.instance(slug)
    if instance.lifecycle != "running":
        raise RequestError(f"SLUG: {slug} is {instance.lifecycle}", f"first: chill-provision resume {slug}")
    if not letter_sent(Journal(fleet.journal).read(slug)):
        raise RequestError(
            f"SLUG: nobody was given passwords of {slug} yet", f"chill-provision create {slug} makes and sends them"
        )
    log = Journal(fleet.journal).log("credentials-rotate")
    recipients = _recipients(instance, fingerprints, fleet, today, by_mail=delivery.by_mail)
    problems: list[Problem] = [
        *letter_problems(fleet, delivery),
        *release_problems(fleet),
        *tls_problems(fleet),
        *writable_problems(log.parent, fleet.directory),
    ]
    if problems:
        raise InvalidFiles(problems, "nothing was changed")
    check_servers(fleet, [fleet.server(name) for name in instance.servers.values()], prepared=True)
    return Rotation(instance, recipients, delivery, log)


def _recipients(
    instance: Instance, fingerprints: Sequence[str], fleet: Fleet, today: date, *, by_mail: bool
) -> Sequence[Recipient]:
    """Who the letter is for, with keys found fit. RequestError for the first that is not."""
    openpgp, responsible = fleet.settings.openpgp, instance.responsible
    found: dict[str, Recipient] = {}
    with Keyring(fleet.path(openpgp.home)) as keyring:
        for fingerprint in fingerprints or [responsible.fingerprint]:
            place = "--to" if fingerprints else "responsible.fingerprint"
            key = keyring.fit_key(fingerprint, today, openpgp.minimum_validity_days, place)
            found[key.fingerprint] = to_responsible(instance, key)
            if key.fingerprint != responsible.fingerprint:
                found[key.fingerprint] = _owner(key, by_mail=by_mail)
        if openpgp.signing_key:
            keyring.fit_signing_key(openpgp.signing_key, today)
    for recipient in found.values():
        if by_mail:
            recipient.address  # noqa: B018 (raises what is wrong with it)
    return list(found.values())


def _owner(key: Key, *, by_mail: bool) -> Recipient:
    """Whom a key belongs to, by its first user id."""
    name, email = parseaddr(key.name)
    if by_mail and not email:
        raise RequestError(
            f"--to: the key {key.fingerprint} ({key.name}) names no e-mail address",
            "use --no-mail --letter-to FILE, and pass the file on",
        )
    return Recipient(name or email or key.name, email, key, "--to")


def carry_out(rotation: Rotation, fleet: Fleet, console: Console) -> Outcome:
    """Set new passwords and deliver them.

    ChillError when a step failed, PartlyDone when they are set but not delivered, Interrupted on Ctrl-C.
    """
    instance, journal = rotation.instance, Journal(fleet.journal)
    retry = " ".join(
        [
            "chill-provision credentials rotate",
            instance.slug,
            *(f"--to {one.key.fingerprint}" for one in rotation.recipients),
        ]
    )
    with locks.held(fleet, locks.instance_places(fleet, [instance]), COMMAND) as broken:
        for lock in broken:
            say(console, f"took over a stale lock: {lock}")
        journal.add(instance.slug, COMMAND, "started")
        passwords, began = new_passwords(instance), time.monotonic()
        try:
            result = build(instance, fleet, passwords, rotation.log, progress_for(console), retry)
        except (ChillError, KeyboardInterrupt) as error:
            stopped = isinstance(error, Interrupted | KeyboardInterrupt)
            detail = error.message if isinstance(error, ChillError) else ""
            ending: Result = "interrupted" if stopped else "failed"
            seconds = time.monotonic() - began
            journal.add(instance.slug, COMMAND, "ended", result=ending, seconds=seconds, detail=detail)
            raise
        journal.add(instance.slug, COMMAND, "ended", result="ok", seconds=result.seconds)
        post = Post(instance, rotation.recipients, rotation.delivery, passwords, COMMAND, retry, renewed=True)
        letter = deliver(post, fleet, console)
    return Outcome(instance, result.hosts, 0, letter, rotation.log)
