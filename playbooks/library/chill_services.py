#!/usr/bin/python3
"""Ansible module: do the follow-ups that wait, then see that units are enabled and active."""

from __future__ import annotations

import fcntl
import os
import shlex
import socket
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: chill_services
short_description: Reloads that wait, units that must run
description:
  - Does the follow-ups that M(chill_files) left in O(pending), in the order of O(follow_ups), and removes
    each once it succeeded.
  - Then enables and starts O(units) where they are not, and disables and stops those of O(stopped).
  - A lock keeps two environments of one server from reloading the same service at the same instant.
options:
  pending: {type: path, required: true, description: directory of follow-ups that wait}
  follow_ups:
    description: what each name means; names that are not listed here are left for a later call
    type: list
    elements: dict
    default: []
    suboptions:
      name: {type: str, required: true}
      commands: {type: list, elements: str, required: true, description: without a shell}
  units: {type: list, elements: str, default: [], description: systemd units to enable and start}
  stopped: {type: list, elements: str, default: [], description: systemd units to disable and stop, if they exist}
  sockets: {type: list, elements: path, default: [], description: Unix sockets that must answer in the end}
"""

RETURN = """
done: {description: follow-ups and units that were seen to, type: list, returned: always}
"""

LOCK = "/run/lock/chill-services"
PATIENCE_SECONDS = 15.0


def command(module: AnsibleModule, text: str) -> None:
    """Run one command; the last lines of its output are the reason when it fails."""
    code, output, errors = module.run_command(shlex.split(text))
    if code != 0:
        reason = " ".join((errors or output).strip().splitlines()[-3:])
        module.fail_json(msg=f"{text} failed: {reason or f'exit status {code}'}")


def follow_up(module: AnsibleModule) -> list[str]:
    """Do what waits; the names that were done."""
    pending = Path(module.params["pending"])
    done = []
    for step in module.params["follow_ups"]:
        marker = pending / step["name"]
        if not marker.exists():
            continue
        done.append(step["name"])
        if module.check_mode:
            continue
        for text in step["commands"]:
            command(module, text)
        marker.unlink()
    return done


def properties_of(module: AnsibleModule, units: list[str]) -> dict[str, dict[str, str]]:
    """What systemd says of units, by name."""
    arguments = ["systemctl", "show", "--property=Id,LoadState,UnitFileState,ActiveState", *units]
    _, output, _ = module.run_command(arguments, check_rc=True)
    found: dict[str, dict[str, str]] = {}
    for block in output.strip().split("\n\n"):
        properties = dict(line.split("=", 1) for line in block.splitlines())
        found[properties["Id"]] = properties
    return found


def idle_units(module: AnsibleModule) -> list[str]:
    """The units that are not both enabled and active."""
    units = module.params["units"]
    if not units:
        return []
    fit = {
        name
        for name, properties in properties_of(module, units).items()
        if properties["UnitFileState"] == "enabled" and properties["ActiveState"] == "active"
    }
    return [unit for unit in units if unit not in fit]


def busy_units(module: AnsibleModule) -> list[str]:
    """Of the units that must not run, those that exist and do, or would at the next start."""
    units = module.params["stopped"]
    if not units:
        return []
    return [
        name
        for name, properties in properties_of(module, units).items()
        if properties["LoadState"] == "loaded"
        and (properties["UnitFileState"] == "enabled" or properties["ActiveState"] not in ("inactive", "failed"))
    ]


def wait_for(module: AnsibleModule, path: str) -> None:
    """Wait until a Unix socket accepts a connection: a service that reloads opens it a moment later."""
    limit = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)
        except OSError as error:
            if time.monotonic() > limit:
                module.fail_json(msg=f"nothing answers on {path}: {error.strerror}")
            time.sleep(0.05)
        else:
            return


def main() -> None:
    step: dict[str, Any] = {
        "name": {"type": "str", "required": True},
        "commands": {"type": "list", "elements": "str", "required": True},
    }
    module = AnsibleModule(
        argument_spec={
            "pending": {"type": "path", "required": True},
            "follow_ups": {"type": "list", "elements": "dict", "default": [], "options": step},
            "units": {"type": "list", "elements": "str", "default": []},
            "stopped": {"type": "list", "elements": "str", "default": []},
            "sockets": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    with os.fdopen(os.open(LOCK, os.O_RDWR | os.O_CREAT, 0o600)) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = follow_up(module)
        idle = idle_units(module)
        if idle and not module.check_mode:
            command(module, shlex.join(["systemctl", "enable", "--now", *idle]))
            still = idle_units(module)
            if still:
                names = ", ".join(still)
                module.fail_json(msg=f"{names} does not stay up: journalctl -u {still[0]} says why")
        busy = busy_units(module)
        if busy and not module.check_mode:
            command(module, shlex.join(["systemctl", "disable", "--now", *busy]))
    if not module.check_mode:
        for path in module.params["sockets"]:
            wait_for(module, path)
    module.exit_json(changed=bool(done or idle or busy), done=done + idle + busy)


if __name__ == "__main__":
    main()
