"""The verb `create`: preflight, plan, then inventory file, playbook run, verification, letter, in that order.

`prepare` asks and changes nothing; `carry_out` does the work. Running it again is how one goes on after a
failure: what is there is left as it is, and the letter is sent once. A letter that was not delivered is never
stored: the next run makes new passwords.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

from rich.console import Console

from provision import locks, verify
from provision.ansible import Run, RunResult, playbooks_directory, run_playbook
from provision.deliver import Post, deliver
from provision.errors import ChillError, Interrupted, RequestError
from provision.events import Failure, HostResult
from provision.fleet import Fleet, Instance
from provision.graph import EVENT as GRAPH_SET
from provision.graph import GraphCredentials, graph_variables
from provision.inventory import write_instance
from provision.journal import Journal, State, letter_sent
from provision.letter import to_responsible
from provision.names import INITIAL_ACCOUNT
from provision.openpgp import Key
from provision.placement import AUTO, place
from provision.plan import Delivery, Plan, Request, make_plan, planned_instance
from provision.preflight import check_create, check_unoccupied
from provision.progress import ProgressFactory, checking, progress_for, say
from provision.resolver import look_up_names
from provision.secrets import Passwords, password
from provision.token_endpoint import check_credentials

ENVIRONMENT_PLAYBOOK = "environment.yml"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A creation that passed preflight. `key` is None when the letter was sent before.

    `graph` are the credentials of Microsoft Graph that were given, found to work.
    """

    plan: Plan
    key: Key | None
    delivery: Delivery
    log: Path
    graph: GraphCredentials | None = None

    @property
    def instance(self) -> Instance:
        return self.plan.instance


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `create` did.

    Counts per host, how many checks passed, how the letter travelled (empty: not at all), and what is missing of
    which environment although the rest of it stands.
    """

    instance: Instance
    hosts: Mapping[str, HostResult]
    checks: int
    letter: str
    log: Path = field(compare=False)
    degraded: Mapping[str, str] = field(default_factory=dict)


def prepare(
    request: Request, delivery: Delivery, fleet: Fleet, today: date, graph: GraphCredentials | None = None
) -> Prepared:
    """Check a request in full and plan it; `graph` also at Microsoft's. Changes nothing; raises what is wrong."""
    request, placed = _placed(request, fleet)
    instance, new = planned_instance(request, fleet)
    if instance.lifecycle != "running":
        raise RequestError(
            f"SLUG: {instance.slug} is {instance.lifecycle}",
            f"chill-provision resume {instance.slug} brings it back into service",
        )
    journal = Journal(fleet.journal)
    due = not letter_sent(journal.read(instance.slug))
    log = journal.log("create")
    key = check_create(fleet, instance, today, delivery if due else None, log)
    letter = delivery.text(fleet, instance) if due else ""
    owner = f"of {key.name}{f', good until {key.expires}' if key.expires else ''}" if key else ""
    ungranted = check_credentials(graph, fleet.settings.graph, "--graph") if graph else ()
    plan = make_plan(
        instance,
        fleet,
        new=new,
        letter=letter,
        placed=placed,
        key=owner,
        today=today,
        graph=graph,
        ungranted=ungranted,
        names=look_up_names(fleet, instance),
    )
    return Prepared(plan, key, delivery, log, graph)


def _placed(request: Request, fleet: Fleet) -> tuple[Request, str]:
    """The request with a server in place of `auto`, and why that one. An instance that exists stays where it is."""
    if request.server != AUTO:
        return request, ""
    if request.slug in fleet.instances:
        return replace(request, server=None), ""
    found = place(fleet)
    return replace(request, server=found.server), str(found)


def carry_out(prepared: Prepared, fleet: Fleet, console: Console) -> Outcome:
    """Create what was prepared. Progress goes to `console`.

    ChillError when a step failed, PartlyDone when all is well but the letter, Interrupted on Ctrl-C; the
    journal knows.
    """
    instance = prepared.instance
    with locks.held(fleet, locks.instance_places(fleet, [instance]), "create") as broken:
        for lock in broken:
            say(console, f"took over a stale lock: {lock}")
        return _create(prepared, fleet, console)


def _create(prepared: Prepared, fleet: Fleet, console: Console) -> Outcome:
    instance, journal = prepared.instance, Journal(fleet.journal)
    # Asked again, now that nobody else can send it.
    due = prepared.key is not None and not letter_sent(journal.read(instance.slug))
    if prepared.plan.new:
        check_unoccupied(fleet, instance)
        write_instance(instance)
        say(console, f"wrote inventory/instances/{instance.path.name}")
    retry = f"chill-provision create {instance.slug}{' --graph FILE' if prepared.graph else ''}"
    journal.add(instance.slug, "create", "started")
    with _journalled(journal, instance):
        passwords = new_passwords(instance) if due else Passwords({}, {})
        graph = prepared.graph
        result = build(prepared.instance, fleet, passwords, prepared.log, progress_for(console), retry, graph)
        if graph:
            journal.add(instance.slug, "create", GRAPH_SET, result="ok", expires=graph.expires.isoformat())
        checks, lacking = _verify(fleet, instance, console)
        degraded = {**lacking, **result.degraded}
        states: dict[str, State] = {
            domain: "degraded" if domain in degraded else "ready" for domain in instance.names.domains
        }
    detail = lacking_text(degraded)
    journal.add(
        instance.slug, "create", "ended", result="ok", environments=states, seconds=result.seconds, detail=detail
    )
    letter = ""
    if due and prepared.key:
        post = Post(instance, [to_responsible(instance, prepared.key)], prepared.delivery, passwords, "create", retry)
        letter = deliver(post, fleet, console)
    return Outcome(instance, result.hosts, checks, letter, prepared.log, degraded)


def new_passwords(instance: Instance) -> Passwords:
    """A new password of the first account of each environment, and of the test environment's site."""
    accounts = {environment.domain: password() for environment in instance.names.environments}
    return Passwords(accounts, {instance.names.test.domain: password()})


def build(
    instance: Instance,
    fleet: Fleet,
    passwords: Passwords,
    log: Path,
    progress: ProgressFactory,
    retry: str,
    graph: GraphCredentials | None = None,
) -> RunResult:
    """Run the playbook on both environments. `retry`: the command that goes on after a failure.

    The extra variables `initial_passwords` and `site_passwords` are there only when passwords are to be set,
    `graph_credentials` only when the production environment is to get them.
    """
    accounts = {domain: {INITIAL_ACCOUNT: secret} for domain, secret in passwords.accounts.items()}
    new = {"initial_passwords": accounts, "site_passwords": passwords.sites} if accounts else {}
    given = graph_variables(instance.names.environments[0].domain, graph) if graph else {}
    run = Run(
        playbook=playbooks_directory() / ENVIRONMENT_PLAYBOOK,
        inventory=fleet.inventory,
        limit=[instance.names.group],
        hosts=[environment.domain for environment in instance.names.environments],
        log=log,
        variables={**new, **given},
        ssh_config=fleet.ssh_config,
    )
    result = run_playbook(run, progress)
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
    began = time.monotonic()
    try:
        yield
    except (KeyboardInterrupt, Interrupted) as error:
        journal.add(instance.slug, "create", "ended", result="interrupted", seconds=time.monotonic() - began)
        if isinstance(error, Interrupted):
            raise
        raise Interrupted(
            f"stopped: {instance.slug} is built but not verified, and no letter was sent",
            f"go on with: chill-provision create {instance.slug}",
        ) from None
    except ChillError as error:
        broken = error.environments if isinstance(error, EnvironmentsFailedError) else domains
        failed: dict[str, State] = dict.fromkeys(broken, "failed")
        journal.add(
            instance.slug,
            "create",
            "ended",
            result="failed",
            environments=failed,
            seconds=time.monotonic() - began,
            detail=error.message,
        )
        raise


def lacking_text(degraded: Mapping[str, str]) -> str:
    """What is missing, a line for each environment."""
    return "\n".join(f"{domain}: {reason}" for domain, reason in degraded.items())


def _verify(fleet: Fleet, instance: Instance, console: Console) -> tuple[int, Mapping[str, str]]:
    """Verify both environments.

    The number of checks that passed, and what degrades which environment; or a ChillError naming the checks that
    did not pass.
    """
    with checking(console, f"verifying {instance.slug}") as report:
        checks = verify.run(fleet, instance, report)
    lacking = {check.environment: check.message for check in checks if not check.passed and check.degrades}
    broken = [check for check in checks if not check.passed and not check.degrades]
    if broken:
        lines = "\n".join(f"{check.environment}: {check.name}: {check.message}" for check in broken)
        raise EnvironmentsFailedError(
            f"{len(broken)} of {len(checks)} checks did not pass, and no letter was sent:\n{lines}",
            f"when it is mended, go on with: chill-provision create {instance.slug}",
            [check.environment for check in broken],
        )
    return sum(check.passed for check in checks), lacking
