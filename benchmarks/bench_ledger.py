"""A year's usage of 100, 1,000 and 10,000 instances (35 million user-days): chill-meter beside pandas, in one run.

    make bench        or: python benchmarks/bench_ledger.py [INSTANCES]...

Every measurement is a process of its own, from its start to the last figure, with its peak of memory. The generator
writes compacted months; at the smallest size it also writes CSV files, which are compacted and compared byte by byte.
pandas reads the same Parquet files, which say what counts, and checks nothing: its figures must be the same.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

SIZES = (100, 1_000, 10_000)
# At more, writing the CSV files takes longer than all the rest.
LARGEST_AS_CSV = 1_000
TARGET_SECONDS, TARGET_MB = 15.0, 2_000
SUMMED = ("emails", "sms", "document_bytes_total")


def chill_meter(ledger: Path, instances: int) -> str:
    """What `chill-report annual` asks of the ledger: all problems, and the usage of every instance."""
    from benchmarks.ledger_data import YEAR, Year
    from metering.ledger.store import open_ledger
    from metering.ledger.usage import Window, year_usage

    slugs = Year(instances).slugs
    opened = open_ledger(ledger, [YEAR])
    if opened.problems(set(slugs)):
        sys.exit("the generated ledger has problems")
    window = Window(date(YEAR, 1, 1), date(YEAR, 12, 31), 1, 12)
    usage = year_usage(opened, YEAR, dict.fromkeys(slugs, window))
    people = sum(month.active_users or 0 for year in usage.values() for month in year.months)
    return listed(people, *(sum(getattr(year, name) or 0 for year in usage.values()) for name in SUMMED))


def pandas(ledger: Path, instances: int) -> str:
    """The main figures as one would write them with pandas: monthly distinct people, monthly sums of each metric."""
    import pandas as pd

    def table(kind: str, columns: list[str]) -> pd.DataFrame:
        paths = sorted(ledger.glob(f"*/*/{kind}.parquet"))
        read = pd.concat([pd.read_parquet(path, columns=[*columns, "day"]) for path in paths], ignore_index=True)
        read["month"] = pd.to_datetime(read.pop("day")).dt.month.astype("int8")
        return read

    users = table("users", ["instance", "user", "counts"])
    people = users[users["counts"]].groupby(["instance", "month"])["user"].nunique()
    del users
    if len(people) != instances * 12:
        sys.exit("pandas found another number of instances")
    samples = table("samples", ["instance", "metric", "value", "addends"])
    counting = samples[samples["addends"] > 0].groupby(["instance", "metric", "month"])["value"]
    totals = counting.agg(["sum", "max", "count", "last"])["sum"].groupby("metric").sum()
    return listed(int(people.sum()), *(int(totals[name]) for name in ("emails_sent", "sms_sent", "document_bytes")))


def listed(*numbers: int) -> str:
    return " ".join(map(str, numbers))


def write_parquet(ledger: Path, instances: int) -> str:
    from benchmarks.ledger_data import Year, write_compacted

    write_compacted(Year(instances), ledger)
    return ""


def write_csv_files(ledger: Path, instances: int) -> str:
    from benchmarks.ledger_data import Year, write_csv

    return f"{write_csv(Year(instances), ledger)}"


def compact(ledger: Path, instances: int) -> str:
    from metering.ledger.compact import compact as compact_months

    lines: list[str] = []
    compact_months(ledger, "9999-12", False, lines.append)
    return f"{instances} instances, {len(lines)} months"


TASKS: dict[str, Callable[[Path, int], str]] = {
    task.__name__: task for task in (chill_meter, pandas, write_parquet, write_csv_files, compact)
}


@dataclass(frozen=True, slots=True)
class Run:
    """Seconds that passed, seconds of all processors together, the peak of memory in MB, and what was printed."""

    seconds: float
    cpu_seconds: float
    megabytes: float
    output: str


def measured(task: Callable[[Path, int], str], ledger: Path, instances: int) -> Run:
    """Run a task as a process of its own."""
    command = [sys.executable, __file__, "--task", task.__name__, str(ledger), str(instances)]
    before = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        output = process.stdout.read().strip()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{task.__name__} failed")
    seconds = time.perf_counter() - before
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 10**6, output)


def prove_the_generator(directory: Path, instances: int) -> None:
    """The compacted months that are generated are, byte by byte, those that compaction makes of the CSV files."""
    direct, compacted = directory / "direct", directory / "compacted"
    measured(write_parquet, direct, instances)
    files = measured(write_csv_files, compacted, instances).output
    measured(compact, compacted, instances)
    pairs = [(path, compacted / path.relative_to(direct)) for path in sorted(direct.rglob("*.parquet"))]
    same = sum(one.read_bytes() == other.read_bytes() for one, other in pairs)
    print(f"{instances} instances: {same} of {len(pairs)} generated files are what compact makes of {files} CSV files")
    if same != len(pairs):
        sys.exit(1)


def compare(directory: Path, instances: int) -> float:
    """Print one size; the seconds of chill-meter."""
    ledger, csv = directory / f"parquet-{instances}", directory / f"csv-{instances}"
    measured(write_parquet, ledger, instances)
    found = {"chill-meter": measured(chill_meter, ledger, instances), "pandas": measured(pandas, ledger, instances)}
    if instances <= LARGEST_AS_CSV:
        measured(write_csv_files, csv, instances)
        found["not compacted"] = measured(chill_meter, csv, instances)
    own = found["chill-meter"]
    if any(run.output != own.output for run in found.values()):
        sys.exit("they do not agree")
    if instances <= LARGEST_AS_CSV:
        found["compact"] = measured(compact, csv, instances)
    print(f"{instances} instances")
    for name, run in found.items():
        figures = f"{run.seconds:6.2f} s {run.cpu_seconds:6.2f} s of CPU {run.megabytes:6.0f} MB"
        print(f"  {name:<14}{figures}   {run.seconds / own.seconds:5.1f} × chill-meter")
    if own.seconds > TARGET_SECONDS or own.megabytes > TARGET_MB:
        sys.exit(f"more than {TARGET_SECONDS:.0f} s or {TARGET_MB} MB")
    return own.seconds


def main(sizes: list[int]) -> None:
    """All sizes, and what each instance more costs from one size to the next: the same everywhere when growth is
    linear.
    """
    with tempfile.TemporaryDirectory(prefix="chill-bench-") as scratch:
        prove_the_generator(Path(scratch), min(sizes))
        seconds = {size: compare(Path(scratch), size) for size in sizes}
    for small, large in pairwise(seconds):
        each = (seconds[large] - seconds[small]) / (large - small)
        print(f"from {small} to {large} instances: {each * 1000:.2f} ms for each one more")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--task"]:
        print(TASKS[sys.argv[2]](Path(sys.argv[3]), int(sys.argv[4])))
    else:
        main([int(size) for size in sys.argv[1:]] or list(SIZES))
