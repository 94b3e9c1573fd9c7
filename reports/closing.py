"""The verb `close`: a year's papers, what they rest on, and a signed manifest of it all, in one directory for good.

The directory is made beside its place and comes there by one rename: a year is closed or it is not, whenever this is
interrupted.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from zoneinfo import ZoneInfo

from metering.ledger.files import locked
from metering.ledger.frozen import rows_digests, year_files
from metering.ledger.months import file_digest
from provision.errors import ChillError, InvalidFiles, Problem, RequestError
from provision.fleet import SETTINGS_FILE, Fleet
from provision.openpgp import SIGNING_KEY, Key, Keyring
from provision.settings import Language
from reports.annual import annual_statements, fleet_sources, papers
from reports.audit import Audit, audit, unsettled
from reports.closed import (
    DIRECTORY,
    MANIFEST,
    SIGNATURE,
    STATEMENTS,
    TARIFFS,
    ClosedYear,
    closed_directory,
    closed_year,
    closed_years,
    parse_statements,
    write_statements,
)
from reports.lines import NoteKind
from reports.manifest import Earlier, LedgerProof, Manifest, Rows
from reports.sources import DIRECTORY as SOURCES
from reports.sources import written
from reports.statement import Statement, by_coverage
from reports.table import words
from reports.to_pdf import require_logo

Progress = Callable[[int, int], None]
# Hidden, and ignored by git: what an interrupted run leaves is removed by the next one.
STAGING = ".closing"
_GAPS: frozenset[NoteKind] = frozenset(("no_sample", "months_without_sample", "days_without_sample"))


@dataclass(frozen=True, slots=True)
class Closed:
    """What `close` did: the closed year; `before`: its audit when it was closed already, else None."""

    closed: ClosedYear
    before: Audit | None


def close(
    fleet: Fleet, year: int, accepted: Mapping[str, str], language: Language, now: datetime, progress: Progress
) -> Closed:
    """Close `year` at the moment `now`. `accepted`: by slug, why an instance is closed although samples are missing.

    Closed already, it is audited and nothing is changed. RequestError or InvalidFiles when something is missing or
    wrong, ChillError when the files cannot be written or signed; nothing was changed then.
    """
    with _alone(fleet):
        found = closed_year(fleet, year)
        if found:
            return Closed(found, audit(fleet, year))
        _require_over(fleet, year, now)
        with Keyring(fleet.path(fleet.settings.openpgp.home)) as keyring:
            key = _signing_key(fleet, keyring, now)
            with locked(fleet.ledger), _staging(fleet, year) as directory:
                _require_sound(fleet)
                statements = annual_statements(fleet, year)
                _require_complete(statements, accepted)
                _write(fleet, directory, statements, year, language, progress)
                manifest = _manifest(fleet, directory, year, accepted, language, now, key).to_json()
                _write_file(directory / MANIFEST, manifest)
                _write_file(directory / SIGNATURE, keyring.sign(manifest, key))
                _publish(directory, closed_directory(fleet, year))
    made = closed_year(fleet, year)
    if made is None:
        raise ChillError(f"{DIRECTORY}/{year}: went while it was closed", "run the command again")
    return Closed(made, None)


@contextmanager
def _alone(fleet: Fleet) -> Iterator[None]:
    """Hold the closed years for writing. ChillError when another command closes one, or writing fails."""
    directory = fleet.directory / DIRECTORY
    try:
        directory.mkdir(exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ChillError(f"{directory}: cannot be used: {error.strerror}", "see who owns it") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The lock is held, so what is there was left by a run that was killed.
        shutil.rmtree(directory / STAGING, ignore_errors=True)
        yield
    except BlockingIOError:
        raise ChillError(f"{directory}: another command is closing a year", "wait until it has ended") from None
    finally:
        # The kernel gives the lock back with it, also when this process is killed.
        os.close(descriptor)


def _require_over(fleet: Fleet, year: int, now: datetime) -> None:
    today = now.astimezone(ZoneInfo(fleet.settings.timezone)).date()
    if today.year <= year:
        raise RequestError(f"YEAR: {year} is not over", f"chill-report annual {year} writes drafts until then")


def _signing_key(fleet: Fleet, keyring: Keyring, now: datetime) -> Key:
    fingerprint = fleet.settings.openpgp.signing_key
    if fingerprint is None:
        hint = "write the fingerprint of a key of yours there; gpg --list-secret-keys shows them"
        raise RequestError(f"{SIGNING_KEY}: is missing: a closed year is signed", hint)
    return keyring.fit_signing_key(fingerprint, now.astimezone(UTC).date())


def _require_sound(fleet: Fleet) -> None:
    """Corrections rest on the years that were closed before: nothing is closed on top of one that was changed."""
    for closed in closed_years(fleet):
        faults = audit(fleet, closed.year, recompute=False).faults
        if faults:
            problems = [Problem(fault.place, fault.message) for fault in faults]
            hint = f"{closed.year} is closed and not what it was: chill-report audit {closed.year}; nothing was changed"
            raise InvalidFiles(problems, hint)


def gaps(statement: Statement) -> list[str]:
    """What is missing of a statement's billed lines, in words."""
    english = words("en")
    return [
        f"{line.name}: {english.note(note, statement.year, iso=True)}"
        for line in statement.lines
        if line.billed
        for note in line.notes
        if note.kind in _GAPS
    ]


def _require_complete(statements: Sequence[Statement], accepted: Mapping[str, str]) -> None:
    """InvalidFiles with all that is missing and not accepted, and what was accepted without need."""
    missing = {one.customer.instance: found for one in statements if (found := gaps(one))}
    hint = 'collect or record it, or accept it: --accept-gaps {slug}="why it stays missing"'
    problems = [
        Problem(slug, "; ".join(found), hint.format(slug=slug))
        for slug, found in missing.items()
        if slug not in accepted
    ]
    known = {one.customer.instance for one in statements}
    for slug in accepted:
        if slug not in missing:
            fault = "nothing is missing of it" if slug in known else "has no statement of that year"
            problems.append(Problem(f"--accept-gaps {slug}", fault, "leave this option out"))
    if problems:
        raise InvalidFiles(problems, "nothing was closed")


def _write(
    fleet: Fleet,
    directory: Path,
    statements: tuple[Statement, ...],
    year: int,
    language: Language,
    progress: Progress,
) -> None:
    """Write the papers, what they are printed from, the statements and the price lists."""
    sources = fleet_sources(fleet, year)
    require_logo(sources.logo)
    (directory / SOURCES).mkdir()
    for name, kept in written(sources):
        _write_file(directory / name, kept)
    ordered = by_coverage(statements, sources.coverage_percent)
    for done, (name, content) in enumerate(papers(sources, ordered, year, language)):
        _write_file(directory / name, content.encode() if isinstance(content, str) else content)
        progress(done + 1, len(statements) + 3)
    kept = write_statements(statements)
    if parse_statements(kept) != statements:
        # A value that JSON has no form for, such as one in a particular condition.
        raise ChillError("the statements cannot be written so that they read the same", "nothing was closed")
    _write_file(directory / STATEMENTS, kept)
    (directory / TARIFFS).mkdir()
    for path in sorted(fleet.tariffs.glob("*.toml")):
        _write_file(directory / TARIFFS / path.name, path.read_bytes())


def _manifest(
    fleet: Fleet, directory: Path, year: int, accepted: Mapping[str, str], language: Language, now: datetime, key: Key
) -> Manifest:
    present = year_files(fleet.ledger, year)
    names = sorted(present.names)
    rows = {
        month: {kind: Rows(rows=digest.rows, sha256=digest.sha256) for kind, digest in kinds.items()}
        for month, kinds in rows_digests(fleet.ledger, year, names).items()
    }
    written = sorted(path for path in directory.rglob("*") if path.is_file())
    inputs = [
        fleet.directory / SETTINGS_FILE,
        *fleet.tariffs.glob("*.toml"),
        *(i.path for i in fleet.instances.values()),
        *_logo(fleet),
    ]
    return Manifest(
        year=year,
        closed_at=now.astimezone(UTC).replace(microsecond=0),
        toolkit=metadata.version("petits-chills"),
        signer=key.fingerprint,
        language=language,
        accepted_gaps=dict(sorted(accepted.items())),
        files={path.relative_to(directory).as_posix(): file_digest(path) for path in written},
        inputs={path.relative_to(fleet.directory).as_posix(): file_digest(path) for path in sorted(inputs)},
        ledger=LedgerProof(files={name: present.digest(name) for name in names}, rows=rows),
        earlier={one.year: _earlier(fleet, one, year) for one in closed_years(fleet) if one.year < year},
    )


def _logo(fleet: Fleet) -> Iterator[Path]:
    """The logo, where it lies in the fleet's directory; from elsewhere there is only the closed year's copy."""
    logo = fleet.settings.cooperative.logo
    if logo and not Path(logo).is_absolute() and ".." not in Path(logo).parts:
        yield fleet.path(logo)


def _earlier(fleet: Fleet, closed: ClosedYear, year: int) -> Earlier:
    between = [one for one in closed_years(fleet) if closed.year < one.year < year]
    present = year_files(fleet.ledger, closed.year)
    late = sorted(unsettled(closed, between, present.names))
    return Earlier(manifest=closed.digest, late={name: present.digest(name) for name in late})


@contextmanager
def _staging(fleet: Fleet, year: int) -> Iterator[Path]:
    """A new directory on the file system of the closed years; it goes at the end unless it was moved away."""
    parent = fleet.directory / DIRECTORY / STAGING
    try:
        parent.mkdir()
        (parent / ".gitignore").write_text("*\n", encoding="utf-8")
        directory = Path(tempfile.mkdtemp(prefix=f"{year}.", dir=parent))
        yield directory
    except OSError as error:
        raise ChillError(
            f"{error.filename or parent}: cannot be written: {error.strerror}", "nothing was closed"
        ) from None
    finally:
        shutil.rmtree(parent, ignore_errors=True)


def _write_file(path: Path, content: bytes) -> None:
    """Write a file for good: on the disk, for reading only."""
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fchmod(stream.fileno(), path.stat().st_mode & 0o444)
        os.fsync(stream.fileno())


def _publish(staged: Path, target: Path) -> None:
    """Bring the closed year into its place: every file of it is on the disk before its name is."""
    # Private while it was written; now readable as what is beside it.
    mode = target.parent.stat().st_mode & 0o777
    for directory in (*(path for path in staged.rglob("*") if path.is_dir()), staged):
        directory.chmod(mode)
        _sync(directory)
    staged.rename(target)
    _sync(target.parent)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
