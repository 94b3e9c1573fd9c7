"""What counting active users does to an application at work: its requests' p95 with and without a count under way.

    make bench        or: python benchmarks/bench_active_users.py [ROUNDS]

A real PostgreSQL holds two tables of 2 and 1 million rows without an index on their times. Processes make requests of
readers and writers, at moments drawn beforehand, whatever the answers take. Phases of quiet and phases of counting
take turns, so that whatever else the machine does falls on both alike. As a peer, the tables are read whole by one
statement each, again and again. The count must be right, and must change the p95 by less than a tenth.
"""

from __future__ import annotations

import multiprocessing
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from multiprocessing.synchronize import Event
from pathlib import Path
from zoneinfo import ZoneInfo

import psycopg

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from metering.server.database import Database  # noqa: E402
from metering.server.discovery import discover  # noqa: E402
from metering.server.sources import ACTIVE_USERS, AuditTrail  # noqa: E402
from metering.server.writers import BATCH, PACE, read_writers  # noqa: E402
from tests.fixtures.local_services import postgres  # noqa: E402

ZONE = ZoneInfo("Europe/Brussels")
DAY = date(2026, 11, 22)
USERS, PEOPLE, NOTES, ENTRIES = 5_000, 50_000, 2_000_000, 1_000_000
CLIENTS, RATE, PHASE_SECONDS = 2, 60, 6.0

SCHEMA = f"""
CREATE TABLE users (id int PRIMARY KEY, username text, enabled boolean NOT NULL);
INSERT INTO users SELECT n, 'user' || n, true FROM generate_series(1, {USERS}) n;
CREATE TABLE note (id bigserial PRIMARY KEY, person_id int NOT NULL, text text, "createdBy_id" int,
    "createdAt" timestamp(0), "updatedBy_id" int, "updatedAt" timestamp(0));
INSERT INTO note (person_id, text, "createdBy_id", "createdAt", "updatedBy_id", "updatedAt")
    SELECT n % {PEOPLE}, repeat(md5(n::text), 4), 1 + (n * 7919) % {USERS}, moment,
        1 + (n * 104729) % {USERS}, moment + (n % 4000) * interval '1 hour'
    FROM (SELECT n, '2024-01-01'::timestamp + n * interval '46 seconds' AS moment
          FROM generate_series(1::bigint, {NOTES}) n) AS rows;
CREATE INDEX ON note (person_id);
CREATE TABLE chill_main_audit_trail (id uuid PRIMARY KEY, "occurredAt" timestamptz, user_id int, description text);
INSERT INTO chill_main_audit_trail
    SELECT md5(n::text)::uuid, '2025-01-01'::timestamptz + n * interval '1 minute', 1 + (n * 31) % {USERS}, md5(n::text)
    FROM generate_series(1::bigint, {ENTRIES}) n;
CREATE ROLE "chill-meter" LOGIN;
GRANT SELECT (id, username, enabled) ON users TO "chill-meter";
GRANT SELECT (id, "createdBy_id", "createdAt", "updatedBy_id", "updatedAt") ON note TO "chill-meter";
GRANT SELECT (id, "occurredAt", user_id) ON chill_main_audit_trail TO "chill-meter";
"""  # noqa: S608 (only numbers)
NAIVE = (
    'SELECT DISTINCT "createdBy_id" FROM note WHERE "createdAt"::date = %(day)s',
    'SELECT DISTINCT "updatedBy_id" FROM note WHERE "updatedAt"::date = %(day)s',
    "SELECT DISTINCT user_id FROM chill_main_audit_trail"
    " WHERE (\"occurredAt\" AT TIME ZONE 'Europe/Brussels')::date = %(day)s",
)


def serve(dsn: str, number: int, seconds: float, answers: multiprocessing.Queue[list[float]]) -> None:
    """Make requests at moments of chance; how long each took, from when it was due, in milliseconds."""
    chance, taken = random.Random(number), []
    with psycopg.connect(dsn, autocommit=True) as connection:
        due, end = time.perf_counter(), time.perf_counter() + seconds
        while (due := due + chance.expovariate(RATE)) < end:
            time.sleep(max(0.0, due - time.perf_counter()))
            with connection.transaction():
                person = chance.randrange(PEOPLE)
                rows = connection.execute("SELECT id, text FROM note WHERE person_id = %s", [person]).fetchall()
                if rows and chance.random() < 0.3:
                    user, changed = chance.randrange(1, USERS), chance.choice(rows)[0]
                    connection.execute(
                        'UPDATE note SET text = %s, "updatedBy_id" = %s, "updatedAt" = now() WHERE id = %s',
                        ["x" * 128, user, changed],
                    )
            taken.append((time.perf_counter() - due) * 1000)
    answers.put(taken)


def count_people(dsn: str) -> int:
    """The people of DAY, as the collector counts them."""
    database = Database(dsn.replace("user=postgres", "user=chill-meter"))
    try:
        found = discover(database, AuditTrail(), frozenset(ACTIVE_USERS))
        audits = [*found.audits, *([found.trail] if found.trail else [])]
        people = [read_writers(database, audit, DAY, DAY, ZONE).get(DAY, set()) for audit in audits]
        return len(set().union(*people))
    finally:
        database.close()


def count_naively(dsn: str) -> int:
    """The same by one statement for each table and pair of columns."""
    with psycopg.connect(dsn) as connection:
        rows = [row for query in NAIVE for row in connection.execute(query, {"day": DAY})]
    return len(set(rows))


def keep_counting(dsn: str, naively: bool, stop: Event) -> None:
    while not stop.is_set():
        count_naively(dsn) if naively else count_people(dsn)


def phase(dsn: str, seed: int, counting: str) -> list[float]:
    """The requests of one phase, while nobody counts, `ours` or `naive` does."""
    stop = multiprocessing.Event()
    counter = multiprocessing.Process(target=keep_counting, args=(dsn, counting == "naive", stop), daemon=True)
    if counting:
        counter.start()
    answers: multiprocessing.Queue[list[float]] = multiprocessing.Queue()
    clients = [
        multiprocessing.Process(target=serve, args=(dsn, seed * 100 + number, PHASE_SECONDS, answers), daemon=True)
        for number in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    taken = [one for _ in clients for one in answers.get()]
    for client in clients:
        client.join()
    stop.set()
    if counting:
        counter.terminate()
        counter.join()
    return taken


def p95(taken: Sequence[float]) -> float:
    return statistics.quantiles(taken, n=20)[-1]


def main(rounds: int) -> int:
    with tempfile.TemporaryDirectory(prefix="chill-bench-") as scratch:
        base = Path(scratch)
        base.chmod(0o755)
        with postgres(base) as socket:
            dsn = f"host={socket} user=postgres dbname=chill_acme"
            with psycopg.connect(dsn, autocommit=True) as connection:
                for statement in SCHEMA.split(";\n"):
                    connection.execute(statement)
                connection.execute("VACUUM ANALYZE")
            begun = time.perf_counter()
            counted, seconds = count_people(dsn), time.perf_counter() - begun
            begun = time.perf_counter()
            expected, naive_seconds = count_naively(dsn), time.perf_counter() - begun
            taken: dict[str, list[float]] = {"": [], "ours": [], "naive": []}
            for number in range(rounds):
                for kind in taken:
                    taken[kind] += phase(dsn, number, kind)
    print(f"{NOTES + ENTRIES} rows in batches of {BATCH}: {counted} people in {seconds:.1f} s", end="")
    print(f" (without pauses, which are {PACE:g} × the work: {seconds / (1 + PACE):.1f} s)")
    print(f"by one statement for each pair of columns: {expected} people in {naive_seconds:.1f} s")
    quiet = p95(taken[""])
    for kind, name in (("", "nobody counts"), ("ours", "chill-meter"), ("naive", "one statement")):
        one, middle = p95(taken[kind]), statistics.median(taken[kind])
        times = f"median {middle:6.2f} ms   p95 {one:6.2f} ms  {100 * (one / quiet - 1):+5.1f} %"
        print(f"  {name:<14} {len(taken[kind]):6} requests   {times}")
    return 0 if counted == expected and p95(taken["ours"]) < 1.1 * quiet else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
