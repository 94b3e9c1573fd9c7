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


def _show_version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked:
        from provision.journal import toolkit_version

        click.echo(f"chill-provision, version {toolkit_version()}")
        ctx.exit()


@click.group(cls=Commands)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def main() -> None:
    """Make and keep the environments of hosted Chill instances.

    A fleet is a directory of plain files: settings, inventory, price lists, ledger, journal. Commands find it by
    --fleet DIR, else $CHILL_FLEET, else the current directory.

    \b
    Begin with:
      chill-provision init DIR
      chill-provision server prepare SERVER
      chill-provision create SLUG --plan …

    \b
    Exit status:
      0  done
      1  failed
      2  the request or a file was wrong; nothing was changed
      3  done in part: the message says what is missing

    \b
    Completion by tab, in bash, zsh (zsh_source) and fish:
      eval "$(_CHILL_PROVISION_COMPLETE=bash_source chill-provision)"
      _CHILL_PROVISION_COMPLETE=fish_source chill-provision | source
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
