"""Images: built once, unpacked in the user's cache, read by all machines and written by none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

from tests.lab import paths, state
from tests.lab.errors import LabError
from tests.lab.recipes import Recipe, recipe


def ensure(kind: str) -> Path:
    """The directory of the image `kind`, built first if it is not there (bare 20 s, stocked 60 s).

    Two builders of one image wait for each other; a build that died leaves nothing that looks like an image.
    """
    wanted = recipe(kind)
    image = paths.images() / wanted.name
    if image.is_dir():
        return image
    with paths.locked(paths.images() / f"{kind}.lock") as lock:
        if not image.is_dir():
            _build(wanted, image, lock.fileno())
    _remove_older(kind, image)
    return image


def _build(wanted: Recipe, image: Path, lock: int) -> None:
    partial = image.with_name(f".partial-{wanted.kind}")
    if partial.exists():
        shutil.rmtree(partial)
    started = time.monotonic()
    say(f"building image {image.name} ({len(wanted.packages)} packages and what they need)")
    log = image.with_name(f"{wanted.kind}.log")
    environment = {**os.environ, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
    tail: deque[str] = deque(maxlen=15)
    # The build holds the lock as well: should this process die, the next one still waits for the build.
    with (
        log.open("w", encoding="utf-8") as out,
        subprocess.Popen(
            wanted.command(partial),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", pass_fds=[lock], env=environment,
        ) as process,
    ):  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            out.write(line)
            tail.append(line.rstrip())
            if line.startswith("I: ") and "-hook" not in line:
                say(f"{time.monotonic() - started:4.0f} s  {line[3:].strip()}")
    if process.returncode:
        shutil.rmtree(partial, ignore_errors=True)
        raise LabError(f"image {image.name} could not be built:\n" + "\n".join(tail), f"the whole log: {log}")
    os.sync()  # else a power cut could leave a whole name over half a tree
    partial.rename(image)
    say(f"{time.monotonic() - started:4.0f} s  image {image.name} is ready")


def _remove_older(kind: str, current: Path) -> None:
    with paths.locked(paths.lab_lock()):
        used = {record.image for record in state.records()}
        for other in paths.images().glob(f"{kind}-*"):
            if other != current and str(other) not in used:
                shutil.rmtree(other)


def say(message: str) -> None:
    """One line of progress, on stderr."""
    print(f"lab: {message}", file=sys.stderr, flush=True)
