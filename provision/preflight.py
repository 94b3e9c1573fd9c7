"""The questions asked before anything is touched: the key first, then files, directories, and servers.

What is wrong with files and arguments is collected and told at once (exit status 2); a server that does not
answer is a failure (exit status 1). Either way nothing was changed.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from provision.certificates import tls_problems
from provision.errors import ChillError, InvalidFiles, Problem, RequestError
from provision.fleet import Fleet, Instance, Server
from provision.inventory import other_places
from provision.mail import mail_problems, read_password
from provision.names import KINDS
from provision.openpgp import Key, Keyring
from provision.plan import Delivery
from provision.ssh import ssh_options

ANSWER_SECONDS = 60
SSH_FAULT = 255
# What the playbook server.yml leaves at its end.
PREPARED = "/etc/chill/prepared"


def check_create(fleet: Fleet, instance: Instance, today: date, delivery: Delivery | None, run_log: Path) -> Key | None:
    """Everything `create` needs; `delivery` is None when no letter is due.

    Returns the responsible's key, found fit, when a letter is due. InvalidFiles with all faults of files;
    ChillError when a server does not answer.
    """
    problems: list[Problem] = []
    key = None
    if delivery is not None:
        key = _gather(problems, lambda: _fit_key(fleet, instance, today))
        problems += letter_problems(fleet, delivery)
    problems += release_problems(fleet)
    problems += tariff_problems(fleet, instance.contract.tariff)
    problems += tls_problems(fleet)
    problems += [
        Problem(
            "SLUG",
            f"{domain} stands already in {path.relative_to(fleet.directory)}",
            "choose another slug, or remove that host from the inventory if it is no more",
        )
        for domain, path in other_places(fleet, instance)
    ]
    for directory in dict.fromkeys((instance.path.parent, fleet.journal, run_log.parent)):
        problems += writable_problems(directory, fleet.directory)
    if problems:
        raise InvalidFiles(problems, "nothing was changed")
    check_servers(fleet, [fleet.server(name) for name in instance.servers.values()], prepared=True)
    return key


def letter_problems(fleet: Fleet, delivery: Delivery) -> Iterator[Problem]:
    """Whether the letter can be written and sent, as far as this machine tells."""
    mail = fleet.settings.mail
    if delivery.by_mail:
        yield from mail_problems(mail)
    if delivery.by_mail and mail.username:
        try:
            read_password(fleet.path(mail.password_file))
        except RequestError as error:
            yield Problem("", error.message, error.hint)
    if delivery.file is None:
        return
    if delivery.file.exists():
        yield Problem("--letter-to", f"{delivery.file} exists already", "name a file that does not exist")
    elif not os.access(delivery.file.absolute().parent, os.W_OK | os.X_OK):
        yield Problem("--letter-to", f"{delivery.file.absolute().parent} is not a directory to write to")


def _gather(problems: list[Problem], question: Callable[[], Key]) -> Key | None:
    """The answer, or its refusal among the problems, so that all can be told at once."""
    try:
        return question()
    except RequestError as error:
        problems.append(Problem("", error.message, error.hint))
        return None


def _fit_key(fleet: Fleet, instance: Instance, today: date) -> Key:
    openpgp = fleet.settings.openpgp
    with Keyring(fleet.path(openpgp.home)) as keyring:
        key = keyring.fit_key(
            instance.responsible.fingerprint, today, openpgp.minimum_validity_days, "responsible.fingerprint"
        )
        if openpgp.signing_key:
            keyring.fit_signing_key(openpgp.signing_key, today)
    return key


def release_problems(fleet: Fleet) -> Iterator[Problem]:
    """Whether the release's archive is there and is the one that the settings name."""
    archive = fleet.path(fleet.settings.release.archive)
    try:
        with archive.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        yield Problem(
            "chill.toml: release.archive",
            f"{archive}: {error.strerror}",
            "put the archive there, or correct the path",
        )
        return
    if found != fleet.settings.release.sha256:
        yield Problem(
            "chill.toml: release.sha256",
            f"{archive} has the checksum {found}",
            "get the archive again; if it is the right one, correct the checksum",
        )


def tariff_problems(fleet: Fleet, tariff: str) -> Iterator[Problem]:
    """Whether the price list of a contract is there and can be read as TOML.

    Prices are checked where they are used.
    """
    path = fleet.tariffs / f"{tariff}.toml"
    place = f"tariffs/{path.name}"
    known = ", ".join(sorted(other.stem for other in fleet.tariffs.glob("*.toml"))) or "none yet"
    try:
        tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        yield Problem(place, "there is no such tariff", f"known: {known}")
    except OSError as error:
        yield Problem(place, f"cannot be read: {error.strerror}")
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        yield Problem(place, f"is not TOML: {error}")


def writable_problems(path: Path, root: Path) -> Iterator[Problem]:
    """Whether a directory can be written to, or made."""
    place = path
    while not place.exists() and place != root:
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        yield Problem(str(place), "is not a directory that can be written to", "make it writable for this user")


def check_servers(fleet: Fleet, servers: Iterable[Server], *, prepared: bool) -> None:
    """Ask servers over SSH: do they answer, and did `server prepare` run to its end (if `prepared`)?

    ChillError naming every server that does not answer, each with what ssh said; RequestError naming those
    that are not prepared.
    """
    # One that Ansible reaches by another way than SSH (this machine itself: local) is Ansible's to ask.
    different = list({one.name: one for one in servers if "ansible_connection" not in one.variables}.values())
    question = ("test", "-e", PREPARED) if prepared else ("true",)
    with ThreadPoolExecutor(max_workers=8) as pool:
        answers = list(pool.map(lambda server: _ask(ssh_command(fleet, server, question)), different))
    silent = {server: answer for server, answer in zip(different, answers, strict=True) if answer.fault}
    if silent:
        lines = "\n".join(f"{server.name}: {answer.fault}" for server, answer in silent.items())
        raise ChillError(
            f"server not reachable, nothing was changed:\n{lines}",
            f"try: {shlex.join(ssh_command(fleet, next(iter(silent)), ('true',)))}",
        )
    raw = [server.name for server, answer in zip(different, answers, strict=True) if not answer.yes]
    if raw:
        raise RequestError(
            f"not prepared for environments: {', '.join(raw)}; nothing was changed",
            f"first: chill-provision server prepare {' '.join(raw)}",
        )


def check_unoccupied(fleet: Fleet, instance: Instance) -> None:
    """Refuse a new instance whose environments stand already on its servers, made from another copy of the fleet."""
    for kind, environment in zip(KINDS, instance.names.environments, strict=True):
        server = fleet.server(instance.servers[kind])
        if "ansible_connection" in server.variables:
            continue
        if _ask(ssh_command(fleet, server, ("test", "-e", environment.home))).yes:
            raise RequestError(
                f"SLUG: {environment.home} stands already on {server.name}, but this fleet has no {instance.slug}; "
                "nothing was changed",
                "fetch the fleet's newest state (git pull), or choose another slug",
            )


def ssh_command(fleet: Fleet, server: Server, question: Sequence[str]) -> Sequence[str]:
    """The command that asks a server a question, with the connection variables of the inventory."""
    return ["ssh", *ssh_options(fleet, server), server.address, *question]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered: yes, no, or nothing for the reason in `fault`."""

    yes: bool
    fault: str = ""


def _ask(command: Sequence[str]) -> Answer:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ANSWER_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        return Answer(False, "the command ssh is not installed: apt-get install openssh-client")
    except subprocess.TimeoutExpired:
        return Answer(False, f"gave no answer within {ANSWER_SECONDS} seconds")
    # ssh ends with 255 on faults of its own, else with the status of the question (ssh(1), EXIT STATUS).
    if done.returncode == SSH_FAULT:
        return Answer(False, " ".join(done.stderr.split()) or "ssh gave no reason")
    return Answer(done.returncode == 0)
