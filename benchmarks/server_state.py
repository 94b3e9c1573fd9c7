"""What a server holds of its environments, as lines that can be compared with those of another. Runs on the server.

Secrets, keys and certificates differ by nature: that they are there counts, with owner and mode, not what they hold.
"""

import grp
import hashlib
import pwd
import re
import subprocess
from pathlib import Path

ROOTS = ("/etc", "/srv/chill", "/var/lib/chill")
# The machine's own, what is listed below in other words, and what was compiled from the release.
LEFT_OUT = re.compile(
    r"/etc/(ssh/|(passwd|shadow|group|gshadow|subuid|subgid)-?$|machine-id|host|resolv|mailname|ld\.so|\.|redis/|chill/redis"
    r"|aliases\.db|systemd/network/|systemd/system/.*\.wants/)|/var/lib/chill/pending|/var/cache/.|\.(key|srl)$"
)
SECRET = re.compile(r"/shared/jwt/|/etc/chill/tls/.*\.pem$|/etc/chill/sites/")
DIGEST = re.compile(rb"[0-9a-f]{64}")
# Which of the environments was first made up their numbers, and those of the ports that follow from them.
NUMBERS = {
    str(number).encode(): user.pw_name.encode()
    for user in pwd.getpwall()
    if user.pw_name.startswith("chill-")
    for number in (user.pw_uid, user.pw_uid + 20000)
}
NUMBER = re.compile(rb"\b(" + b"|".join(NUMBERS or [b"-"]) + rb")\b")
CATALOGUE = """
SELECT 'database', datname, pg_get_userbyid(datdba), datcollate, daticulocale, datacl::text FROM pg_database;
SELECT 'role', rolname, rolcanlogin, rolsuper, rolconnlimit, rolconfig FROM pg_roles WHERE rolname LIKE 'chill%';
"""
INSIDE = """
SELECT 'extension', extname FROM pg_extension ORDER BY 2;
SELECT 'column', attrelid::regclass, attname, attacl::text FROM pg_attribute WHERE attacl IS NOT NULL ORDER BY 2, 3;
SELECT 'table', schemaname, tablename, tableowner FROM pg_tables WHERE schemaname NOT LIKE 'pg_%' ORDER BY 2, 3;
SELECT 'view', schemaname, viewname FROM pg_views WHERE schemaname NOT LIKE 'pg_%' ORDER BY 2, 3;
SELECT 'schema', nspname, nspacl::text FROM pg_namespace WHERE nspname !~ '^(pg_|information)' ORDER BY 2;
SELECT 'account', username, enabled FROM users ORDER BY 2;
"""


def said(*command: str, data: str = "") -> list[str]:
    done = subprocess.run(command, input=data, capture_output=True, text=True, check=True, cwd="/")
    return [line for line in done.stdout.splitlines() if line]


def psql(database: str, query: str) -> list[str]:
    return said("runuser", "-u", "postgres", "--", "psql", "-qXAt", "-d", database, data=query)


def content(path: Path) -> str:
    if path.is_symlink():
        return f"-> {path.readlink()}"
    if not path.is_file() or SECRET.search(str(path)):
        return ""
    plain = NUMBER.sub(lambda found: NUMBERS[found[1]], DIGEST.sub(b"", path.read_bytes()))
    return hashlib.sha256(plain).hexdigest()[:16]


def files() -> list[str]:
    lines = []
    for root in ROOTS:
        for path in sorted(Path(root).rglob("*")):
            if not LEFT_OUT.search(str(path)):
                access = ",".join(said("getfacl", "-cpE", str(path))) if path.parent == Path("/srv/chill") else ""
                state = path.lstat()
                owner = f"{pwd.getpwuid(state.st_uid).pw_name}:{grp.getgrgid(state.st_gid).gr_name}"
                lines.append(f"{path} {state.st_mode:o} {owner} {content(path)} {access}")
    return lines


def main() -> None:
    lines = files()
    accounts = sorted(line for line in said("getent", "passwd") if line.startswith("chill-"))
    lines += [re.sub(r":x:\d+:\d+:", ":", line) for line in accounts]
    lines += sorted(psql("postgres", CATALOGUE))
    for database in psql("postgres", "SELECT datname FROM pg_database WHERE datname LIKE 'chill%' ORDER BY 1"):
        lines += [f"{database}: {line}" for line in psql(database, INSIDE)]
    units = said(
        "systemctl",
        "list-units",
        "--all",
        "--plain",
        "--no-legend",
        "chill-*.service",
        "chill-*.timer",
        "chill-*.socket",
    )
    for unit in sorted(line.split()[0] for line in units):
        lines.append(f"{unit} " + " ".join(said("systemctl", "show", "--property=ActiveState,UnitFileState", unit)))
    for line in Path("/etc/redis/users.acl").read_text().splitlines():
        lines.append(" ".join(sorted(re.sub("#[0-9a-f]{64}", "#", line).split())))
    print("\n".join(lines))


main()
