"""The n of "step i of n": agrees with what Ansible itself lists."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from provision.playbooks import count_tasks, playbooks_directory

PLAYBOOK = """\
- name: Servers
  hosts: all
  gather_facts: false
  pre_tasks:
    - name: First
      ansible.builtin.ping:
  roles: [web, {role: mail}]
  tasks:
    - name: Block
      block:
        - name: In a block
          ansible.builtin.ping:
        - name: Bring in a file
          ansible.builtin.import_tasks: more.yml
    - name: Bring in a role
      ansible.builtin.import_role: {name: web, tasks_from: extra.yml}
- name: More
  hosts: all
  gather_facts: false
  tasks:
    - name: Last
      ansible.builtin.ping:
"""
PING = "- name: One\n  ansible.builtin.ping:\n"


@pytest.fixture
def playbook(tmp_path: Path) -> Path:
    for role in ("web", "mail"):
        (tmp_path / "roles" / role / "tasks").mkdir(parents=True)
        (tmp_path / "roles" / role / "tasks/main.yml").write_text(PING)
    (tmp_path / "roles/web/tasks/extra.yml").write_text(PING * 2)
    (tmp_path / "more.yml").write_text(PING * 3)
    (tmp_path / "site.yml").write_text(PLAYBOOK)
    return tmp_path / "site.yml"


def listed_by_ansible(playbook: Path) -> int:
    command = [
        Path(sys.executable).with_name("ansible-playbook"),
        "-i",
        "localhost,",
        "--list-tasks",
        playbook,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return sum("TAGS:" in line and "play #" not in line for line in done.stdout.splitlines())


def test_it_agrees_with_ansible(playbook: Path) -> None:
    # First, one of each role, in a block, three of the file, two of the role, last; to import is no task.
    assert listed_by_ansible(playbook) == 10
    assert count_tasks(playbook) == 10


def test_files_that_cannot_be_read_count_for_nothing(playbook: Path) -> None:
    (playbook.parent / "more.yml").unlink()
    (playbook.parent / "roles/mail/tasks/main.yml").write_text("- [\n")
    assert count_tasks(playbook) == 6
    assert count_tasks(playbook.parent / "none.yml") == 0


def test_the_playbooks_are_found_from_any_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert playbooks_directory().name == "playbooks"
