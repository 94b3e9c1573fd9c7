"""A compaction that is killed, at whatever step, changes no answer, and the next one finishes it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from metering.ledger.compact import compact
from metering.ledger.months import list_months
from tests.unit.metering.ledger.ledgers import pseudonym, write_run
from tests.unit.metering.ledger.test_compact import rows_of

ROOT = Path(__file__).parents[2]


def write_day(ledger: Path, day: str, at: str, people: str) -> None:
    values = {("acme", "active_users"): len(people), ("acme", "sms_sent"): len(people) * 10}
    write_run(ledger / "2026", day, at, values, {"acme": [pseudonym(person) for person in people]})


def answers(ledger: Path) -> tuple[list[tuple[tuple[str, object], ...]], ...]:
    """Every row there is, with what says that it counts."""
    return tuple(sorted(tuple(row.items()) for row in rows) for rows in rows_of(ledger))


def visible(ledger: Path) -> list[str]:
    return sorted(str(path.relative_to(ledger)) for path in ledger.rglob("[!.]*") if path.is_file())


@pytest.mark.parametrize("how", ["first", "again", "keep"])
def test_a_compaction_may_be_killed_at_every_step(how: str, tmp_path: Path) -> None:
    """The first of two months; the second generation of one, with a late file; and one that keeps the CSV files."""
    ledger, copies = tmp_path / "ledger", tmp_path / "copies"
    write_day(ledger, "2026-01-31", "20260201T001500Z", "abc")
    if how == "again":
        compact(ledger, "2026-01", False, lambda line: None)
        write_day(ledger, "2026-01-31", "20260201T091500Z", "abcd")
    write_day(ledger, "2026-02-01", "20260202T001500Z", "ab")
    before = answers(ledger)
    command = [sys.executable, "-m", "tests.integration.killed_compaction", str(ledger), str(copies), how]
    subprocess.run(command, cwd=ROOT, check=True)

    steps = sorted(copies.iterdir(), key=lambda path: int(path.name))
    assert len(steps) > 20
    states = set()
    finished = steps[-1] / "ledger"
    assert [month.path.name for month in list_months(finished)[0]] == [
        "2026-01.2" if how == "again" else "2026-01.1",
        "2026-02.1",
    ]
    for step in steps:
        copy = step / "ledger"
        states.add(tuple(visible(copy)))
        assert all(month.problems() == [] for group in list_months(copy) for month in group)
        assert answers(copy) == before, f"killed at step {step.name}"
        compact(copy, "2026-02", how == "keep", lambda line: None)
        assert answers(copy) == before, f"finished after step {step.name}"
        assert visible(copy) == visible(finished)
        assert {path.name for path in copy.iterdir()} == {"2026", ".lock"}
    # The kills hit before, between and after.
    assert len(states) >= 4
    shutil.rmtree(copies)
