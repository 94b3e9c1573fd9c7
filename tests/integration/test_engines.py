"""The same expressions over the same files on a real Spark cluster: a master and two workers, as processes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from metering.ledger.compact import compact
from metering.ledger.store import Ledger, open_ledger
from metering.ledger.usage import year_usage
from provision.errors import ChillError, RequestError
from tests.unit.metering.ledger import reference
from tests.unit.metering.ledger.test_compact import FROM_FEBRUARY
from tests.unit.metering.ledger.test_usage import WHOLE, random_runs, write_runs

WORKERS = 2
CLUSTER = f"spark:local-cluster[{WORKERS},1,1024]"
WINDOWS = {"acme": WHOLE, "beta": FROM_FEBRUARY, "quiet": WHOLE}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of compacted months, with files that came late and months that are open. Its name is a trap: Spark reads
    paths as patterns.
    """
    directory = tmp_path_factory.mktemp("fleet") / "led[g]er's {a}"
    runs = random_runs(150)
    write_runs(directory, [run for run in runs[:100] if run[0].month < 11])
    compact(directory, "2026-10", True, lambda line: None)
    write_runs(directory, runs)
    return directory


@pytest.fixture(scope="module")
def on_spark(directory: Path) -> Iterator[Ledger]:
    ledger = open_ledger(directory, [2026], CLUSTER)
    yield ledger
    SparkSession.getActiveSession().stop()


def test_a_master_that_there_is_not_is_told_without_a_traceback(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="engine: Spark does not start: ") as caught:
        open_ledger(tmp_path, engine="spark:no-such-master")
    assert "a master that answers" in caught.value.hint


def test_a_year_s_usage_is_the_same_on_a_cluster(directory: Path, on_spark: Ledger) -> None:
    assert on_spark.problems({"acme", "beta"}) == []
    expected = year_usage(open_ledger(directory, [2026]), 2026, WINDOWS)
    assert expected["acme"].document_bytes_total
    assert expected["beta"].distinct_users
    assert year_usage(on_spark, 2026, WINDOWS) == expected
    assert reference.usage(reference.read(directory), 2026, WINDOWS) == expected


def test_the_tables_are_the_same_on_a_cluster(directory: Path, on_spark: Ledger) -> None:
    on_duckdb = open_ledger(directory, [2026])
    for name in ("samples", "users", "failures"):
        found, expected = (
            [tuple(row[column] for column in sorted(row)) for row in ledger.fetch(getattr(ledger, name))]
            for ledger in (on_spark, on_duckdb)
        )
        assert len(expected) > 50
        assert sorted(found) == sorted(expected)


def test_the_work_was_done_by_the_workers(on_spark: Ledger) -> None:
    assert on_spark.fetch(on_spark.rows.filter(on_spark.rows.day < date(2026, 12, 1)).limit(1))
    status = SparkSession.getActiveSession().sparkContext._jsc.sc().getExecutorMemoryStatus()
    # The driver is counted as well.
    assert status.size() == WORKERS + 1


def test_an_empty_ledger_is_one_on_a_cluster_too(tmp_path: Path, on_spark: Ledger) -> None:
    (tmp_path / "empty").mkdir()
    ledger = open_ledger(tmp_path / "empty", [2026], CLUSTER)
    found = year_usage(ledger, 2026, {"acme": WHOLE})
    assert found == year_usage(open_ledger(tmp_path / "empty"), 2026, {"acme": WHOLE})
    assert on_spark


def test_a_question_that_fails_on_the_cluster_is_told_without_a_traceback(tmp_path: Path, on_spark: Ledger) -> None:
    write_runs(tmp_path, random_runs(10))
    compact(tmp_path, "2026-12", False, lambda line: None)
    ledger = open_ledger(tmp_path, [2026], CLUSTER)
    for path in tmp_path.rglob("samples.parquet"):
        path.unlink()
    with pytest.raises(ChillError, match="engine: Spark failed: ") as caught:
        ledger.fetch(ledger.samples)
    assert "every worker" in caught.value.hint
    assert on_spark
