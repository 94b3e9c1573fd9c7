"""Runs the playbooks as an adminsys with plain Ansible would, and chill-provision; tells what came of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
PLAYBOOKS = PROJECT / "playbooks"
_COUNTS = re.compile(r"^(\S+) +: ok=\d+ +changed=(\d+) +unreachable=\d+ +failed=(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What ansible-playbook said, and how many tasks changed or failed something, by host."""

    output: str
    changed: dict[str, int]
    failed: dict[str, int]


def play(fleet: Path, playbook: str, *arguments: str) -> Outcome:
    """Run `playbook` (`server` or `environment`) on a fleet directory."""
    command = [str(Path(sys.executable).with_name("ansible-playbook")), str(PLAYBOOKS / f"{playbook}.yml")]
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(PLAYBOOKS / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "PYTHONPATH": str(PROJECT),
    }
    done = subprocess.run(
        [*command, "-i", str(fleet / "inventory"), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    counts = _COUNTS.findall(done.stdout)
    return Outcome(
        done.stdout,
        {host: int(changed) for host, changed, _ in counts},
        {host: int(failed) for host, _, failed in counts},
    )


@dataclass(frozen=True, slots=True)
class Told:
    """What chill-provision said, and its exit status."""

    status: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        return json.loads(self.stdout)


def provision(fleet: Path, *arguments: str) -> Told:
    """Run chill-provision on a fleet directory."""
    command = [sys.executable, "-m", "provision.cli", *arguments, "--fleet", str(fleet)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return Told(done.returncode, done.stdout, done.stderr)
