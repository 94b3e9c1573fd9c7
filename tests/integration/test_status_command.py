"""`chill-meter status` as monitoring meets it: exit statuses, JSON, metrics that Prometheus' own tool accepts."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.unit.metering.ledger.ledgers import make_ledger_fleet, write_days

ROOT = Path(__file__).parents[2]
YESTERDAY = datetime.now(ZoneInfo("Europe/Brussels")).date() - timedelta(days=1)


def run(fleet: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "metering.cli", "status", "--fleet", str(fleet), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """One instance, whose contract started ten days ago; all of its e-mails and some of its documents are there."""
    fleet = make_ledger_fleet(tmp_path / "fleet").directory
    path = fleet / "inventory/instances/acme.yml"
    path.write_text(path.read_text().replace("2026-03-01", (YESTERDAY - timedelta(days=9)).isoformat()))
    tariff = "[version.emails]\nincluded = 12000\n[version.documents]\nincluded_gb = 20\n"
    (fleet / "tariffs/standard.toml").write_text(f"[[version]]\nvalid_from = 2020-01-01\n{tariff}")
    write_days(fleet / "ledger", days(10), 7, "emails_sent")
    return fleet


def days(number: int) -> list[date]:
    """The last days until yesterday."""
    return [YESTERDAY - timedelta(days=back) for back in range(number)]


def test_all_there_is_0_and_something_missing_is_3(fleet: Path) -> None:
    done = run(fleet)
    assert (done.returncode, done.stderr) == (0, "")
    assert "██████████" in done.stdout
    write_days(fleet / "ledger", days(10)[2:], 10**9, "document_bytes", hour=1)
    done = run(fleet)
    assert done.returncode == 3
    assert "missing 2 of " in done.stdout
    assert "error: samples are missing" in done.stderr
    done = run(fleet, "--json")
    assert done.returncode == 3
    assert [row["metric"] for row in json.loads(done.stdout) if row["missing"]] == ["document_bytes"]


def test_promtool_accepts_the_metrics(fleet: Path, tmp_path: Path) -> None:
    write_days(fleet / "ledger", days(10)[2:], 10**9, "document_bytes", hour=1)
    write_days(fleet / "ledger", days(1), None, "document_bytes", hour=2)
    target = tmp_path / "chill-meter.prom"
    done = run(fleet, "--prometheus", str(target))
    assert (done.returncode, done.stdout) == (3, "")
    with target.open() as metrics:
        checked = subprocess.run(["promtool", "check", "metrics"], stdin=metrics, capture_output=True, text=True)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    # Every kind of metric is in what was checked.
    assert target.read_text().count("# TYPE") == 8


def test_a_broken_ledger_is_2_and_leaves_the_metrics_of_before(fleet: Path, tmp_path: Path) -> None:
    target = tmp_path / "chill-meter.prom"
    assert run(fleet, "--prometheus", str(target)).returncode == 0
    before = target.read_text()
    write_days(fleet / "ledger", days(1), -1, "sms_sent", hour=3)
    done = run(fleet, "--prometheus", str(target))
    assert done.returncode == 2
    assert "value is '-1'" in done.stderr
    assert target.read_text() == before
