"""Closed years as they lie in the fleet: `closed/<YEAR>/`, papers and what they rest on, under one signed manifest.

closed/2025/
    manifest.json, manifest.json.asc    what all of this is, signed
    statements.json                     contracts, prices, usage and lines, from which the papers can be made again
    tariffs/standard.toml               every price list of that time
    usage-2025.csv, acme-2025.pdf, …    the papers
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from provision.errors import ChillError, Problem
from provision.fleet import Fleet
from reports.manifest import Manifest, parse_manifest, sha256
from reports.statement import Statement
from reports.tariff import Tariff, read_tariff

DIRECTORY = "closed"
MANIFEST = "manifest.json"
SIGNATURE = "manifest.json.asc"
STATEMENTS = "statements.json"
TARIFFS = "tariffs"

_STATEMENTS = TypeAdapter(tuple[Statement, ...])
_RESTORE = "chill-report audit tells what changed; bring it back from the fleet's history"


@dataclass(frozen=True, slots=True)
class ClosedYear:
    """A closed year, read but not proven: `audit.py` does that. `digest` is the SHA-256 of its manifest."""

    directory: Path
    manifest: Manifest
    digest: str

    @property
    def year(self) -> int:
        return self.manifest.year

    @property
    def papers(self) -> tuple[str, ...]:
        """The names of its papers, in order."""
        return tuple(name for name in self.manifest.files if "/" not in name and name != STATEMENTS)

    def content(self, name: str) -> bytes:
        """A file of it as it was closed. ChillError when it is gone or has changed."""
        place = f"{DIRECTORY}/{self.year}/{name}"
        try:
            data = (self.directory / name).read_bytes()
        except OSError as error:
            raise ChillError(f"{place}: cannot be read: {error.strerror}", _RESTORE) from None
        if sha256(data) != self.manifest.files[name]:
            raise ChillError(f"{place}: has changed since {self.year} was closed", _RESTORE)
        return data

    def statements(self) -> tuple[Statement, ...]:
        """The statements as they were closed, by slug. ChillError when their file changed or cannot be understood."""
        try:
            return parse_statements(self.content(STATEMENTS))
        except ValidationError as error:
            place = f"{DIRECTORY}/{self.year}/{STATEMENTS}"
            hint = f"it was written by petits-chills {self.manifest.toolkit}: read it with that"
            raise ChillError(f"{place}: cannot be understood: {error.errors()[0]['msg']}", hint) from None

    def tariff(self, name: str) -> tuple[Tariff | None, list[Problem]] | None:
        """The price list of that name as it was closed, or its problems; None when there was none of that name."""
        path = f"{TARIFFS}/{name}.toml"
        if path not in self.manifest.files:
            return None
        self.content(path)
        tariff, problems = read_tariff(self.directory / path)
        return tariff, list(problems)


def write_statements(statements: tuple[Statement, ...]) -> bytes:
    """The file of a closed year's statements: JSON, in which `parse_statements` finds the same again."""
    return _STATEMENTS.dump_json(statements, indent=1) + b"\n"


def parse_statements(data: bytes) -> tuple[Statement, ...]:
    """The inverse of `write_statements`. ValidationError when it is something else."""
    return _STATEMENTS.validate_json(data)


def closed_directory(fleet: Fleet, year: int) -> Path:
    """Where `year` lies when it is closed."""
    return fleet.directory / DIRECTORY / f"{year:04d}"


def closed_year(fleet: Fleet, year: int) -> ClosedYear | None:
    """`year` when it is closed, None when it is not. ChillError when its manifest cannot be read."""
    directory = closed_directory(fleet, year)
    if not directory.is_dir():
        return None
    place = f"{DIRECTORY}/{year}/{MANIFEST}"
    try:
        data = (directory / MANIFEST).read_bytes()
    except OSError as error:
        raise ChillError(f"{place}: cannot be read: {error.strerror}", _RESTORE) from None
    manifest = parse_manifest(data)
    if isinstance(manifest, str):
        raise ChillError(f"{place}: is not the manifest of a closed year: {manifest}", _RESTORE)
    if manifest.year != year:
        raise ChillError(f"{place}: is that of {manifest.year}", _RESTORE)
    return ClosedYear(directory, manifest, sha256(data))


def forgotten(fleet: Fleet, closed: ClosedYear, names: Collection[str]) -> Path | None:
    """Where the counts of a year stand whose rows left the ledger on purpose (`chill-meter forget`); None when they did
    not. `names` are the ledger's files of that year now.
    """
    counts = sorted((fleet.directory / "forgotten").glob(f"{closed.year:04d}.*.counts.csv"))
    return counts[-1] if counts and not closed.manifest.ledger.files.keys() & set(names) else None


def closed_years(fleet: Fleet) -> tuple[ClosedYear, ...]:
    """Every closed year, in order. ChillError when a manifest cannot be read."""
    directory = fleet.directory / DIRECTORY
    names = sorted(path.name for path in directory.glob("[0-9][0-9][0-9][0-9]") if path.is_dir())
    return tuple(found for name in names if (found := closed_year(fleet, int(name))))
