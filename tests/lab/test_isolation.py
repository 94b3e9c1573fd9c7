"""One environment as the attacker of another, on one server: files, logs, database, Redis, processes, all refused.

The victim itself, or root, does the same first: an attempt that fails for another reason proves nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from provision.names import EnvironmentNames, environment_names
from tests.fixtures.browser import Browser
from tests.lab import Lab, Machine
from tests.lab.attempts import CANARY, REDIS_REFUSED, REFUSAL, of_root, own, processes, reach, redis
from tests.lab.fleet import DOMAIN, add_instance, make_fleet
from tests.lab.intruder import WAYS, Intruder, Way
from tests.lab.playbooks import Outcome, play, provision

pytestmark = pytest.mark.lab

SERVER = "srv1.example.net"
ACME, ACME_TEST = environment_names("acme", "production", DOMAIN), environment_names("acme", "test", DOMAIN)
OTHER = environment_names("beta", "production", DOMAIN)
# Attacker and victim: two customers; test and production of one, both ways.
PAIRS = [(OTHER, ACME), (ACME_TEST, ACME), (ACME, ACME_TEST)]
ALL = [ACME, ACME_TEST, OTHER]


@dataclass(frozen=True)
class Site:
    """A server with the environments of two customers."""

    machine: Machine
    fleet: Path

    def on_server(self, command: str) -> str:
        return str(self.machine.ssh(command).stdout)

    def apply(self) -> Outcome:
        return play(self.fleet, "environment", "--limit", "chill_acme")

    def broken(self) -> set[tuple[str, str]]:
        """What verification finds: environment and check."""
        told = provision(self.fleet, "verify", "acme", "--json").json()
        return {(check["environment"], check["check"]) for check in told if not check["passed"]}


@pytest.fixture(scope="module")
def site(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    machine = lab.machine(SERVER, image="stocked")
    fleet = make_fleet(tmp_path_factory.mktemp("isolation") / "fleet", {SERVER: machine.address}, lab.ssh_config)
    for slug in ("acme", "beta"):
        add_instance(fleet, slug, SERVER)
    sites = {names.domain: "site-p3gd-y8ub" for names in ALL if names.kind == "test"}
    (fleet / "passwords.json").write_text(json.dumps({"site_passwords": sites}))
    for arguments in (("server",), ("environment", "-e", f"@{fleet / 'passwords.json'}")):
        made = play(fleet, *arguments)
        assert not any(made.failed.values()), made.output
    site = Site(machine, fleet)
    for names in ALL:
        plant(site, names)
    yield site
    machine.remove()


def plant(site: Site, names: EnvironmentNames) -> None:
    """Something to find, in each place where an environment keeps what is its own."""
    home = names.home
    site.on_server(
        f"""set -eu
as_user() {{ runuser -u {names.user} -- "$@"; }}
cd /
for file in documents/probe tmp/probe log/metering.log log/prod.log log/php.log; do
    echo {CANARY} | as_user sh -c 'umask 027; cat >> {home}/shared/'$file
done
as_user psql -q {names.database} -c "CREATE TABLE IF NOT EXISTS probe AS SELECT '{CANARY}' AS said"
{redis(names)} SET {names.user}:probe {CANARY} >/dev/null
"""
    )
    # The site of a test environment asks for a password, of which the server keeps one for its own questions.
    own = f"/etc/chill/sites/{names.domain}.verify"
    access = ("verify", site.on_server(f"cat {own}").strip()) if names.kind == "test" else None

    browser = Browser(f"https://{names.domain}", site.fleet / "ca/ca.pem", site.machine.address, access)
    assert browser.get(f"/login?token={CANARY}").status == 200


@pytest.fixture(scope="module")
def seen(site: Site) -> dict[str, dict[str, str]]:
    """What each victim must be able to do, and does: by its user, the attempts."""
    shown = {}
    for names in {victim.user: victim for _, victim in PAIRS}.values():
        attempts = own(names) | processes(site.machine, names)
        for name, said in Intruder(site.machine, names).attempt("user", attempts).items():
            assert said.status == 0, f"{names.user} cannot reach its own {name}: {said.output}"
        for name, command in of_root(names).items():
            # Redis answers "NOAUTH" to root, which is connected all the same.
            assert site.machine.ssh(command, check=False).returncode == 0, f"root cannot reach {name}"
        shown[names.user] = attempts
    return shown


def secrets_of(site: Site, names: EnvironmentNames) -> set[str]:
    return {CANARY, *re.findall(r"[0-9a-f]{64}", site.on_server(f"cat {names.home}/shared/.env.local"))}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("attacker,victim", PAIRS, ids=lambda names: names.user)
def test_nothing_of_another_environment_can_be_reached(
    site: Site, seen: Mapping[str, Mapping[str, str]], attacker: EnvironmentNames, victim: EnvironmentNames, way: Way
) -> None:
    attempts = {**seen[victim.user], **of_root(victim), **reach(victim)}

    said = Intruder(site.machine, attacker).attempt(way, attempts)

    reached = {name: answer.output for name, answer in said.items() if answer.status == 0}
    assert not reached, f"{attacker.user} reaches of {victim.user}: {reached}"
    shown = "\n".join(answer.output for answer in said.values())
    assert not [secret for secret in secrets_of(site, victim) if secret in shown]


@pytest.mark.parametrize("way", WAYS)
def test_an_environment_can_do_its_own_work_and_change_no_program(site: Site, way: Way) -> None:
    """What it runs is not its own to change: no program, no page, no link that leads the web server out."""
    public = f"{ACME.home}/current/public"
    may = {
        "work": f"cat {ACME.home}/shared/.env.local && touch {ACME.home}/shared/documents/mine"
        f" && psql {ACME.database} -c 'SELECT said FROM probe'",
        "keys": f"{redis(ACME)} GET {ACME.user}:probe",
    }
    may_not = {
        "page": f"echo '<?php' > {public}/mine.php",
        "link": f"ln -s /etc/passwd {public}/passwd",
        "front controller": f"echo >> {public}/index.php",
        "release": f"ln -sfn /tmp {ACME.home}/current",
        "env file": f"echo X=1 >> {ACME.home}/shared/.env.local",
        "unit": f"echo >> /etc/systemd/system/{ACME.user}-worker.service",
        "own PHP settings": f"echo >> /etc/php/8.2/fpm/environments/{ACME.user}.conf",
    }

    said = Intruder(site.machine, ACME).attempt(way, may | may_not)

    assert [name for name in may if said[name].status != 0] == [], said
    assert CANARY in said["keys"].output
    assert [name for name in may_not if said[name].status == 0] == [], said


@pytest.mark.parametrize("way", ["web", "unit"])
def test_the_sandbox_shows_no_other_process_and_writes_no_core(site: Site, way: Way) -> None:
    pid = site.on_server(f"systemctl show --property=MainPID --value {OTHER.user}-worker").strip()
    attempts = {
        "process": f"ls -d /proc/{pid} /proc/1",
        "homes": "ls /srv/chill",
        "core": "ulimit -c",
        "privileges": "grep NoNewPrivs /proc/self/status",
        "temporary": "touch /tmp/mine && ls /tmp",
        "system": "touch /usr/bin/mine /var/mine /etc/mine",
        "kernel": "dmesg || ls /boot /lib/modules/x || mount -t tmpfs none /mnt || unshare -r true",
    }

    said = Intruder(site.machine, ACME).attempt(way, attempts)

    assert said["process"].status != 0
    assert f"/proc/{pid}\n" not in said["process"].output.replace("'", "")
    assert said["homes"].output.split() == [ACME.domain]
    assert said["core"].output.strip() == "0"
    assert said["privileges"].output.split() == ["NoNewPrivs:", "1"]
    assert said["temporary"].output.split() == ["mine"]
    assert said["system"].status != 0
    assert said["kernel"].status != 0
    assert "mine" not in site.on_server("ls /tmp")


@pytest.mark.parametrize("attacker,victim", PAIRS, ids=lambda names: names.user)
def test_redis_refuses_all_that_is_not_of_the_own_prefix(
    site: Site, attacker: EnvironmentNames, victim: EnvironmentNames
) -> None:
    commands = REDIS_REFUSED.format(other=victim.user, own=attacker.user)
    may = f"SET {attacker.user}:one 1 EX 9\nEVAL \"return redis.call('get', KEYS[1])\" 1 {attacker.user}:one\n"
    script = f"{redis(attacker)} <<'EOF'\n{may}PUBLISH {attacker.user}:news 1\n{commands}EOF"

    answers = Intruder(site.machine, attacker).attempt("unit", {"all": script})["all"].output.splitlines()

    said = [line for line in answers if line]
    assert said[:3] == ["OK", "1", "0"]
    refused = list(zip(commands.splitlines(), said[3:], strict=False))
    assert [pair for pair in refused if not REFUSAL.match(pair[1])] == []
    assert len(said) == 3 + len(commands.splitlines()), said
    kept = Intruder(site.machine, victim).attempt("user", {"kept": f"{redis(victim)} GET {victim.user}:probe"})
    assert kept["kept"].output == CANARY + "\n"


def test_a_database_role_has_limits_that_it_cannot_lift(site: Site) -> None:
    limit = int(site.on_server(f'cd /; runuser -u postgres -- psql -Atc "{_LIMIT.format(role=ACME.user)}"'))
    attempts = {
        "lift": f"psql {ACME.database} -c 'ALTER ROLE \"{ACME.user}\" CONNECTION LIMIT -1'",
        "spill": f"psql {ACME.database} -c 'SET temp_file_limit = -1'",
        "shown": f"psql -At {ACME.database} -c 'SHOW temp_file_limit'",
        "program": f"psql {ACME.database} -c \"COPY probe TO PROGRAM 'cat > /tmp/x'\"",
        "file": f"psql {ACME.database} -c \"COPY probe FROM '/etc/passwd'\"",
        "flood": f"for i in $(seq {limit + 3}); do psql {ACME.database} -c 'SELECT pg_sleep(3)' & done; wait",
    }

    said = Intruder(site.machine, ACME).attempt("user", attempts)

    assert [name for name in ("lift", "spill", "program", "file") if said[name].status == 0] == [], said
    assert said["shown"].output == "2GB\n"
    assert f'too many connections for role "{ACME.user}"' in said["flood"].output


_LIMIT = "SELECT rolconnlimit FROM pg_roles WHERE rolname = '{role}'"


def test_logs_rotate_and_stay_closed(site: Site) -> None:
    site.on_server(
        f"logrotate --force /etc/logrotate.d/chill-{ACME.domain} && logrotate --force /etc/logrotate.d/nginx"
    )

    listed = site.on_server(f"cd {ACME.home}/shared/log && stat -c '%n %a %U:%G' *.log && ls *.log-*")
    web = site.on_server("find /var/log/nginx -perm /o+rwx -type f")

    assert f"metering.log 640 {ACME.user}:chill-meter" in listed
    assert f"prod.log 640 {ACME.user}:{ACME.user}" in listed
    assert {name.partition("-")[0] for name in listed.split() if ".log-" in name} == {
        "metering.log",
        "prod.log",
        "php.log",
    }
    assert web == ""
    browser = Browser(f"https://{ACME.domain}", ca_file=site.fleet / "ca/ca.pem", address=site.machine.address)
    assert browser.get("/healthz").status == 200


def test_a_new_php_of_debian_restarts_that_of_each_environment(site: Site) -> None:
    """As its package does when a security upgrade came."""
    show = f"systemctl show --property=MainPID --value {ACME.user}-php {OTHER.user}-php"
    before = site.on_server(show).split()

    # systemctl waits for the unit that it was asked for, and then, here, for those that restart with it.
    site.on_server(f"systemctl restart php8.2-fpm && systemctl start {ACME.user}-php {OTHER.user}-php")
    after = site.on_server(f"{show}; systemctl is-active {ACME.user}-php {OTHER.user}-php").split()

    assert after[2:] == ["active", "active"]
    assert set(before).isdisjoint(after[:2])


POSTGRES = "cd / && runuser -u postgres -- psql -q"
# What somebody does by hand, and the checks that find it.
DAMAGES = [
    (
        r"cd /etc/systemd/system && sed -i '/^\(NoNew\|Protect\|Private\|SystemCall\|Restrict\|Lock\|MemoryDeny\)/d'"
        " chill-acme-php.service && systemctl daemon-reload && systemctl restart chill-acme-php",
        ("PHP, worker and periodic jobs run in a sandbox", "what runs now was started in its sandbox"),
    ),
    (
        "chmod 0644 /var/log/nginx/acme.chill.pro.access.log",
        ("the web server's logs cannot be read by other users: addresses of pages hold tokens",),
    ),
    (
        "(echo AUTH chill-admin $(cat /etc/chill/redis-admin); echo 'ACL SETUSER chill-acme +scan')"
        " | redis-cli -s /run/redis/redis-server.sock",
        ("Redis lets the environment touch its own keys, and nothing else",),
    ),
    (
        f"""{POSTGRES} -c 'GRANT "chill-beta" TO "chill-acme"'""",
        ("the database role enters its own database alone, without special rights",),
    ),
    (
        f"""{POSTGRES} -c 'GRANT CONNECT ON DATABASE chill_acme TO "chill-beta-test"'""",
        ("nobody but the environment's role, and metering in production, may enter the database",),
    ),
    (
        f"""{POSTGRES} chill_acme -c 'GRANT SELECT (firstname) ON chill_person_person TO "chill-meter"'""",
        ("metering can read user ids and times, and nothing else",),
    ),
    (
        "sed -i s/0600/0666/ /etc/php/8.2/fpm/environments/chill-acme.conf && systemctl reload chill-acme-php",
        ("the php-fpm pool has the settings that isolate it",),
    ),
]


def test_damage_to_what_isolates_is_found_and_mended(site: Site) -> None:
    for damage, _ in DAMAGES:
        site.on_server(damage)

    found = site.broken()
    mended = site.apply()

    assert {(ACME.domain, check) for _, checks in DAMAGES for check in checks} <= found
    assert not any(mended.failed.values()), mended.output
    assert site.broken() == set()
