"""The verb `audit`: proves from the files alone that a closed year is what it was, or names what is not.

Proof goes from the signature to the manifest, from there to every file it names, to the ledger's rows whether they lie
there as CSV or were compacted, and back from these rows to the amounts of the statements.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from metering.ledger.frozen import Present, RowsDigest, damaged_months, open_as_of, rows_digests, year_files
from metering.ledger.months import file_digest
from metering.samples import FileKind
from provision.errors import InvalidFiles, RequestError
from provision.fleet import Fleet
from provision.openpgp import Keyring, Signature
from reports.billing import bill
from reports.closed import (
    DIRECTORY,
    MANIFEST,
    SIGNATURE,
    STATEMENTS,
    TARIFFS,
    ClosedYear,
    closed_year,
    closed_years,
    forgotten,
)
from reports.manifest import Rows
from reports.statement import Statement


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that is not as it was: a file of the fleet, or a line of a statement, and what about it."""

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit found. `faults`: the closed year is not what it was. `late`: facts that came later and are in no
    closed statement yet. `notes`: what changed since without any bearing on the closed year.

    `files`, `ledger_files` and `statements` count what was looked at; `compacted` of the ledger's files no longer lie
    there as CSV. `forgotten` is where the year's counts stand when its rows left the ledger on purpose: nothing can be
    said of these any more then. `signed` is None when the signature does not hold.
    """

    year: int
    closed_at: datetime
    toolkit: str
    signed: Signature | None
    files: int
    ledger_files: int
    compacted: int
    forgotten: Path | None
    statements: int
    faults: tuple[Finding, ...]
    late: tuple[Finding, ...]
    notes: tuple[Finding, ...]


def audit(fleet: Fleet, year: int, *, recompute: bool = True) -> Audit:
    """Audit a closed year. RequestError when it is not closed; ChillError when its manifest cannot be read.

    Without `recompute`, amounts are not computed anew from the ledger's rows.
    """
    closed = closed_year(fleet, year)
    if closed is None:
        raise RequestError(f"YEAR: {year} is not closed in {fleet.directory}", f"chill-report close {year}")
    signed = verify_signature(fleet, closed)
    present = year_files(fleet.ledger, year)
    later = [other for other in closed_years(fleet) if other.year > year]
    faults = [] if isinstance(signed, Signature) else [signed]
    faults += _papers(closed)
    faults += _ledger(fleet, closed, present)
    faults += _earlier(fleet, closed)
    statements = 0
    counts = forgotten(fleet, closed, present.names)
    if recompute and not faults and not counts:
        found = list(_amounts(fleet, closed))
        faults += found
        statements = 0 if found else len(closed.statements())
    return Audit(
        year=year,
        closed_at=closed.manifest.closed_at,
        toolkit=closed.manifest.toolkit,
        signed=signed if isinstance(signed, Signature) else None,
        files=len(closed.manifest.files),
        ledger_files=len(closed.manifest.ledger.files),
        compacted=len(closed.manifest.ledger.files.keys() & present.folded.keys() - present.files.keys()),
        forgotten=counts,
        statements=statements,
        faults=tuple(faults),
        late=tuple(late_files(fleet, closed, later, present)),
        notes=tuple(_lived_on(fleet, closed)),
    )


def verify_signature(fleet: Fleet, closed: ClosedYear) -> Signature | Finding:
    """Whose signature the manifest carries, when it is one that this fleet's settings name; else what is wrong."""
    place = f"{DIRECTORY}/{closed.year}/{SIGNATURE}"
    settings = fleet.settings.openpgp
    try:
        signature = (closed.directory / SIGNATURE).read_bytes()
    except OSError:
        return Finding(place, "is missing: nothing proves the manifest")
    with Keyring(fleet.path(settings.home)) as keyring:
        found = keyring.verify((closed.directory / MANIFEST).read_bytes(), signature)
    if isinstance(found, str):
        return Finding(place, found)
    trusted = [key for key in (settings.signing_key, *settings.former_signing_keys) if key]
    if found.fingerprint not in trusted:
        message = (
            f"was signed by {found.fingerprint}, which chill.toml names neither as signing_key nor as a former one"
        )
        return Finding(place, message)
    if found.fingerprint != closed.manifest.signer:
        return Finding(place, f"was signed by {found.fingerprint}, the manifest says by {closed.manifest.signer}")
    return found


def _papers(closed: ClosedYear) -> Iterator[Finding]:
    """The files of the closed year itself: changed, missing, added."""
    known = {*closed.manifest.files, MANIFEST, SIGNATURE}
    for name, digest in closed.manifest.files.items():
        yield from _compared(closed.directory / name, digest, f"{DIRECTORY}/{closed.year}/{name}")
    for path in sorted(closed.directory.rglob("*")):
        name = path.relative_to(closed.directory).as_posix()
        if name not in known and not path.is_dir():
            yield Finding(f"{DIRECTORY}/{closed.year}/{name}", "was added: it is not in the manifest")


def _compared(path: Path, digest: str, place: str) -> Iterator[Finding]:
    try:
        actual = file_digest(path)
    except OSError as error:
        gone = isinstance(error, FileNotFoundError | NotADirectoryError)
        yield Finding(place, "is missing" if gone else f"cannot be read: {error.strerror}")
        return
    if actual != digest:
        yield Finding(place, "has changed: its SHA-256 is another than in the manifest")


def _ledger(fleet: Fleet, closed: ClosedYear, present: Present) -> Iterator[Finding]:
    """The ledger's files and rows on which the year rests."""
    damaged = damaged_months(fleet.ledger, closed.year)
    yield from (Finding(problem.place, problem.message) for problem in damaged)
    proof = closed.manifest.ledger
    if forgotten(fleet, closed, present.names):
        return
    faults = list(_changed(fleet, closed.year, proof.files, present, sure=not damaged))
    yield from faults
    if damaged or faults:
        return
    found = rows_digests(fleet.ledger, closed.year, proof.files)
    for month in sorted({*proof.rows, *found}):
        yield from _rows(f"{fleet.ledger.name}/{closed.year}: {month}", proof.rows.get(month, {}), found.get(month, {}))


def _changed(fleet: Fleet, year: int, files: Mapping[str, str], present: Present, *, sure: bool) -> Iterator[Finding]:
    """Files of the ledger that changed or went; the latter only if it is `sure` what was compacted."""
    for name, digest in sorted(files.items()):
        place = f"{fleet.ledger.name}/{year}/{name}"
        if name not in present.names:
            if sure:
                yield Finding(place, "is missing: it is neither there nor compacted")
        elif present.digest(name) != digest:
            yield Finding(place, "has changed: its SHA-256 is another than in the manifest")


def _rows(place: str, expected: Mapping[FileKind, Rows], found: Mapping[FileKind, RowsDigest]) -> Iterator[Finding]:
    for kind in sorted({*expected, *found}):
        was, now = expected.get(kind), found.get(kind)
        if was is None or now is None or (was.rows, was.sha256) != (now.rows, now.sha256):
            counts = f"{was.rows if was else 0} then, {now.rows if now else 0} now"
            yield Finding(place, f"the rows of {kind} are not those that were closed ({counts})")


def _earlier(fleet: Fleet, closed: ClosedYear) -> Iterator[Finding]:
    """The earlier closed years, and late files, on which this year's corrections rest."""
    for year, earlier in closed.manifest.earlier.items():
        place = f"{DIRECTORY}/{year}/{MANIFEST}"
        yield from (
            Finding(one.place, f"{one.message} ({closed.year} rests on it)")
            for one in _compared(fleet.directory / place, earlier.manifest, place)
        )
        other = closed_year(fleet, year)
        now = year_files(fleet.ledger, year)
        if earlier.late and not (other and forgotten(fleet, other, now.names)):
            sure = not damaged_months(fleet.ledger, year)
            yield from _changed(fleet, year, earlier.late, now, sure=sure)


def late_files(fleet: Fleet, closed: ClosedYear, later: Sequence[ClosedYear], present: Present) -> Iterator[Finding]:
    """Files of the ledger that came after the year was closed and are in no year that was closed later."""
    for name in sorted(unsettled(closed, later, present.names)):
        message = "came after the year was closed: the next statement corrects what it changes"
        yield Finding(f"{fleet.ledger.name}/{closed.year}/{name}", message)


def unsettled(closed: ClosedYear, later: Sequence[ClosedYear], names: Collection[str]) -> set[str]:
    """Of `names`, the ledger's files that neither `closed` nor a year that was closed `later` rests on."""
    settled = (other.manifest.earlier[closed.year].late for other in later if closed.year in other.manifest.earlier)
    return set(names).difference(closed.manifest.ledger.files, *settled)


def _lived_on(fleet: Fleet, closed: ClosedYear) -> Iterator[Finding]:
    """Files that may change after a year was closed: the closed year has its own copy of what counts in them."""
    for name, digest in closed.manifest.inputs.items():
        for one in _compared(fleet.directory / name, digest, name):
            said = "is no longer there" if "missing" in one.message else "has changed since"
            yield Finding(name, f"{said}; the closed year has its own copy of what counts")


def _amounts(fleet: Fleet, closed: ClosedYear) -> Iterator[Finding]:
    """The statements, computed anew from the closed contracts and prices and from the closed rows of the ledger."""
    statements = closed.statements()
    ledger = open_as_of(fleet.ledger, closed.year, closed.manifest.ledger.files, fleet.settings.engine)
    customers = {statement.customer.instance: statement.customer for statement in statements}
    try:
        found = bill(customers, closed.directory / TARIFFS, ledger, closed.year, ledger.problems())
    except InvalidFiles as error:
        yield from (Finding(problem.place, problem.message) for problem in error.problems)
        return
    anew = {statement.customer.instance: statement for statement in found}
    place = f"{DIRECTORY}/{closed.year}/{STATEMENTS}"
    for statement in statements:
        slug = statement.customer.instance
        yield from (Finding(f"{place}: {slug}", message) for message in _differences(statement, anew.get(slug)))


def _differences(closed: Statement, anew: Statement | None) -> Iterator[str]:
    """Where a statement is not what comes out of its inputs; corrections of earlier years are none of them."""
    own = [line for line in closed.lines if line.name != "correction"]
    if anew is None:
        if own:
            yield "nothing in the ledger or the contract gives this statement"
        return
    for number, (was, now) in enumerate(zip(own, anew.lines, strict=False)):
        # What was added to lines by later versions of the toolkit may differ; what is paid, and for what, may not.
        if (was.name, was.quantity, was.billable, was.amount) != (now.name, now.quantity, now.billable, now.amount):
            yield f"line {number + 1}, {was.name}: {was.amount} was closed, the inputs give {now.amount}"
    if len(own) != len(anew.lines):
        yield f"{len(own)} lines were closed, the inputs give {len(anew.lines)}"
