"""Real playbook runs on this machine: results, reasons of failure, and secrets in no file but their own."""

from __future__ import annotations

import base64
import io
import os
import signal
import stat
import subprocess
import sys
import time
import zipfile
from contextlib import suppress
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from ansible.executor.module_common import _CachedModule
from rich.console import Console

from provision.ansible import (
    PRIVATE_PREFIX,
    Run,
    RunResult,
    private_directory,
    run_playbook,
    runner_arguments,
)
from provision.errors import ChillError
from provision.progress import PlainProgress, progress_for
from provision.secrets import Secret

CANARY = "canary-k7vm-2xqe-9wuz"
INVENTORY = """\
all:
  hosts: {a.example: {}, b.example: {}}
  vars: {ansible_connection: local, ansible_python_interpreter: "%s"}
"""
PLAY = "- hosts: all\n  gather_facts: false\n  tasks:\n"
ONE_TASK = PLAY + "    - name: Say hello\n      ansible.builtin.ping:\n"


class Project:
    """A playbook and an inventory of two hosts, which are both this machine."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "journal/runs/run.log"
        self.lines: list[str] = []
        (directory / "inventory").mkdir()
        (directory / "inventory/hosts.yml").write_text(INVENTORY % sys.executable)

    def run(self, playbook: str, **variables: object) -> RunResult:
        return run_playbook(self.describe(playbook, **variables), self.progress)

    def describe(self, playbook: str, **variables: object) -> Run:
        path = self.directory / "site.yml"
        path.write_text(playbook)
        return Run(
            playbook=path,
            inventory=self.directory / "inventory",
            limit=["all"],
            hosts=["a.example", "b.example"],
            log=self.log,
            variables=variables,
        )

    def progress(self, hosts: object, total: int) -> PlainProgress:
        return PlainProgress(("a.example", "b.example"), total, self.lines.append)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_counts_per_host_and_a_line_per_task(project: Project) -> None:
    tasks = """\
    - name: Leave a file
      ansible.builtin.copy: {content: "x", dest: "%s/{{ inventory_hostname }}", mode: "0600"}
    - name: Ask nothing
      ansible.builtin.ping:
      when: inventory_hostname == 'a.example'
"""
    playbook = PLAY + tasks % project.directory
    first, second = project.run(playbook), project.run(playbook)
    assert first.succeeded
    assert str(first.hosts["a.example"]) == "ok=2 changed=1 failed=0"
    assert str(first.hosts["b.example"]) == "ok=1 changed=1 failed=0"
    assert second.succeeded
    assert [host.changed for host in second.hosts.values()] == [0, 0]
    assert project.lines[:2] == ["[1/2] Leave a file", "[2/2] Ask nothing"]
    log = project.log.read_text()
    assert "a.example: changed: Leave a file" in log
    assert "b.example: skipped: Ask nothing" in log


def test_the_check_of_a_role_s_arguments_is_a_step_too(project: Project) -> None:
    for name, text in (
        ("meta/argument_specs.yml", "argument_specs: {main: {short_description: Nothing, options: {}}}\n"),
        ("tasks/main.yml", "- name: Say hello\n  ansible.builtin.ping:\n"),
    ):
        path = project.directory / "roles/web" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    assert project.run("- hosts: all\n  gather_facts: false\n  roles: [web]\n").succeeded
    assert project.lines == ["[1/2] Check the settings of the role web", "[2/2] Say hello"]


def test_a_failure_names_host_task_and_reason(project: Project) -> None:
    playbook = (
        PLAY
        + """\
    - name: Look for what is not there
      ansible.builtin.command: ls /nonexistent/place
      when: inventory_hostname == 'b.example'
"""
    )
    result = project.run(playbook)
    assert not result.succeeded
    (failure,) = result.failures
    assert (failure.host, failure.task, failure.unreachable) == (
        "b.example",
        "Look for what is not there",
        False,
    )
    assert "cannot access '/nonexistent/place'" in failure.reason
    assert "\n" not in failure.reason
    assert failure.reason in project.log.read_text()
    assert "b.example: failed" in project.lines


def test_a_failed_item_of_a_loop_is_named(project: Project) -> None:
    playbook = (
        PLAY
        + """\
    - name: Look at several
      ansible.builtin.command: "ls {{ item }}"
      loop: [/, /nonexistent/place]
"""
    )
    assert "/nonexistent/place: " in project.run(playbook).failures[0].reason


def test_failures_that_were_ignored_or_mended_are_none(project: Project) -> None:
    playbook = (
        PLAY
        + """\
    - name: Fail and go on
      ansible.builtin.command: "false"
      ignore_errors: true
    - name: Try
      block:
        - name: Fail
          ansible.builtin.command: "false"
      rescue:
        - name: Mend
          ansible.builtin.ping:
"""
    )
    result = project.run(playbook)
    assert result.succeeded
    assert not result.failures
    assert "a.example: ok: Fail and go on" in project.log.read_text()


def test_a_host_that_cannot_be_reached(project: Project) -> None:
    inventory = project.directory / "inventory/hosts.yml"
    inventory.write_text("all: {hosts: {a.example: {ansible_host: 127.0.0.1, ansible_port: 1}}}\n")
    result = project.run(ONE_TASK)
    assert not result.succeeded
    (failure,) = result.failures
    assert failure.unreachable
    assert result.hosts["a.example"].unreachable
    assert "Connection refused" in failure.reason


@pytest.mark.parametrize(
    "playbook,said",
    [("- hosts: all\n  tasks: [\n", "site.yml"), ("- hosts: nobody\n  tasks: []\n", "ignoring: nobody")],
)
def test_a_playbook_that_does_not_run_is_an_error_with_its_reason(project: Project, playbook: str, said: str) -> None:
    with pytest.raises(ChillError) as caught:
        project.run(playbook)
    assert caught.value.status == 1
    assert said in caught.value.message
    assert str(project.log) in caught.value.hint


def test_the_user_s_own_settings_of_ansible_do_not_reach_a_run(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log = tmp_path / "ansible.log"
    monkeypatch.setenv("ANSIBLE_LOG_PATH", str(log))
    monkeypatch.setenv("ANSIBLE_DISPLAY_ARGS_TO_STDOUT", "True")
    monkeypatch.setenv("ANSIBLE_HOST_KEY_CHECKING", "False")
    monkeypatch.setenv("ANSIBLE_CONFIG", "/nonexistent/ansible.cfg")
    playbook = (
        PLAY
        + """\
    - name: Show the settings
      ansible.builtin.command: env
      register: seen
    - name: Compare
      ansible.builtin.assert:
        that: "'ANSIBLE_HOST_KEY_CHECKING=True' in seen.stdout"
"""
    )
    assert project.run(playbook).succeeded
    assert not log.exists()


SECRET_PLAY = (
    PLAY
    + """\
    - name: Print a secret by mistake
      ansible.builtin.debug: {msg: "{{ initial_passwords['a.example'].admin }}"}
    - name: Use it where it belongs
      ansible.builtin.copy:
        content: "{{ initial_passwords['a.example'].admin }}"
        dest: "%s"
        mode: "0600"
      no_log: true
    - name: Fail with it by mistake
      ansible.builtin.command: "ls /{{ initial_passwords['a.example'].admin }}"
    - name: Never come here
      ansible.builtin.ping:
"""
)


def test_a_secret_is_in_no_file_but_its_own(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TMPDIR", str(temporary))
    place = tmp_path / "place"
    result = project.run(SECRET_PLAY % place, initial_passwords={"a.example": {"admin": Secret(CANARY)}})
    assert place.read_text() == CANARY
    assert not result.succeeded
    # The task that failed had the secret in its message: it is blotted out there.
    assert all("•••" in failure.reason and CANARY not in failure.reason for failure in result.failures)
    holders = [path for path in files_of(tmp_path, Path("/dev/shm"), Path("/run/user")) if holds(path, CANARY)]
    assert holders == [place]
    assert not any(CANARY in line for line in project.lines)
    assert CANARY not in repr(result)


def files_of(*directories: Path) -> list[Path]:
    return [path for directory in directories for path in directory.rglob("*") if path.is_file()]


def holds(path: Path, text: str) -> bool:
    try:
        return text.encode() in path.read_bytes()
    except OSError:
        return False


def test_secrets_are_on_no_command_line_and_in_no_environment(project: Project) -> None:
    with private_directory() as private:
        run = project.describe(ONE_TASK, initial_passwords={"a.example": {"admin": Secret(CANARY)}})
        arguments = runner_arguments(run, private)
        assert CANARY not in repr(arguments)
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        file = private / "secrets.json"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert CANARY in file.read_text()
        assert arguments["cmdline"] == f"-e @{file}"
    assert not private.exists()


def test_the_file_of_secrets_is_gone_while_the_run_goes_on(project: Project) -> None:
    """A run that is killed leaves none."""
    seen = project.directory / "seen"
    task = f"""\
    - name: Look into the private directory
      ansible.builtin.shell: ls "$(dirname "$ANSIBLE_HOME")" > {seen}
    - name: Use a secret, later
      ansible.builtin.copy: {{content: "{{{{ word }}}}", dest: "{project.directory}/place"}}
"""

    result = project.run(PLAY + task, word=Secret(CANARY))

    assert result.succeeded
    assert "secrets.json" not in seen.read_text()
    assert "home" in seen.read_text()
    assert (project.directory / "place").read_text() == CANARY


def test_packed_modules_are_kept_from_run_to_run_and_hold_no_argument(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    playbook = ONE_TASK + "        data: '{{ word }}'\n"
    assert project.run(playbook, word=Secret(CANARY)).succeeded
    kept = {
        path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*ping*ZIP*") if path.suffix != ".lock"
    }
    assert len(kept) == 1

    assert project.run(playbook, word=Secret(CANARY)).succeeded

    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    for path in kept:
        packed = zipfile.ZipFile(io.BytesIO(base64.b64decode(_CachedModule.load(str(path)).zip_data)))
        assert CANARY.encode() not in b"".join(packed.read(name) for name in packed.namelist()) + path.read_bytes()


def test_nothing_is_left_behind_in_memory_by_this_run_or_by_killed_ones(project: Project) -> None:
    with private_directory() as private:
        parent = private.parent
    gone = subprocess.Popen(["true"])
    gone.wait()
    abandoned = parent / f"{PRIVATE_PREFIX}{gone.pid}-x"
    abandoned.mkdir()
    project.run(ONE_TASK)
    assert not abandoned.exists()
    assert not list(parent.glob(f"{PRIVATE_PREFIX}{os.getpid()}-*"))


def test_ctrl_c_stops_a_run_and_says_so(project: Project) -> None:
    signalled = (
        PLAY
        + """\
    - name: Press Ctrl-C
      ansible.builtin.command: kill -INT %d
      run_once: true
    - name: Wait for the end
      ansible.builtin.command: sleep 60
"""
    )
    before = signal.getsignal(signal.SIGINT)
    result = project.run(signalled % os.getpid())
    assert result.interrupted
    assert not result.succeeded
    assert result.seconds < 30
    assert signal.getsignal(signal.SIGINT) is before


def test_on_a_terminal_each_host_has_its_line(project: Project) -> None:
    console = Console(force_terminal=True, width=100, record=True, file=StringIO())
    with progress_for(console)(["a.example", "b.example"], 3) as shown:
        shown.task_started("a.example", "Create the database")
        shown.task_ended("a.example", "changed")
        shown.task_started("b.example", "Create the user")
        shown.task_ended("b.example", "failed")
    text = console.export_text()
    assert "a.example" in text
    assert "1/3" in text
    assert "failed: Create the user" in text


def test_a_check_tells_the_difference_and_changes_nothing(project: Project) -> None:
    target = project.directory / "a.example.txt"
    target.write_text("one\ntwo\n")
    tasks = """\
    - name: Correct the file
      ansible.builtin.copy: {content: "one\\nthree\\n", dest: "%s/a.example.txt"}
      when: inventory_hostname == "a.example"
    - name: Correct what is secret
      ansible.builtin.copy: {content: "{{ word }}", dest: "%s/{{ inventory_hostname }}.key"}
      diff: false
    - name: Correct what is hidden
      ansible.builtin.copy: {content: "{{ word }}", dest: "%s/{{ inventory_hostname }}.hidden"}
      no_log: true
    - name: Leave what is hidden
      ansible.builtin.file: {path: "%s", state: directory}
      no_log: true
"""
    run = project.describe(PLAY + tasks % ((project.directory,) * 4), word=Secret(CANARY))

    result = run_playbook(replace(run, check=True), project.progress)

    assert result.succeeded
    assert target.read_text() == "one\ntwo\n"
    assert not (project.directory / "b.example.key").exists()
    found = {(difference.host, difference.task): difference.text for difference in result.differences}
    assert set(found) == {
        ("a.example", "Correct the file"),
        ("a.example", "Correct what is secret"),
        ("b.example", "Correct what is secret"),
        ("a.example", "Correct what is hidden"),
        ("b.example", "Correct what is hidden"),
    }
    assert {"-two", "+three"} <= set(found["a.example", "Correct the file"].splitlines())
    assert CANARY not in str(found)


def test_a_killed_run_takes_ansible_playbook_with_it(project: Project) -> None:
    """Else a second run would meet the first on the server."""
    described = project.describe(
        PLAY + f"    - ansible.builtin.shell: 'echo $PPID > {project.directory}/begun; sleep 600'\n"
    )
    pid = os.fork()
    if pid == 0:
        run_playbook(described, project.progress)
        os._exit(0)
    begun = project.directory / "begun"
    ended = time.monotonic() + 60
    while not (begun.exists() and begun.read_text()) and time.monotonic() < ended:
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

    while left := _running(str(described.playbook)):
        assert time.monotonic() < ended, left
        time.sleep(0.05)


def _running(argument: str) -> list[str]:
    """The command lines of processes that live and have this argument."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes().decode(errors="replace").split("\0")
            if argument in words:
                found.append(" ".join(words))
    return found
