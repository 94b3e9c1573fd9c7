"""The lab shares the host with other runs, and leaves nothing behind, however a run ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab import Lab, Machine, network, paths, processes, state
from tests.lab.errors import RequestError

pytestmark = pytest.mark.lab

PROJECT = Path(__file__).parents[2]
Boot = Callable[..., Machine]

OWNER = """
import sys
from tests.lab import Lab
machine = Lab(sys.argv[1]).machine("srv1")
print(machine.address, flush=True)
sys.stdin.read()
"""


def test_removal_leaves_nothing(machines: Boot) -> None:
    machine = machines("srv1")
    record = machine.record
    assert traces(record) == {
        "record",
        "processes",
        "mount",
        "control group",
        "interface",
        "directory of nspawn",
    }

    machine.remove()

    assert traces(record) == set()
    assert_network_fits_the_machines()
    with pytest.raises(RequestError, match="was removed"):
        machine.ssh("true")


def test_the_next_start_removes_what_a_killed_process_left(machines: Boot) -> None:
    scope = f"killed-{os.getpid()}"
    with owner_process(scope) as owner:
        record = state.load(scope, "srv1")
        assert record is not None
        machines("srv1")  # the owner lives: nothing of it may be touched
        assert Machine.find(scope, "srv1").running
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    assert traces(record) >= {"record", "processes", "mount"}

    with Lab("sweeper") as next_one:
        next_one.machine("srv9")

    assert traces(record) == set()
    assert not (paths.SCOPES / scope).exists()
    assert_network_fits_the_machines()


def test_two_processes_have_machines_of_one_name_at_once(lab: Lab) -> None:
    scopes = [f"at-once-{os.getpid()}-{letter}" for letter in "abc"]
    with contextlib.ExitStack() as stack:
        owners = [stack.enter_context(owner_process(scope, wait=False)) for scope in scopes]
        addresses = {first_line(owner) for owner in owners}

        assert len(addresses) == 3
        assert all(Machine.find(scope, "srv1").ssh("hostname").stdout == "srv1\n" for scope in scopes)
        for scope in scopes:
            Machine.find(scope, "srv1").remove()


def test_the_terminal_needs_nothing_but_debians_python(lab: Lab) -> None:
    scope = f"terminal-{os.getpid()}"

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        # -S hides every package that is not Python's own.
        command = ["/usr/bin/python3", "-S", "-m", "tests.lab", "--scope", scope, *words]
        return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)

    try:
        up = run("up", "srv1", "--image", "bare")
        assert (up.returncode, up.stdout.split("\t")[0]) == (0, "srv1"), up.stderr
        assert run("snapshot", "srv1", "clean").returncode == 0
        run("ssh", "srv1", "touch", "/srv/new")
        assert run("reset", "srv1", "clean").returncode == 0
        assert run("ssh", "srv1", "ls /srv/new; hostname").stdout == "srv1\n"
        listed = next(line.split("\t") for line in run("list").stdout.splitlines() if line.startswith(scope))
        assert [*listed[:2], *listed[3:]] == [scope, "srv1", "bare", "running", "kept", "clean"]
        wrong = run("down", "srv2")
        assert (wrong.returncode, wrong.stderr) == (
            2, f"lab: there is no machine 'srv2' in scope {scope}\n  its machines: srv1\n",
        )  # fmt: skip
    finally:
        down = run("down")
    assert down.returncode == 0
    assert state.records(scope) == []


@pytest.mark.parametrize(
    "as_whom, reason",
    [
        (["setpriv", "--bounding-set=-sys_admin"], "root lacks CAP_SYS_ADMIN here"),
        (["unshare", "--user"], "the lab boots machines, and that needs root"),
    ],
    ids=["without a capability", "as an ordinary user"],
)
def test_where_it_cannot_run_it_says_why(as_whom: list[str], reason: str) -> None:
    command = [*as_whom, sys.executable, "-m", "tests.lab", "up", "srv1"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)

    assert done.returncode == 1
    assert done.stderr.startswith(f"lab: {reason}")
    assert "Traceback" not in done.stderr


def traces(record: state.Record) -> set[str]:
    """What this host still has of a machine."""
    found = {
        "record": record.directory.exists(),
        "processes": bool(processes.pids(record.number)),
        "mount": f"{record.directory}/" in Path("/proc/self/mounts").read_text(encoding="utf-8"),
        "control group": any(group.exists() for group in processes.groups(record.number)),
        "interface": Path(f"/sys/class/net/vb-lab-{record.number}").exists(),
        "directory of nspawn": Path(f"/run/systemd/nspawn/propagate/lab-{record.number}").exists(),
    }
    return {name for name, there in found.items() if there}


def assert_network_fits_the_machines() -> None:
    """Bridge and masquerade are there while any machine of this host is, and no longer."""
    with paths.locked(paths.lab_lock()):
        tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
        needed = bool(state.records())
        assert (network.exists(), network.TABLE in tables) == (needed, needed)


@contextlib.contextmanager
def owner_process(scope: str, *, wait: bool = True) -> Iterator[subprocess.Popen[str]]:
    """Another process with a lab and a machine srv1 of its own."""
    command = [sys.executable, "-c", OWNER, scope]
    with subprocess.Popen(command, cwd=PROJECT, stdin=-1, stdout=-1, text=True) as process:
        if wait:
            first_line(process)
        yield process


def first_line(process: subprocess.Popen[str]) -> str:
    """What a process says first."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the process ended before it said anything"
    return line
