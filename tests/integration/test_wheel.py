"""The wheel holds everything: installed elsewhere, the commands work from any directory, without this checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory where the wheel of this checkout was installed, without its dependencies."""
    place = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    offline = ["--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "wheel", *offline, "--wheel-dir", place, ROOT], check=True)
    (wheel,) = place.glob("petits_chills-*.whl")
    subprocess.run([*pip, "install", *offline, "--target", place / "site", wheel], check=True)
    return place / "site"


@pytest.fixture
def run(installed: Path, tmp_path: Path) -> Command:
    """Run Python code or a module from an empty directory, where only the installed wheel has our packages."""

    def start(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    return start


def test_the_packages_are_those_of_the_wheel(run: Command, installed: Path) -> None:
    done = run(
        "-c", "import provision, metering, reports; print(provision.__file__, metering.__file__, reports.__file__)"
    )
    assert all(Path(name).is_relative_to(installed) for name in done.stdout.split()), done.stdout


@pytest.mark.parametrize("module", ["provision.cli", "metering.cli", "reports.cli"])
def test_commands_start(run: Command, module: str) -> None:
    done = run("-c", f"from {module} import main; main(['--help'])")
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout


def test_a_fleet_is_made_and_listed_anywhere(run: Command, tmp_path: Path) -> None:
    assert run("-c", "from provision.cli import main; main(['init', 'fleet'])").returncode == 0
    done = run("-c", "from provision.cli import main; main(['list', '--fleet', 'fleet', '--json'])")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "fleet" / "chill.toml").is_file()


def test_the_playbooks_travel_inside(run: Command, installed: Path) -> None:
    done = run("-c", "from provision.ansible import playbooks_directory; print(playbooks_directory())")
    directory = Path(done.stdout.strip())
    assert directory.is_relative_to(installed), done.stdout + done.stderr
    checkout = {path.relative_to(ROOT / "playbooks") for path in (ROOT / "playbooks").rglob("*.yml")}
    assert {path.relative_to(directory) for path in directory.rglob("*.yml")} == checkout


def test_the_meter_is_packed_from_it_and_runs_under_debians_python(run: Command, tmp_path: Path) -> None:
    done = run("-m", "provision.meter_bundle", "--out", str(tmp_path / "chill-meter"))
    assert done.returncode == 0, done.stderr
    answer = subprocess.run(
        ["/usr/bin/python3", "-I", tmp_path / "chill-meter", "collect", "--config", "absent.toml"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 2
    assert "absent.toml" in answer.stderr
