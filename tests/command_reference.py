"""Every command with its help, as one page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click

from metering.cli import main as meter
from provision.cli import main as provision
from reports.cli import main as report

COMMANDS: dict[str, click.Command] = {
    "chill-provision": provision,
    "chill-meter": meter,
    "chill-report": report,
}
HEAD = """# Commands

Every command and option, as `--help` tells them. Exit status: 0 done; 1 failed; 2 the request or a file was wrong, and
nothing was changed; 3 done in part, and the message says what is missing. Data goes to standard output, messages and
progress to standard error.

This page is made by `make docs`.
"""


def walk(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """A command and those below it, each with its full name."""
    yield name, command
    if isinstance(command, click.Group):
        for part, child in sorted(command.commands.items()):
            yield from walk(f"{name} {part}", child)


def every_command() -> list[tuple[str, click.Command]]:
    return [found for name, command in COMMANDS.items() for found in walk(name, command)]


def context_of(words: Sequence[str]) -> click.Context:
    """The context in which a command runs, with what it inherits from its groups (such as -h for --help)."""
    command = COMMANDS[words[0]]
    settings: dict[str, Any] = {"terminal_width": 100, "max_content_width": 100}
    context = click.Context(command, info_name=words[0], **{**command.context_settings, **settings})
    for word in words[1:]:
        assert isinstance(command, click.Group)
        found = command.get_command(context, word)
        assert found, f"there is no command {' '.join(words)}"
        command = found
        context = click.Context(command, info_name=word, parent=context, **{**command.context_settings, **settings})
    return context


def help_text(name: str) -> str:
    """What `--help` prints at a width of 100 columns."""
    context = context_of(name.split())
    return "\n".join(line.rstrip() for line in context.command.get_help(context).splitlines())


def reference() -> str:
    """The page docs/commands.md."""
    parts = [HEAD]
    for name, _command in every_command():
        parts.append(f"## {name}\n\n```text\n{help_text(name)}\n```\n")
    return "\n".join(parts)
