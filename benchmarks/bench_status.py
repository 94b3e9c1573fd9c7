"""The state of a fleet's year: `chill-meter status`, the whole command with a file for each instance, beside one query
to the same Parquet files. Every figure is a new process, from its start to its end.

    make bench        or: python benchmarks/bench_status.py [INSTANCES]...

The query is what one would write by hand in DuckDB: the last sample and the days sampled of each instance and metric,
without gaps, failures, last days or quotas, and without checking anything or reading the inventory. Only the clock is
set for the command: to the New Year's Day after the generated year. Processor time is judged, which other work on the
machine changes less than the time that passes; both are printed. The exit status is 1 when the target is missed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

SIZES = (100, 1_000, 10_000)
TARGET_SECONDS = 2.0
# After the year of benchmarks/ledger_data.py, which is not imported here: the command does without it.
NEW_YEAR = date(2026, 1, 1)
INSTANCE = """\
{group}:
  hosts: {{{slug}.chill.pro: {{}}, {slug}-test.chill.pro: {{}}}}
  vars:
    client: "Client of {slug}"
    responsible: {{name: "Anne", email: "anne@{slug}.example", fingerprint: "{zeros}"}}
    contract: {{starts: {year}-01-01, ends: null, tariff: standard}}
    contacts:
      technical: {{name: "Bob", email: "bob@{slug}.example"}}
production:
  hosts: {{{slug}.chill.pro: {{instance: {slug}, server: srv1.example.net}}}}
test:
  hosts: {{{slug}-test.chill.pro: {{instance: {slug}, server: srv1.example.net}}}}
"""


TARIFF = """\
currency = "EUR"
vat_percent = "21"

[[version]]
valid_from = 2020-01-01
base = {price = "600.00"}
emails = {included = 10000, per = 1000, price = "0.50"}
documents = {measure = "mean_daily", included_gb = 20, price = "2.00"}
"""


def chill_meter(directory: Path) -> None:
    """The command, on New Year's Day."""
    from metering.cli import ledger, main

    ledger.today_of = lambda *_: NEW_YEAR
    main(["status", "--fleet", str(directory)])


def chill_meter_json(directory: Path) -> None:
    """The same for programs."""
    from metering.cli import ledger, main

    ledger.today_of = lambda *_: NEW_YEAR
    main(["status", "--json", "--fleet", str(directory)])


def duckdb(directory: Path) -> None:
    """The same question by hand."""
    import duckdb as engine

    rows = engine.sql(
        "SELECT instance, metric, max(day), arg_max(value, day), count(DISTINCT day) "  # noqa: S608 (a path of our own)
        f"FROM '{directory}/ledger/*/*/samples.parquet' WHERE addends > 0 GROUP BY ALL"
    ).fetchall()
    print(sum(row[4] for row in rows))


@dataclass(frozen=True)
class Run:
    """Processor seconds, seconds that passed, and what was printed."""

    seconds: float
    passed: float
    output: str


def measured(name: str, directory: Path) -> Run:
    before = time.perf_counter()
    environment = {**os.environ, "XDG_CACHE_HOME": str(directory / "cache")}
    command = [sys.executable, __file__, name, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as process:
        assert process.stdout
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{name} failed")
    seconds = usage.ru_utime + usage.ru_stime
    return Run(seconds, time.perf_counter() - before, output)


def write_fleet(directory: Path, instances: int) -> None:
    from benchmarks.ledger_data import YEAR, Year, write_compacted

    assert NEW_YEAR.year == YEAR + 1
    from tests.generated import SETTINGS

    (directory / "chill.toml").write_text(SETTINGS)
    (directory / "inventory/instances").mkdir(parents=True)
    (directory / "inventory/servers.yml").write_text("servers:\n  hosts:\n    srv1.example.net: {}\n")
    (directory / "tariffs").mkdir()
    (directory / "tariffs/standard.toml").write_text(TARIFF)
    for slug in Year(instances).slugs:
        group = f"chill_{slug.replace('-', '_')}"
        text = INSTANCE.format(group=group, slug=slug, year=YEAR, zeros="0" * 40)
        (directory / f"inventory/instances/{slug}.yml").write_text(text)
    write_compacted(Year(instances), directory / "ledger")
    # Files that were written just now are not remembered yet.
    time.sleep(4)


def main(sizes: list[int]) -> int:
    good = True
    judged: dict[int, float] = {}
    for instances in sizes:
        with tempfile.TemporaryDirectory(prefix="chill-bench-") as scratch:
            directory = Path(scratch)
            write_fleet(directory, instances)
            runs = {"first time": measured("chill_meter", directory)}
            again = [measured("chill_meter", directory) for _ in range(3)]
            runs["from then on"] = min(again, key=lambda run: run.seconds)
            runs["as JSON"] = measured("chill_meter_json", directory)
            peer = runs["DuckDB"] = measured("duckdb", directory)
        judged[instances] = runs["from then on"].seconds
        days = sum(row["days_sampled"] for row in json.loads(runs["as JSON"].output))
        print(f"{instances} instances, a year, {days} samples; target: {TARGET_SECONDS:.0f} s from the second time on")
        for name, run in runs.items():
            print(
                f"  {name:<13}{run.seconds:6.2f} s of processor {run.passed:6.2f} s passed"
                f" {run.seconds / peer.seconds:6.2f} × DuckDB"
            )
        good = good and days == int(peer.output) and runs["first time"].output == runs["from then on"].output
        if judged[instances] > TARGET_SECONDS:
            print(f"missed: more than {TARGET_SECONDS:.0f} s")
            good = False
    for small, large in pairwise(judged):
        each = (judged[large] - judged[small]) / (large - small)
        print(f"from {small} to {large} instances: {each * 1000:.2f} ms for each one more")
    return 0 if good else 1


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in ("chill_meter", "chill_meter_json", "duckdb"):
        globals()[sys.argv[1]](Path(sys.argv[2]))
        sys.exit(0)
    sys.exit(main([int(size) for size in sys.argv[1:]] or list(SIZES)))
