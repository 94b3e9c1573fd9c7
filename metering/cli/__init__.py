"""chill-meter: counts what instances use, on their servers, and gathers it on the control machine.

`server.py` holds what runs on servers, `ledger.py` what runs on the control machine; what the latter need is
imported inside the commands, so that servers do without it.
"""

from __future__ import annotations

import click

from metering.cli.checking import check
from metering.cli.compaction import compact
from metering.cli.explain import explain
from metering.cli.imports import import_
from metering.cli.ledger import pull, quota, record, status
from metering.cli.server import collect, forget
from metering.server.errors import MeterError
from provision.console import Commands
from provision.errors import ChillError


class MeterCommands(Commands):
    """The errors of the server's side end a command as those of the control machine do."""

    expected = (ChillError, MeterError)


@click.group(cls=MeterCommands)
def main() -> None:
    """Count what instances use.

    On a server: collect, every night; explain; forget. On the control machine: pull, import, record, status, quota,
    check, compact, forget.
    """


for _command in (check, collect, compact, explain, forget, import_, pull, quota, record, status):
    main.add_command(_command)
