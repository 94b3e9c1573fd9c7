"""The disk of a machine: an overlay over a read-only image.

A snapshot copies nothing: the directory that took the writes becomes one more read-only layer, and an empty
one takes the next writes. A reset drops the writes and stands on the layers of the snapshot again.
Format of the mount options: Documentation/filesystems/overlayfs.rst of Linux.
"""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from pathlib import Path

from tests.lab import paths
from tests.lab.errors import LabError, RequestError
from tests.lab.state import Record

FIRST = "0001"  # the layer that makes a machine of an image: its name, address and keys

# volatile: nothing here has to outlive a power cut, so nothing waits for the disk.
# metacopy and index stay off, since a layer that once took writes is used below another later on.
OPTIONS = "volatile,redirect_dir=on,metacopy=off,index=off"


def root(record: Record) -> Path:
    """Where the machine's tree is mounted while it runs."""
    return record.directory / "root"


def mount(record: Record) -> None:
    """Mount the machine's tree; its directory of writes is made if it is not there yet."""
    upper, work, target = (record.directory / part for part in (f"layers/{record.upper}", "work", "root"))
    # Volatile work directories may not be used twice, by the kernel's rule.
    shutil.rmtree(work, ignore_errors=True)
    for directory in (upper, work, target):
        directory.mkdir(parents=True, exist_ok=True)
    upper.chmod(0o755)
    lower = [*(record.directory / "layers" / layer for layer in record.layers), Path(record.image)]
    if any(character in str(path) for path in lower for character in ":,\\"):
        raise LabError(f"{record.image}: colons, commas and backslashes cannot be mounted", "set XDG_CACHE_HOME")
    overlay(lower, upper, work, target)


def overlay(lower: list[Path], upper: Path, work: Path, target: Path) -> None:
    """Mount one overlay; LabError with the kernel's words when it refuses."""
    layers = ":".join(map(str, lower))
    options = f"{OPTIONS},lowerdir={layers},upperdir={upper},workdir={work}"
    done = subprocess.run(
        ["mount", "-t", "overlay", "petits-chills-lab", "-o", options, str(target)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise LabError(f"{target}: overlay could not be mounted: {done.stderr.strip()}", "see dmesg")


def unmount(target: Path) -> None:
    """Unmount, however many times it was mounted; nothing happens if it is not."""
    while target.is_mount():
        done = subprocess.run(["umount", str(target)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"{target}: {done.stderr.strip()}", f"see who is there: fuser -vm {target}")


def frozen(record: Record, snapshot: str) -> Record:
    """The record after a snapshot: the writes so far are a layer below the ones to come."""
    layers = (record.upper, *record.layers)
    return dataclasses.replace(
        record, upper=_next(record), layers=layers, snapshots={**record.snapshots, snapshot: layers}
    )


def rewound(record: Record, snapshot: str | None) -> Record:
    """The record after a reset to a snapshot, or with None to the machine as it was first started."""
    if snapshot is not None and snapshot not in record.snapshots:
        known = ", ".join(sorted(record.snapshots)) or "none"
        raise RequestError(f"{record.name} has no snapshot {snapshot!r}", f"its snapshots: {known}")
    layers = (FIRST,) if snapshot is None else record.snapshots[snapshot]
    return dataclasses.replace(record, upper=_next(record), layers=layers)


def sweep(record: Record) -> None:
    """Delete the layers that neither the machine nor a snapshot of it stands on."""
    needed = {FIRST, record.upper, *record.layers}.union(*record.snapshots.values())
    for layer in (record.directory / "layers").iterdir():
        if layer.name not in needed:
            paths.discard(layer)


def _next(record: Record) -> str:
    used = {int(layer.name) for layer in (record.directory / "layers").iterdir()}
    return f"{max(used | {int(record.upper)}) + 1:04d}"
