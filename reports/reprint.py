"""A closed year's papers printed again, from the closed year alone: proof that they say what its statements say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import metadata

from reports.annual import papers
from reports.closed import DIRECTORY, ClosedYear
from reports.manifest import sha256
from reports.sources import closed_sources
from reports.statement import by_coverage

Progress = Callable[[int, int], None]


def differing(closed: ClosedYear, progress: Progress) -> Iterator[tuple[str, str]]:
    """The papers that are not printed byte for byte as they were closed: their place, and what is to be said of them.

    The files of the closed year are taken to be those that were closed: `audit` looks at that. ChillError when they
    are not.
    """
    place = f"{DIRECTORY}/{closed.year}"
    sources = closed_sources(closed)
    if sources is None:
        yield place, "was closed without its letterhead, by an earlier version: its papers cannot be printed again"
        return
    ordered = by_coverage(closed.statements(), sources.coverage_percent)
    made = papers(sources, ordered, closed.year, closed.manifest.language)
    now = metadata.version("petits-chills")
    other = f"; it was printed by petits-chills {closed.manifest.toolkit}, this is {now}"
    for done, (name, content) in enumerate(made):
        data = content.encode() if isinstance(content, str) else content
        if sha256(data) != closed.manifest.files.get(name):
            same = now == closed.manifest.toolkit
            yield f"{place}/{name}", f"is printed otherwise from the closed statements{'' if same else other}"
        progress(done + 1, len(closed.papers))
