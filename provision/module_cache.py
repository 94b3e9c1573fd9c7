"""Where packed modules are kept from run to run (playbooks/callback_plugins/headstart.py): code alone, no argument.

A directory for each version of all that a packed module is made of: Ansible, its collections, the Python that packs,
the playbooks' own modules. One that nobody used for a month is removed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("ansible-core", "ansible")
KEPT_SECONDS = 30 * 86400


def module_cache(playbooks: Path) -> Path | None:
    """The directory for these playbooks' modules, ready; None where there can be none that is this user's alone."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "petits-chills" / "modules"
    kept = base / _digest(playbooks)
    try:
        kept.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = kept.stat()
        # What lies in it runs on servers as root.
        if state.st_uid != os.geteuid() or state.st_mode & 0o077:
            return None
        os.utime(kept)
        _forget_unused(base)
    except OSError:
        return None
    return kept


def _digest(playbooks: Path) -> str:
    digest = hashlib.sha256(sys.version.encode())
    for package in PACKAGES:
        try:
            digest.update(version(package).encode())
        except PackageNotFoundError:
            digest.update(b"none")
    for path in sorted((playbooks / "library").glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _forget_unused(base: Path) -> None:
    for path in base.iterdir():
        if path.stat().st_mtime < time.time() - KEPT_SECONDS:
            shutil.rmtree(path, ignore_errors=True)
