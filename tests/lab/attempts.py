"""What an intruder tries: shell commands by name, each of which shows or changes something that belongs to somebody.

All of them end with status 0 when they succeed.
"""

from __future__ import annotations

import re

from provision.names import EnvironmentNames
from tests.lab import Machine

CANARY = "canary-5rzt-w8hk"

# {other}: the user of another environment; {own}: its own.
REDIS_REFUSED = """\
GET {other}:probe
SET {other}:probe 1
DEL {other}:probe
EXISTS {other}:probe
MEMORY USAGE {other}:probe
RENAME {own}:probe {other}:probe
COPY {other}:probe {own}:stolen
SORT {own}:list BY {other}:*
EVAL "return redis.call('get', KEYS[1])" 1 {other}:probe
EVAL "return redis.call('get', '{other}:probe')" 0
EVAL "return redis.call('keys', '*')" 0
KEYS *
SCAN 0
RANDOMKEY
DBSIZE
INFO
MONITOR
PUBLISH {other}:news 1
SUBSCRIBE {other}:news
PSUBSCRIBE *
PUBSUB CHANNELS
CLIENT TRACKING ON BCAST
CLIENT LIST
CLIENT KILL TYPE normal
CONFIG GET *
CONFIG SET requirepass ""
ACL LIST
ACL SETUSER {own} ~*
ACL GETUSER {other}
AUTH {other} guessed
AUTH chill-admin guessed
FLUSHALL
FLUSHDB
SWAPDB 0 1
SAVE
BGREWRITEAOF
SHUTDOWN NOSAVE
DEBUG OBJECT {own}:probe
SLOWLOG GET
LATENCY LATEST
REPLICAOF 127.0.0.1 6379
MIGRATE 127.0.0.1 6379 {own}:probe 0 10
SCRIPT LOAD "return 1"
SCRIPT FLUSH
SCRIPT KILL
FUNCTION LIST
FUNCTION FLUSH
FCALL any 0
MODULE LIST
"""
REFUSAL = re.compile(r"NOPERM |WRONGPASS |ERR The user executing the script can't |ERR DEBUG command not allowed")


def redis(names: EnvironmentNames) -> str:
    """The command line that is an environment's own way into Redis; commands follow, or come by standard input."""
    return (
        rf"""redis-cli --no-auth-warning -u "$(sed -n "s/^REDIS_URL='\(.*\)'/\1/p" {names.home}/shared/.env.local)" """
    ).strip()


def own(names: EnvironmentNames) -> dict[str, str]:
    """What an environment's own user may look at; every line shows something that is nobody else's to know."""
    shared = f"{names.home}/shared"
    return {
        "env file": f"grep REDIS_PASSWORD {shared}/.env.local",
        "documents": f"cat {shared}/documents/probe",
        "directory of documents": f"ls {shared}/documents | grep probe",
        "temporary files": f"cat {shared}/tmp/probe",
        "log of the application": f"cat {shared}/log/prod.log",
        "log of PHP": f"cat {shared}/log/php.log",
        "log of metering": f"cat {shared}/log/metering.log",
        "signing key": f"cat {shared}/jwt/private.pem",
        "compiled container": f"cd {names.home}/current/var/cache && ls -R | grep Container",
        "database": f"psql {names.database} -c 'SELECT said FROM probe'",
        "writing a document": f"touch {shared}/documents/more",
    }


def processes(machine: Machine, names: EnvironmentNames) -> dict[str, str]:
    """What a process shows to its own user alone."""
    found = {}
    for unit in ("worker", "php"):
        pid = machine.ssh(f"systemctl show --property=MainPID --value {names.user}-{unit}").stdout.strip()
        found[f"environment of {unit}"] = f"cat /proc/{pid}/environ"
        found[f"files of {unit}"] = f"ls -l /proc/{pid}/fd/ | grep -e '->'"
        found[f"root of {unit}"] = f"ls /proc/{pid}/root/srv/chill/{names.domain}/current/"
        found[f"end of {unit}"] = f"kill -0 {pid}"
    return found


def of_root(names: EnvironmentNames) -> dict[str, str]:
    """What root alone may look at."""
    site = f"/etc/chill/sites/{names.domain}"
    held = {
        "passwords of the site": f"cat {site}.htpasswd {site}.verify",
        "mailbox": f"ls /var/lib/chill-mail/{names.domain}",
    }
    return (held if names.kind == "test" else {}) | {
        "web log": f"grep {CANARY} /var/log/nginx/{names.domain}.access.log",
        "web errors": f"cat /var/log/nginx/{names.domain}.error.log",
        "TLS key": f"cat /etc/chill/tls/{names.domain}/key.pem",
        "administrator of Redis": "cat /etc/chill/redis-admin",
        "access list of Redis": "cat /etc/redis/users.acl",
        "data of Redis": "ls /var/lib/redis",
        "socket of Redis": "redis-cli -s /run/redis/redis-server.sock PING",
        "files of PostgreSQL": "ls /var/lib/postgresql/15/main",
        "log of PostgreSQL": "cat /var/log/postgresql/postgresql-15-main.log",
        "log of mail": "cat /var/log/mail.log",
        "log of the system": "cat /var/log/syslog",
        "state of metering": "ls /var/lib/chill-meter /var/spool/chill-meter",
        "PHP of the other": f"php -r 'exit(stream_socket_client(\"unix:///run/{names.user}/php.sock\") ? 0 : 1);'",
        "homes": f"ls /srv/chill | grep --line-regexp {names.domain}",
    }


def reach(names: EnvironmentNames) -> dict[str, str]:
    """What nobody but the administrator of the database can."""
    return {
        "database in the other's name": f"psql -U {names.user} {names.database} -c 'SELECT said FROM probe'",
        "role of the other": f"psql postgres -c 'SET ROLE \"{names.user}\"'",
        "database of nobody": "psql postgres -c 'SELECT 1'",
        "root": "sudo -n true",
    }
