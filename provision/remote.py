"""Runs a small script on a server over SSH, as the playbooks would log in. For questions, and for locks."""

from __future__ import annotations

import subprocess

from provision.errors import ChillError
from provision.fleet import Fleet, Server
from provision.ssh import ssh_options

ANSWER_SECONDS = 60


def ask(fleet: Fleet, server: Server, script: str) -> str:
    """What a script for `sh` printed on a server. ChillError when it could not be run, or did not end well."""
    # One that Ansible reaches by another way than SSH is this machine itself.
    local = server.variables.get("ansible_connection") == "local"
    command = ["sh", "-s"] if local else ["ssh", *ssh_options(fleet, server), server.address, "sh", "-s"]
    try:
        done = subprocess.run(
            command, input=script, capture_output=True, text=True, errors="replace", timeout=ANSWER_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise ChillError(
            f"{server.name}: gave no answer within {ANSWER_SECONDS} seconds", "nothing was changed"
        ) from None
    except OSError as error:
        raise ChillError(f"{server.name}: ssh cannot be run: {error}", "apt-get install openssh-client") from error
    if done.returncode != 0:
        reason = " ".join(done.stderr.split()) or f"status {done.returncode}"
        raise ChillError(f"{server.name}: {reason}", f"see whether it answers: ssh {server.address}")
    return done.stdout
