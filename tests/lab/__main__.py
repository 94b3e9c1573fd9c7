"""The lab at the terminal: `python3 -m tests.lab --help`. Machines made here stay until they are removed."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from tests.lab import host, image, lab, state
from tests.lab.errors import LabError
from tests.lab.machine import Machine

_EXAMPLES = """\
examples:
  python3 -m tests.lab up srv1 srv2 --image stocked
  python3 -m tests.lab ssh srv1 systemctl --failed
  python3 -m tests.lab down
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit status: 0 done, 1 failed, 2 the request was wrong."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        state.check_names(options.scope)
        host.complete_path()
        if command is not _list:
            host.require_root()
        return command(options)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        print("lab: interrupted; see what stands: python3 -m tests.lab list", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m tests.lab",
        description="Real Debian machines on this machine, by name.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--scope", default="lab", help="the set of machines that names belong to (default: lab)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = _command(commands, "up", _up, "boot machines, made first if need be (default: srv1)")
    up.add_argument("names", nargs="*", metavar="NAME")
    up.add_argument("--image", default="stocked", choices=["bare", "stocked"], help="default: %(default)s")
    down = _command(commands, "down", _down, "remove machines (default: all of the scope)")
    down.add_argument("names", nargs="*", metavar="NAME")
    _command(commands, "list", _list, "all machines of this host")
    ssh = _command(commands, "ssh", _ssh, "a session as root, or one command")
    ssh.add_argument("name", metavar="NAME")
    ssh.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")
    snapshot = _command(commands, "snapshot", _snapshot, "remember a machine's disk under a name")
    snapshot.add_argument("name", metavar="NAME")
    snapshot.add_argument("snapshot", metavar="SNAP")
    reset = _command(commands, "reset", _reset, "give a machine its disk back, as of a snapshot or of its first start")
    reset.add_argument("name", metavar="NAME")
    reset.add_argument("snapshot", nargs="?", metavar="SNAP")
    clean = _command(commands, "clean", _clean, "remove all machines of all scopes, those of running tests, too")
    clean.add_argument("--images", action="store_true", help="and the images")
    build = _command(commands, "image", _image, "build the images that are missing, print where they are")
    build.add_argument("kinds", nargs="*", metavar="KIND", help="bare or stocked (default: both)")
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    function: Callable[[argparse.Namespace], int],
    text: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(command=function)
    return parser


def _up(options: argparse.Namespace) -> int:
    kept = lab.Lab(options.scope, keep=True)
    for name in options.names or ["srv1"]:
        machine = kept.machine(name, image=options.image)
        print(f"{machine.name}\t{machine.address}\tssh -F {kept.ssh_config} {machine.name}", flush=True)
    return 0


def _down(options: argparse.Namespace) -> int:
    for machine in [Machine.find(options.scope, name) for name in options.names] or lab.Lab(options.scope).machines():
        machine.remove()
        image.say(f"{machine.name} is removed")
    lab.sweep()
    return 0


def _list(options: argparse.Namespace) -> int:
    for record in state.records():
        running = "running" if lab.running(record) else "stopped"
        owner = f"process {record.owner.pid}" if record.owner else "kept"
        snapshots = ",".join(record.snapshots) or "-"
        print("\t".join([record.scope, record.name, record.address, record.kind, running, owner, snapshots]))
    return 0


def _ssh(options: argparse.Namespace) -> int:
    sys.stdout.flush()
    command = [*Machine.find(options.scope, options.name).ssh_command, *options.words]
    os.execvp(command[0], command)  # noqa: S606


def _snapshot(options: argparse.Namespace) -> int:
    Machine.find(options.scope, options.name).snapshot(options.snapshot)
    return 0


def _reset(options: argparse.Namespace) -> int:
    Machine.find(options.scope, options.name).reset(options.snapshot)
    return 0


def _clean(options: argparse.Namespace) -> int:
    lab.clean(images=options.images)
    return 0


def _image(options: argparse.Namespace) -> int:
    lab.prepare()
    for kind in options.kinds or ["bare", "stocked"]:
        print(image.ensure(kind))
    return 0


if __name__ == "__main__":
    sys.exit(main())
