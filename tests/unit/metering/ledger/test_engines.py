"""Which engine answers: what can be asked for, and what is said where it cannot run."""

from __future__ import annotations

import sys
from pathlib import Path

import ibis
import pytest

from metering.ledger.compact import compact
from metering.ledger.engines import DuckDB, make_engine
from metering.ledger.store import open_ledger
from provision.errors import ChillError, RequestError
from provision.settings import read_settings
from tests.unit.metering.ledger.ledgers import write_run
from tests.unit.provision.fleets import make_fleet


def test_duckdb_is_what_a_fleet_has_unless_it_says_otherwise(tmp_path: Path) -> None:
    settings, _ = read_settings(make_fleet(tmp_path) / "chill.toml")
    assert settings is not None
    assert isinstance(make_engine(settings.engine, tmp_path), DuckDB)


@pytest.mark.parametrize("engine", ["spark", "spark:local[2]", "spark:spark://node1.example.net:7077", "spark:yarn"])
def test_an_engine_that_settings_allow_is_one_that_there_is(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Spark installed, it is said how to install it; nothing goes wrong before."""
    path = make_fleet(tmp_path) / "chill.toml"
    path.write_text(f'engine = "{engine}"\n{path.read_text()}')
    settings, problems = read_settings(path)
    assert settings is not None, problems
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    with pytest.raises(RequestError, match="Spark is not installed here") as caught:
        open_ledger(tmp_path / "ledger", engine=settings.engine)
    assert "petits-chills[spark]" in caught.value.hint


@pytest.mark.parametrize("engine", ["duck", "spark:", "spark: local", "spark:node1", "postgres"])
def test_an_engine_that_there_is_not_is_refused_by_the_settings(engine: str, tmp_path: Path) -> None:
    path = make_fleet(tmp_path) / "chill.toml"
    path.write_text(f'engine = "{engine}"\n{path.read_text()}')
    _, (problem,) = read_settings(path)
    assert problem.place == "chill.toml: engine"
    assert 'expected "duckdb", "spark" or "spark:<master>"' in problem.message


def test_an_engine_that_there_is_not_is_refused_by_the_ledger(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="there is no engine 'duck'"):
        open_ledger(tmp_path, engine="duck")


def test_a_question_that_fails_is_told_as_an_error_with_a_way_out(tmp_path: Path) -> None:
    write_run(tmp_path / "2026", "2026-01-01", "20260102T001500Z", {("acme", "sms_sent"): 5})
    compact(tmp_path, "2026-01", False, lambda line: None)
    ledger = open_ledger(tmp_path)
    (tmp_path / "2026/2026-01.1/samples.parquet").unlink()
    with pytest.raises(ChillError, match="engine: DuckDB failed: ") as caught:
        ledger.fetch(ledger.samples)
    assert caught.value.hint
    assert caught.value.status == 1


def test_rows_that_cannot_be_brought_are_told_as_an_error_with_a_way_out(tmp_path: Path) -> None:
    schema = ibis.schema({"billed": "int64"})
    with pytest.raises(ChillError, match="engine: DuckDB failed: ") as caught:
        make_engine("duckdb", tmp_path).bring({"billed": ["no number"]}, schema)
    assert caught.value.hint
