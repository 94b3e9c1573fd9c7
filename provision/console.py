"""What the three commands share at the terminal: errors become one message and an exit status.

It knows click and, of the toolkit, the errors alone, because it travels to servers inside `chill-meter`.
"""

from __future__ import annotations

import io
import shutil
import sys
import textwrap
from typing import Any

import click

from provision.errors import ChillError


class Commands(click.Group):
    """A click group whose commands end with the toolkit's exit statuses (0, 1, 2, 3), never with a traceback.

    Exceptions listed in `expected`, with `message`, `hint` and `status`, are shown; any other is a bug and does
    show a traceback.
    """

    expected: tuple[type[Exception], ...] = (ChillError,)

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        context = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
        super().__init__(
            *arguments, **{**settings, "context_settings": {**context, **settings.get("context_settings", {})}}
        )

    def invoke(self, ctx: click.Context) -> Any:
        for stream in (sys.stdout, sys.stderr):
            # A name that the terminal's encoding does not have must not end the command.
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("\nInterrupted. Nothing is half-written; the same command can be run again.", err=True)
            ctx.exit(1)
        except BrokenPipeError:
            # The reader of our output (head, less) went away: nothing left to tell it.
            raise click.Abort from None
        except self.expected as error:
            show_error(str(getattr(error, "message", error)), str(getattr(error, "hint", "")))
            ctx.exit(int(getattr(error, "status", 1)))


def show_error(message: str, hint: str = "") -> None:
    """Print an error to stderr, with the next step under it: as it is, since it may be a command to copy."""
    head, text = "error: ", fold_for_terminal(f"error: {message}")
    click.echo(click.style(head, fg="red", bold=True) + text.removeprefix(head), err=True)
    if hint:
        click.echo(f"  {hint}", err=True)


def fold_for_terminal(text: str) -> str:
    """A text that goes to stderr: folded between words where that is a terminal, else as it is."""
    return fold(text, shutil.get_terminal_size().columns) if sys.stderr.isatty() else text


def fold(text: str, width: int) -> str:
    """Fold the lines of a text between words, each under its own beginning; what has no space stays whole."""
    lines = []
    for line in text.splitlines():
        indent = " " * (len(line) - len(line.lstrip()))
        lines += textwrap.wrap(
            line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
        ) or [""]
    return "\n".join(lines)
