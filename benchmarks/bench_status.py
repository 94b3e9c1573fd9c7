"""The state of a fleet's year: chill-meter beside one query to the same Parquet files. Every figure is a new process.

    make bench        or: python benchmarks/bench_status.py [INSTANCES]...

The query is what one would write by hand in DuckDB: the last sample and the days sampled of each instance and metric,
without gaps, failures, last days or quotas, and without checking anything. Loading the fleet's files is not in it.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

SIZES = (100, 1_000, 10_000)
TARGET_SECONDS = 2.0


def chill_meter(directory: Path, instances: int) -> int:
    """What `chill-meter status` shows on New Year's Day, once the fleet is loaded; how many samples there are."""
    from rich.console import Console

    from benchmarks.ledger_data import YEAR, Year
    from metering.ledger.status import status
    from metering.ledger.status_table import render
    from provision.fleet import Contract, Fleet, Instance, Responsible
    from provision.names import instance_names
    from provision.settings import read_settings

    settings, _ = read_settings(directory / "chill.toml")
    assert settings
    responsible = Responsible(name="R", email="r@example.org", fingerprint="0" * 40)
    contract = Contract(starts=date(YEAR, 1, 1), tariff="standard")
    known = [
        Instance(instance_names(slug, "chill.pro", "example.org"), "C", responsible, contract, {}, {}, directory)
        for slug in Year(instances).slugs
    ]
    fleet = Fleet(directory, settings, {}, {instance.slug: instance for instance in known})
    before = time.perf_counter()
    found = status(fleet, date(YEAR + 1, 1, 1))
    stream = io.StringIO()
    render(found, Console(file=stream, width=120))
    assert not found.missing
    print(time.perf_counter() - before)
    return sum(row.coverage.days_sampled for row in found.rows)


def duckdb(directory: Path, _: int) -> int:
    """The same question by hand."""
    import duckdb as engine

    before = time.perf_counter()
    rows = engine.sql(
        "SELECT instance, metric, max(day), arg_max(value, day), count(DISTINCT day) "  # noqa: S608 (a path of our own)
        f"FROM '{directory}/ledger/*/*/samples.parquet' WHERE addends > 0 GROUP BY ALL"
    ).fetchall()
    print(time.perf_counter() - before)
    return sum(row[4] for row in rows)


def measured(name: str, directory: Path, instances: int) -> tuple[float, float, int]:
    """Seconds at work, seconds of the whole process, and the days sampled."""
    before = time.perf_counter()
    command = [sys.executable, __file__, name, str(directory), str(instances)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    work, days = done.stdout.split()
    return float(work), time.perf_counter() - before, int(days)


def main(sizes: list[int]) -> int:
    from benchmarks.ledger_data import Year, write_compacted
    from tests.generated import SETTINGS

    good = True
    for instances in sizes:
        with tempfile.TemporaryDirectory(prefix="chill-bench-") as scratch:
            directory = Path(scratch)
            (directory / "chill.toml").write_text(SETTINGS)
            write_compacted(Year(instances), directory / "ledger")
            first, again = (measured("chill_meter", directory, instances) for _ in range(2))
            peer = measured("duckdb", directory, instances)
        print(
            f"{instances} instances, a year, {first[2]} samples; target: {TARGET_SECONDS:.0f} s from the second time on"
        )
        for name, (work, whole, _) in (("first time", first), ("from then on", again), ("DuckDB", peer)):
            print(f"  {name:<13}{work:6.2f} s   {whole:6.2f} s with the start   {work / peer[0]:5.2f} × DuckDB")
        good = good and first[2] == again[2] == peer[2]
    return 0 if good else 1


if __name__ == "__main__":
    if len(sys.argv) > 2 and sys.argv[1] in ("chill_meter", "duckdb"):
        print(globals()[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3])))
        sys.exit(0)
    sys.exit(main([int(size) for size in sys.argv[1:]] or list(SIZES)))
