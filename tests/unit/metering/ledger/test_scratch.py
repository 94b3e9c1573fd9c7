"""Private files of a reader go with it, also when it is killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from metering.ledger.scratch import Scratch

ROOT = Path(__file__).parents[4]
KILLED = """
import os, signal, sys
from pathlib import Path
from metering.ledger.scratch import Scratch
scratch = Scratch(Path(sys.argv[1]))
(scratch.path / "pseudonyms.parquet").touch()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_goes_with_the_next_one(tmp_path: Path) -> None:
    living = Scratch(tmp_path)
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, check=False)
    (left,) = set(tmp_path.iterdir()) - {living.path}
    assert list(left.iterdir())
    following = Scratch(tmp_path)
    assert set(tmp_path.iterdir()) == {living.path, following.path}


def test_a_directory_is_private_and_goes_when_it_is_no_longer_used(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    assert scratch.path.stat().st_mode & 0o077 == 0
    (scratch.path / "file").touch()
    del scratch
    assert list(tmp_path.iterdir()) == []


def test_what_looks_like_one_but_is_a_link_or_a_file_is_left_alone(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    (tmp_path / "chill-ledger-link").symlink_to(kept)
    (tmp_path / "chill-ledger-file").touch()
    Scratch(tmp_path)
    assert (kept / "file").exists()
    assert (tmp_path / "chill-ledger-link").is_symlink()


def test_a_directory_that_was_taken_for_abandoned_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may look between the making of a directory and its lock."""
    from metering.ledger import scratch as module

    made: list[Path] = []
    mkdtemp = module.tempfile.mkdtemp

    def taken_at_once(**named: object) -> str:
        path = Path(mkdtemp(**named))
        made.append(path)
        if len(made) == 1:
            path.rmdir()
        return str(path)

    monkeypatch.setattr(module.tempfile, "mkdtemp", taken_at_once)
    scratch = Scratch(tmp_path)
    assert scratch.path == made[1]
    assert scratch.path.is_dir()
