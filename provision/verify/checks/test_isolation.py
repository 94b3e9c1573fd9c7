"""What keeps an environment to itself, and others out of it: sandboxes, processes, logs, Redis, database."""

from __future__ import annotations

import re
from typing import Any

import pytest

from provision.verify.database import query
from provision.verify.target import Target

# By `systemd-analyze security`: 0 is closed, 10 wide open.
GREATEST_EXPOSURE = 3.0
EXPOSURE = re.compile(r"Overall exposure level for (\S+): ([\d.]+)")
# Asked as the administrator of Redis, whose password comes by standard input, so that no list of processes shows it.
ASK_REDIS = (
    "{ printf 'AUTH chill-admin '; cat /etc/chill/redis-admin; printf '\\n%%s\\n' %s; }"
    " | redis-cli -s /run/redis/redis-server.sock"
)
REDIS_FORBIDDEN = (
    "GET another:key",
    "SET another:key value",
    "PUBLISH another:channel message",
    "KEYS *",
    "SCAN 0",
    "FLUSHALL",
    "CONFIG GET *",
    "ACL LIST",
    "SCRIPT FLUSH",
    "CLIENT TRACKING on",
    "MONITOR",
)
# What a role may besides entering its own database; nothing is expected.
TOO_MUCH_OF_A_ROLE = """
WITH me AS (SELECT * FROM pg_roles WHERE rolname = current_user)
SELECT 'it may enter ' || datname FROM pg_database
WHERE datallowconn AND datname <> current_database() AND has_database_privilege(current_user, oid, 'CONNECT')
UNION ALL
SELECT 'it is not an ordinary role' FROM me
WHERE rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls
UNION ALL
SELECT 'it may open any number of connections' FROM me WHERE rolconnlimit < 0
UNION ALL
SELECT format('%s is a member of %s', pg_get_userbyid(member), pg_get_userbyid(roleid))
FROM pg_auth_members, me WHERE me.oid IN (member, roleid)
"""
# Who may enter the database, but for its owner and administrators.
WHO_MAY_ENTER = """
SELECT rolname FROM pg_roles, pg_database
WHERE datname = current_database() AND rolcanlogin AND NOT rolsuper AND rolname <> current_user
  AND has_database_privilege(pg_roles.oid, pg_database.oid, 'CONNECT')
"""
# Columns that metering may use; of other tables than `users`, without the keys.
METERED_COLUMNS = """
SELECT c.oid::regclass || '.' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
LEFT JOIN pg_index k ON k.indrelid = c.oid AND k.indisprimary AND a.attnum = ANY (k.indkey::int2[])
WHERE (k IS NULL OR c.relname = 'users')
  AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped
  AND c.relnamespace::regnamespace::text !~ '^(pg_|information_schema)'
  AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
  AND has_column_privilege('chill-meter', c.oid, a.attnum, 'SELECT, INSERT, UPDATE')
"""
# Columns that metering may read besides keys: who, and when. docs/release-contract.md, point 9.
METERED = re.compile(
    r"id|username|enabled|(created|updated)(byid|at)|userid|authorid|actorid|(occurred|logged)at|date(time)?"
)


def test_sandbox(host: Any, target: Target) -> None:
    """PHP, worker and periodic jobs run in a sandbox"""
    units = [target.php, target.worker, target.cron]
    answer = host.run("systemd-analyze security --no-pager %s %s %s", *units)
    found = {unit: float(level) for unit, level in EXPOSURE.findall(answer.stdout)}
    open_ones = [
        f"{unit} {found.get(unit, 'is not there')}" for unit in units if found.get(unit, 10) > GREATEST_EXPOSURE
    ]
    assert not open_ones, f"exposure above {GREATEST_EXPOSURE}: {', '.join(open_ones)}"
    shown = host.run("systemctl show --property=Id,User,MemoryMax,TasksMax,CPUQuotaPerSecUSec %s %s %s", *units).stdout
    for block in shown.strip().split("\n\n"):
        unit = dict(line.split("=", 1) for line in block.splitlines())
        assert unit.pop("User") == target.user, f"{unit['Id']} does not run as {target.user}"
        free = [name for name, value in unit.items() if value in ("infinity", "[not set]")]
        assert not free, f"{unit['Id']} has no limit: {', '.join(free)}"


def test_processes(host: Any, target: Target) -> None:
    """what runs now was started in its sandbox"""
    for unit in (target.php, target.worker):
        pid = host.run("systemctl show --property=MainPID --value %s", unit).stdout.strip()
        shown = host.run("stat --format=%%U /proc/%s && cat /proc/%s/status", pid, pid).stdout
        inside = shown.startswith(f"{target.user}\n") and "NoNewPrivs:\t1" in shown and "Seccomp:\t2" in shown
        assert inside, f"{unit}: its process {pid} is in no sandbox; put it there: systemctl restart {unit}"


def test_web_logs_are_closed(host: Any, target: Target) -> None:
    """the web server's logs cannot be read by other users: addresses of pages hold tokens"""
    for kind in ("access", "error"):
        file = host.file(f"/var/log/nginx/{target.domain}.{kind}.log")
        assert not file.exists or not file.mode & 0o007, f"{file.path} has mode {file.mode:04o}"


def test_redis_user(host: Any, target: Target) -> None:
    """Redis lets the environment touch its own keys, and nothing else"""
    own = [f"SET {target.user}:key value", f"PUBLISH {target.user}:channel message"]
    questions = [f"ACL DRYRUN {target.user} {command}" for command in (*own, *REDIS_FORBIDDEN)]
    answers = host.run(ASK_REDIS, "\n".join(questions)).stdout.splitlines()
    assert answers[:1] == ["OK"], f"Redis does not answer its administrator: {' '.join(answers[:1])}"
    said = [line for line in answers[1:] if line]
    assert len(said) == len(questions), f"Redis has no user {target.user}: {' '.join(said[:1])}"
    refused = [command for command, answer in zip(own, said, strict=False) if answer != "OK"]
    assert not refused, f"{target.user} may not: {', '.join(refused)}"
    allowed = [command for command, answer in zip(REDIS_FORBIDDEN, said[len(own) :], strict=True) if answer == "OK"]
    assert not allowed, f"{target.user} may: {', '.join(allowed)}"


def test_database_role(host: Any, target: Target) -> None:
    """the database role enters its own database alone, without special rights"""
    found = query(host, target, TOO_MUCH_OF_A_ROLE).splitlines()
    assert not found, f"{target.user}: {'; '.join(found)}"


def test_database_is_closed(host: Any, target: Target) -> None:
    """nobody but the environment's role, and metering in production, may enter the database"""
    meter = {"chill-meter"} if target.kind == "production" else set()
    found = set(query(host, target, WHO_MAY_ENTER).splitlines()) - meter
    assert not found, f"{target.database} can be entered by {', '.join(sorted(found))}"


@pytest.mark.production
def test_metering_rights(host: Any, target: Target) -> None:
    """metering can read user ids and times, and nothing else"""
    usable = query(host, target, METERED_COLUMNS).splitlines()
    assert "users.id" in usable, "chill-meter cannot read users.id: nobody would be counted"
    folded = {name: name.rpartition(".")[2].strip('"').lower().replace("_", "") for name in usable}
    odd = [name for name, column in folded.items() if not METERED.fullmatch(column)]
    assert not odd, f"chill-meter may use {', '.join(odd)}"
