"""A year that is forgotten in the ledger leaves counts, and nothing that tells one person from another."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from metering.ledger import forget as forgetting
from metering.ledger.compact import compact
from metering.ledger.forget import forget
from metering.ledger.store import open_ledger
from provision.errors import InvalidFiles, RequestError
from provision.fleet import Fleet
from tests.unit.metering.ledger.ledgers import make_ledger_fleet, pseudonym, users_of, write_run

NOW = datetime(2027, 2, 1, tzinfo=UTC)
ANNA, BEN = pseudonym("anna"), pseudonym("ben")


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """Two days of March, one of April and one of the next year; 2026 is closed."""
    fleet = make_ledger_fleet(tmp_path / "fleet")
    days = {"2026-03-01": [ANNA], "2026-03-02": [ANNA, BEN], "2026-04-01": [BEN], "2027-01-05": [ANNA]}
    for day, people in days.items():
        values: dict[tuple[str, str], int | None] = {("acme", "active_users"): len(people), ("acme", "sms_sent"): 7}
        write_run(fleet.ledger / day[:4], day, f"{day.replace('-', '')}T230000Z", values, {"acme": people})
    close(fleet)
    return fleet


def close(fleet: Fleet) -> None:
    manifest = fleet.directory / "closed" / "2026" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{}\n")


def everything(fleet: Fleet) -> bytes:
    return b"".join(path.read_bytes() for path in fleet.directory.rglob("*") if path.is_file())


COUNTS = """period,instance,metric,value
2026-03-01,acme,active_users,1
2026-03-01,acme,sms_sent,7
2026-03-02,acme,active_users,2
2026-03-02,acme,sms_sent,7
2026-04-01,acme,active_users,1
2026-04-01,acme,sms_sent,7
2026-03,acme,active_users,2
2026-04,acme,active_users,1
2026,acme,active_users,2
"""


@pytest.mark.parametrize("compacted", [False, True])
def test_counts_are_kept_and_people_are_gone(fleet: Fleet, compacted: bool) -> None:
    if compacted:
        compact(fleet.ledger, "2026-04", keep_csv=False, report=lambda line: None)
    done = forget(fleet, 2026, NOW)
    assert done.counts == fleet.directory / "forgotten" / "2026.20270201T000000Z.counts.csv"
    assert done.counts.read_text() == COUNTS
    assert done.people == 2
    assert BEN.encode() not in everything(fleet)
    ledger = open_ledger(fleet.ledger)
    assert ledger.problems() == []
    assert [user for *_, user in users_of(ledger)] == [ANNA]
    assert forget(fleet, 2026, NOW).counts is None


def test_a_year_that_is_not_closed_is_not_forgotten(fleet: Fleet) -> None:
    before = everything(fleet)
    with pytest.raises(RequestError, match=r"2027 is not closed: there is no closed/2027/manifest\.json"):
        forget(fleet, 2027, NOW)
    assert everything(fleet) == before


def test_a_ledger_with_a_fault_is_left_as_it_is(fleet: Fleet) -> None:
    (fleet.ledger / "2026" / "2026-03-02.srv1.example.net.20260302T230000Z.users.csv").unlink()
    with pytest.raises(InvalidFiles):
        forget(fleet, 2026, NOW)
    assert len(users_of(open_ledger(fleet.ledger, [2027]))) == 1
    assert list(fleet.ledger.glob("2026/2026-03-01*.users.csv"))
    assert not (fleet.directory / "forgotten").exists()


def test_an_interrupted_run_goes_on(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*arguments: object, **settings: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            forget(fleet, 2026, NOW)
    assert len(users_of(open_ledger(fleet.ledger))) == 5
    with monkeypatch.context() as patched:
        patched.setattr(forgetting.shutil, "rmtree", lambda path, ignore_errors=False: ignore_errors or killed())
        with pytest.raises(KeyboardInterrupt):
            forget(fleet, 2026, NOW)
    assert forget(fleet, 2026, NOW).counts is None
    assert BEN.encode() not in everything(fleet)
    (counts,) = (fleet.directory / "forgotten").iterdir()
    assert counts.read_text() == COUNTS
