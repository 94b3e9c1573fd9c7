"""`create` of a pair on a stocked server beside a plain shell script over one SSH connection. Interleaved, ratios.

    make bench        or: python benchmarks/bench_create.py [ROUNDS]        as root: it boots two lab machines

Both begin on equal machines, prepared by `server prepare` and put back before each round. The script
(create_pair.sh) is given what the toolkit's templates wrote on the first machine, so that both write the same; in the
end the two servers are compared, and `chill-provision verify` must pass on what the script made. CPU is that of this
side alone: the commands and all that they started here. The machines share this host's processors.
"""

from __future__ import annotations

import difflib
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from provision.names import environment_names  # noqa: E402
from tests.demo.keyring import Keyring  # noqa: E402
from tests.demo.mail import Mailbox  # noqa: E402
from tests.fixtures.pack_release import pack  # noqa: E402
from tests.lab import Lab, LabError, Machine  # noqa: E402
from tests.lab.fleet import DOMAIN, make_fleet  # noqa: E402
from tests.lab.network import HOST  # noqa: E402

SERVER, SLUG = "srv1.example.net", "acme"
RESPONSIBLE = ("Camille Dubois", "camille@example.org")
NAMES = [environment_names(SLUG, kind, DOMAIN) for kind in ("production", "test")]
MADE_SECRETS = ("APP_SECRET", "REDIS_PASSWORD", "JWT_PASSPHRASE")
PATIENCE = 12
STATE = ROOT / "benchmarks/server_state.py"
SCRIPT = ROOT / "benchmarks/create_pair.sh"
# As an adminsys writes it once; the rights of metering follow, as the toolkit found them.
DATABASE = """\
CREATE ROLE "{role}" LOGIN CONNECTION LIMIT {limit};
ALTER ROLE "{role}" SET temp_file_limit = '2GB';
ALTER ROLE "{role}" SET idle_in_transaction_session_timeout = '10min';
CREATE DATABASE {database} OWNER "{role}" ENCODING 'UTF8' TEMPLATE template0
    LOCALE 'C.UTF-8' LOCALE_PROVIDER icu ICU_LOCALE 'fr-BE';
REVOKE ALL ON DATABASE {database} FROM PUBLIC;
{connect}\\connect {database}
CREATE EXTENSION unaccent;
CREATE EXTENSION pg_trgm;
CREATE EXTENSION postgis;
"""
LIMIT = "SELECT rolconnlimit FROM pg_roles WHERE rolname = '{role}'"
GRANTS = """
SELECT format('GRANT USAGE ON SCHEMA %I TO "chill-meter";', nspname) FROM pg_namespace, aclexplode(nspacl) AS given
WHERE given.grantee = '"chill-meter"'::regrole;
SELECT format('GRANT SELECT (%s) ON %s TO "chill-meter";', string_agg(quote_ident(attname), ', '), attrelid::regclass)
FROM pg_attribute, aclexplode(attacl) AS given WHERE given.grantee = '"chill-meter"'::regrole GROUP BY attrelid;
"""
# What `create` wrote besides what the script makes by itself, by kind of environment.
CONFIGURATION = """
cd / && find etc srv/chill/{domain} \\( -path '*/vendor' -o -path '*/var/cache' -o -path etc/ssh \\) -prune -o \\
    \\( -type f -o -type l \\) -newercc etc/chill/prepared -print |
    grep -E -e '/{user}[.]conf$|/{user}-(cron|mail|php|worker)[.@]|meter[.]d/{slug}[.]' \\
        -e '[/-]{domain}($|[.](json|nft)$|/releases/[^/]*/config/)' |
    grep -Ev '/tls/|[.]wants/' | tar --create --no-recursion --files-from -
"""


@dataclass(frozen=True)
class Side:
    """One of the two: its machine, and a fleet that calls it by the same name as the other."""

    machine: Machine
    fleet: Path

    def provision(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "provision.cli", *arguments, "--fleet", str(self.fleet)]

    def state(self) -> list[str]:
        return self.machine.ssh("python3 -", input=STATE.read_text()).stdout.splitlines()


@dataclass(frozen=True)
class Spent:
    """Seconds by the clock, and of processors on this side."""

    wall: float
    cpu: float


def spent(command: list[str]) -> Spent:
    """Run a command; SystemExit with its words when it fails."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return Spent(wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def make_side(lab: Lab, directory: Path, **settings: Any) -> Side:
    """A prepared machine of a lab, and its fleet."""
    machine = lab.machine(SERVER, "stocked")
    side = Side(machine, make_fleet(directory / lab.scope, {SERVER: machine.address}, lab.ssh_config, **settings))
    spent(side.provision("server", "prepare", SERVER))
    machine.snapshot("prepared")
    return side


def put_back(machine: Machine) -> None:
    """As it was when it was prepared. A busy host may take a while to let go of what the machine was writing."""
    for _ in range(PATIENCE):
        try:
            machine.reset("prepared")
        except LabError:
            time.sleep(5)
        else:
            return
    machine.reset("prepared")


def create(side: Side, fingerprint: str) -> Spent:
    """The toolkit's turn, on a machine that was just prepared."""
    put_back(side.machine)
    shutil.rmtree(side.fleet / "journal")
    (side.fleet / f"inventory/instances/{SLUG}.yml").unlink(missing_ok=True)
    asked = ("--client", "ASBL Acme", "--server", SERVER, "--starts", "2026-03-01", "--tariff", "standard")
    person = ("--responsible-name", RESPONSIBLE[0], "--responsible-email", RESPONSIBLE[1], "--fingerprint", fingerprint)
    return spent(side.provision("create", SLUG, *asked, *person, "--yes"))


def script(side: Side, payload: Path) -> Spent:
    """The script's turn."""
    put_back(side.machine)
    return spent(["sh", str(SCRIPT), str(payload), "ssh", "-F", str(side.fleet / "ssh_config"), side.machine.address])


def write_payload(first: Side, peer: Side, keyring: Keyring, fingerprint: str, relay: str) -> Path:
    """What the script is given: settings, and the files that the toolkit's templates wrote."""
    payload = peer.fleet / "payload"
    payload.mkdir()
    settings = (peer.fleet / "chill.toml").read_text()
    version, digest = (re.search(rf'^{key} = "(.*)"', settings, re.M)[1] for key in ("version", "sha256"))  # type: ignore[index]
    enabled = f"systemctl list-unit-files --state=enabled --no-legend 'chill-{SLUG}*'"
    units = [line.split()[0] for line in first.machine.ssh(enabled).stdout.splitlines()]
    archive = re.search(r'^archive = "(.*)"', settings, re.M)[1]  # type: ignore[index]
    shutil.copy(archive, payload / "release.tar.gz")
    lines = {
        "settings": f"version={version}\nsha256={digest}\nemail={RESPONSIBLE[1]}\nunits='{' '.join(units)}'\n",
        "domains": "\n".join(names.domain for names in NAMES),
        "address": peer.machine.address,
        "relay": relay,
        "gnupg": str(keyring.home),
        "fingerprint": fingerprint,
        "letter": f"To: {RESPONSIBLE[1]}\nSubject: The passwords\n\n",
    }
    for name, text in lines.items():
        (payload / name).write_text(text)
    for names in NAMES:
        write_environment(first.machine, payload, names.kind, names.domain, names.user, names.database, names.home)
    return payload


def write_environment(
    machine: Machine, payload: Path, kind: str, domain: str, user: str, database: str, home: str
) -> None:
    """One environment's part of the payload, without a secret."""
    uid = machine.ssh(f"id -u {user}").stdout.strip()
    values = {"domain": domain, "user": user, "database": database, "home": home, "known_uid": uid}
    (payload / kind).write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    (payload / f"{domain}.extensions").write_text(f"subjectAltName=DNS:{domain}\nextendedKeyUsage=serverAuth\n")
    environment = machine.ssh(f"cat {home}/shared/.env.local").stdout
    for name in MADE_SECRETS:
        secret = re.search(rf"^{name}='(.*)'$", environment, re.M)[1]  # type: ignore[index]
        environment = environment.replace(secret, f"@{name}@")
    (payload / f"{domain}.env").write_text(environment)
    find = CONFIGURATION.format(domain=domain, user=user, slug=SLUG if kind == "production" else "-")
    done = subprocess.run([*machine.ssh_command, find], capture_output=True, check=True)
    (payload / f"{kind}.tar").write_bytes(done.stdout)
    connect = f'GRANT CONNECT ON DATABASE {database} TO "chill-meter";\n' if kind == "production" else ""
    limit = machine.ssh("cd / && runuser -u postgres -- psql -qXAt", input=LIMIT.format(role=user)).stdout.strip()
    (payload / f"{kind}.sql").write_text(DATABASE.format(role=user, limit=limit, database=database, connect=connect))
    grants = machine.ssh(f"cd / && runuser -u postgres -- psql -qXAt -d {database}", input=GRANTS).stdout
    if grants:
        (payload / f"{kind}.grants").write_text(grants)


def differences(first: Side, peer: Side) -> Iterator[str]:
    """What is not the same on both servers; and what the toolkit's own checks find on the script's."""
    yield from (
        line
        for line in difflib.unified_diff(first.state(), peer.state(), "chill-provision", "script", n=0, lineterm="")
        if not line.startswith("@@")
    )
    shutil.copy(first.fleet / f"inventory/instances/{SLUG}.yml", peer.fleet / "inventory/instances")
    checks = subprocess.run(peer.provision("verify", SLUG), check=False, cwd=ROOT, capture_output=True, text=True)
    if checks.returncode:
        yield checks.stdout + checks.stderr


def measure(rounds: int, turns: list[tuple[str, Callable[[], Spent]]]) -> None:
    print(f"{'round':<8}" + "".join(f"{name:>28}" for name, _ in turns) + f"{'ratio':>9}")
    seen: list[list[Spent]] = []
    for number in range(rounds):
        # Each goes first in turn.
        order = turns if number % 2 else turns[::-1]
        found = {name: turn() for name, turn in order}
        seen.append([found[name] for name, _ in turns])
        show(str(number + 1), seen[-1])
    middle = [
        [statistics.median(getattr(row[side], key) for row in seen) for key in ("wall", "cpu")] for side in (0, 1)
    ]
    show("median", [Spent(*middle[0]), Spent(*middle[1])])


def show(label: str, row: list[Spent]) -> None:
    cells = [f"{one.wall:.1f} s ({one.cpu:.1f} s CPU)" for one in row]
    print(f"{label:<8}" + "".join(f"{cell:>28}" for cell in cells) + f"{row[0].wall / row[1].wall:>8.2f}×", flush=True)


def main(rounds: int) -> int:
    with tempfile.TemporaryDirectory(prefix="chill-bench-") as scratch, ExitStack() as stack:
        directory = Path(scratch)
        keyring = Keyring(directory)
        stack.callback(keyring.close)
        fingerprint = keyring.make_key(*RESPONSIBLE)
        release = pack(directory / "releases")
        # Two labs, so that both may call their server by one name.
        labs = [stack.enter_context(Lab(f"bench-{name}-{os.getpid()}")) for name in ("toolkit", "script")]
        for lab in labs:
            lab.machine(SERVER, "stocked")
        # Only now: the lab's bridge is there as long as a machine is.
        mailbox = stack.enter_context(Mailbox(HOST))
        settings: dict[str, Any] = {"gnupg_home": keyring.home, "mail": (HOST, mailbox.port), "release": release}
        own, peer = (make_side(lab, directory, **settings) for lab in labs)
        create(own, fingerprint)
        payload = write_payload(own, peer, keyring, fingerprint, f"smtp://{HOST}:{mailbox.port}")
        measure(
            rounds,
            [
                ("chill-provision create", lambda: create(own, fingerprint)),
                ("shell script", lambda: script(peer, payload)),
            ],
        )
        found = list(differences(own, peer))
    print(
        "both servers hold the same, and verify passes on both" if not found else "\n".join(["NOT the same:", *found])
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 3))
