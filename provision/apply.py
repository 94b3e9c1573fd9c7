"""The verbs that bring servers and environments to what the fleet says: `server prepare` and `apply`."""

from __future__ import annotations

from collections.abc import Sequence

from provision import locks
from provision.ansible import Run, RunResult, playbooks_directory, run_playbook
from provision.certificates import tls_problems
from provision.create import ENVIRONMENT_PLAYBOOK, failure_text, lacking_text
from provision.errors import ChillError, Interrupted, InvalidFiles, PartlyDone, RequestError
from provision.events import HostResult
from provision.fleet import Fleet, Instance, Server
from provision.journal import Journal, Result, State, unfinished
from provision.preflight import check_servers, release_problems, writable_problems
from provision.progress import ProgressFactory

SERVER_PLAYBOOK = "server.yml"
PREPARE = "server prepare"
UNSEEN = HostResult(ok=0, changed=0, failed=0, unreachable=True)


def apply(fleet: Fleet, slugs: Sequence[str], progress: ProgressFactory) -> RunResult:
    """Bring the environments of these instances (all when none is named) to what the fleet says.

    No password is set. ChillError when it failed on every instance, PartlyDone when on some; the journal of
    each tells which. The result says what is missing of environments that otherwise stand.
    """
    instances = chosen(fleet, slugs)
    run = environments_run(fleet, instances, "apply")
    with locks.held(fleet, locks.instance_places(fleet, instances), "apply"):
        return _apply(fleet, instances, run, progress)


def _apply(fleet: Fleet, instances: Sequence[Instance], run: Run, progress: ProgressFactory) -> RunResult:
    journal = Journal(fleet.journal)
    for instance in instances:
        journal.add(instance.slug, "apply", "started")
    result = run_playbook(run, progress)
    whole = [_settle(journal, instance, result) for instance in instances]
    if result.interrupted:
        raise Interrupted(
            "stopped: what was applied stands, what a task had begun may still be going on on the server",
            "the same command goes on",
        )
    if not result.succeeded:
        kind = PartlyDone if any(whole) else ChillError
        retry = " ".join(("chill-provision apply", *broken_slugs(instances, result)))
        raise kind(failure_text(result.failures), f"log: {result.log}\n  when it is mended, go on with: {retry}")
    return result


def broken_slugs(instances: Sequence[Instance], result: RunResult) -> Sequence[str]:
    """The instances of which an environment did not end well."""
    return [
        instance.slug
        for instance in instances
        if not all(
            environment.domain in result.hosts and result.hosts[environment.domain].fine
            for environment in instance.names.environments
        )
    ]


def chosen(fleet: Fleet, slugs: Sequence[str]) -> Sequence[Instance]:
    """The instances of these slugs, or all whose creation was finished. RequestError when there is none."""
    if not slugs:
        left_out = set(unfinished_instances(fleet))
        instances = [instance for instance in fleet.instances.values() if instance.slug not in left_out]
    else:
        instances = [fleet.instance(slug) for slug in dict.fromkeys(slugs)]
        for instance in instances:
            refuse_unfinished(fleet, instance, "apply")
    if not instances:
        raise RequestError(f"there is no instance in {fleet.directory}", "chill-provision create SLUG … makes one")
    return instances


def unfinished_instances(fleet: Fleet) -> Sequence[str]:
    """The slugs of those whose creation failed, or was cut short."""
    journal = Journal(fleet.journal)
    return [
        slug for slug, instance in fleet.instances.items() if unfinished(journal.read(slug), instance.names.domains)
    ]


def refuse_unfinished(fleet: Fleet, instance: Instance, verb: str) -> None:
    """RequestError for an instance whose creation was not finished: it can be gone on with, or archived."""
    if unfinished(Journal(fleet.journal).read(instance.slug), instance.names.domains):
        raise RequestError(
            f"SLUG: the creation of {instance.slug} was not finished: there is nothing yet to {verb}",
            f"chill-provision create {instance.slug} goes on; chill-provision archive {instance.slug} gives it up",
        )


def environments_run(fleet: Fleet, instances: Sequence[Instance], command: str, *, check: bool = False) -> Run:
    """The run that brings both environments of each instance to what the fleet says.

    InvalidFiles when the files that it needs are not in order.
    """
    log = Journal(fleet.journal).log(command)
    problems = [*release_problems(fleet), *tls_problems(fleet), *writable_problems(log.parent, fleet.directory)]
    if problems:
        raise InvalidFiles(problems, "nothing was changed")
    return Run(
        playbook=playbooks_directory() / ENVIRONMENT_PLAYBOOK,
        inventory=fleet.inventory,
        limit=[instance.names.group for instance in instances],
        hosts=[environment.domain for instance in instances for environment in instance.names.environments],
        log=log,
        ssh_config=fleet.ssh_config,
        check=check,
    )


def _settle(journal: Journal, instance: Instance, result: RunResult) -> bool:
    """Note the end of a run in an instance's journal; whether it was well for both environments."""
    domains = [environment.domain for environment in instance.names.environments]
    if result.interrupted:
        journal.add(instance.slug, "apply", "ended", result="interrupted", seconds=result.seconds)
        return False
    broken: dict[str, State] = {domain: "failed" for domain in domains if not result.hosts.get(domain, UNSEEN).fine}
    lacking = {domain: result.degraded[domain] for domain in domains if domain in result.degraded}
    reasons = [failure_text([failure for failure in result.failures if failure.host in domains]), lacking_text(lacking)]
    journal.add(
        instance.slug,
        "apply",
        "ended",
        result="failed" if broken else "ok",
        environments={**dict.fromkeys(lacking, "degraded"), **broken},
        seconds=result.seconds,
        detail="\n".join(filter(None, reasons)),
    )
    return not broken


def _settle_server(journal: Journal, server: Server, result: RunResult) -> None:
    """Note the end of a preparation in the server's journal, which stands beside those of instances."""
    ending: Result = "ok" if result.hosts.get(server.name, UNSEEN).fine else "failed"
    journal.add(
        server.name,
        PREPARE,
        "ended",
        result="interrupted" if result.interrupted else ending,
        seconds=result.seconds,
        detail=failure_text([failure for failure in result.failures if failure.host == server.name]),
    )


def prepare_servers(fleet: Fleet, names: Sequence[str], progress: ProgressFactory) -> RunResult:
    """Install and configure servers. ChillError when that failed on all of them, PartlyDone when on some."""
    servers = [fleet.server(name) for name in dict.fromkeys(names)]
    log = Journal(fleet.journal).log("server-prepare")
    problems = [*tls_problems(fleet), *writable_problems(log.parent, fleet.directory)]
    if problems:
        raise InvalidFiles(problems, "nothing was changed")
    check_servers(fleet, servers, prepared=False)
    run = Run(
        playbook=playbooks_directory() / SERVER_PLAYBOOK,
        inventory=fleet.inventory,
        limit=[server.name for server in servers],
        hosts=[server.name for server in servers],
        log=log,
        ssh_config=fleet.ssh_config,
    )
    journal = Journal(fleet.journal)
    with locks.held(fleet, locks.server_places(servers), PREPARE):
        for server in servers:
            journal.add(server.name, PREPARE, "started")
        result = run_playbook(run, progress)
        for server in servers:
            _settle_server(journal, server, result)
    retry = f"chill-provision server prepare {' '.join(server.name for server in servers)}"
    if result.interrupted:
        raise Interrupted("stopped: what was installed stands", f"go on with: {retry}")
    if not result.succeeded:
        some = any(host.fine for host in result.hosts.values())
        kind = PartlyDone if some else ChillError
        raise kind(failure_text(result.failures), f"log: {result.log}\n  when it is mended: {retry}")
    return result
