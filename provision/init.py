"""The verb `init`: a new fleet directory with a commented example of each file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from provision.errors import ChillError, InvalidFiles, Problem

TEMPLATES = Path(__file__).resolve().parent / "templates" / "fleet"
# Directories that begin empty: git would forget them without a file inside.
EMPTY = ("inventory/instances", "ledger", "journal")
# Named without its dot in this package, lest git take it for its own.
RENAMED = {"gitignore": ".gitignore"}


def init_fleet(directory: Path) -> Sequence[Path]:
    """Write a new fleet directory and return its files, relative to it.

    RequestError when one of them is there already.
    """
    files = dict(_files())
    there = [path for path in files if (directory / path).exists() or (directory / path).is_symlink()]
    if there:
        problems = [Problem(str(directory / path), "exists already, and is not overwritten") for path in there]
        raise InvalidFiles(problems, "name a directory without these files; nothing was written")
    try:
        for path, template in files.items():
            target = directory / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if template is None:
                target.touch()
            else:
                shutil.copyfile(template, target)
    except OSError as error:
        raise ChillError(f"{error.filename}: {error.strerror}", "name a directory that you may write to") from error
    return sorted(files)


def _files() -> Iterator[tuple[Path, Path | None]]:
    """Each file of a new fleet directory with its template; None for an empty one."""
    for template in sorted(TEMPLATES.rglob("*")):
        if template.is_file():
            path = template.relative_to(TEMPLATES)
            yield path.with_name(RENAMED.get(path.name, path.name)), template
    for empty in EMPTY:
        yield Path(empty) / ".gitkeep", None
