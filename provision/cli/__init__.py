"""chill-provision: parses arguments, calls one function, prints. One file per family of commands.

Data goes to stdout, all that is said to stderr.
"""

from __future__ import annotations

import click

from provision.cli.create import create
from provision.cli.credentials import credentials
from provision.cli.environments import apply, verify
from provision.cli.fleet import init, list_instances, show
from provision.cli.graph import graph
from provision.cli.lifecycle import archive, resume, suspend
from provision.cli.lock import lock
from provision.cli.server import server
from provision.console import Commands
from provision.journal import toolkit_version


@click.group(cls=Commands)
@click.version_option(toolkit_version(), prog_name="chill-provision")
def main() -> None:
    """Make and keep the environments of hosted Chill instances.

    A fleet is a directory of plain files: settings, inventory, price lists, ledger, journal.

    Begin with: chill-provision init DIR
    """


for _command in (
    init,
    server,
    create,
    apply,
    verify,
    list_instances,
    show,
    credentials,
    graph,
    suspend,
    resume,
    archive,
    lock,
):
    main.add_command(_command)
