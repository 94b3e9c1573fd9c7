"""`chill-meter pull` from a real OpenSSH server: what breaks off, what is damaged, what never happens to the ledger."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.ssh_server import OBEY, SshServer, ssh_server
from tests.unit.metering.ledger.ledgers import SERVER, make_ledger_fleet, pseudonym, write_run
from tests.unit.provision.fleets import tree

ROOT = Path(__file__).parents[2]
OTHER = "srv2.example.net"
# So many that their file, some 3 MB, does not fit into the buffers between the two ends.
CROWD = 100_000
# What the server's rsync may say before the line is cut: some of the big file.
BEFORE_THE_CUT = 1_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with ssh_server(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@dataclass(frozen=True)
class Site:
    """A fleet with two servers, which are one sshd with two spools, and the control machine's command."""

    server: SshServer
    fleet: Path
    spools: Path

    @property
    def ledger(self) -> Path:
        return self.fleet / "ledger"

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "metering.cli", "pull", "--fleet", str(self.fleet)]

    def pull(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self.command, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)

    def spool_day(self, day: int, server: str = SERVER, people: int = 2) -> tuple[Path, Path]:
        users = [pseudonym(str(number)) for number in range(people)]
        date, at = f"2026-03-{day:02d}", f"202603{day + 1:02d}T001500Z"
        values = {("acme", "active_users"): people}
        samples, beside = write_run(self.spools / server, date, at, values, {"acme": users}, server)
        assert beside is not None
        return samples, beside

    def held(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.ledger.glob("2*/*")}


@pytest.fixture
def site(server: SshServer, tmp_path: Path) -> Site:
    server.behave(OBEY)
    fleet = make_ledger_fleet(tmp_path / "fleet").directory
    (fleet / "ssh_config").write_text(server.client_config)
    hosts = []
    for name in (SERVER, OTHER):
        (tmp_path / "the spools" / name).mkdir(parents=True)
        spool = json.dumps(str(tmp_path / "the spools" / name))
        hosts.append(f"    {name}: {{ansible_host: 127.0.0.1, ansible_user: {server.user}, meter_spool: {spool}}}\n")
    (fleet / "inventory/servers.yml").write_text(f"servers:\n  hosts:\n{''.join(hosts)}")
    return Site(server, fleet, tmp_path / "the spools")


def test_two_spools_are_fetched_verified_and_left_as_they_are(site: Site) -> None:
    site.spool_day(1)
    site.spool_day(2)
    site.spool_day(1, OTHER)
    spools = tree(site.spools)
    done = site.pull("--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"new_files": 6, "removed": 0, "taken_back": 0, "unreachable": [], "refused": []}
    assert done.stderr == f"{SERVER}: 4 new files\n{OTHER}: 2 new files\n"
    assert tree(site.spools) == spools
    assert site.held() == {Path(name).name: content for name, content in spools.items() if content}
    assert site.pull().stderr == f"{SERVER}: 0 new files\n{OTHER}: 0 new files\n0 new files\n"


def test_a_transfer_that_is_cut_leaves_no_half_file_and_is_gone_on_with(site: Site) -> None:
    site.spool_day(1)
    _, big = site.spool_day(2, people=CROWD)
    sent = site.spools / "sent"
    counting = f'sh -c "$SSH_ORIGINAL_COMMAND" | stdbuf -o0 head -c {{limit}} | tee "{sent}"'
    serve = f'#!/bin/sh\ncase "$SSH_ORIGINAL_COMMAND" in rsync*) {counting};; *) {OBEY.splitlines()[1]};; esac\n'
    site.server.behave(serve.format(limit=BEFORE_THE_CUT))
    done = site.pull(SERVER)
    assert done.returncode == 3
    assert f"{SERVER}: the transfer broke off: " in done.stderr
    assert f"these servers did not answer, or not to the end: {SERVER}" in done.stderr
    assert not any(name.startswith("2026-03-02") for name in site.held())
    arrived = (site.ledger / ".staging" / SERVER / big.name).stat().st_size
    assert 0 < arrived < big.stat().st_size

    site.server.behave(serve.format(limit=10**9))
    done = site.pull(SERVER)
    assert done.returncode == 0, done.stderr
    assert site.held()[big.name] == big.read_bytes()
    # Only what was missing travelled the second time.
    assert sent.stat().st_size < big.stat().st_size - arrived / 2


def test_a_pull_that_is_killed_in_the_middle_is_simply_run_again(site: Site) -> None:
    site.spool_day(1)
    _, big = site.spool_day(2, people=CROWD)
    before = site.held()
    # Part of the transfer, then silence: the pull is in the middle of it for as long as the test likes.
    hang = f'sh -c "$SSH_ORIGINAL_COMMAND" | (stdbuf -o0 head -c {BEFORE_THE_CUT}; sleep 60)'
    site.server.behave(
        f'#!/bin/sh\ncase "$SSH_ORIGINAL_COMMAND" in rsync*) {hang};; *) {OBEY.splitlines()[1]};; esac\n'
    )
    process = subprocess.Popen([*site.command, SERVER], cwd=ROOT, stderr=subprocess.PIPE, start_new_session=True)
    staged = site.ledger / ".staging" / SERVER / big.name
    deadline = time.monotonic() + 60
    while not (staged.exists() and staged.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert staged.stat().st_size < big.stat().st_size
    assert site.held() == before
    site.server.behave(OBEY)
    done = site.pull(SERVER)
    assert done.returncode == 0, done.stderr
    assert site.held() == {path.name: path.read_bytes() for path in (site.spools / SERVER).iterdir()}
    assert not (site.ledger / ".staging").exists()


def test_a_truncated_file_is_refused_and_named_and_the_others_are_taken(site: Site) -> None:
    samples, _ = site.spool_day(1)
    samples.write_bytes(samples.read_bytes()[:-7])
    site.spool_day(2)
    site.spool_day(1, OTHER)
    done = site.pull()
    assert done.returncode == 3
    assert f"{SERVER}:{samples.name}: ends in the middle of a line" in done.stderr
    assert {name.split(".")[0] for name in site.held()} == {"2026-03-01", "2026-03-02"}
    assert not any(name.startswith(f"2026-03-01.{SERVER}") for name in site.held())


def test_the_same_name_with_other_content_never_overwrites(site: Site) -> None:
    samples, _ = site.spool_day(1)
    assert site.pull().returncode == 0
    before = site.held()
    times = samples.stat()
    samples.write_text(samples.read_text().replace("acme", "beta"))
    os.utime(samples, ns=(times.st_atime_ns, times.st_mtime_ns))
    done = site.pull("--remove-after", "1", "--json")
    assert done.returncode == 3
    message = "differs from the file of that name in ledger/2026/, which stays"
    assert json.loads(done.stdout)["refused"] == [{"place": f"{SERVER}:{samples.name}", "message": message}]
    assert site.held() == before
    assert samples.exists()


def test_hostile_names_are_named_harmlessly_and_nothing_is_written_outside(site: Site) -> None:
    spool = site.spools / SERVER
    for name in ("-rf.csv", "a\nb.csv", "\x1b[31m.csv", "$(touch x).csv", "`id`;.csv"):
        (spool / name).write_text("x")
    (spool / os.fsdecode(b"\xff.csv")).write_text("x")
    (spool / "directory.csv").mkdir()
    # A link is no file of a spool, wherever it leads.
    link = spool / f"2026-03-05.{SERVER}.20260306T001500Z.samples.csv"
    link.symlink_to("/etc/hostname")
    site.spool_day(1)
    outside = tree(site.spools)
    done = site.pull(SERVER)
    assert done.returncode == 3
    assert done.stderr.count("is not the name of a samples or users file") == 6
    assert "\x1b" not in done.stderr
    assert f"{SERVER}:a?b.csv: is not" in done.stderr
    assert len(site.held()) == 2
    assert tree(site.spools) == outside


def test_old_files_leave_the_spool_when_the_ledger_has_them(site: Site) -> None:
    site.spool_day(1)
    assert site.pull(SERVER, "--remove-after", "1").returncode == 0
    assert len(list((site.spools / SERVER).iterdir())) == 2
    held = site.held()
    done = site.pull(SERVER, "--remove-after", "1")
    assert (done.returncode, done.stderr) == (0, f"{SERVER}: 0 new files, 2 removed from its spool\n0 new files\n")
    assert list((site.spools / SERVER).iterdir()) == []
    assert site.held() == held


def test_a_server_with_another_host_key_is_not_spoken_to(site: Site) -> None:
    site.spool_day(1)
    other_key = site.fleet / "known_hosts"
    lines = (site.server.home / "known_hosts").read_text().split()
    stranger = (site.server.home / "user_key.pub").read_text().split()[:2]
    other_key.write_text(f"{lines[0]} {' '.join(stranger)}\n")
    config = site.server.client_config.replace(str(site.server.home / "known_hosts"), str(other_key))
    (site.fleet / "ssh_config").write_text(config)
    done = site.pull()
    assert done.returncode == 3
    assert done.stderr.count("did not answer: ") == 2
    assert site.held() == {}
