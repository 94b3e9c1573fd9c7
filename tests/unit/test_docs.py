"""Documentation under test: every command is documented, every example parses, console blocks do what they show."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.command_reference import COMMANDS, context_of, every_command, reference

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("playbooks/roles/*/README.md")])
NAMES = "|".join(COMMANDS)
# A command of ours at the beginning of a line of code, with its continuation lines.
COMMAND_LINE = re.compile(rf"^\s*(?:\$ )?((?:{NAMES}) (?:[^\n]*\\\n)*[^\n]*)$", re.MULTILINE)


def test_the_command_reference_is_what_help_says() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert page == reference(), "run: make docs"


@pytest.mark.parametrize("name, command", [pytest.param(*found, id=found[0]) for found in every_command()])
def test_every_command_has_a_help_with_an_example(name: str, command: click.Command) -> None:
    assert command.help, f"{name} has no help"
    if not isinstance(command, click.Group):
        assert re.search(rf"{re.escape(name)}\s", command.help + " "), f"the help of {name} shows no example"


def code_blocks(page: Path) -> Iterator[tuple[str, str]]:
    """The fenced blocks of a page: language and text."""
    text = page.read_text(encoding="utf-8")
    for block in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield block[1], block[2]


def example_lines() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for _language, text in code_blocks(page):
            for found in COMMAND_LINE.finditer(text):
                yield str(page.relative_to(ROOT)), found[1]
    for name, command in every_command():
        for found in COMMAND_LINE.finditer(command.help or ""):
            yield f"{name} --help", found[1]


EXAMPLES = [line for line in example_lines() if "…" not in line[1] and "..." not in line[1]]


@pytest.mark.parametrize("place, line", EXAMPLES, ids=[f"{place}: {line[:60]}" for place, line in EXAMPLES])
def test_every_example_parses(place: str, line: str) -> None:
    words = shlex.split(line.replace("\\\n", " "), comments=True)
    words = words[: next((n for n, word in enumerate(words) if word in ("|", ">", "&&", ";")), len(words))]
    split = 1
    while isinstance(context_of(words[:split]).command, click.Group) and words[split : split + 1]:
        if words[split].startswith("-"):
            break
        split += 1
    context, fault = context_of(words[:split]), ""
    try:
        with contextlib.suppress(click.exceptions.Exit):  # --help and --version end here
            context.command.make_context(words[split - 1], words[split:], parent=context.parent)
    except click.UsageError as error:
        fault = error.format_message()
    assert not fault, f"{place}: {line}\n{fault}"


PLAYED = [page for page in PAGES if any(language == "console" for language, _ in code_blocks(page))]


@pytest.mark.parametrize("page", PLAYED, ids=[str(page.relative_to(ROOT)) for page in PLAYED])
def test_console_blocks_do_what_they_show(page: Path, tmp_path: Path) -> None:
    """Blocks marked `console` are run, in order, in one directory; a line `…` stands for any lines."""
    (tmp_path / "project").symlink_to(ROOT)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "100"}
    for language, text in code_blocks(page):
        if language != "console":
            continue
        for step in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, expected = step.partition("\n")
            done = subprocess.run(
                ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
            )
            shown = "\n".join(line.rstrip() for line in (done.stdout + done.stderr).strip().splitlines())
            pattern = "".join(
                ".*" if line == "…" else re.escape(line.rstrip()) + r"\n?" for line in expected.strip().splitlines()
            )
            assert re.fullmatch(pattern, shown, re.DOTALL), f"{page.name}: $ {command}\nshows:\n{shown}"
