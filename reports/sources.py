"""What the papers of a year are printed from, beside its statements: the sender, its logo, the year before.

Of a closed year it lies beside the statements, so that the papers can be printed again from the closed year alone,
whatever became of chill.toml, the logo, or the year before:

    closed/2025/sources/
        settings.json       `cooperative` of chill.toml, and the coverage below which a customer is listed first
        logo.svg            or logo.png; the logo, where there is one
        before.json         the statements of the year before, with which the fleet's paper compares
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from provision.settings import Cooperative
from reports.closed import ClosedYear, parse_statements, write_statements
from reports.statement import Statement

DIRECTORY: Final = "sources"
_SETTINGS: Final = f"{DIRECTORY}/settings.json"
_BEFORE: Final = f"{DIRECTORY}/before.json"
_LOGO: Final = f"{DIRECTORY}/logo"


@dataclass(frozen=True, slots=True)
class Sources:
    """`logo` is where the picture lies; `before` are the statements of the year before, none when it is not known."""

    cooperative: Cooperative
    logo: Path | None
    coverage_percent: int
    before: tuple[Statement, ...]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    cooperative: Cooperative
    coverage_percent: int


def written(sources: Sources) -> Iterator[tuple[str, bytes]]:
    """The files of a closed year that hold them, by their paths in it."""
    settings = _Settings(cooperative=sources.cooperative, coverage_percent=sources.coverage_percent)
    yield _SETTINGS, settings.model_dump_json(indent=1).encode() + b"\n"
    yield _BEFORE, write_statements(sources.before)
    if sources.logo:
        yield f"{_LOGO}{sources.logo.suffix.lower()}", sources.logo.read_bytes()


def closed_sources(closed: ClosedYear) -> Sources | None:
    """What a closed year was printed from; None for one that was closed before that was kept.

    ChillError when a file of it has changed.
    """
    if _SETTINGS not in closed.manifest.files:
        return None
    settings = _Settings.model_validate_json(closed.content(_SETTINGS))
    logo = next((name for name in closed.manifest.files if name.startswith(f"{_LOGO}.")), None)
    if logo:
        closed.content(logo)
    return Sources(
        settings.cooperative,
        closed.directory / logo if logo else None,
        settings.coverage_percent,
        parse_statements(closed.content(_BEFORE)),
    )
