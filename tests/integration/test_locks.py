"""Locks as a server keeps them. The server is this machine, reached as Ansible's `local` connection does."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from provision import locks
from provision.cli import main
from provision.fleet import Fleet
from provision.fleet_reader import load_fleet
from provision.locks import LockedError, held, instance_places, server_places
from tests.unit.provision.fleets import add_instance, make_fleet

SERVERS = """\
servers:
  hosts:
    srv1.example.net: {ansible_connection: local}
    srv2.example.net: {ansible_connection: local}
"""


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """Two instances on one server, which keeps its locks in a directory of the test."""
    # Both names stand for this machine: a second directory would be needed to tell them apart.
    monkeypatch.setattr(locks, "DIRECTORY", str(tmp_path / "locks"))
    directory = make_fleet(tmp_path / "fleet")
    (directory / "inventory/servers.yml").write_text(SERVERS)
    for slug in ("acme", "other"):
        path = add_instance(directory, slug)
        path.write_text(path.read_text().replace("srv2", "srv1"))
    return load_fleet(directory)


@pytest.fixture
def holder(fleet: Fleet) -> Iterator[int]:
    """Another process, which holds the lock of acme until it is killed."""
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            with held(fleet, instance_places(fleet, [fleet.instances["acme"]]), "create"):
                os.write(told, b"held")
                signal.pause()
        finally:
            os._exit(1)
    os.close(told)
    assert os.read(ready, 10) == b"held"
    yield pid
    end(pid)


def end(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def names(fleet: Fleet) -> list[str]:
    return [lock.name for lock in locks.locks(fleet, fleet.server("srv1.example.net"))]


def test_a_lock_says_who_since_when_and_what_for_and_refuses_others(fleet: Fleet, holder: int) -> None:
    places = instance_places(fleet, [fleet.instances["acme"], fleet.instances["other"]])

    with pytest.raises(LockedError) as refused, held(fleet, places, "apply"):
        pytest.fail("two held the same lock")

    assert f"instance acme on srv1.example.net: {locks.who()} since 20" in refused.value.message
    assert "for create" in refused.value.message
    assert "chill-provision lock release acme" in refused.value.hint
    assert names(fleet) == ["acme"], "what was not taken whole is not taken at all"


def test_other_instances_are_not_in_the_way_and_locks_end_with_the_work(fleet: Fleet, holder: int) -> None:
    with held(fleet, instance_places(fleet, [fleet.instances["other"]]), "apply"):
        assert names(fleet) == ["acme", "other"]

    with pytest.raises(ZeroDivisionError), held(fleet, instance_places(fleet, [fleet.instances["other"]]), "apply"):
        print(1 / 0)

    assert names(fleet) == ["acme"]


def test_a_server_and_its_instances_exclude_each_other(fleet: Fleet, holder: int) -> None:
    whole = server_places([fleet.server("srv1.example.net")])
    with pytest.raises(LockedError, match="instance acme"), held(fleet, whole, "server prepare"):
        pytest.fail("the server was locked over an instance")
    end(holder)

    with (
        held(fleet, whole, "server prepare"),
        pytest.raises(LockedError, match=r"server srv1\.example\.net"),
        held(fleet, instance_places(fleet, [fleet.instances["other"]]), "apply"),
    ):
        pytest.fail("an instance was locked over its server")


def test_the_lock_of_a_killed_process_is_taken_over(fleet: Fleet, holder: int) -> None:
    end(holder)

    with held(fleet, instance_places(fleet, [fleet.instances["acme"]]), "create") as broken:
        assert [lock.process.partition("@")[0] for lock in broken] == [str(holder)]
        assert names(fleet) == ["acme"]

    assert names(fleet) == []


def test_the_lock_of_another_machine_is_never_taken_over(
    fleet: Fleet, holder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    end(holder)
    monkeypatch.setattr(locks, "this_machine", lambda: "another")

    with (
        pytest.raises(LockedError, match="since"),
        held(fleet, instance_places(fleet, [fleet.instances["acme"]]), "create"),
    ):
        pytest.fail("a lock of which nothing is known was broken")


def test_a_newer_lock_is_not_released_in_place_of_an_older_one(fleet: Fleet, holder: int) -> None:
    server = fleet.server("srv1.example.net")
    (old,) = locks.locks(fleet, server)
    end(holder)

    with held(fleet, instance_places(fleet, [fleet.instances["acme"]]), "create"):
        locks.release(fleet, server, [old])

        assert names(fleet) == ["acme"]


def test_status_and_release_on_the_command_line(fleet: Fleet, holder: int) -> None:
    def run(*arguments: str) -> tuple[int, str, str]:
        done = CliRunner().invoke(main, ["lock", *arguments, "--fleet", str(fleet.directory)])
        return done.exit_code, done.stdout, done.stderr

    status, shown, _ = run("status", "srv1.example.net", "--json")
    assert status == 0
    assert [(lock["name"], lock["purpose"], lock["stale"]) for lock in json.loads(shown)] == [("acme", "create", False)]
    end(holder)
    assert "stale" in run("status", "srv1.example.net")[1]

    assert run("release", "nobody")[0] == 2
    assert run("release", "acme")[0] == 0
    assert names(fleet) == []
    assert "Nobody" in run("status")[2]
