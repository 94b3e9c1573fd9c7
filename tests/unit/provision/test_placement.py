"""Which server a new instance is placed on. What servers answer is given; tests/lab asks real ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision import placement
from provision.errors import ChillError, RequestError
from provision.fleet import Fleet, Server
from provision.fleet_reader import load_fleet
from provision.placement import DISK_OF_ONE, MEMORY_OF_ONE, place
from tests.unit.provision.fleets import add_instance, make_fleet

FIRST, SECOND = "srv1.example.net", "srv2.example.net"


def answering(monkeypatch: pytest.MonkeyPatch, **rooms: tuple[int, int] | str) -> None:
    """Let srv1 and srv2 answer with memory and disk for so many environments, with other words, or not at all."""

    def ask(_fleet: Fleet, server: Server, _script: str) -> str:
        answer = rooms.get(server.name.partition(".")[0])
        if answer is None:
            raise ChillError("no route to host")
        if isinstance(answer, str):
            return answer
        memory, disk = answer
        return f"{memory * MEMORY_OF_ONE}\n  {disk * DISK_OF_ONE}\n"

    monkeypatch.setattr(placement, "ask", ask)


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return load_fleet(make_fleet(tmp_path / "fleet"))


def test_what_is_scarcest_decides(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, srv1=(50, 3), srv2=(9, 9))

    found = place(fleet)

    assert found.server == SECOND
    assert str(found).startswith(f"{SECOND}: room for 9 environments")
    assert f"{FIRST}: room for 3 environments" in str(found)


def test_of_equal_servers_the_one_with_fewer_instances(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, srv1=(5, 5), srv2=(5, 5))
    assert place(fleet).server == FIRST
    path = add_instance(fleet.directory, "acme")
    path.write_text(path.read_text().replace("srv2", "srv1"))

    assert place(load_fleet(fleet.directory)).server == SECOND


def test_servers_that_are_silent_or_unprepared_are_left_out(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, srv1="unprepared\n", srv2=(2, 2))
    assert place(fleet).server == SECOND

    answering(monkeypatch)
    with pytest.raises(RequestError, match="no server is prepared and answers"):
        place(fleet)


def test_a_server_without_room_for_both_environments_is_not_taken(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, srv1=(1, 100), srv2=(100, 1))
    with pytest.raises(RequestError, match="room for 1 environments"):
        place(fleet)
