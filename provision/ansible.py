"""Runs a playbook through ansible-runner: the only module that imports it.

What a run needs on disk lives in one private directory in memory (tmpfs) that is removed at the end; secrets
are in a file there, readable by its owner only, that ansible-playbook is given by name, and that goes as soon as
it was read: a run that is killed leaves none. ansible-runner keeps no artifact: results are collected from its
events as they come (ansible-runner 2.4.3: the event handler returns False).
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import ansible_runner

from provision.errors import ChillError
from provision.events import Difference, Events, Failure, HostResult, Notice
from provision.module_cache import module_cache
from provision.playbooks import count_tasks
from provision.playbooks import playbooks_directory as playbooks_directory
from provision.progress import ProgressFactory
from provision.secrets import Secret

PRIVATE_PREFIX = "chill-run-"
SECRETS = "secrets.json"
# As many connections as one sshd takes at once (MaxStartups, MaxSessions: 10 each), less some for others: the
# environments of a run may all live on one server.
FORKS = 8
# A server that went away without a word is noticed within half a minute.
SSH_OPTIONS = (
    "-o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=5 -o ServerAliveCountMax=6"
    " -o ControlMaster=auto -o ControlPersist=60s"
)


@dataclass(frozen=True, slots=True)
class Run:
    """One playbook run, described before it happens.

    `limit` are inventory hosts or groups; `hosts` the hosts they stand for, shown as progress lines.
    `variables` may hold `Secret` values at any depth; `log` receives a line per event, without secrets. `check`:
    nothing is changed, and what would be is told with its difference.
    """

    playbook: Path
    inventory: Path
    limit: Sequence[str]
    hosts: Sequence[str]
    log: Path
    variables: Mapping[str, Any] = field(default_factory=dict)
    ssh_config: Path | None = None
    check: bool = False


@dataclass(frozen=True, slots=True)
class RunResult:
    """What came of a run: counts per host, why hosts failed, seconds, the log's path, and what differed.

    `degraded` says by host what is missing although all else went well; `notices` are what an adminsys should know
    besides.
    """

    hosts: Mapping[str, HostResult]
    failures: Sequence[Failure]
    interrupted: bool
    seconds: float
    log: Path
    differences: Sequence[Difference] = ()
    degraded: Mapping[str, str] = field(default_factory=dict)
    notices: Sequence[Notice] = ()

    @property
    def succeeded(self) -> bool:
        return not self.interrupted and not self.failures and all(host.fine for host in self.hosts.values())


def run_playbook(run: Run, progress: ProgressFactory) -> RunResult:
    """Run a playbook and return what came of it. A ChillError when ansible-playbook itself could not run.

    Ctrl-C (and SIGTERM) stop it within a second; the result says `interrupted`. What a task had begun on a
    server by then may go on there.
    """
    began = time.monotonic()
    with private_directory() as private, _log(run.log) as log, _stop_requests() as stop:
        events = Events(log, hidden=_revealed(run.variables))
        arguments = runner_arguments(run, private)
        try:
            with progress(run.hosts, count_tasks(run.playbook)) as shown:
                events.progress = shown

                def stopped() -> bool:
                    # Asked at least once a second (pexpect_timeout).
                    shown.tick()
                    return stop.is_set()

                runner = ansible_runner.run(
                    event_handler=_forgetting(events, private), cancel_callback=stopped, **arguments
                )
        finally:
            _close_connections(private)
    if not stop.is_set() and not events.hosts:
        reason = events.last_words() or f"ansible-playbook ended with status {runner.rc}"
        raise ChillError(f"{run.playbook.name} did not run: {reason}", f"log: {run.log}")
    return RunResult(
        events.hosts,
        events.failures,
        stop.is_set(),
        time.monotonic() - began,
        run.log,
        tuple(events.differences),
        events.degraded,
        tuple(events.notices),
    )


def _forgetting(events: Events, private: Path) -> Callable[[Mapping[str, Any]], bool]:
    """The event handler. When the play begins, ansible-playbook has read the extra variables, and never will again."""

    def handle(event: Mapping[str, Any]) -> bool:
        if event.get("event") == "playbook_on_start":
            (private / SECRETS).unlink(missing_ok=True)
        return events.handle(event)

    return handle


def runner_arguments(run: Run, private: Path) -> dict[str, Any]:
    """The arguments of ansible-runner for a run; writes the secrets' file into the private directory."""
    words = ["--check", "--diff"] if run.check else []
    words += ["-e", f"@{_write_variables({**_settings(run.inventory), **run.variables}, private)}"]
    return {
        "private_data_dir": str(private),
        "project_dir": str(run.playbook.parent),
        "playbook": str(run.playbook),
        "inventory": str(run.inventory),
        "limit": ",".join(run.limit),
        "forks": FORKS,
        "cmdline": shlex.join(words),
        "envvars": environment(run, private),
        # A poll of one second: the longest that a stop request waits.
        "settings": {"pexpect_timeout": 1, "suppress_ansible_output": True, "suppress_output_file": True},
        "fact_cache_type": "memory",
        "quiet": True,
    }


def environment(run: Run, private: Path) -> dict[str, str]:
    """Variables on top of the user's, whose own settings of Ansible must neither leak secrets nor decide."""
    config = run.playbook.parent / "ansible.cfg"
    if not config.is_file():
        # Naming an empty one keeps Ansible from taking the user's own.
        config = private / "ansible.cfg"
        config.touch()
    ssh = SSH_OPTIONS if run.ssh_config is None else f"-F {shlex.quote(str(run.ssh_config))} {SSH_OPTIONS}"
    # ansible-playbook stands beside the Python that runs this, which may not be on the user's path.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    checkout = Path(__file__).resolve().parents[1]
    # The playbooks' filters import this package, also from a checkout that is not installed.
    importable = {"PYTHONPATH": str(checkout)} if (checkout / "pyproject.toml").is_file() else {}
    kept = module_cache(playbooks_directory())
    return {
        **importable,
        **({"CHILL_MODULE_CACHE": str(kept)} if kept else {}),
        "PATH": path,
        "ANSIBLE_CONFIG": str(config),
        "ANSIBLE_HOME": str(private / "home"),
        "ANSIBLE_LOCAL_TEMP": str(private / "tmp"),
        # lifeline.py: a run ends with the process that started it; headstart.py: tasks begin sooner.
        "ANSIBLE_CALLBACK_PLUGINS": str(playbooks_directory() / "callback_plugins"),
        "CHILL_PROVISION_PID": str(os.getpid()),
        "ANSIBLE_CACHE_PLUGIN": "memory",
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_SSH_ARGS": ssh,
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(private / "cp"),
        "ANSIBLE_KEEP_REMOTE_FILES": "False",
        "ANSIBLE_DISPLAY_ARGS_TO_STDOUT": "False",
        "ANSIBLE_DIFF_ALWAYS": "False",
        "ANSIBLE_VERBOSITY": "0",
        "ANSIBLE_DEBUG": "False",
        "ANSIBLE_LOG_PATH": os.devnull,
        "ANSIBLE_NOCOLOR": "True",
    }


@contextmanager
def private_directory() -> Iterator[Path]:
    """A new directory for one run, 0700, in memory where there is a tmpfs; removed at the end in any case.

    Directories that killed runs of the same user left behind are removed too.
    """
    parent = _in_memory()
    _remove_abandoned(parent)
    path = Path(tempfile.mkdtemp(prefix=f"{PRIVATE_PREFIX}{os.getpid()}-", dir=parent))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _in_memory() -> Path:
    """A writable tmpfs; else the temporary directory."""
    with Path("/proc/self/mounts").open(encoding="utf-8") as mounts:
        kinds = {fields[1]: fields[2] for fields in (line.split() for line in mounts)}
    for candidate in (os.environ.get("XDG_RUNTIME_DIR", ""), "/run", "/dev/shm"):  # noqa: S108 (mkdtemp makes it private)
        if candidate and kinds.get(candidate) == "tmpfs" and os.access(candidate, os.W_OK | os.X_OK):
            return Path(candidate)
    return Path(tempfile.gettempdir())


def _remove_abandoned(parent: Path) -> None:
    for path in parent.glob(f"{PRIVATE_PREFIX}*"):
        owner = path.name.removeprefix(PRIVATE_PREFIX).partition("-")[0]
        if owner.isdigit() and path.stat().st_uid == os.getuid() and not Path("/proc", owner).exists():
            shutil.rmtree(path, ignore_errors=True)


def _settings(inventory: Path) -> dict[str, Any]:
    """The fleet's settings as playbooks/group_vars/all.yml would read them: there each use of one reads them again."""
    directory = inventory.absolute().parent
    with suppress(OSError, ValueError), (directory / "chill.toml").open("rb") as file:
        return {"fleet": tomllib.load(file), "fleet_directory": str(directory)}
    # What is wrong with the file is told by who reads it there.
    return {}


def _write_variables(variables: Mapping[str, Any], private: Path) -> Path:
    path = private / SECRETS
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(variables, file, default=_reveal)
    return path


def _reveal(value: object) -> str:
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"a variable of a run cannot be a {type(value).__name__}")


def _revealed(variables: Any) -> frozenset[str]:
    """Every secret at any depth of the variables, so that it can be blotted out should a task print it."""
    if isinstance(variables, Secret):
        return frozenset([variables.reveal()])
    if isinstance(variables, Mapping):
        return frozenset().union(*(_revealed(value) for value in variables.values()))
    return frozenset()


@contextmanager
def _log(path: Path) -> Iterator[TextIO]:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "a", encoding="utf-8") as file:
        yield file


@contextmanager
def _stop_requests() -> Iterator[threading.Event]:
    """An event that is set by Ctrl-C and SIGTERM for as long as the run lasts.

    The handlers from before come back after it.
    """
    stop = threading.Event()

    def handler(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def _close_connections(private: Path) -> None:
    """End the SSH masters that this run started: they would outlive it by ControlPersist."""
    for socket in (private / "cp").glob("*"):
        subprocess.run(
            ["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "any"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=10,
        )
