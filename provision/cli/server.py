"""Servers: server prepare."""

from __future__ import annotations

from pathlib import Path

import click

from provision.cli.options import fleet_option, json_option, load, messages, print_hosts
from provision.completion import complete_server


@click.group()
def server() -> None:
    """Servers of the fleet.

    Example: chill-provision server prepare srv1.example.net
    """


@server.command(short_help="Install what environments need.")
@click.argument("names", metavar="NAME…", nargs=-1, required=True, shell_complete=complete_server)
@fleet_option
@json_option
def prepare(names: tuple[str, ...], fleet: Path | None, as_json: bool) -> None:
    """Install and configure what environments need on servers. What is there already is left as it is.

    Example: chill-provision server prepare srv1.example.net
    """
    from provision.apply import prepare_servers
    from provision.progress import progress_for

    result = prepare_servers(load(fleet), names, progress_for(messages()))
    print_hosts(result.hosts, as_json)
