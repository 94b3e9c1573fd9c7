"""The lab: machines by name, for as long as their process lives, or until they are removed."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import TracebackType

from tests.lab import disk, host, identity, image, machine, network, paths, processes, state
from tests.lab.errors import LabError, RequestError
from tests.lab.machine import Machine
from tests.lab.owner import Owner
from tests.lab.state import Record


class Lab:
    """A set of machines with names of its own (`scope`), a key and a known_hosts file.

    Machines belong to this process and go with it: at `close`, or, should it be killed, when the next lab on
    this host starts. With `keep` they belong to nobody and stay until they are removed.
    """

    def __init__(self, scope: str = "lab", *, keep: bool = False) -> None:
        state.check_names(scope)
        host.complete_path()
        self.scope = scope
        self._owner = None if keep else Owner.current()
        self._ready = False

    @staticmethod
    def unavailable() -> str | None:
        """Why the lab cannot run here, in one sentence; None when it can."""
        return host.unavailable()

    @property
    def key(self) -> Path:
        """The private ssh key of root on every machine; there from the first machine on."""
        return identity.key(self.scope)

    @property
    def known_hosts(self) -> Path:
        """The machines' host keys, by name and address."""
        return identity.known_hosts(self.scope)

    @property
    def ssh_config(self) -> Path:
        """A file for `ssh -F`, which then knows the machines by name."""
        return identity.ssh_config(self.scope)

    def machine(self, name: str, image: str = "bare") -> Machine:
        """The machine of that name, made of the image if need be, and running.

        `image` is `bare` or `stocked`. LabError if there is one of that name and another image.
        """
        state.check_names(self.scope, name)
        if not self._ready:
            prepare()
            self._ready = True
        record = state.load(self.scope, name) or self._create(name, image)
        if record.kind != image:
            raise RequestError(
                f"machine {name} in scope {self.scope} is made of the image {record.kind}, not {image}",
                f"remove it first: python3 -m tests.lab --scope {self.scope} down {name}",
            )
        booted = Machine(self.scope, name, record.address)
        booted.start()
        return booted

    def machines(self) -> list[Machine]:
        """The machines of this scope, running or not."""
        return [Machine(record.scope, record.name, record.address) for record in state.records(self.scope)]

    def close(self) -> None:
        """Remove the machines that this process owns."""
        for record in state.records(self.scope):
            if self._owner is not None and record.owner == self._owner:
                _remove_if_still(record)

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _create(self, name: str, kind: str) -> Record:
        source = image.ensure(kind)
        with paths.locked(paths.lab_lock()):
            if existing := state.load(self.scope, name):
                return existing
            if not source.is_dir():
                raise LabError(f"image {source.name} vanished, as another recipe was built", "run it again")
            address = network.free_address({record.address for record in state.records()})
            record = Record(
                self.scope, name, address, kind, str(source), self._owner, upper="0002", layers=(disk.FIRST,)
            )
            staged = paths.staging()
            staged.chmod(0o755)
            (staged / "layers" / disk.FIRST).mkdir(parents=True)
            identity.furnish(record, staged / "layers" / disk.FIRST)
            record.save(staged)
            record.directory.parent.mkdir(parents=True, exist_ok=True)
            staged.rename(record.directory)
            identity.write_ssh_files(self.scope)
        return record


def prepare() -> None:
    """Make this host ready: what is missing is installed, what dead processes left is removed.

    LabError with the reason when the lab cannot run here.
    """
    if reason := host.unavailable():
        raise LabError(reason)
    host.ensure_packages()
    sweep()


def sweep() -> None:
    """Remove what dead processes left: their machines, and trees half made or half deleted."""
    for record in state.records():
        if record.owner is not None and not record.owner.alive():
            image.say(f"removing {record.name} of {record.scope}: its process {record.owner.pid} is gone")
            _remove_if_still(record)
    paths.sweep_trash()
    with paths.locked(paths.lab_lock()):
        network.down_if_unused()


def clean(*, images: bool = False) -> None:
    """Remove every machine of every scope, even those in use, and all that the lab made.

    The images stay, unless `images` says otherwise.
    """
    for record in state.records():
        _remove_if_still(record)
    sweep()
    with paths.locked(paths.lab_lock()):
        if left := state.records():
            raise LabError(f"machine {left[0].name} was made meanwhile", "run it again")
        for tree in (paths.images(), paths.DATA, paths.RUN)[0 if images else 1 :]:
            shutil.rmtree(tree, ignore_errors=True)


def running(record: Record) -> bool:
    """Whether any process of a recorded machine runs."""
    return bool(processes.pids(record.number))


def _remove_if_still(record: Record) -> None:
    with paths.locked(machine.lock_of(record.scope, record.name)):
        # Another process may have removed it, or made one of the same name, while this one waited.
        present = state.load(record.scope, record.name)
        if present is not None and present.owner == record.owner:
            machine.remove(present)
