"""From spools to the ledger: the command, what is accepted, and what is never overwritten."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from unittest.mock import Mock
from zoneinfo import ZoneInfo

import pytest

from metering.ledger.accept import Accepted
from metering.ledger.accept import accept as accept_files
from metering.ledger.compact import compact
from metering.ledger.files import LedgerFile
from metering.ledger.import_sms import import_sms
from metering.ledger.late_samples import MARK
from metering.ledger.provider_csv import Layout
from metering.ledger.pull import Held, PullResult, pull, sort_spool
from metering.ledger.record import record
from metering.ledger.spools import copy_command, list_command, list_spool
from metering.ledger.store import open_ledger
from metering.samples import FileName
from provision.errors import ChillError, RequestError
from provision.fleet import Fleet
from provision.fleet_reader import load_fleet
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
    return {str(p.relative_to(fleet.ledger)): p.read_bytes() for p in fleet.ledger.glob("2*/*.csv")}


# --- the commands -----------------------------------------------------------------------------------------------------


def options(command: Sequence[str], name: str) -> list[str]:
    return [part.split("=", 1)[1] for part in command if part.startswith(f"--{name}=")]


def variables(fleet: Fleet, text: str) -> Fleet:
    (fleet.inventory / "servers.yml").write_text(f"servers:\n  hosts:\n    {SERVER}: {text}\n    {OTHER}: {{}}\n")
    return load_fleet(fleet.directory)


def test_the_commands_reach_the_default_spool_as_root(fleet: Fleet, tmp_path: Path) -> None:
    command = copy_command(fleet, fleet.server(SERVER), tmp_path)
    assert command[0] == "rsync"
    assert command[-2:] == ["root@127.0.0.1:/var/spool/chill-meter/", f"{tmp_path}/"]
    assert not any(part.startswith(("--delete", "--remove")) for part in command)
    listing = list_command(fleet, fleet.server(SERVER))
    for shell in (shlex.split(options(command, "rsh")[0]), listing):
        assert shell[:5] == ["ssh", "-F", str(fleet.directory / "ssh_config"), "-l", "root"]
        assert "BatchMode=yes" in shell
    assert listing[-2] == "127.0.0.1"
    assert "cd -- /var/spool/chill-meter &&" in listing[-1]


def test_server_variables_say_who_where_and_which_spool(fleet: Fleet, tmp_path: Path) -> None:
    fleet = variables(
        fleet,
        '{ansible_host: "fd00::1", ansible_user: fetch, ansible_port: 2222, meter_spool: "/srv/my spool/", '
        "ansible_ssh_private_key_file: /keys/fetch, ansible_ssh_common_args: -J gate.example.net}",
    )
    command = copy_command(fleet, fleet.server(SERVER), tmp_path)
    assert command[-2] == "fetch@[fd00::1]:/srv/my spool/"
    assert "--protect-args" in command
    listing = list_command(fleet, fleet.server(SERVER))
    assert listing[-2] == "fd00::1"
    assert shlex.split(shlex.split(listing[-1])[2])[:3] == ["cd", "--", "/srv/my spool"]
    for shell in (shlex.split(options(command, "rsh")[0]), listing):
        assert shell[shell.index("-l") + 1] == "fetch"
        assert shell[shell.index("-p") + 1] == "2222"
        assert shell[shell.index("-i") + 1] == "/keys/fetch"
        assert shell[shell.index("-J") + 1] == "gate.example.net"


# --- what a server answers --------------------------------------------------------------------------------------------


def listed(script: str) -> tuple[dict[str, str], str]:
    listing = list_spool(["sh", "-c", script])
    return dict(listing.digests), listing.failure


def test_an_answer_is_read_to_its_end_or_said_to_be_broken_off() -> None:
    digest = "0" * 64
    record = f"{digest}  ./a.csv\\000{digest} *./b\\nc.csv\\000"
    both = {"a.csv": digest, "b\nc.csv": digest}
    assert listed(f"printf '{record}'") == (both, "")
    assert listed("true") == ({}, "")
    assert listed(f"printf '{record}{digest}'") == (both, "its spool could not be read: its answer broke off")
    assert listed(f"printf '{record}'; echo gone >&2; exit 255") == (both, "did not answer: gone")
    assert listed("echo no such directory >&2; exit 1") == ({}, "its spool could not be read: no such directory")


@pytest.mark.parametrize("answer", ["Welcome!\\n", "Welcome!\\0", "x\\0", f"{'0' * 64}  /etc/passwd\\0"])
def test_an_answer_that_is_no_list_is_no_empty_spool(answer: str) -> None:
    digests, failure = listed(f"printf '{answer}'")
    assert digests == {}
    assert "answers other than with a list of files" in failure


def test_what_a_server_complains_of_cannot_drive_the_terminal() -> None:
    _, failure = listed(r"printf '\033[31mred\007' >&2; exit 255")
    assert failure == "did not answer: ?[31mred?"
    assert len(listed("printf '%01000d' 0 >&2; exit 255")[1]) < 250


@pytest.mark.parametrize(
    "name",
    [
        f"../2026-03-01.{SERVER}.20260302T001500Z.samples.csv",
        f"2026-03-01.{SERVER}.20260302T001500Z.samples.csv\n",
        f"2026-03-01.{SERVER}.20260302T001500Z.samples.csv; touch x",
        f"2026-02-30.{SERVER}.20260302T001500Z.samples.csv",
        f"２026-03-01.{SERVER}.20260302T001500Z.samples.csv",
        "-rf.csv",
        "\x1b[2J.csv",
        "\udcff.csv",
    ],
)
def test_a_file_of_a_hostile_name_is_refused_and_never_asked_for(fleet: Fleet, name: str) -> None:
    found = sort_spool({name: "0" * 64}, fleet.ledger, Held(), SERVER)
    assert (found.wanted, found.held) == ({}, [])
    assert [problem.message for problem in found.refused] == ["is not the name of a samples or users file"]
    assert found.refused[0].place.isprintable()


# --- accepting --------------------------------------------------------------------------------------------------------


def accept(staging: Path, ledger: Path) -> Accepted:
    """Everything in `staging`, as after a copy from SERVER."""
    found = [(path, FileName.parse(path.name)) for path in sorted(staging.iterdir())]
    return accept_files([LedgerFile(path, name, f"{SERVER}:{path.name}") for path, name in found if name], ledger)


def test_sound_files_move_to_their_year(fleet: Fleet, tmp_path: Path) -> None:
    spool_day(tmp_path / "staging", 1)
    accepted = accept(tmp_path / "staging", fleet.ledger)
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
    assert accept(tmp_path / "staging", fleet.ledger).files == []
    assert ledger_files(fleet) == {}
    samples.write_bytes(content)
    assert len(accept(tmp_path / "staging", fleet.ledger).files) == 2


def test_samples_find_users_that_are_in_the_ledger_already(fleet: Fleet, tmp_path: Path) -> None:
    """As after a pull that was killed between the two."""
    _, users = spool_day(tmp_path / "staging", 1)
    (fleet.ledger / "2026").mkdir()
    users.rename(fleet.ledger / "2026" / users.name)
    accepted = accept(tmp_path / "staging", fleet.ledger)
    assert accepted.refused == []
    assert [path.name.split(".")[-2] for path in accepted.files] == ["samples"]


def test_the_same_file_again_is_fine_and_not_new(fleet: Fleet, tmp_path: Path) -> None:
    spool_day(tmp_path / "staging", 1)
    accept(tmp_path / "staging", fleet.ledger)
    before = ledger_files(fleet)
    spool_day(tmp_path / "staging", 1)
    accepted = accept(tmp_path / "staging", fleet.ledger)
    assert (accepted.files, accepted.refused) == ([], [])
    assert ledger_files(fleet) == before


def test_another_content_under_a_known_name_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    spool_day(tmp_path / "staging", 1)
    accept(tmp_path / "staging", fleet.ledger)
    before = ledger_files(fleet)
    samples, users = spool_day(tmp_path / "staging", 1, "cde")
    accepted = accept(tmp_path / "staging", fleet.ledger)
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
    accepted = accept(tmp_path / "staging", fleet.ledger)
    assert message in accepted.refused[0].message
    assert accepted.refused[0].place.startswith(f"{SERVER}:2026-03-01.")
    assert sorted(name.split(".")[0] for name in ledger_files(fleet)) == ["2026/2026-03-02"] * 2


def test_a_server_speaks_for_itself_only(fleet: Fleet) -> None:
    name = f"2026-03-01.{OTHER}.20260302T001500Z.samples.csv"
    found = sort_spool({name: "0" * 64}, fleet.ledger, Held(), SERVER)
    assert [problem.message for problem in found.refused] == [f"is named after {OTHER}, but comes from {SERVER}"]
    assert found.wanted == {}


# --- the whole, with real rsync; tests/integration/test_pull_over_ssh.py has a real server ----------------------------

# What ssh is to this program: it skips its options and the address, and has a shell run the rest.
SSH = """#!/bin/sh
while [ "$1" != 127.0.0.1 ]; do shift; done
shift
exec sh -c "$*"
"""


@pytest.fixture
def spools(fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Spools as local directories: the very commands, but that the server's side of each runs here."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/ssh").write_text(SSH)
    (tmp_path / "bin/ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    for server in (SERVER, OTHER):
        (tmp_path / "spools" / server).mkdir(parents=True)
    servers = "".join(
        f'    {server}: {{ansible_host: 127.0.0.1, meter_spool: "{tmp_path}/spools/{server}"}}\n'
        for server in (SERVER, OTHER)
    )
    (fleet.inventory / "servers.yml").write_text(f"servers:\n  hosts:\n{servers}")
    return tmp_path / "spools"


def run_pull(fleet: Fleet, *servers: str, remove_before: datetime | None = None) -> tuple[PullResult, list[str]]:
    lines: list[str] = []
    return pull(load_fleet(fleet.directory), servers, lines.append, remove_before), lines


def behave(spools: Path, script: str) -> None:
    """Have the server's side run this before the command that it was given, which is in $*."""
    (spools.parent / "bin/ssh").write_text(SSH.replace("exec", f"{script}\nexec"))


def refusals(result: PullResult) -> list[str]:
    return [f"{problem.place}: {problem.message}" for problem in result.refused]


def test_spools_are_fetched_once_and_stay(fleet: Fleet, spools: Path) -> None:
    spool_day(spools / SERVER, 1)
    spool_day(spools / OTHER, 1, "xyz", OTHER)
    (spools / SERVER / ".2026-03-02.half.samples.csv").write_text("day,inst")
    (spools / SERVER / "notes.txt").write_text("not ours")
    assert run_pull(fleet)[0] == PullResult(4, 0, [], [])
    assert sorted(value for *_, value in samples_of(open_ledger(fleet.ledger))) == [5]
    assert not (fleet.ledger / ".staging").exists()
    spool_day(spools / SERVER, 2)
    before = ledger_files(fleet)
    assert run_pull(fleet, SERVER)[0].new_files == 2
    assert run_pull(fleet)[0].new_files == 0
    assert before.items() <= ledger_files(fleet).items()
    assert len(list((spools / SERVER).glob("[!.]*.csv"))) == 4


def test_what_a_compaction_took_in_is_not_fetched_again(fleet: Fleet) -> None:
    names = [FileName(date(2026, 3, day), SERVER, SOON, "samples") for day in (1, 2, 3)]
    folded = {names[0]: "a" * 64, names[1]: "b" * 64}
    found = sort_spool({str(name): "a" * 64 for name in names}, fleet.ledger, Held(folded), SERVER)
    assert (found.wanted, found.held) == ({names[2]: "a" * 64}, [names[0]])
    assert [problem.place for problem in found.refused] == [f"{SERVER}:{names[1]}"]


def test_a_forgotten_year_is_not_brought_back(fleet: Fleet, spools: Path) -> None:
    """Its files still lie in spools, users and all; the year before and the year after go on."""
    spool_day(spools / SERVER, 1)
    people = {"acme": [pseudonym("a")]}
    write_run(spools / SERVER, "2025-12-31", "20260101T001500Z", {("acme", "active_users"): 1}, people)
    (fleet.directory / "forgotten").mkdir()
    (fleet.directory / "forgotten/2025.20260301T000000Z.counts.csv").touch()
    result, lines = run_pull(fleet, SERVER, remove_before=SOON)
    assert (result.new_files, result.refused) == (2, [])
    assert lines == [f"{SERVER}: 2 new files, 2 of forgotten years left where they are"]
    assert all(name.startswith("2026/") for name in ledger_files(fleet))


def test_only_the_servers_named_are_asked(fleet: Fleet, spools: Path) -> None:
    spool_day(spools / SERVER, 1)
    spool_day(spools / OTHER, 1, server=OTHER)
    assert run_pull(fleet, OTHER, OTHER)[0].new_files == 2
    assert all(OTHER in name for name in ledger_files(fleet))


def test_a_changed_file_is_noticed_even_with_the_same_size_and_time(fleet: Fleet, spools: Path) -> None:
    samples, _ = spool_day(spools / SERVER, 1)
    run_pull(fleet)
    times = samples.stat()
    samples.write_text(samples.read_text().replace("acme", "beta"))
    os.utime(samples, ns=(times.st_atime_ns, times.st_mtime_ns))
    before = ledger_files(fleet)
    result, _ = run_pull(fleet)
    assert refusals(result) == [
        f"{SERVER}:{samples.name}: differs from the file of that name in ledger/2026/, which stays"
    ]
    assert ledger_files(fleet) == before


def test_a_file_that_arrives_other_than_it_was_listed_is_not_taken(fleet: Fleet, spools: Path) -> None:
    """Damaged under way, but sound in its form: whoever lists sees one directory, rsync is led to another."""
    samples, users = spool_day(spools / SERVER, 1)
    shutil.copytree(spools / SERVER, spools / "genuine")
    samples.write_text(samples.read_text().replace("acme", "beta"))
    users.write_text(users.read_text().replace("acme", "beta"))
    genuine = f'case "$*" in rsync*) ;; *) set -- "$(echo "$*" | sed s,/{SERVER},/genuine,)";; esac'
    behave(spools, genuine)
    result, _ = run_pull(fleet, SERVER)
    assert refusals(result) == [
        f"{SERVER}:{path.name}: is not what the server listed: its SHA-256 differs" for path in (samples, users)
    ]
    assert ledger_files(fleet) == {}
    assert not (fleet.ledger / ".staging").exists()


def test_refused_files_are_named_and_the_rest_is_done(fleet: Fleet, spools: Path) -> None:
    samples, _ = spool_day(spools / SERVER, 1)
    samples.write_text(samples.read_text()[:-5])
    spool_day(spools / OTHER, 1, server=OTHER)
    result, lines = run_pull(fleet)
    assert refusals(result) == [f"{SERVER}:{samples.name}: ends in the middle of a line: it is not complete"]
    assert lines == [f"{SERVER}: 0 new files, 1 problem", f"{OTHER}: 2 new files"]
    assert len(ledger_files(fleet)) == 2


def test_a_flood_of_problems_is_counted_not_printed(fleet: Fleet, spools: Path) -> None:
    for number in range(200):
        (spools / SERVER / f"{number}.csv").touch()
    result, _ = run_pull(fleet, SERVER)
    assert len(result.refused) == 21
    assert refusals(result)[-1] == f"{SERVER}: and 180 more files are wrong"


def test_a_spool_that_is_not_there_stops_no_other(fleet: Fleet, spools: Path) -> None:
    (spools / SERVER).rmdir()
    spool_day(spools / OTHER, 1, server=OTHER)
    result, lines = run_pull(fleet)
    assert (result.new_files, result.unreachable) == (2, [SERVER])
    assert "its spool could not be read" in lines[0]
    assert lines[1] == f"{OTHER}: 2 new files"


def test_what_arrived_before_a_connection_broke_is_kept_and_the_rest_comes_later(fleet: Fleet, spools: Path) -> None:
    for day in (1, 2):
        spool_day(spools / SERVER, day)
    # The copy ends at once; two files are there already and whole, one is cut.
    behave(spools, 'case "$*" in rsync*) echo "line is dead" >&2; exit 255;; esac')
    staging = fleet.ledger / ".staging" / SERVER
    shutil.copytree(spools / SERVER, staging)
    cut = next(staging.glob("2026-03-02*.samples.csv"))
    cut.write_bytes(cut.read_bytes()[:-9])
    result, lines = run_pull(fleet, SERVER)
    assert (result.new_files, result.unreachable, result.refused) == (2, [SERVER], [])
    assert lines == [f"{SERVER}: the transfer broke off: line is dead; 2 new files"]
    assert {name.split(".")[0] for name in ledger_files(fleet)} == {"2026/2026-03-01"}
    behave(spools, "")
    assert run_pull(fleet, SERVER)[0] == PullResult(2, 0, [], [])
    assert len(users_of(open_ledger(fleet.ledger))) == 4


# --- days that were imported from a provider --------------------------------------------------------------------------


def imported(fleet: Fleet, *days: int, messages: int = 7) -> None:
    rows = "".join(f"2026-03-{day:02d}\n" * messages for day in days)
    (fleet.directory / "export.csv").write_text(f"Date\n{rows}")
    layout = Layout({"date": "Date"}, ZoneInfo("Europe/Brussels"), instance="acme")
    import_sms(fleet, fleet.directory / "export.csv", layout, (None, None), datetime(2026, 3, 20, tzinfo=UTC))


def sms(spool: Path, day: int, value: int | None) -> None:
    write_run(spool, f"2026-03-{day:02d}", f"202603{day + 1:02d}T001500Z", {("acme", "sms_sent"): value})


def sms_counted(fleet: Fleet) -> dict[int, int]:
    rows = samples_of(open_ledger(fleet.ledger))
    return {day.day: value for day, _, metric, value in rows if metric == "sms_sent"}


def test_a_server_sample_takes_the_place_of_an_import_in_the_same_pull(fleet: Fleet, spools: Path) -> None:
    imported(fleet, 1, 2, 3)
    record(fleet, "acme", "sms_sent", 2, date(2026, 3, 4), "counted on the bill", datetime(2026, 3, 20, tzinfo=UTC))
    for day, value in ((1, 5), (2, None), (4, 1)):
        sms(spools / SERVER, day, value)
    result, lines = run_pull(fleet, SERVER)
    assert result.taken_back == 1
    assert lines[-1] == "1 SMS counts of a provider's export taken back: a server has counted these days by now"
    assert sms_counted(fleet) == {1: 5, 2: 7, 3: 7, 4: 3}
    assert run_pull(fleet, SERVER)[0] == PullResult(0, 0, [], [])
    assert not (fleet.ledger / MARK).exists()


def test_a_pull_that_died_before_it_took_an_import_back_is_made_good(fleet: Fleet, spools: Path) -> None:
    imported(fleet, 1)
    sms(spools / SERVER, 1, 5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("metering.ledger.late_samples.LateSamples.settle", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run_pull(fleet, SERVER)
    assert sms_counted(fleet) == {1: 12}
    assert run_pull(fleet, SERVER)[0] == PullResult(0, 0, [], [], 1)
    assert sms_counted(fleet) == {1: 5}


def test_an_import_is_taken_back_out_of_a_compacted_month(fleet: Fleet, spools: Path) -> None:
    imported(fleet, 1)
    compact(fleet.ledger, "2026-03", False, lambda line: None)
    sms(spools / SERVER, 1, 5)
    assert run_pull(fleet, SERVER)[0].taken_back == 1
    assert sms_counted(fleet) == {1: 5}


def test_a_ledger_that_cannot_be_read_is_told_and_tried_again(fleet: Fleet, spools: Path) -> None:
    imported(fleet, 1)
    sms(spools / SERVER, 1, 5)
    broken = fleet.ledger / "2026" / f"2026-03-09.{SERVER}.20260310T001500Z.samples.csv"
    broken.write_text("nonsense\n")
    result, _ = run_pull(fleet, SERVER)
    assert [broken.name in problem.place for problem in result.refused] == [True]
    broken.unlink()
    assert run_pull(fleet, SERVER)[0] == PullResult(0, 0, [], [], 1)
    assert sms_counted(fleet) == {1: 5}


# --- taking out of spools ---------------------------------------------------------------------------------------------

SOON = datetime(2026, 3, 3, 0, 15, 1, tzinfo=UTC)


def spool_files(spool: Path) -> list[str]:
    return sorted(path.name for path in spool.iterdir())


def test_only_old_files_that_the_ledger_holds_leave_the_spool(fleet: Fleet, spools: Path) -> None:
    for day in (1, 2, 3):
        spool_day(spools / SERVER, day)
    before = spool_files(spools / SERVER)
    # Not in the same pull that brings them: what is removed was in the ledger when the server listed it.
    assert run_pull(fleet, SERVER, remove_before=SOON)[0] == PullResult(6, 0, [], [])
    assert spool_files(spools / SERVER) == before
    result, lines = run_pull(fleet, SERVER, remove_before=SOON)
    assert result == PullResult(0, 4, [], [])
    assert lines == [f"{SERVER}: 0 new files, 4 removed from its spool"]
    assert spool_files(spools / SERVER) == before[4:]
    assert len(ledger_files(fleet)) == 6


def test_a_run_of_which_one_file_differs_stays_whole(fleet: Fleet, spools: Path) -> None:
    samples, users = spool_day(spools / SERVER, 1)
    run_pull(fleet)
    samples.write_text(samples.read_text().replace("acme", "beta"))
    result, _ = run_pull(fleet, remove_before=SOON)
    assert result.removed == 0
    assert users.exists()
    assert samples.exists()


def test_a_file_that_cannot_be_removed_is_told(fleet: Fleet, spools: Path) -> None:
    spool_day(spools / SERVER, 1)
    run_pull(fleet)
    behave(spools, 'case "$*" in *"rm -f"*) echo "rm: read-only" >&2; exit 1;; esac')
    result, lines = run_pull(fleet, SERVER, remove_before=SOON)
    assert (result.removed, result.unreachable) == (0, [SERVER])
    assert "rm: read-only" in lines[0]


def test_a_server_that_does_not_answer_is_reported_by_the_real_ssh(fleet: Fleet) -> None:
    """The fleet's ssh_config leads to a port where nothing listens."""
    result, lines = run_pull(fleet, SERVER)
    assert (result.new_files, result.unreachable) == (0, [SERVER])
    assert "did not answer" in lines[0]
    assert "Connection refused" in lines[0]


def test_a_damaged_list_of_a_compacted_month_stops_before_anything_is_fetched(fleet: Fleet, spools: Path) -> None:
    spool_day(spools / SERVER, 1)
    month = fleet.ledger / "2026/2026-02.1"
    month.mkdir(parents=True)
    (month / "folded.sha256").write_text("no list")
    with pytest.raises(ChillError, match="the list of a compacted month's files cannot be read"):
        run_pull(fleet, SERVER)
    assert ledger_files(fleet) == {}


def test_a_server_that_is_not_in_the_fleet_is_a_wrong_request(fleet: Fleet) -> None:
    with pytest.raises(RequestError, match=r"srv9"):
        run_pull(fleet, "srv9")
    assert ledger_files(fleet) == {}
