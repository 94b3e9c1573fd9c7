"""chill-meter for servers: the same bytes from the same sources, only what belongs there, and it runs."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def build(out: Path, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "provision.meter_bundle", "--out", str(out)]
    return subprocess.run(command, cwd=root, capture_output=True, text=True)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundle") / "chill-meter"
    done = build(out)
    assert done.returncode == 0, done.stderr
    return out


def test_it_holds_what_a_server_needs_and_nothing_else(bundle: Path) -> None:
    names = [name for name in zipfile.ZipFile(bundle).namelist() if not name.endswith(".pyc")]
    assert {"__main__.py", "metering/cli/__init__.py", "metering/samples.py", "metering/server/config.py"} <= set(names)
    assert {name for name in names if name.startswith("provision/")} == {
        "provision/__init__.py",
        "provision/errors.py",
        "provision/console.py",
    }
    assert not [name for name in names if name.startswith("metering/ledger/") or "__pycache__" in name]
    assert names == sorted(names)


def test_the_same_sources_give_the_same_bytes(bundle: Path, tmp_path: Path) -> None:
    # Elsewhere, with other times and modes, and caches that running them left behind.
    for package in ("provision", "metering"):
        shutil.copytree(
            ROOT / package,
            tmp_path / package,
            ignore=shutil.ignore_patterns("__pycache__"),
            copy_function=shutil.copyfile,
        )
    (tmp_path / "metering/server/__pycache__").mkdir()
    (tmp_path / "metering/server/__pycache__/config.cpython-311.pyc").touch()
    for path in tmp_path.rglob("*.py"):
        os.utime(path, (10**9, 10**9))
        path.chmod(0o600)
    assert build(tmp_path / "other", tmp_path).returncode == 0
    assert (tmp_path / "other").read_bytes() == bundle.read_bytes()
    times = {entry.date_time for entry in zipfile.ZipFile(bundle).infolist()}
    assert times == {(1980, 1, 1, 0, 0, 0)}


def test_each_module_is_there_compiled_and_as_its_source(bundle: Path) -> None:
    names = zipfile.ZipFile(bundle).namelist()
    sources = {name for name in names if name.endswith(".py")}
    assert {name for name in names if name.endswith(".pyc")} == {f"{name}c" for name in sources}
    code = f"import sys; sys.path.insert(0, {str(bundle)!r}); import metering.samples as one; print(one.__file__)"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{bundle}/metering/samples.pyc"


def test_another_python_takes_the_sources(bundle: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    with zipfile.ZipFile(bundle) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            new.writestr(name, b"\0\0\r\n" + old.read(name)[4:] if name.endswith(".pyc") else old.read(name))
    done = subprocess.run([sys.executable, "-I", str(other), "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "collect" in done.stdout


def test_it_is_executable_and_begins_with_debian_s_python_isolated(bundle: Path) -> None:
    assert stat.S_IMODE(bundle.stat().st_mode) == 0o755
    assert bundle.read_bytes().startswith(b"#!/usr/bin/python3 -I\n")


def test_it_runs_from_anywhere_without_the_project(bundle: Path, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-I", str(bundle), "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "collect" in done.stdout


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    done = build(tmp_path / "nowhere" / "chill-meter")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "nowhere" in done.stderr
    assert not list(tmp_path.iterdir())
