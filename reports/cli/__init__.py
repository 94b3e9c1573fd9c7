"""chill-report: parses arguments, calls one function, prints. One file per family of commands.

Papers and amounts go to stdout, all that is said to stderr.
"""

from __future__ import annotations

import click

from provision.console import Commands
from reports.cli.annual import annual
from reports.cli.closing import audit, close, corrections
from reports.cli.opening import opening
from reports.cli.previews import compare, preview
from reports.cli.trace import trace


@click.group(cls=Commands)
@click.version_option(package_name="petits-chills")
def main() -> None:
    """Turn a year of counts into the papers that accounting needs."""


for _command in (annual, opening, preview, compare, close, audit, corrections, trace):
    main.add_command(_command)
