"""Counting sent e-mails in a Postfix log: chill-meter beside pflogsumm, with grep as the floor. One run, ratios.

    make bench        or: python benchmarks/bench_emails.py [MEGABYTES]

The log is generated, the same one every time, such that pflogsumm counts rightly: no content filter, nothing discarded,
no repetition left out. chill-meter runs as it does on servers: the zip archive, Debian's Python, an empty state. Each
is one process, compared by its processor time, which other work on the machine changes less than the time that passes;
chill-meter and pflogsumm run twice, in turn, and the better run of each counts. The exit status is 1 when the numbers
differ or a target is missed. pflogsumm is Debian's package of that name.

A second log, half as large, goes through a content filter, which pflogsumm counts wrongly: only the times are compared.
"""

from __future__ import annotations

import csv
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from provision.meter_bundle import build

ZONE = ZoneInfo("Europe/Brussels")
SEED = 20261123
MAILS_A_DAY = 20_000
FASTER_THAN_PFLOGSUMM = 6
MEMORY_MB = 60
NOTHING_NEW_SECONDS = 0.2
FILTER = "relay=127.0.0.1[127.0.0.1]:10024"
OUT = "relay=mx.example.org[192.0.2.25]:25, delay=0.6, delays=0.1/0/0.2/0.3"


@dataclass(frozen=True)
class Measured:
    """One process: what it printed, its processor time, the time that passed, and the most memory it had."""

    output: str
    seconds: float
    passed: float
    megabytes: float


def measured(command: Sequence[str]) -> Measured:
    before = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status not in (0, 256):
        raise SystemExit(f"{command[0]} failed")
    return Measured(output, usage.ru_utime + usage.ru_stime, time.perf_counter() - before, usage.ru_maxrss / 1024)


def write_log(path: Path, megabytes: int, filtered: bool = False) -> int:
    """A log of about that size that ends lately, as a nightly run finds it; how many recipients were reached in it."""
    make = through_a_filter if filtered else mail
    chance = random.Random(SEED)
    moment, sent, number = datetime.now(ZONE).replace(microsecond=0) - timedelta(days=21), 0, 0
    with path.open("w", encoding="utf-8") as log:
        while log.tell() < megabytes * 10**6:
            lines: list[str] = []
            for _ in range(1000):
                number += 1
                moment += timedelta(seconds=86400 / MAILS_A_DAY)
                stamp = moment.isoformat(timespec="microseconds")
                for line in make(chance, f"{number:010X}"):
                    lines.append(f"{stamp} srv1.example.net postfix/{line}\n")
                    sent += "status=sent" in line and FILTER not in line
            log.writelines(lines)
    return sent


def mail(chance: random.Random, key: str) -> Iterator[str]:
    """The way of one mail, as Postfix 3.7 of Debian 12 tells it."""
    slug = chance.choice(("acme", "beta"))
    if chance.random() < 0.4:
        client = f"app{chance.randrange(9)}.example.net[10.0.0.{chance.randrange(9)}]"
        yield f"submission/smtpd[{chance.randrange(800, 900)}]: connect from {client}"
        yield f"submission/smtpd[820]: {key}: client={client}, sasl_method=PLAIN, sasl_username={slug}"
        yield f"submission/smtpd[820]: disconnect from {client} ehlo=2 starttls=1 auth=1 mail=1 rcpt=1 data=1 quit=1"
    else:
        yield f"pickup[811]: {key}: uid={998 if slug == 'acme' else 1001} from=<chill-{slug}>"
    yield f"cleanup[812]: {key}: message-id=<{key}.{chance.randrange(10**9)}@{slug}.example.net>"
    recipients = 2 if chance.random() < 0.05 else 1
    size = chance.randrange(900, 90_000)
    yield f"qmgr[700]: {key}: from=<no-reply@{slug}.example.net>, size={size}, nrcpt={recipients} (queue active)"
    for _ in range(recipients):
        to = f"to=<person{chance.randrange(5000)}@example.org>, {OUT}"
        if chance.random() < 0.03:
            yield f"smtp[813]: {key}: {to}, dsn=4.7.1, status=deferred (host mx.example.org said: 450 later)"
        failed = chance.random() < 0.01
        yield f"smtp[{chance.randrange(813, 830)}]: {key}: {to}, " + (
            "dsn=5.1.1, status=bounced (no such user)"
            if failed
            else f"dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as {chance.randrange(16**9):09X})"
        )
    yield f"qmgr[700]: {key}: removed"


def through_a_filter(chance: random.Random, key: str) -> Iterator[str]:
    """The way of one mail that a content filter takes out of the queue and submits again."""
    slug, inner = chance.choice(("acme", "beta")), f"F{key}"
    size = chance.randrange(900, 90_000)
    yield f"pickup[811]: {key}: uid={998 if slug == 'acme' else 1001} from=<chill-{slug}>"
    yield f"cleanup[812]: {key}: message-id=<{key}@{slug}.example.net>"
    yield f"qmgr[700]: {key}: from=<no-reply@{slug}.example.net>, size={size}, nrcpt=1 (queue active)"
    yield f"smtpd[840]: {inner}: client=localhost[127.0.0.1]"
    yield f"cleanup[812]: {inner}: message-id=<{key}@{slug}.example.net>"
    yield f"qmgr[700]: {inner}: from=<no-reply@{slug}.example.net>, size={size}, nrcpt=1 (queue active)"
    to = f"to=<person{chance.randrange(5000)}@example.org>"
    answer = f"250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as {inner}"
    yield f"smtp[814]: {key}: {to}, {FILTER}, delay=0.4, delays=0.1/0/0.1/0.2, dsn=2.0.0, status=sent ({answer})"
    yield f"qmgr[700]: {key}: removed"
    yield f"smtp[813]: {inner}: {to}, {OUT}, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as {size:09X})"
    yield f"qmgr[700]: {inner}: removed"


def counted(spool: Path) -> int:
    rows = (row for path in spool.glob("*.samples.csv") for row in csv.DictReader(path.open(encoding="utf-8")))
    return sum(int(row["value"]) for row in rows if row["status"] == "ok")


def write_config(config: Path, log: str, more: str = "") -> None:
    config.write_text(
        f'server = "srv1.example.net"\nspool = "{config.stem}-spool"\nstate = "{config.stem}-state"\n'
        f'[postfix]\nlogs = ["{log}"]\n{more}'
        '[instances.acme.mail]\nuids = [998]\nsasl = ["acme"]\n'
        '[instances.beta.mail]\nuids = [1001]\nsasl = ["beta"]\n'
    )


def better(runs: Sequence[Measured]) -> Measured:
    return min(runs, key=lambda one: one.seconds)


def compared(directory: Path, name: str, meter: Path, more: str = "") -> tuple[Measured, int, Measured | None]:
    """chill-meter's run, what it counted, and pflogsumm's run."""
    own: list[Measured] = []
    peers: list[Measured] = []
    for number in range(2):
        config = directory / f"{name}{number}.toml"
        write_config(config, f"{name}.log", more)
        own.append(measured([str(meter), "collect", "--config", str(config), "--until", "today"]))
        if shutil.which("pflogsumm"):
            peers.append(measured(["pflogsumm", str(directory / f"{name}.log")]))
    return better(own), counted(directory / f"{name}0-spool"), better(peers) if peers else None


def through_filters(directory: Path, megabytes: int, meter: Path) -> list[str]:
    """Print how long a log with a content filter takes; what is wrong."""
    sent = write_log(directory / "filtered.log", megabytes, filtered=True)
    own, number, peer = compared(directory, "filtered", meter, 'internal_relays = ["127.0.0.1:10024"]\n')
    beside = f", pflogsumm {peer.seconds:.2f} s: {peer.seconds / own.seconds:.1f} ×" if peer else ""
    print(f"  {megabytes} MB through a content filter: chill-meter {own.seconds:.2f} s, {own.megabytes:.0f} MB{beside}")
    return [] if number == sent else [f"through the content filter {number} were counted of {sent}"]


def main(megabytes: int) -> int:
    with tempfile.TemporaryDirectory(prefix="chill-bench-") as scratch:
        directory = Path(scratch)
        log, meter = directory / "mail.log", directory / "chill-meter"
        build(meter)
        sent = write_log(log, megabytes)
        grep = better([measured(["grep", "-c", "status=sent", str(log)]) for _ in range(2)])
        own, own_count, peer = compared(directory, "mail", meter)
        command = [str(meter), "collect", "--config", str(directory / "mail0.toml")]
        again = better([measured(command) for _ in range(5)])
        size = log.stat().st_size / 10**6
        log.unlink()
        wrong = through_filters(directory, megabytes // 2, meter)
    print(f"{size:.0f} MB of Postfix log, {sent} recipients reached, {own_count} counted")
    wrong += [] if own_count == sent == int(grep.output) else ["the counts differ"]
    for name, one in (("chill-meter", own), ("grep -c", grep), ("pflogsumm", peer)):
        if one:
            ratio = one.seconds / own.seconds
            line = f"  {name:<12}{one.seconds:6.2f} s   {ratio:5.1f} × chill-meter   {one.megabytes:5.0f} MB"
            print(f"{line}   ({one.passed:.2f} s passed)")
    print(f"  nothing new {again.seconds:6.2f} s {'':43}({again.passed:.2f} s)")
    if peer:
        delivered = re.search(r"^\s*(\d+)([km]?)\s+delivered", peer.output, re.MULTILINE)
        if not delivered or (not delivered[2] and int(delivered[1]) != sent):
            wrong.append("pflogsumm counts another number")
        if peer.seconds < FASTER_THAN_PFLOGSUMM * own.seconds:
            wrong.append(f"less than {FASTER_THAN_PFLOGSUMM} times as fast as pflogsumm")
    if own.megabytes >= MEMORY_MB:
        wrong.append(f"more than {MEMORY_MB} MB of memory")
    if again.seconds >= NOTHING_NEW_SECONDS:
        wrong.append(f"a run that finds nothing new takes more than {NOTHING_NEW_SECONDS} s")
    for missed in wrong:
        print(f"missed: {missed}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 260))
