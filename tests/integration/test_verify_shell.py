"""The session through which the checks ask a server: a real one, over ssh."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.verify.shell import ShellBackend
from tests.integration.ssh_server import SshServer, ssh_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with ssh_server(tmp_path_factory.mktemp("ssh")) as running:
        (running.home / "config").write_text(running.client_config)
        yield running


@pytest.fixture
def shell(server: SshServer) -> Iterator[ShellBackend]:
    backend = ShellBackend("127.0.0.1", ("-F", str(server.home / "config"), "-l", server.user), sudo=False)
    yield backend
    backend.close()


def test_output_errors_and_status_come_apart(shell: ShellBackend) -> None:
    answer = shell.run("echo %s; echo %s >&2; exit 3", "a b", "c'd")

    assert (answer.rc, answer.stdout, answer.stderr) == (3, "a b\n", "c'd\n")


def test_what_a_command_does_to_its_shell_does_not_reach_the_next(shell: ShellBackend) -> None:
    shell.run("cd /tmp; umask 077; exec >/dev/null; exit 0")

    assert shell.run("cat").stdout == ""
    assert shell.run("pwd").stdout != "/tmp\n"


def test_much_on_both_streams_comes_whole(shell: ShellBackend) -> None:
    answer = shell.run("head -c 3000000 /dev/zero | tr '\\0' o; head -c 3000000 /dev/zero | tr '\\0' e >&2")

    assert (answer.stdout, answer.stderr) == ("o" * 3_000_000, "e" * 3_000_000)


def test_a_session_that_ends_is_told_with_what_it_said(shell: ShellBackend) -> None:
    with pytest.raises(RuntimeError) as ended:
        shell.run("echo going >&2; kill -9 $PPID")

    assert "going" in ended.value.args[0].stderr


def test_a_session_that_was_lost_once_is_begun_again(shell: ShellBackend, tmp_path: Path) -> None:
    lost = tmp_path / "lost"

    answer = shell.run("test -e %s || { touch %s; kill -9 $PPID; }; echo here", str(lost), str(lost))

    assert lost.exists()
    assert answer.stdout == "here\n"


def test_a_server_that_does_not_answer_is_told_in_ssh_s_words(server: SshServer) -> None:
    options = ("-F", str(server.home / "config"), "-o", "Port=1", "-o", "BatchMode=yes")
    backend = ShellBackend("127.0.0.1", options, sudo=False)
    try:
        with pytest.raises(RuntimeError) as refused:
            backend.run("true")
    finally:
        backend.close()
    assert "refused" in refused.value.args[0].stderr
