"""How a server is reached by ssh: one answer for preflight, verification and the fetching of samples. Pure.

It is what the playbooks do: the fleet's own configuration, then the inventory's connection variables, and root where no
user is named. Nothing ever asks: neither for a password nor about an unknown host key.
"""

from __future__ import annotations

import shlex

from provision.fleet import Fleet, Server

CONNECT_SECONDS = 10
_OPTIONS = (("ansible_port", "-p"), ("ansible_ssh_private_key_file", "-i"))


def ssh_user(server: Server) -> str:
    """Who logs in."""
    return str(server.variables.get("ansible_user", "root"))


def ssh_options(fleet: Fleet, server: Server) -> tuple[str, ...]:
    """The options of ssh that precede the server's address."""
    options = ["-F", str(fleet.ssh_config)] if fleet.ssh_config else []
    options += ["-l", ssh_user(server)]
    for variable, option in _OPTIONS:
        if variable in server.variables:
            options += [option, str(server.variables[variable])]
    options += shlex.split(str(server.variables.get("ansible_ssh_common_args", "")))
    return (*options, "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_SECONDS}")
