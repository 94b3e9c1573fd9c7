"""Where packed modules are kept: one directory a version, nobody else's, and not for ever."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from provision.module_cache import KEPT_SECONDS, module_cache


@pytest.fixture
def playbooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "playbooks/library").mkdir(parents=True)
    (tmp_path / "playbooks/library/one.py").write_text("1\n")
    return tmp_path / "playbooks"


def test_the_same_modules_have_the_same_directory_and_others_another(playbooks: Path) -> None:
    first = module_cache(playbooks)
    assert first
    assert first.stat().st_mode & 0o777 == 0o700
    assert module_cache(playbooks) == first

    (playbooks / "library/one.py").write_text("2\n")

    assert module_cache(playbooks) != first


def test_a_directory_that_others_may_write_into_is_not_used(playbooks: Path) -> None:
    """What lies in it runs on servers as root."""
    first = module_cache(playbooks)
    assert first
    first.chmod(0o777)

    assert module_cache(playbooks) is None


def test_what_nobody_used_for_a_month_goes(playbooks: Path) -> None:
    old = module_cache(playbooks)
    assert old
    os.utime(old, (0, old.stat().st_mtime - KEPT_SECONDS - 60))
    (playbooks / "library/one.py").write_text("2\n")

    module_cache(playbooks)

    assert not old.exists()


def test_without_a_place_to_write_a_run_does_without(playbooks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(playbooks / "library/one.py"))

    assert module_cache(playbooks) is None
