"""`chill-report annual`, killed while it prints: the same command ends the work, and no papers of two inputs meet."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.generated import Profile, generate

YEAR = 2025
# More than are printed within the process itself.
CUSTOMERS = 20
PROFILES = [Profile(f"c{number:02d}", f"Client {number}", 3, 1, 2, (1.0, 2.0), 0) for number in range(CUSTOMERS)]
# Kills its process when so many papers are written, or so many files were moved while they are published; 0: never.
RUN = """\
import os, signal, sys
from pathlib import Path
from reports import staging
from reports.cli import main
writes, renames = int(sys.argv.pop(1)), int(sys.argv.pop(1))
printed = 0
def counted(function, limit):
    done = 0
    def call(*arguments):
        nonlocal done
        result = function(*arguments)
        done += 1
        if done == limit:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return call
staging.Staging.write = counted(staging.Staging.write, writes)
Path.rename = counted(Path.rename, renames)
from reports.to_pdf import Press
def told(press, *arguments, whole=Press._set):
    os.write(2, b"printed\\n")
    return whole(press, *arguments)
Press._set = told
main()
"""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("generated") / "fleet"
    generate(directory, YEAR, PROFILES)
    return directory


def run(fleet: Path, out: Path, writes: int = 0, renames: int = 0) -> tuple[int, int]:
    """The exit status, and how many papers Typst printed."""
    arguments = ["annual", str(YEAR), "--fleet", str(fleet), "--out", str(out)]
    command = [sys.executable, "-c", RUN, str(writes), str(renames), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stderr.count("printed\n")


def papers(out: Path) -> dict[str, str]:
    found = (path for path in out.glob("*") if path.is_file())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def test_a_killed_run_is_taken_up_by_the_same_command(fleet: Path, tmp_path: Path) -> None:
    assert run(fleet, tmp_path / "whole") == (0, CUSTOMERS + 1)
    whole = papers(tmp_path / "whole")
    out = tmp_path / "papers"
    # The two CSV files and the papers of six customers.
    status, _ = run(fleet, out, writes=8)
    assert status == -signal.SIGKILL
    assert not out.exists()
    status, printed = run(fleet, out)
    assert (status, printed) == (0, CUSTOMERS + 1 - 6)
    assert papers(out) == whole
    assert {path.name for path in tmp_path.iterdir()} == {"whole", "papers"}


def test_papers_of_two_price_lists_never_meet(fleet: Path, tmp_path: Path) -> None:
    """Killed at many steps of a run by other prices, over papers that are there."""
    tariff = fleet / "tariffs" / "standard.toml"
    cheap = tariff.read_text(encoding="utf-8")
    dear = cheap.replace('"600.00"', '"700.00"')
    whole: dict[str, dict[str, str]] = {}
    for name, text in (("cheap", cheap), ("dear", dear)):
        tariff.write_text(text, encoding="utf-8")
        assert run(fleet, tmp_path / name)[0] == 0
        whole[name] = papers(tmp_path / name)
    out = tmp_path / "papers"
    try:
        for writes, renames in ((4, 0), (0, 9), (0, 20)):
            tariff.write_text(cheap, encoding="utf-8")
            assert run(fleet, out)[0] == 0
            assert papers(out) == whole["cheap"]
            tariff.write_text(dear, encoding="utf-8")
            assert run(fleet, out, writes, renames)[0] == -signal.SIGKILL
            left = papers(out).items()
            assert left <= whole["cheap"].items() or left <= whole["dear"].items(), (writes, renames)
    finally:
        tariff.write_text(cheap, encoding="utf-8")
    assert run(fleet, out)[0] == 0
    assert papers(out) == whole["cheap"]
    assert not [name for name in out.iterdir() if name.name.startswith(".")]
