"""A real file system of its own, small enough to be filled: what happens on a full or read-only disk."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def tiny_disk(place: Path, kilobytes: int) -> Iterator[Path]:
    """A file system in memory, mounted at `place` as long as the context lasts. Needs root, as CI and the lab are."""
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tiny", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path, leave: int) -> Path:
    """Fill the disk until `leave` bytes are free; returns the file that does it."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(b"x" * 4096)
        except OSError:
            pass
        stream.truncate(max(0, ballast.stat().st_size - leave))
    return ballast


def remount(disk: Path, mode: str) -> None:
    """Make the disk read-only (`ro`) or writable (`rw`)."""
    subprocess.run(["mount", "-o", f"remount,{mode}", str(disk)], check=True)
