"""Known secrets, a full life of an instance with its failures, and then a search of every byte that was written.

Every secret may stand at its one place and nowhere else: not in files, logs, journals, shell histories, leftovers of
Ansible, nor in the arguments and the environment of any process on the way.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.demo.keyring import Keyring
from tests.lab import Lab
from tests.lab.fleet import make_fleet
from tests.lab.leaks import Known, Leak, Search, changed_files, sampled_processes
from tests.lab.life import (
    GRAPH_FIRST,
    GRAPH_SECOND,
    PEOPLE,
    PRODUCTION,
    SERVER,
    SMS_SECRET,
    SMTP_PASSWORD,
    TEST,
    SecretMailbox,
    World,
    live,
    tenant,
)
from tests.lab.playbooks import PROJECT

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def world(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("canary")
    began = time.time()
    machine = lab.machine(SERVER, image="stocked")
    keyring = Keyring(directory)
    with SecretMailbox("127.0.0.1") as mailbox, tenant() as azure:
        fleet = make_fleet(
            directory / "fleet",
            {SERVER: machine.address},
            lab.ssh_config,
            gnupg_home=keyring.home,
            mail=("127.0.0.1", mailbox.port),
            variables={"production": {"environment_short_message_dsn": f"ovhcloud://application:{SMS_SECRET}@default"}},
        )
        settings = fleet / "chill.toml"
        login = '[mail]\nusername = "adminsys"\npassword_file = "mail-password"\n'
        settings.write_text(settings.read_text().replace("[mail]\n", login) + f'\n[graph]\nauthority = "{azure}"\n')
        (fleet / "mail-password").write_text(f"{SMTP_PASSWORD}\n")
        (fleet / "mail-password").chmod(0o600)
        for name in ("home", "tmp"):
            (directory / name).mkdir()
        own = {"HOME": str(directory / "home"), "TMPDIR": str(directory / "tmp")}
        keys = [keyring.make_key(name, email) for name, email in PEOPLE.items()]
        environment = {**os.environ, **own, "PYTHONPATH": str(PROJECT)}
        yield World(machine, began, fleet, keyring, keys, mailbox, environment)
    keyring.close()
    machine.remove()


def known_secrets(world: World) -> list[Known]:
    """All of them, each with its one place."""
    found = [Known(f"password {number}", password) for number, password in enumerate(world.passwords)]
    production = f"server:{PRODUCTION.home}/shared/.env.local"
    for names in (PRODUCTION, TEST):
        env_file = f"{names.home}/shared/.env.local"
        values = dict(re.findall(r"^(\w+)='(.*)'$", world.on_server(f"cat {env_file}"), re.MULTILINE))
        for variable in ("APP_SECRET", "REDIS_PASSWORD", "JWT_PASSPHRASE"):
            found.append(Known(f"{variable} of {names.domain}", values[variable], frozenset([f"server:{env_file}"])))
        for path in (f"/etc/chill/tls/{names.domain}/key.pem", f"{names.home}/shared/jwt/private.pem"):
            found.append(Known(path, key_line(world.on_server(f"cat {path}")), frozenset([f"server:{path}"])))
    sms = f"here:{world.fleet}/inventory/group_vars/production.yml"
    admin, password = "/etc/chill/redis-admin", f"here:{world.fleet}/mail-password"
    authority = world.fleet / "ca/ca.key"
    path = world.on_server(
        "ls /var/lib/chill-meter/*/*/acme.key /var/lib/chill-meter/*/acme.key 2>/dev/null || :"
    ).strip()
    site = f"/etc/chill/sites/{TEST.domain}.verify"
    key = bytes.fromhex(world.on_server(f"od -An -v -tx1 {path}"))
    return [
        *found,
        Known("first secret of Graph", GRAPH_FIRST),
        Known("second secret of Graph", GRAPH_SECOND, frozenset([production])),
        Known("secret of the SMS provider", SMS_SECRET, frozenset([sms, production])),
        Known("administrator of Redis", world.on_server(f"cat {admin}").strip(), frozenset([f"server:{admin}"])),
        Known("own password of the site", world.on_server(f"cat {site}").strip(), frozenset([f"server:{site}"])),
        Known("password of the mail server", SMTP_PASSWORD, frozenset([password])),
        Known("key of the authority", key_line(authority.read_text()), frozenset([f"here:{authority}"])),
        Known("key of pseudonyms", key, frozenset([f"server:{path}"])),
    ]


def key_line(pem: str) -> str:
    """The middle of a key: its first lines say only of what kind it is."""
    lines = [line for line in pem.splitlines() if "-----" not in line]
    return lines[len(lines) // 2]


@dataclass(frozen=True)
class Lived:
    """What is there to be searched, and the search."""

    world: World
    search: Search
    processes: set[bytes]
    files: list[Path]


@pytest.fixture(scope="module")
def lived(world: World, tmp_path_factory: pytest.TempPathFactory) -> Lived:
    began, ended = (tmp_path_factory.mktemp("markers") / name for name in ("began", "ended"))
    began.touch()
    with sampled_processes() as processes:
        live(world)
    ended.touch()
    return Lived(world, Search(known_secrets(world)), processes, changed_files(began, ended))


def found_in(place: str, texts: Sequence[bytes] | set[bytes], search: Search) -> list[Leak]:
    return sorted({leak for text in texts for leak in search.text(place, text)})


def test_the_secrets_are_those_that_were_used(lived: Lived) -> None:
    """Else the search would prove nothing: the letters hold the last passwords made, and every one is new."""
    world = lived.world
    letters = world.mailbox.received("camille@example.org")
    opened = [world.keyring.decrypt(list(one.iter_parts())[1].get_payload(decode=True)).decode() for one in letters]  # type: ignore[arg-type]

    assert len(opened) == 2
    assert len(world.mailbox.received("dominique@example.org")) == 1
    assert len(set(world.passwords)) == len(world.passwords) >= 12
    told = [password for password in world.passwords if any(password in letter for letter in opened)]
    assert len(told) == 6, "each letter: an account of each environment, and the site of test"
    assert len(lived.processes) > 200


def test_no_secret_was_said_nor_shown_by_a_process(lived: Lived) -> None:
    assert found_in("said by a command", lived.world.said, lived.search) == []
    assert found_in("arguments or environment of a process", lived.processes, lived.search) == []


def test_no_secret_is_on_the_control_machine_but_at_its_place(lived: Lived) -> None:
    files = lived.files
    runs = lived.world.fleet / "journal/runs"
    assert len([path for path in files if path.parent == runs]) > 8, "the logs of the runs were not looked at"

    assert sorted(lived.search.files([*files, *lived.world.fleet.rglob("*")])) == []


def test_no_secret_is_on_the_server_but_at_its_place(lived: Lived) -> None:
    assert sorted(lived.search.server(lived.world.machine, lived.world.began)) == []


def test_the_search_finds_what_is_planted(lived: Lived, tmp_path: Path) -> None:
    """In a file, a log, a history, the journal, an argument: here and there, as it is and encoded."""
    world, search, password = lived.world, lived.search, lived.world.passwords[-1]
    one = f"password {len(world.passwords) - 1}"
    (tmp_path / "leak").write_text(json.dumps({"task": f"echo {password} | passwd"}))
    plant = f"""umask 077
printf %s 'x{password}' | base64 > /var/tmp/leak
printf %s {password} | gzip > /var/log/leak.gz
printf '%s %0900d' {password} 0 | logger --size 4096 -t leak
printf %s {password} > /dev/shm/leak
echo {password} >> /root/.bash_history
exec sh -c 'sleep 0.5; : {password}'
"""
    with sampled_processes() as processes:
        world.on_server(f"sh -s <<'EOF'\n{plant}EOF")

    found = search.server(world.machine, world.began) | search.files([tmp_path / "leak"])

    files = ("/var/tmp/leak", "/dev/shm/leak", "/root/.bash_history")
    assert found >= {Leak(f"server:{path}", one) for path in files}
    assert found >= {Leak(f"server's {name}", one) for name in ("journal", "compressed logs")}
    assert Leak(f"here:{tmp_path}/leak", one) in found
    assert found_in("process", processes, search) == [Leak("process", one)]
