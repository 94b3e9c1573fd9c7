"""A large fleet is read once, and again where something changed: what is remembered is never stale."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from provision import fleet_cache, fleet_reader
from provision.errors import InvalidFiles
from provision.fleet_reader import load_fleet
from tests.unit.metering.ledger.ledgers import make_ledger_fleet


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fleet that is large enough to be remembered, of files that were written long ago."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(fleet_reader, "AT_LEAST", 1)
    # A change of status cannot be dated back: here, every file has settled.
    monkeypatch.setattr(fleet_cache, "_SETTLED_NS", 0)
    return make_ledger_fleet(tmp_path / "fleet", ("acme", "beta")).directory


def parsed(monkeypatch: pytest.MonkeyPatch, directory: Path) -> list[str]:
    """The files of instances that loading parses."""
    names: list[str] = []
    genuine = fleet_reader._read_instance

    def listen(path: Path, *rest: object) -> object:
        names.append(path.name)
        return genuine(path, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(fleet_reader, "_read_instance", listen)
        load_fleet(directory)
    return names


def an_instance(directory: Path) -> Path:
    return next((directory / "inventory/instances").glob("*.yml"))


def test_files_that_did_not_change_are_not_parsed_again(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_fleet(directory)
    assert parsed(monkeypatch, directory) == []
    assert load_fleet(directory) == before
    assert list(load_fleet(directory).instances) == list(before.instances)


def test_a_change_is_seen_even_with_the_same_size_and_time(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = an_instance(directory)
    text, status = path.read_text(), path.stat()
    load_fleet(directory)
    client = load_fleet(directory).instances[path.stem].client
    path.write_text(text.replace(client, client[::-1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert parsed(monkeypatch, directory) == [path.name]
    assert load_fleet(directory).instances[path.stem].client == client[::-1]


def test_what_files_depend_on_makes_all_be_read_anew(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = sorted(path.name for path in (directory / "inventory/instances").glob("*.yml"))
    load_fleet(directory)
    servers = directory / "inventory/servers.yml"
    servers.write_text(servers.read_text() + "    another.example.net: {}\n")
    assert parsed(monkeypatch, directory) == names
    assert parsed(monkeypatch, directory) == []


def test_a_file_that_was_written_just_now_is_not_remembered(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_cache, "_SETTLED_NS", 3600 * 10**9)
    path = an_instance(directory)
    path.touch()
    load_fleet(directory)
    assert path.name in parsed(monkeypatch, directory)


def test_problems_are_told_every_time(directory: Path) -> None:
    load_fleet(directory)
    path = an_instance(directory)
    path.write_text("nonsense: {}\n")
    for _ in range(2):
        with pytest.raises(InvalidFiles, match=path.name):
            load_fleet(directory)


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"\x80\x05."])
def test_a_damaged_memory_is_none(directory: Path, tmp_path: Path, damage: bytes) -> None:
    before = load_fleet(directory)
    (place,) = (tmp_path / "cache/petits-chills").iterdir()
    head = place.read_bytes().partition(b"\n")[0]
    place.write_bytes(head + b"\n" + damage)
    assert load_fleet(directory) == before


def test_it_is_for_nobody_else_and_believed_from_nobody_else(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_fleet(directory)
    (place,) = (tmp_path / "cache/petits-chills").iterdir()
    assert place.stat().st_mode & 0o777 == 0o600
    place.chmod(0o666)
    assert parsed(monkeypatch, directory) != []


def test_a_place_that_cannot_be_written_stops_nothing(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert load_fleet(directory).instances
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    monkeypatch.setattr(fleet_reader, "AT_LEAST", 300)
    assert load_fleet(directory).instances
    assert not (tmp_path / "other").exists()
