"""Where the lab keeps its things, and the locks over them.

/var/lib/petits-chills-lab/scopes/<scope>/    key, known_hosts, ssh_config, machines/<name>/
/var/lib/petits-chills-lab/trash/             trees on their way out
/run/petits-chills-lab/                       locks, and what the network was like before
~/.cache/petits-chills/lab/images/            images, kept from run to run
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.lab.owner import Owner

DATA = Path("/var/lib/petits-chills-lab")
SCOPES = DATA / "scopes"
TRASH = DATA / "trash"
RUN = Path("/run/petits-chills-lab")


def images() -> Path:
    """The cache of images: `$XDG_CACHE_HOME`, else `~/.cache`."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "petits-chills" / "lab" / "images"


@contextmanager
def locked(path: Path) -> Iterator[IO[str]]:
    """Hold an exclusive lock on `path` (made if missing), waiting for it as long as need be.

    It binds processes and threads alike and is not re-entrant. The kernel drops it when its holder dies. Its
    holder may delete the file.
    """
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if path.exists() and path.stat().st_ino == os.fstat(handle.fileno()).st_ino:
                yield handle
                return


def lab_lock() -> Path:
    """The lock over records, addresses, the bridge and the choice of images; held for moments only."""
    return RUN / "lock"


def write_whole(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file that appears whole or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    beside.write_text(text, encoding="utf-8")
    beside.chmod(mode)
    beside.replace(path)


def staging() -> Path:
    """An empty directory on the lab's own disk, to be filled and then renamed into place.

    It lies in the trash: whatever is left of it when this process dies is swept with the rest.
    """
    TRASH.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f"{Owner.current()}_", dir=TRASH))


def discard(tree: Path) -> None:
    """Make a tree disappear at once, then delete it; a death halfway leaves it in the trash."""
    grave = staging()
    tree.rename(grave / "tree")
    shutil.rmtree(grave, ignore_errors=True)


def sweep_trash() -> None:
    """Delete what dead processes left in the trash."""
    for tree in TRASH.glob("*"):
        maker = Owner.parse(tree.name)
        if maker is None or not maker.alive():
            shutil.rmtree(tree, ignore_errors=True)
