"""What a shell offers after a tab, and that it does not wait for more than it needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from provision.cli import main
from tests.unit.provision.fleets import add_instance, make_fleet


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = make_fleet(tmp_path / "fleet")
    for slug in ("acme", "belle-rive"):
        add_instance(directory, slug)
    monkeypatch.setenv("CHILL_FLEET", str(directory))
    return directory


def offered(*words: str, incomplete: str = "") -> list[str]:
    completion = ShellComplete(main, {}, "chill-provision", "_CHILL_PROVISION_COMPLETE")
    return [item.value for item in completion.get_completions(list(words), incomplete)]


@pytest.mark.parametrize("command", ["show", "create", "apply", "verify", "suspend", "archive", "resume"])
def test_slugs(fleet: Path, command: str) -> None:
    assert offered(command) == ["acme", "belle-rive"]
    assert offered(command, incomplete="b") == ["belle-rive"]


def test_slugs_of_the_commands_below(fleet: Path) -> None:
    assert offered("graph", "set") == offered("credentials", "rotate") == ["acme", "belle-rive"]


def test_servers_and_what_may_stand_in_their_place(fleet: Path) -> None:
    servers = ["srv1.example.net", "srv2.example.net"]

    assert offered("server", "prepare") == offered("create", "x", "--test-server") == servers
    assert offered("create", "x", "--server") == [*servers, "auto"]
    assert offered("lock", "release") == ["acme", "belle-rive", *servers]


def test_the_fleet_that_was_named_before(fleet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHILL_FLEET")

    assert offered("show", "--fleet", str(fleet)) == ["acme", "belle-rive"]


@pytest.mark.parametrize("text", ["", "servers: [", "servers: {hosts: [1, {}]}", "servers:\n", "\x80"])
def test_a_file_that_is_wrong_offers_nothing_and_says_nothing(
    fleet: Path, text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (fleet / "inventory/servers.yml").write_bytes(text.encode("latin-1"))

    assert not [name for name in offered("server", "prepare") if "srv" in name]
    assert capfd.readouterr() == ("", "")


def test_neither_help_nor_completion_waits_for_what_reads_a_fleet() -> None:
    """They take a tenth of a second; these libraries would take four."""
    heavy = ["pydantic", "rich", "ruamel", "ansible_runner", "gnupg", "importlib.metadata"]
    program = f"import sys, provision.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
