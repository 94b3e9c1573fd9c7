"""From spools to the ledger: the command, what is accepted, and what is never overwritten."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from metering.ledger import pull as module
from metering.ledger.pull import accept, pull, rsync_command
from metering.ledger.store import open_ledger
from provision.errors import PartlyDone, RequestError
from provision.fleet import Fleet, load_fleet
from tests.unit.metering.ledger.ledgers import SERVER, make_ledger_fleet, pseudonym, samples_of, users_of, write_run

OTHER = "srv2.example.net"


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return make_ledger_fleet(tmp_path / "fleet")


def spool_day(spool: Path, day: int, people: str = "ab", server: str = SERVER) -> tuple[Path, Path]:
    date, at = f"2026-03-{day:02d}", f"202603{day + 1:02d}T001500Z"
    users = [pseudonym(person) for person in people]
    samples, beside = write_run(spool, date, at, {("acme", "active_users"): len(users)}, {"acme": users}, server)
    assert beside is not None
    return samples, beside


def ledger_files(fleet: Fleet) -> dict[str, bytes]:
    return {str(p.relative_to(fleet.ledger)): p.read_bytes() for p in fleet.ledger.rglob("*.csv")}


# --- the command ------------------------------------------------------------------------------------------------------


def options(command: Sequence[str], name: str) -> list[str]:
    return [part.split("=", 1)[1] for part in command if part.startswith(f"--{name}=")]


def variables(fleet: Fleet, text: str) -> Fleet:
    (fleet.inventory / "servers.yml").write_text(f"servers:\n  hosts:\n    {SERVER}: {text}\n    {OTHER}: {{}}\n")
    return load_fleet(fleet.directory)


def test_the_command_copies_the_default_spool_as_root(fleet: Fleet) -> None:
    (fleet.ledger / "2025").mkdir()
    command = rsync_command(fleet, fleet.server(SERVER))
    assert command[0] == "rsync"
    assert command[-2:] == ["root@127.0.0.1:/var/spool/chill-meter/", f"{fleet.ledger}/.staging/{SERVER}/"]
    shell = shlex.split(options(command, "rsh")[0])
    assert shell[:3] == ["ssh", "-F", str(fleet.directory / "ssh_config")]
    assert "BatchMode=yes" in shell
    assert options(command, "compare-dest") == [str(fleet.ledger / "2025")]
    assert not any(part.startswith(("--delete", "--remove")) for part in command)


def test_server_variables_say_who_where_and_which_spool(fleet: Fleet) -> None:
    fleet = variables(
        fleet,
        '{ansible_host: "fd00::1", ansible_user: fetch, ansible_port: 2222, meter_spool: "/srv/my spool/", '
        "ansible_ssh_private_key_file: /keys/fetch, ansible_ssh_common_args: -J gate.example.net}",
    )
    command = rsync_command(fleet, fleet.server(SERVER))
    assert command[-2] == "fetch@[fd00::1]:/srv/my spool/"
    assert "--protect-args" in command
    shell = shlex.split(options(command, "rsh")[0])
    assert shell[shell.index("-p") + 1] == "2222"
    assert shell[shell.index("-i") + 1] == "/keys/fetch"
    assert shell[shell.index("-J") + 1] == "gate.example.net"


# --- accepting --------------------------------------------------------------------------------------------------------


def test_sound_files_move_to_their_year(fleet: Fleet, tmp_path: Path) -> None:
    spool_day(tmp_path / "staging", 1)
    accepted = accept(tmp_path / "staging", fleet.ledger, SERVER)
    assert accepted.refused == []
    stem = f"2026/2026-03-01.{SERVER}.20260302T001500Z"
    assert [str(path.relative_to(fleet.ledger)) for path in accepted.files] == [
        f"{stem}.users.csv",
        f"{stem}.samples.csv",
    ]
    assert list((tmp_path / "staging").iterdir()) == []
    assert len(users_of(open_ledger(fleet.ledger))) == 2


def test_users_wait_for_their_samples(fleet: Fleet, tmp_path: Path) -> None:
    samples, _ = spool_day(tmp_path / "staging", 1)
    content = samples.read_bytes()
    samples.unlink()
    assert accept(tmp_path / "staging", fleet.ledger, SERVER).files == []
    assert ledger_files(fleet) == {}
    samples.write_bytes(content)
    assert len(accept(tmp_path / "staging", fleet.ledger, SERVER).files) == 2


def test_samples_find_users_that_are_in_the_ledger_already(fleet: Fleet, tmp_path: Path) -> None:
    """As after a pull that was killed between the two."""
    _, users = spool_day(tmp_path / "staging", 1)
    (fleet.ledger / "2026").mkdir()
    users.rename(fleet.ledger / "2026" / users.name)
    accepted = accept(tmp_path / "staging", fleet.ledger, SERVER)
    assert accepted.refused == []
    assert [path.name.split(".")[-2] for path in accepted.files] == ["samples"]


def test_the_same_file_again_is_fine_and_not_new(fleet: Fleet, tmp_path: Path) -> None:
    spool_day(tmp_path / "staging", 1)
    accept(tmp_path / "staging", fleet.ledger, SERVER)
    before = ledger_files(fleet)
    spool_day(tmp_path / "staging", 1)
    accepted = accept(tmp_path / "staging", fleet.ledger, SERVER)
    assert (accepted.files, accepted.refused) == ([], [])
    assert ledger_files(fleet) == before


def test_another_content_under_a_known_name_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    spool_day(tmp_path / "staging", 1)
    accept(tmp_path / "staging", fleet.ledger, SERVER)
    before = ledger_files(fleet)
    samples, users = spool_day(tmp_path / "staging", 1, "cde")
    accepted = accept(tmp_path / "staging", fleet.ledger, SERVER)
    assert accepted.files == []
    assert {problem.place for problem in accepted.refused} == {f"{SERVER}:{samples.name}", f"{SERVER}:{users.name}"}
    assert "differs from the file of that name in ledger/2026/" in accepted.refused[0].message
    assert ledger_files(fleet) == before


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda text: text[:-20], "ends in the middle of a line"),
        (lambda text: "", "is empty"),
        (lambda text: text.replace("instance", "customer", 1), "the header is"),
        (lambda text: text.replace(",2,ok", ",2.5,ok"), "value is '2.5'"),
        (lambda text: text.replace(",2,ok", ",3,ok"), "active_users of acme is 3, but its users file holds 2"),
        (lambda text: text.replace("2026-03-01,", "2026-03-02,", 1), "day is '2026-03-02'"),
        (lambda text: text.replace(f",{SERVER},", f",{OTHER},"), f"source is '{OTHER}'"),
        (lambda text: text.replace("\n", "\r\n"), "the header is"),
        (lambda text: text.replace("acme", "ac\x00me\udcff"), "is not UTF-8 text"),
    ],
    ids=["cut", "empty", "header", "fraction", "count", "day", "source", "crlf", "encoding"],
)
def test_a_file_that_breaks_the_format_is_refused_and_the_others_are_not(
    fleet: Fleet, tmp_path: Path, change: Callable[[str], str], message: str
) -> None:
    samples, _ = spool_day(tmp_path / "staging", 1)
    spool_day(tmp_path / "staging", 2)
    samples.write_bytes(change(samples.read_text()).encode(errors="surrogateescape"))
    accepted = accept(tmp_path / "staging", fleet.ledger, SERVER)
    assert message in accepted.refused[0].message
    assert accepted.refused[0].place.startswith(f"{SERVER}:2026-03-01.")
    assert sorted(name.split(".")[0] for name in ledger_files(fleet)) == ["2026/2026-03-02"] * 2


def test_a_server_speaks_for_itself_only(fleet: Fleet, tmp_path: Path) -> None:
    spool_day(tmp_path / "staging", 1, server=OTHER)
    (tmp_path / "staging/passwords.csv").write_text("x")
    accepted = accept(tmp_path / "staging", fleet.ledger, SERVER)
    messages = [problem.message for problem in accepted.refused]
    assert messages == [f"is named after {OTHER}, but comes from {SERVER}"] * 2 + [
        "is not the name of a samples or users file"
    ]
    assert ledger_files(fleet) == {}


# --- the whole, with real rsync; the lab's test has real servers ------------------------------------------------------


@pytest.fixture
def spools(fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Spools as local directories: the very command, but that rsync runs its other end here instead of through ssh."""
    monkeypatch.setattr(module, "ssh_command", lambda fleet, server: [str(tmp_path / "remote")])
    (tmp_path / "remote").write_text('#!/bin/sh\nwhile [ "$1" != rsync ]; do shift; done\nexec "$@"\n')
    (tmp_path / "remote").chmod(0o755)
    for server in (SERVER, OTHER):
        (tmp_path / "spools" / server).mkdir(parents=True)
    servers = "".join(f'    {server}: {{meter_spool: "{tmp_path}/spools/{server}"}}\n' for server in (SERVER, OTHER))
    (fleet.inventory / "servers.yml").write_text(f"servers:\n  hosts:\n{servers}")
    return tmp_path / "spools"


def run_pull(fleet: Fleet, *servers: str) -> tuple[int, tuple[str, ...], list[str]]:
    lines: list[str] = []
    result = pull(load_fleet(fleet.directory), servers, lines.append)
    return result.new_files, result.unreachable, lines


def test_spools_are_fetched_once_and_stay(fleet: Fleet, spools: Path) -> None:
    spool_day(spools / SERVER, 1)
    spool_day(spools / OTHER, 1, "xyz", OTHER)
    (spools / SERVER / ".2026-03-02.half.samples.csv").write_text("day,inst")
    (spools / SERVER / "notes.txt").write_text("not ours")
    assert run_pull(fleet)[:2] == (4, ())
    assert sorted(value for *_, value in samples_of(open_ledger(fleet.ledger))) == [5]
    assert not (fleet.ledger / ".staging").exists()
    spool_day(spools / SERVER, 2)
    before = ledger_files(fleet)
    assert run_pull(fleet, SERVER)[:2] == (2, ())
    assert run_pull(fleet)[:2] == (0, ())
    assert before.items() <= ledger_files(fleet).items()
    assert len(list((spools / SERVER).glob("[!.]*.csv"))) == 4


def test_only_the_servers_named_are_asked(fleet: Fleet, spools: Path) -> None:
    spool_day(spools / SERVER, 1)
    spool_day(spools / OTHER, 1, server=OTHER)
    assert run_pull(fleet, OTHER, OTHER)[0] == 2
    assert all(OTHER in name for name in ledger_files(fleet))


def test_what_the_ledger_has_is_not_sent_again(fleet: Fleet, spools: Path) -> None:
    spool_day(spools / SERVER, 1)
    run_pull(fleet, SERVER)
    server = load_fleet(fleet.directory).server(SERVER)
    command = rsync_command(load_fleet(fleet.directory), server)
    (fleet.ledger / ".staging" / SERVER).mkdir(parents=True)
    subprocess.run(command, check=True)
    assert list((fleet.ledger / ".staging" / SERVER).iterdir()) == []


def test_a_changed_file_is_noticed_even_with_the_same_size_and_time(fleet: Fleet, spools: Path) -> None:
    samples, _ = spool_day(spools / SERVER, 1)
    run_pull(fleet)
    times = samples.stat()
    samples.write_text(samples.read_text().replace("acme", "beta"))
    os.utime(samples, ns=(times.st_atime_ns, times.st_mtime_ns))
    before = ledger_files(fleet)
    with pytest.raises(PartlyDone, match="differs from the file of that name"):
        run_pull(fleet)
    assert ledger_files(fleet) == before


def test_refused_files_are_named_and_the_rest_is_done(fleet: Fleet, spools: Path) -> None:
    samples, _ = spool_day(spools / SERVER, 1)
    samples.write_text(samples.read_text()[:-5])
    spool_day(spools / OTHER, 1, server=OTHER)
    with pytest.raises(PartlyDone) as caught:
        run_pull(fleet)
    assert caught.value.status == 3
    assert f"{SERVER}:{samples.name}: ends in the middle of a line" in caught.value.message
    assert len(ledger_files(fleet)) == 2


def test_a_spool_that_is_not_there_stops_no_other(fleet: Fleet, spools: Path) -> None:
    (spools / SERVER).rmdir()
    spool_day(spools / OTHER, 1, server=OTHER)
    new, unreachable, lines = run_pull(fleet)
    assert (new, unreachable) == (2, (SERVER,))
    assert "No such file or directory" in lines[0]
    assert lines[1] == f"{OTHER}: 2 new files"


def test_what_arrived_before_a_connection_broke_is_kept_when_whole(fleet: Fleet, spools: Path) -> None:
    for day in (1, 2):
        spool_day(spools / SERVER, day)
    # The copy ends in the middle, as when the network goes: two files are whole, one has a temporary name.
    staging = fleet.ledger / ".staging" / SERVER
    staging.mkdir(parents=True)
    for path in spool_day(spools / SERVER, 1):
        (staging / path.name).write_bytes(path.read_bytes())
    (staging / f".2026-03-02.{SERVER}.20260303T001500Z.samples.csv.Xy12zA").write_text("day,instance,me")
    (spools.parent / "remote").write_text("#!/bin/sh\nexit 255\n")
    new, unreachable, lines = run_pull(fleet, SERVER)
    assert (new, unreachable) == (2, (SERVER,))
    assert "did not answer" in lines[0]
    assert sorted(name.split(".")[0] for name in ledger_files(fleet)) == ["2026/2026-03-01"] * 2


def test_a_server_that_does_not_answer_is_reported_by_the_real_ssh(fleet: Fleet) -> None:
    """The fleet's ssh_config leads to a port where nothing listens."""
    lines: list[str] = []
    result = pull(fleet, [SERVER], lines.append)
    assert (result.new_files, result.unreachable) == (0, (SERVER,))
    assert "did not answer" in lines[0]
    assert "Connection refused" in lines[0]


def test_a_server_that_is_not_in_the_fleet_is_a_wrong_request(fleet: Fleet) -> None:
    with pytest.raises(RequestError, match=r"srv9"):
        pull(fleet, ["srv9"], print)
    assert ledger_files(fleet) == {}
