"""Counting sent e-mails in a Postfix log: chill-meter beside pflogsumm, with grep as the floor. One run, ratios.

    make bench        or: python benchmarks/bench_emails.py [MEGABYTES]

pflogsumm is Debian's package of that name; where it is missing, only grep is the peer.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.demo import year  # noqa: E402

ZONE = ZoneInfo("Europe/Brussels")
UID = 998


def write_log(path: Path, megabytes: int) -> int:
    """A log of about that size, as of Debian 12; how many mails of UID were sent in it."""
    # A week or so that ended lately, as a nightly run finds it.
    sent, day = 0, datetime.now(ZONE).date() - timedelta(days=21)
    with path.open("w", encoding="utf-8") as log:
        while log.tell() < megabytes * 10**6:
            busy = year.Day(day, (), (), 0, 25_000, 0)
            log.writelines(f"{line}\n" for line in year.postfix_lines([busy], ZONE, UID, "srv1.example.net"))
            sent, day = sent + busy.emails, day + timedelta(days=1)
    return sent


def collect(directory: Path, log: Path) -> int:
    """What chill-meter counts, on an empty state."""
    spool, state = directory / "spool", directory / "state"
    config = directory / "meter.toml"
    config.write_text(
        f'server = "srv1.example.net"\nspool = "{spool}"\nstate = "{state}"\n[postfix]\nlogs = ["{log}"]\n'
        f"[instances.acme]\nmail = {{uids = [{UID}]}}\n"
    )
    timed("chill-meter", [sys.executable, "-m", "metering.cli", "collect", "--config", str(config)])
    rows = (row for path in spool.glob("*.samples.csv") for row in csv.DictReader(path.open(encoding="utf-8")))
    return sum(int(row["value"]) for row in rows if row["status"] == "ok")


TIMES: dict[str, float] = {}


def timed(name: str, command: Sequence[str]) -> None:
    before = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)
    TIMES[name] = time.perf_counter() - before


def main(megabytes: int) -> int:
    with tempfile.TemporaryDirectory(prefix="chill-bench-") as scratch:
        directory = Path(scratch)
        log = directory / "mail.log"
        sent = write_log(log, megabytes)
        counted = collect(directory, log)
        timed("grep -c", ["grep", "-c", "status=sent", str(log)])
        if shutil.which("pflogsumm"):
            timed("pflogsumm", ["pflogsumm", str(log)])
        size = log.stat().st_size / 10**6
    own = TIMES["chill-meter"]
    print(f"{size:.0f} MB of Postfix log, {sent} e-mails sent, {counted} counted")
    for name, seconds in TIMES.items():
        print(f"  {name:<12}{seconds:6.2f} s   {seconds / own:5.1f} × chill-meter")
    return 0 if counted == sent else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 250))
