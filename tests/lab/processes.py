"""Starting and stopping the processes of one machine.

Every machine has a control group of its own. It keeps the init systems of two machines apart, and it names
exactly the processes that are the lab's: nothing else is ever signalled.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.network import BRIDGE

_CGROUPS = Path("/sys/fs/cgroup")
_ENTER = 'set -e; while [ "$1" != -- ]; do echo 0 > "$1/cgroup.procs"; shift; done; shift; exec setsid --fork "$@"'


def hierarchies() -> list[Path]:
    """The cgroup trees that systemd uses here: one (v2), or its own and perhaps a v2 beside it."""
    if (_CGROUPS / "cgroup.controllers").exists():
        return [_CGROUPS]
    return [tree for tree in (_CGROUPS / "systemd", _CGROUPS / "unified") if (tree / "cgroup.procs").exists()]


def groups(number: int) -> list[Path]:
    """The control groups of machine `number`, one in each hierarchy."""
    return [tree / f"petits-chills-lab-{number}" for tree in hierarchies()]


def nspawn(number: int, hostname: str, root: Path) -> list[str]:
    """The command that boots the tree at `root`."""
    return [
        "systemd-nspawn", "--quiet", f"--directory={root}", "--boot", "--register=no", "--keep-unit",
        f"--machine=lab-{number}", f"--hostname={hostname}", f"--network-bridge={BRIDGE}",
        "--resolv-conf=off", "--timezone=off", "--link-journal=no",
    ]  # fmt: skip


def start(number: int, hostname: str, root: Path, console: Path) -> None:
    """Start the machine in the background, in a session of its own; its output goes to `console`."""
    trees = groups(number)
    for tree in trees:
        tree.mkdir(exist_ok=True)
    # The shell enters the group before it forks, so that no process of the machine ever lives outside.
    command = ["sh", "-c", _ENTER, "sh", *map(str, trees), "--", *nspawn(number, hostname, root)]
    environment = {"PATH": os.environ.get("PATH", os.defpath), "TERM": "dumb"}
    with console.open("wb") as log:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, check=False)
    if done.returncode:
        raise LabError(f"{hostname} could not be started: {console.read_text(errors='replace').strip()}")


def pids(number: int, part: str = "") -> list[int]:
    """The processes of the machine; `part` is `supervisor` (nspawn) or `payload` (all inside), or both."""
    return list(dict.fromkeys(pid for tree in groups(number) for pid in _members(tree / part)))


def power_off(number: int, timeout: float) -> None:
    """Ask the machine to shut down in order, as its power button would; after `timeout` seconds, kill it."""
    for pid in pids(number, "supervisor"):
        _signal(pid, signal.SIGTERM)
    if not _gone(number, timeout):
        kill(number)
    _remove_groups(number)


def kill(number: int) -> None:
    """End all processes of the machine at once, and remove its control groups."""
    # Without its payload nspawn ends by itself and takes its interface and lock files along.
    for pid in pids(number, "payload"):
        _signal(pid, signal.SIGKILL)
    if not _gone(number, 3):
        for pid in pids(number):
            _signal(pid, signal.SIGKILL)
    if not _gone(number, 10):
        raise LabError(f"lab-{number}: processes {pids(number)} survive SIGKILL", "wait, then run it again")
    _remove_groups(number)


def _members(tree: Path) -> Iterator[int]:
    for directory, _below, _files in os.walk(tree):  # which does not mind that a group vanishes meanwhile
        with suppress(OSError):
            text = Path(directory, "cgroup.procs").read_text(encoding="ascii")
            # 0 stands for a process of another pid namespace; to signal 0 would be to signal oneself.
            yield from (pid for pid in map(int, text.split()) if pid)


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _gone(number: int, timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while pids(number):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _remove_groups(number: int) -> None:
    deadline = time.monotonic() + 5
    # The kernel, and nspawn as it ends, take groups away at the same time; a group may be busy for a moment.
    while trees := [tree for tree in groups(number) if tree.exists()]:
        for tree in trees:
            for directory, _below, _files in os.walk(tree, topdown=False):
                with suppress(OSError):
                    Path(directory).rmdir()
        if time.monotonic() > deadline:
            raise LabError(f"control groups are in use though their processes ended: {trees[0]}")
    # What nspawn leaves when it did not end by itself.
    with suppress(OSError):
        Path(f"/run/systemd/nspawn/propagate/lab-{number}").rmdir()
