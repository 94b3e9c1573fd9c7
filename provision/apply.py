"""The verbs that bring servers and environments to what the fleet says: `server prepare` and `apply`."""

from __future__ import annotations

from collections.abc import Sequence

from provision import locks
from provision.ansible import Run, RunResult, playbooks_directory, run_playbook
from provision.certificates import tls_problems
from provision.create import ENVIRONMENT_PLAYBOOK, failure_text, lacking_text
from provision.errors import ChillError, Interrupted, InvalidFiles, PartlyDone, RequestError
from provision.events import HostResult
from provision.fleet import Fleet, Instance
from provision.journal import Journal, State
from provision.preflight import check_servers, release_problems, writable_problems
from provision.progress import ProgressFactory

SERVER_PLAYBOOK = "server.yml"


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
        raise kind(failure_text(result.failures), f"log: {result.log}")
    return result


def chosen(fleet: Fleet, slugs: Sequence[str]) -> Sequence[Instance]:
    """The instances of these slugs, or all. RequestError when there is none."""
    instances = [fleet.instance(slug) for slug in dict.fromkeys(slugs)] if slugs else list(fleet.instances.values())
    if not instances:
        raise RequestError(f"there is no instance in {fleet.directory}", "chill-provision create SLUG … makes one")
    return instances


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
    missing = HostResult(ok=0, changed=0, failed=0, unreachable=True)
    broken: dict[str, State] = {domain: "failed" for domain in domains if not result.hosts.get(domain, missing).fine}
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
    with locks.held(fleet, locks.server_places(servers), "server prepare"):
        result = run_playbook(run, progress)
    retry = f"chill-provision server prepare {' '.join(server.name for server in servers)}"
    if result.interrupted:
        raise Interrupted("stopped: what was installed stands", f"go on with: {retry}")
    if not result.succeeded:
        some = any(host.fine for host in result.hosts.values())
        kind = PartlyDone if some else ChillError
        raise kind(failure_text(result.failures), f"log: {result.log}\n  when it is mended: {retry}")
    return result
