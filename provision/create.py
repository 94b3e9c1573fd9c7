"""The verb `create`: preflight, plan, then inventory file, playbook run, verification, letter, in that order.

`prepare` asks and changes nothing; `carry_out` does the work. Running it again is how one goes on after a
failure: what is there is left as it is, and the letter is sent once. A letter that was not delivered is never
stored: the next run makes new passwords.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from rich.console import Console

from provision import letter as letters
from provision import verify
from provision.ansible import Run, RunResult, playbooks_directory, run_playbook
from provision.errors import ChillError, Interrupted, PartlyDone
from provision.events import Failure, HostResult
from provision.fleet import Fleet, Instance
from provision.inventory import write_instance
from provision.journal import Journal, State, letter_sent
from provision.names import INITIAL_ACCOUNT
from provision.openpgp import Key, Keyring
from provision.plan import Delivery, Plan, Request, make_plan, planned_instance
from provision.preflight import check_create
from provision.progress import ProgressFactory, checking, progress_for, say
from provision.secrets import Secret, password

ENVIRONMENT_PLAYBOOK = "environment.yml"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A creation that passed preflight. `key` is None when the letter was sent before."""

    plan: Plan
    key: Key | None
    delivery: Delivery
    log: Path

    @property
    def instance(self) -> Instance:
        return self.plan.instance


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `create` did.

    Counts per host, how many checks passed, and how the letter travelled (empty: not at all).
    """

    instance: Instance
    hosts: Mapping[str, HostResult]
    checks: int
    letter: str
    log: Path = field(compare=False)


def prepare(request: Request, delivery: Delivery, fleet: Fleet, today: date) -> Prepared:
    """Check a request in full and plan it. Changes nothing; raises what is wrong."""
    instance, new = planned_instance(request, fleet)
    journal = Journal(fleet.journal)
    due = not letter_sent(journal.read(instance.slug))
    log = journal.log("create")
    key = check_create(fleet, instance, today, delivery if due else None, log)
    letter = delivery.text(fleet, instance) if due else ""
    return Prepared(make_plan(instance, fleet, new=new, letter=letter), key, delivery, log)


def carry_out(prepared: Prepared, fleet: Fleet, console: Console) -> Outcome:
    """Create what was prepared. Progress goes to `console`.

    ChillError when a step failed, PartlyDone when all is well but the letter, Interrupted on Ctrl-C; the
    journal knows.
    """
    instance, journal = prepared.instance, Journal(fleet.journal)
    if prepared.plan.new:
        write_instance(instance)
        say(console, f"wrote inventory/instances/{instance.path.name}")
    journal.add(instance.slug, "create", "started")
    with _journalled(journal, instance):
        passwords = _passwords(instance) if prepared.key else {}
        result = build(prepared, fleet, passwords, progress_for(console))
        checks = _verify(fleet, instance, console)
        states: dict[str, State] = {environment.domain: "ready" for environment in instance.names.environments}
    journal.add(instance.slug, "create", "ended", result="ok", environments=states, seconds=result.seconds)
    letter = _deliver(prepared, fleet, passwords, journal, console)
    return Outcome(instance, result.hosts, checks, letter, prepared.log)


def _passwords(instance: Instance) -> dict[str, Secret]:
    """A new password of the first account of each environment, by domain."""
    return {environment.domain: password() for environment in instance.names.environments}


def build(prepared: Prepared, fleet: Fleet, passwords: Mapping[str, Secret], progress: ProgressFactory) -> RunResult:
    """Run the playbook on both environments.

    The extra variable `initial_passwords` is there only when accounts are to be set.
    """
    instance = prepared.instance
    accounts = {domain: {INITIAL_ACCOUNT: secret} for domain, secret in passwords.items()}
    run = Run(
        playbook=playbooks_directory() / ENVIRONMENT_PLAYBOOK,
        inventory=fleet.inventory,
        limit=[instance.names.group],
        hosts=[environment.domain for environment in instance.names.environments],
        log=prepared.log,
        variables={"initial_passwords": accounts} if accounts else {},
        ssh_config=fleet.ssh_config,
    )
    result = run_playbook(run, progress)
    retry = f"chill-provision create {instance.slug}"
    if result.interrupted:
        raise Interrupted(
            f"stopped while building {instance.slug}: what was built stands, what a task had begun may go on "
            "on the server, and no letter was sent",
            f"go on with: {retry}",
        )
    if not result.succeeded:
        broken = [failure.host for failure in result.failures]
        hint = f"log: {result.log}\n  when it is mended, go on with: {retry}"
        raise EnvironmentsFailedError(failure_text(result.failures), hint, broken)
    return result


class EnvironmentsFailedError(ChillError):
    """Building or verifying failed on these environments (domains)."""

    def __init__(self, message: str, hint: str, environments: Sequence[str]) -> None:
        super().__init__(message, hint)
        self.environments = environments


def failure_text(failures: Sequence[Failure]) -> str:
    """What failed, host by host: the task's name and the reason as one paragraph."""
    return "\n".join(
        f"{failure.host} cannot be reached: {failure.reason}"
        if failure.unreachable
        else f'{failure.host} failed at "{failure.task}": {failure.reason}'
        for failure in failures
    )


@contextmanager
def _journalled(journal: Journal, instance: Instance) -> Iterator[None]:
    """Write into the journal how the work inside ended, when it did not end well."""
    domains = [environment.domain for environment in instance.names.environments]
    try:
        yield
    except (KeyboardInterrupt, Interrupted) as error:
        journal.add(instance.slug, "create", "ended", result="interrupted")
        if isinstance(error, Interrupted):
            raise
        raise Interrupted(
            f"stopped: {instance.slug} is built but not verified, and no letter was sent",
            f"go on with: chill-provision create {instance.slug}",
        ) from None
    except ChillError as error:
        broken = error.environments if isinstance(error, EnvironmentsFailedError) else domains
        failed: dict[str, State] = dict.fromkeys(broken, "failed")
        journal.add(instance.slug, "create", "ended", result="failed", environments=failed, detail=error.message)
        raise


def _verify(fleet: Fleet, instance: Instance, console: Console) -> int:
    """Verify both environments.

    The number of checks that passed, or a ChillError naming those that did not.
    """
    with checking(console, f"verifying {instance.slug}") as report:
        checks = verify.run(fleet, instance, report)
    broken = [check for check in checks if not check.passed]
    if broken:
        lines = "\n".join(f"{check.environment}: {check.name}: {check.message}" for check in broken)
        raise EnvironmentsFailedError(
            f"{len(broken)} of {len(checks)} checks did not pass, and no letter was sent:\n{lines}",
            f"when it is mended, go on with: chill-provision create {instance.slug}",
            [check.environment for check in broken],
        )
    return len(checks)


def _deliver(
    prepared: Prepared,
    fleet: Fleet,
    passwords: Mapping[str, Secret],
    journal: Journal,
    console: Console,
) -> str:
    """Send the letter once, and note it.

    PartlyDone when the environments stand but the letter could not be delivered.
    """
    if prepared.key is None:
        return ""
    slug = prepared.instance.slug
    done: list[str] = []
    try:
        _send(prepared, prepared.key, fleet, passwords, done)
    except (ChillError, OSError, KeyboardInterrupt) as error:
        reason = error.message if isinstance(error, ChillError) else str(error) or "stopped"
        if not done:
            journal.add(slug, "create", "letter_sent", result="failed", detail=reason)
            raise PartlyDone(
                f"both environments of {slug} are ready, but the letter was not delivered: {reason}",
                f"chill-provision create {slug} makes new passwords and sends them",
            ) from error
        journal.add(slug, "create", "letter_sent", result="ok", detail=" and ".join(done))
        raise PartlyDone(f"the letter was written ({done[0]}), but not sent: {reason}", "pass the file on") from error
    how = " and ".join(done)
    journal.add(slug, "create", "letter_sent", result="ok", detail=how)
    say(console, f"letter {how}")
    return how


def _send(prepared: Prepared, key: Key, fleet: Fleet, passwords: Mapping[str, Secret], done: list[str]) -> None:
    """Compose, seal and deliver; `done` gets each way that succeeded."""
    instance, settings, delivery = prepared.instance, fleet.settings, prepared.delivery
    accounts = [
        letters.Account(environment, INITIAL_ACCOUNT, passwords[environment.domain])
        for environment in instance.names.environments
    ]
    letter = letters.compose(instance, accounts, settings, delivery.language)
    with Keyring(fleet.path(settings.openpgp.home)) as keyring:
        message = letters.seal(letter, instance, keyring, key, settings, datetime.now(UTC))
    if delivery.file:
        letters.write_armored(message, delivery.file)
        done.append(f"written to {delivery.file}")
    if delivery.by_mail:
        password_file = fleet.path(settings.mail.password_file)
        letters.send(message, settings.mail, lambda: letters.read_password(password_file))
        done.append(f"sent to {instance.responsible.email}")
