"""What the lab remembers of each machine: one small JSON file in the machine's own directory."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.lab import paths
from tests.lab.errors import RequestError
from tests.lab.owner import Owner

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,60}[a-z0-9])?")
_SCOPE = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")


@dataclass(frozen=True)
class Record:
    """One machine. `layers` are directories over the image, the topmost first; `upper` takes the writes."""

    scope: str
    name: str
    address: str
    kind: str
    image: str
    owner: Owner | None
    upper: str
    layers: tuple[str, ...]
    snapshots: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        """Where its disk, console log and this record lie."""
        return machine_directory(self.scope, self.name)

    @property
    def number(self) -> int:
        """The last part of its address: unique on this host, so what the host sees is named by it."""
        return int(self.address.rsplit(".", 1)[1])

    def save(self, directory: Path | None = None) -> None:
        """Write it into its directory, or another one that will take that place."""
        paths.write_whole((directory or self.directory) / "machine.json", json.dumps(asdict(self), indent=1) + "\n")


def machine_directory(scope: str, name: str) -> Path:
    """Where the machine `name` of `scope` lies, whether it exists or not."""
    return paths.SCOPES / scope / "machines" / name


def check_names(scope: str, name: str | None = None) -> None:
    """Raise LabError unless both can be a directory and a host name."""
    if not _SCOPE.fullmatch(scope):
        raise RequestError(f"scope {scope!r}: small letters, digits and hyphens only", "for example: demo")
    if name is not None and (not _NAME.fullmatch(name) or ".." in name):
        raise RequestError(f"machine name {name!r}: small letters, digits, hyphens and dots only", "for example: srv1")


def load(scope: str, name: str) -> Record | None:
    """The record of one machine, or None if there is no such machine."""
    try:
        data = json.loads((machine_directory(scope, name) / "machine.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    owner = Owner(**data.pop("owner")) if data["owner"] else data.pop("owner")
    layers = tuple(data.pop("layers"))
    snapshots = {snapshot: tuple(below) for snapshot, below in data.pop("snapshots").items()}
    return Record(**data, owner=owner, layers=layers, snapshots=snapshots)


def records(scope: str | None = None) -> list[Record]:
    """All machines of this host, or of one scope, sorted by scope and name."""
    found = sorted(paths.SCOPES.glob(f"{scope or '*'}/machines/*/machine.json"))
    loaded = (load(file.parents[2].name, file.parent.name) for file in found)
    return [record for record in loaded if record is not None]
