"""One machine of the lab: a Debian that was booted, and answers over ssh."""

from __future__ import annotations

import dataclasses
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

from tests.lab import disk, identity, network, paths, processes, state
from tests.lab.errors import LabError, RequestError
from tests.lab.state import Record

BOOT_TIMEOUT = 120.0  # seconds; a machine needs 1 to 3
STOP_TIMEOUT = 30.0


@dataclasses.dataclass(frozen=True)
class Machine:
    """A machine by scope and name. It holds no state: two of them may speak of the same machine."""

    scope: str
    name: str
    address: str

    @classmethod
    def find(cls, scope: str, name: str) -> Machine:
        """An existing machine; RequestError names those that there are."""
        record = state.load(scope, name)
        if record is None:
            known = ", ".join(other.name for other in state.records(scope)) or "none"
            raise RequestError(f"there is no machine {name!r} in scope {scope}", f"its machines: {known}")
        return cls(scope, name, record.address)

    @property
    def record(self) -> Record:
        """What is remembered of it; LabError once it was removed."""
        record = state.load(self.scope, self.name)
        if record is None:
            raise RequestError(f"machine {self.name} in scope {self.scope} was removed", "python3 -m tests.lab list")
        return record

    @property
    def root(self) -> Path:
        """Its file tree as the host sees it, while it runs. Mind absolute symbolic links."""
        return disk.root(self.record)

    @property
    def console(self) -> Path:
        """What it wrote to its console since the last start."""
        return self.record.directory / "console.log"

    @property
    def running(self) -> bool:
        """Whether any process of it runs."""
        return bool(processes.pids(self.record.number))

    @property
    def ssh_command(self) -> list[str]:
        """The command that opens a session as root; append what is to run there."""
        return ["ssh", *self._options(), self.name]

    def ssh(
        self, command: str, *, input: bytes | str | None = None, check: bool = True, timeout: float = 600
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command there as root; stdout and stderr as text.

        With `check`, a status other than 0 raises LabError with the end of its stderr. `timeout` in seconds.
        """
        data = input.encode() if isinstance(input, str) else input
        return self._run([*self.ssh_command, command], data, check, timeout, command)

    def put(self, local: Path | str, remote: str) -> None:
        """Copy a file or a directory there, modes and times kept; `remote` as scp understands it."""
        self._copy(str(local), f"{self.name}:{remote}")

    def get(self, remote: str, local: Path | str) -> None:
        """Copy a file or a directory from there."""
        self._copy(f"{self.name}:{remote}", str(local))

    def add_hosts(self, hosts: Mapping[str, str]) -> None:
        """Make names known there by lines in its /etc/hosts: name to address."""
        lines = "".join(f"{address} {name}\n" for name, address in hosts.items())
        self.ssh("cat >> /etc/hosts", input=lines)

    def start(self) -> None:
        """Boot it, unless it runs, and wait until systemd has nothing left to start."""
        with self._locked():
            self._start()

    def stop(self) -> None:
        """Shut it down in order, as its power button would. What is on its disk stays."""
        with self._locked():
            self._stop(lambda number: processes.power_off(number, STOP_TIMEOUT))

    def cut_power(self) -> None:
        """End it between two instructions. What its kernel had taken for the disk is there when it starts again."""
        with self._locked():
            self._stop(processes.kill)

    def snapshot(self, snapshot: str) -> None:
        """Remember its disk, after an orderly shutdown, under a name; a running machine boots again."""
        with self._locked():
            ran = self.running
            self._stop(lambda number: processes.power_off(number, STOP_TIMEOUT))
            record = disk.frozen(self.record, snapshot)
            record.save()
            disk.sweep(record)
            if ran:
                self._start()

    def reset(self, snapshot: str | None = None) -> None:
        """Give it back its disk as of a snapshot, or of its very first start, and boot it.

        Nothing written since is kept, so it is not shut down first but switched off.
        """
        with self._locked():
            record = disk.rewound(self.record, snapshot)
            self._stop(processes.kill)
            record.save()
            disk.sweep(record)
            self._start()

    def remove(self) -> None:
        """Switch it off and delete all of it; with the last machine of the host, the bridge goes, too."""
        with self._locked():
            remove(self.record)

    def _options(self) -> list[str]:
        return ["-F", str(identity.ssh_config(self.record.scope))]

    def _locked(self) -> AbstractContextManager[IO[str]]:
        return paths.locked(lock_of(self.scope, self.name))

    def _start(self) -> None:
        record = self.record
        if not (self.running and disk.root(record).is_mount()):
            processes.kill(record.number)
            disk.unmount(disk.root(record))
            with paths.locked(paths.lab_lock()):
                network.up()  # the host may have been booted since the machine was made
            disk.mount(record)
            processes.start(record.number, record.name, disk.root(record), self.console)
        self._await_ssh(time.monotonic() + BOOT_TIMEOUT)
        self.ssh("systemctl is-system-running --wait", check=False, timeout=BOOT_TIMEOUT)

    def _stop(self, end: Callable[[int], None]) -> None:
        record = self.record
        end(record.number)
        disk.unmount(disk.root(record))

    def _await_ssh(self, deadline: float) -> None:
        number = self.record.number
        while not _greets(self.address):
            if not processes.pids(number):
                raise LabError(f"{self.name} ended while it booted; its console:\n{self._last_words()}")
            if time.monotonic() > deadline:
                raise LabError(f"{self.name} did not answer over ssh; its console:\n{self._last_words()}")
            time.sleep(0.05)

    def _last_words(self) -> str:
        return "\n".join(self.console.read_text(errors="replace").splitlines()[-15:])

    def _copy(self, source: str, target: str) -> None:
        command = ["scp", "-q", "-p", "-r", *self._options(), source, target]
        self._run(command, None, True, 600, f"copy {source} to {target}")

    def _run(
        self, command: list[str], data: bytes | None, check: bool, timeout: float, what: str
    ) -> subprocess.CompletedProcess[str]:
        try:
            done = subprocess.run(command, input=data or b"", capture_output=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            raise LabError(f"{self.name}: still running after {timeout:.0f} s: {what}") from None
        out, err = (stream.decode(errors="replace") for stream in (done.stdout, done.stderr))
        if check and done.returncode:
            end = "\n".join((err or out).strip().splitlines()[-15:])
            raise LabError(f"{self.name}: exit status {done.returncode}: {what}\n{end}")
        return subprocess.CompletedProcess(command, done.returncode, out, err)


def lock_of(scope: str, name: str) -> Path:
    """The lock that one machine's starts and stops, snapshots and removal go through."""
    return paths.RUN / "machines" / f"{scope}.{name}.lock"


def remove(record: Record) -> None:
    """Switch a machine off and delete it. The caller holds its lock."""
    processes.kill(record.number)
    disk.unmount(disk.root(record))
    with paths.locked(paths.lab_lock()):
        paths.discard(record.directory)
        if state.records(record.scope):
            identity.write_ssh_files(record.scope)
        else:
            paths.discard(paths.SCOPES / record.scope)
        network.down_if_unused()
    lock_of(record.scope, record.name).unlink(missing_ok=True)


def _greets(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=0.5) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
