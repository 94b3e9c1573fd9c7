"""Locks: lock status, lock release."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from provision.cli.options import fleet_option, json_option, load, output, say
from provision.completion import complete_server, complete_slug_or_server
from provision.errors import RequestError


@click.group()
def lock() -> None:
    """Who is at work on an instance or a server.

    Commands take locks by themselves; two of them never change the same at once.

    Example: chill-provision lock status
    """


@lock.command(short_help="Show who is at work, since when, what for.")
@click.argument("servers", metavar="[SERVER]…", nargs=-1, shell_complete=complete_server)
@fleet_option
@json_option
def status(servers: tuple[str, ...], fleet: Path | None, as_json: bool) -> None:
    """Show the locks of SERVERS (default: all): who holds them, since when, what for, and whether they are stale.

    Example: chill-provision lock status
    """
    from provision.listing import locks_table
    from provision.locks import locks

    loaded = load(fleet)
    chosen = [loaded.server(name) for name in servers] or list(loaded.servers.values())
    found = [one for server in chosen for one in locks(loaded, server)]
    if not found and not as_json:
        say("Nobody is at work.")
        return
    output(locks_table(found), [asdict(one) | {"stale": one.stale} for one in found], as_json)


@lock.command(short_help="Take away a lock that was given up.")
@click.argument("name", metavar="SLUG|SERVER", shell_complete=complete_slug_or_server)
@fleet_option
def release(name: str, fleet: Path | None) -> None:
    """Take away the lock of an instance or of a server. Only when its holder is surely gone.

    A stale lock of a command on this machine needs it not: the next command takes it over.

    Example: chill-provision lock release acme
    """
    from provision import locks

    loaded = load(fleet)
    if name in loaded.servers:
        servers, wanted = [loaded.server(name)], locks.WHOLE_SERVER
    else:
        # A creation that was cut off early may hold a lock of a slug that the fleet does not have yet.
        servers, wanted = list(loaded.servers.values()), name
    found = [(server, one) for server in servers for one in locks.locks(loaded, server) if one.name == wanted]
    if not found:
        raise RequestError(
            f"SLUG|SERVER: nothing is locked by the name {name}", "chill-provision lock status shows what is"
        )
    for server, one in found:
        locks.release(loaded, server, [one])
        say(f"released: {one}")
