"""Pulling a day from many servers: chill-meter beside a plain loop of rsync. One run, ratios.

    make bench        or: python benchmarks/bench_pull.py [SERVERS]

The network is left out: a stand-in for ssh runs the server's side of each command here, for both alike. So this is what
the control machine itself costs, and it does the servers' share, too. The plain loop neither checks nor syncs anything.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.unit.metering.ledger.ledgers import write_run  # noqa: E402
from tests.unit.provision.fleets import make_fleet  # noqa: E402

SSH = '#!/bin/sh\nwhile [ "$1" != 127.0.0.1 ]; do shift; done\nshift\nexec sh -c "$*"\n'
INSTANCES, PEOPLE = 100, 10
METRICS = ("sms_sent", "emails_sent", "document_bytes", "collabora_users")
# What spools hold at first: servers that were not asked for so long.
DAYS = 10


def write_day(spool: Path, server: str, number: int, day: date) -> None:
    """One night's files: INSTANCES of the server with PEOPLE active in each."""
    slugs = [f"i{number}x{n}" for n in range(INSTANCES)]
    people = {slug: [hashlib.md5(f"{slug}{n}".encode()).hexdigest()[:16] for n in range(PEOPLE)] for slug in slugs}  # noqa: S324
    values: dict[tuple[str, str], int | None] = {(slug, "active_users"): PEOPLE for slug in slugs}
    values |= {(slug, metric): 1000 + number for slug in slugs for metric in METRICS}
    at = (day + timedelta(days=1)).strftime("%Y%m%dT001500Z")
    write_run(spool, day.isoformat(), at, values, people, server)


def prepare(directory: Path, servers: int) -> tuple[Path, dict[str, Path]]:
    fleet = make_fleet(directory / "fleet")
    spools = {f"srv{n}.example.net": directory / "spools" / str(n) for n in range(servers)}
    hosts = [f'    {name}: {{ansible_host: 127.0.0.1, meter_spool: "{path}"}}\n' for name, path in spools.items()]
    (fleet / "inventory/servers.yml").write_text(f"servers:\n  hosts:\n{''.join(hosts)}")
    (directory / "bin").mkdir()
    (directory / "bin/ssh").write_text(SSH)
    (directory / "bin/ssh").chmod(0o755)
    return fleet, spools


def timed(command: list[str], environment: dict[str, str]) -> float:
    before = time.perf_counter()
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    return time.perf_counter() - before


def rsync_loop(spools: dict[str, Path], target: Path) -> list[str]:
    """One after the other, as a cron job would be written by hand."""
    copies = [f"rsync -a --ignore-existing root@127.0.0.1:{spool}/ {target}/" for spool in spools.values()]
    return ["bash", "-ec", "\n".join(copies)]


def main(servers: int) -> int:
    with tempfile.TemporaryDirectory(prefix="chill-bench-") as scratch:
        directory = Path(scratch)
        fleet, spools = prepare(directory, servers)
        environment = {**os.environ, "PATH": f"{directory}/bin:{os.environ['PATH']}"}
        pull = [sys.executable, "-m", "metering.cli", "pull", "--fleet", str(fleet)]
        plain = rsync_loop(spools, directory / "plain")
        (directory / "plain").mkdir()
        last = date(2026, 11, 22)
        for number, (server, spool) in enumerate(spools.items()):
            for back in range(DAYS, 0, -1):
                write_day(spool, server, number, last - timedelta(days=back))
        times = {f"{DAYS} days": (timed(pull, environment), timed(plain, environment))}
        for number, (server, spool) in enumerate(spools.items()):
            write_day(spool, server, number, last)
        times["one day more"] = (timed(pull, environment), timed(plain, environment))
        times["nothing new"] = (timed(pull, environment), timed(plain, environment))
        held = len(list((fleet / "ledger").glob("2*/*.csv")))
    print(f"{servers} servers of {INSTANCES} instances each; {held} files in the ledger")
    for name, (own, peer) in times.items():
        print(f"  {name:<14}chill-meter {own:6.2f} s   rsync loop {peer:6.2f} s   {own / peer:5.2f} ×")
    return 0 if held == servers * (DAYS + 1) * 2 else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100))
