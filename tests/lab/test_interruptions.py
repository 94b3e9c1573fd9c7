"""A creation that is ended at every task boundary: the same command goes on, and the letter is sent once.

A ladder: the run of step k is ended when its task k begins, and the next one goes one task further. It finds there what
a first run, ended at the same place, would have left.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from tests.fixtures.browser import Browser
from tests.lab import Lab
from tests.lab.world import SERVER, World, prepared_world

pytestmark = pytest.mark.lab

TASK = re.compile(r"\[(\d+)/(\d+)\] ")
# More than the tasks of the playbook; a ladder ends when a run was not ended.
MANY = 200


@pytest.fixture(scope="module")
def world(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    machine = lab.machine(SERVER, image="stocked")
    with prepared_world(tmp_path_factory.mktemp("interruptions"), machine, lab.ssh_config) as made:
        yield made
    machine.remove()


@dataclass(frozen=True)
class Ended:
    """A run that was to be ended at a task: whether it got there, its exit status, and what it said."""

    reached: bool
    status: int
    said: str


def ended_at(world: World, slug: str, step: int, end: Callable[[subprocess.Popen[str]], None]) -> Ended:
    """Run `create`, and end it in some way when task `step` begins."""
    said, reached = "", False
    with subprocess.Popen(world.create(slug), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        for line in process.stderr:
            said += line
            found = TASK.match(line)
            if found and int(found[1]) == step and not reached:
                reached = True
                end(process)
    return Ended(reached, process.returncode, said)


def test_ended_at_every_task_boundary_the_same_command_ends_well(world: World) -> None:
    def kill(process: subprocess.Popen[str]) -> None:
        process.send_signal(signal.SIGKILL)

    def black_out(process: subprocess.Popen[str]) -> None:
        """The server and the machine of the command lose their power."""
        world.machine.cut_power()
        process.send_signal(signal.SIGKILL)
        world.machine.start()

    for step in range(1, MANY):
        runs = [ended_at(world, "acme", step, end) for end in (kill, black_out)]
        if not all(run.reached for run in runs):
            break
        assert world.letters("acme") == 0, f"a letter left before the work was done, at task {step}"

    assert step > 15, runs
    assert runs[0].status == 0, runs[0].said
    world.assert_made("acme")


def test_a_server_that_goes_away_is_told_and_the_same_command_goes_on(world: World) -> None:
    run = ended_at(world, "away", 12, lambda _: world.machine.cut_power())
    shown = json.loads(world.run("show", "away", "--json").stdout)
    world.machine.start()

    assert run.status == 1, run.said
    assert "cannot be reached" in run.said
    assert "chill-provision create away" in run.said
    assert "Traceback" not in run.said
    assert shown["state"] == "failed"
    assert world.letters("away") == 0
    done = subprocess.run(world.create("away"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    world.assert_made("away")


def test_auto_places_on_a_prepared_server_and_says_why(world: World) -> None:
    command = world.create("placed")
    command[command.index(SERVER)] = "auto"

    shown = subprocess.run([*command, "--plan"], capture_output=True, text=True, check=False)

    assert shown.returncode == 0, shown.stderr
    assert f"https://placed.chill.pro on {SERVER}" in shown.stdout
    assert f"{SERVER}: room for " in shown.stdout


def test_five_creations_at_once_all_end_ready(world: World) -> None:
    slugs = [f"five{number}" for number in range(5)]
    runs = [
        subprocess.Popen(world.create(slug), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for slug in slugs
    ]
    said = [run.communicate()[1] for run in runs]

    assert [run.returncode for run in runs] == [0] * 5, "\n".join(said)
    # Every environment of the server in one run: more than its sshd takes connections at once.
    again = world.run("apply")
    everyone = len(json.loads(world.run("list", "--json").stdout))
    assert again.stdout.count("changed=0 failed=0") == 2 * everyone >= 10, again.stdout + again.stderr
    for slug in slugs:
        assert json.loads(world.run("show", slug, "--json").stdout)["state"] == "ready"
        assert world.letters(slug) == 1
    assert json.loads(world.run("lock", "status", "--json").stdout) == []
    metered = world.machine.ssh("grep -c '^\\[instances.five' /etc/chill/meter.toml").stdout
    assert metered == "5\n"


def test_of_two_creations_of_one_slug_one_wins_and_the_other_says_so(world: World) -> None:
    """Two adminsys, each with a clone of the fleet."""
    clone = replace(world, fleet=world.fleet.with_name("clone"))
    shutil.copytree(world.fleet, clone.fleet)
    runs = [
        subprocess.Popen(one.create("both"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for one in (world, clone)
    ]
    said = [run.communicate()[1] for run in runs]

    assert sorted(run.returncode for run in runs) in ([0, 1], [0, 2]), "\n".join(said)
    loser = said[0] if runs[0].returncode else said[1]
    assert "both on srv1.example.net" in loser or "stands already on srv1.example.net" in loser
    assert world.letters("both") == 1


def test_out_of_service_and_back(world: World) -> None:
    """The data stays; what the fleet says and what stands agree at every step."""
    slug, domain = "round", "round.chill.pro"
    made = subprocess.run(world.create(slug), capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    browser = Browser(f"https://{domain}", ca_file=world.fleet / "ca/ca.pem", address=world.machine.address)
    before = (world.fleet / f"inventory/instances/{slug}.yml").read_text()

    def state() -> str:
        return str(json.loads(world.run("show", slug, "--json").stdout)["state"])

    for verb, ended, status in (("suspend", "suspended", 503), ("resume", "ready", 200)):
        done = world.run(verb, slug, "--yes", "--why", "an unpaid invoice")
        assert (done.returncode, state()) == (0, ended), done.stderr
        assert browser.get("/login").status == status
        applied = world.run("apply", slug)
        assert applied.stdout.count("changed=0 failed=0") == 2, applied.stdout
        assert (world.run("verify", slug).returncode, state()) == (0, ended)
    assert (world.fleet / f"inventory/instances/{slug}.yml").read_text() == before

    done = world.run("archive", slug, "--yes")
    assert (done.returncode, state()) == (0, "archived"), done.stderr
    refused = world.run("create", slug, "--yes")
    assert refused.returncode == 2
    assert f"chill-provision resume {slug}" in refused.stderr
    kept = f"ls /etc/chill/meter.d; ls /srv/chill/{domain}; cd /; runuser -u postgres -- psql -lqtA"
    on_server = str(world.machine.ssh(kept).stdout)
    assert f"{slug}.toml" not in on_server
    assert "shared" in on_server
    assert f"chill_{slug}|" in on_server
    assert world.run("resume", slug, "--yes").returncode == 0
    assert browser.get("/login").status == 200
    world.assert_made(slug)


def test_a_creation_that_failed_can_be_archived(world: World) -> None:
    ended_at(world, "given-up", 10, lambda process: process.send_signal(signal.SIGKILL))

    refused = [
        world.run("suspend", "given-up", "--yes"),
        world.run("apply", "given-up"),
        world.run("apply", "--check", "given-up"),
        world.run("credentials", "rotate", "given-up", "--yes"),
    ]
    done = world.run("archive", "given-up", "--yes")

    assert [one.returncode for one in refused] == [2] * 4
    assert all("chill-provision create given-up" in one.stderr for one in refused)
    assert done.returncode == 0, done.stderr
    assert json.loads(world.run("show", "given-up", "--json").stdout)["state"] == "archived"
