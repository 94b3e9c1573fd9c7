"""`chill-report close`, `audit`, `corrections`: years that are frozen, proof of it, and what came late."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from provision.errors import ChillError, PartlyDone
from provision.fleet import Fleet
from provision.fleet_directory import fleet_directory
from provision.fleet_reader import load_fleet
from provision.settings import Language
from reports.cli.options import count, fleet_option, json_option, lang_option, progress_bar, year_argument

if TYPE_CHECKING:
    from reports.audit import Audit, Finding
    from reports.closed import ClosedYear
    from reports.corrections import Correction


def _accepted(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """`SLUG="reason"`, repeated, by slug."""
    accepted: dict[str, str] = {}
    for text in given:
        slug, _, reason = text.partition("=")
        reason = " ".join(reason.split())
        if not slug or not reason:
            raise click.BadParameter(f'{text!r} is not SLUG="reason", such as acme="the server was down in May"')
        if slug in accepted:
            raise click.BadParameter(f"{slug} is given twice")
        accepted[slug] = reason
    return accepted


@click.command()
@year_argument
@fleet_option
@click.option(
    "--accept-gaps",
    "accepted",
    metavar='SLUG="REASON"',
    multiple=True,
    callback=_accepted,
    help="Close this instance although samples are missing; the reason is kept. Once for each such instance.",
)
@lang_option
@json_option
def close(year: int, fleet: str | None, accepted: dict[str, str], lang: Language | None, as_json: bool) -> None:
    """Close YEAR for good: papers, contracts, prices and a signed manifest of it all in closed/YEAR of the fleet.

    The year must be over, and nothing may be missing that is billed, unless it is accepted with a reason. The
    manifest is signed with openpgp.signing_key of chill.toml; its passphrase is asked by gpg-agent.

    What becomes known later is a correction in the next year's statement. A year that is closed already is
    audited and left as it is.

    \b
    Example:
      chill-report close 2026 --accept-gaps acme="srv1 was down from 3 to 5 May; agreed by telephone"
    """
    # Here, because the engine of the ledger takes a moment to load and --help should not wait for it.
    from reports.closing import close as close_year

    loaded = load_fleet(fleet_directory(fleet))
    with progress_bar("papers") as progress:
        done = close_year(loaded, year, accepted, lang or loaded.settings.language, datetime.now(UTC), progress)
    if done.before:
        click.echo(_audit_json(done.before) if as_json else _audit_text(done.before))
        if done.before.faults:
            raise _not_what_it_was(done.before)
        click.echo(f"{year} was closed already; nothing was changed", err=True)
        return
    click.echo(_closed_json(done.closed) if as_json else _closed_text(done.closed))
    click.echo(f"now put it on record: git add closed/{year} && git commit -m 'Close {year}'", err=True)


@click.command()
@year_argument
@fleet_option
@json_option
@click.option("--reprint", is_flag=True, help="Also print every paper again, from the closed year alone, and compare.")
def audit(year: int, fleet: str | None, as_json: bool, reprint: bool) -> None:
    """Prove from the files alone that the closed YEAR is what it was when it was closed, or name what is not.

    Looks at the manifest's signature, at every file of closed/YEAR, at every file and row of the ledger that the
    year rests on (compacted or not), and computes the amounts anew from them. --reprint compares the papers, too, with
    what the closed statements, letterhead and logo give, byte for byte; the same version of this toolkit is needed.

    Exit status 1: something is not what it was, and is named. 3: all of it is, but samples came later that no
    closed statement accounts for yet.

    \b
    Example:
      chill-report audit 2026
      chill-report audit 2026 --reprint
    """
    from reports.audit import audit as audit_year

    loaded = load_fleet(fleet_directory(fleet))
    found = audit_year(loaded, year)
    if reprint and not found.faults:
        found = replace(found, faults=_reprinted(loaded, year))
    click.echo(_audit_json(found) if as_json else _audit_text(found))
    if found.faults:
        raise _not_what_it_was(found)
    if found.late:
        raise PartlyDone(
            f"{year} is what it was, but {count(len(found.late), 'file')} came later",
            "chill-report corrections shows what they change; closing the next year settles them",
        )


@click.command()
@fleet_option
@json_option
def corrections(fleet: str | None, as_json: bool) -> None:
    """Show what late samples and changed contracts change of closed years, and which statements will correct it.

    \b
    Example:
      chill-report corrections --json
    """
    from reports.annual import fleet_customers
    from reports.corrections import pending

    loaded = load_fleet(fleet_directory(fleet))
    found = pending(loaded, fleet_customers(loaded))
    if as_json:
        click.echo(json.dumps([_correction(year, one) for year, all_of in found.items() for one in all_of], indent=2))
        return
    for year, all_of in found.items():
        for one in all_of:
            click.echo(f"{one.instance} {one.year} {one.line}: {one.label}: {one.amount:+} in the statement of {year}")
    if not any(found.values()):
        click.echo("nothing is to be corrected", err=True)


def _reprinted(fleet: Fleet, year: int) -> tuple[Finding, ...]:
    """What `--reprint` found."""
    from reports.audit import Finding
    from reports.closed import closed_year
    from reports.reprint import differing

    closed = closed_year(fleet, year)
    with progress_bar("papers") as progress:
        return tuple(Finding(*one) for one in differing(closed, progress)) if closed else ()


def _not_what_it_was(found: Audit) -> ChillError:
    message = f"{found.year} is not what was closed: what differs is named above"
    return ChillError(message, "git log in the fleet's directory says when it changed; bring it back from there")


def _closed_text(closed: ClosedYear) -> str:
    manifest = closed.manifest
    files, ledger = count(len(manifest.files), "file"), count(len(manifest.ledger.files), "file")
    accepted = [f"gaps accepted: {slug}: {reason}" for slug, reason in manifest.accepted_gaps.items()]
    return "\n".join(
        [
            f"{closed.year} is closed: {closed.directory}",
            f"{files}, {ledger} of the ledger, signed by {manifest.signer}",
            *accepted,
        ]
    )


def _closed_json(closed: ClosedYear) -> str:
    manifest = closed.manifest
    document = {
        "year": closed.year,
        "directory": str(closed.directory),
        "manifest_sha256": closed.digest,
        "signer": manifest.signer,
        "papers": list(closed.papers),
        "accepted_gaps": manifest.accepted_gaps,
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def _audit_text(found: Audit) -> str:
    lines = [f"wrong: {one}" for one in found.faults]
    lines += [f"late: {one}" for one in found.late]
    lines += [f"note: {one}" for one in found.notes]
    if found.forgotten:
        lines.append(f"note: its rows left the ledger on purpose; counts of days and months stand in {found.forgotten}")
    if found.compacted:
        lines.append(f"note: {count(found.compacted, 'file')} of the ledger compacted since, same rows")
    if not found.faults and found.signed:
        rests_on = "nothing" if found.forgotten else count(found.ledger_files, "file")
        proven = f"{count(found.files, 'file')}, {rests_on} of the ledger"
        again = f"{count(found.statements, 'statement')} computed anew"
        lines.append(f"{found.year} is what was closed on {found.closed_at:%Y-%m-%d}: {proven}, {again}")
        lines.append(f"signed by {found.signed.fingerprint} on {found.signed.made:%Y-%m-%d}")
    return "\n".join(lines)


def _audit_json(found: Audit) -> str:
    def listed(findings: Any) -> list[dict[str, str]]:
        return [{"place": one.place, "message": one.message} for one in findings]

    signed = found.signed
    document = {
        "year": found.year,
        "proven": not found.faults,
        "closed_at": found.closed_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "toolkit": found.toolkit,
        "signature": {"fingerprint": signed.fingerprint, "made": signed.made.strftime("%Y-%m-%dT%H:%M:%SZ")}
        if signed
        else None,
        "files": found.files,
        "ledger_files": found.ledger_files,
        "compacted": found.compacted,
        "forgotten": str(found.forgotten) if found.forgotten else None,
        "statements": found.statements,
        "faults": listed(found.faults),
        "late": listed(found.late),
        "notes": listed(found.notes),
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def _correction(year: int, one: Correction) -> dict[str, Any]:
    return {
        "instance": one.instance,
        "closed_year": one.year,
        "line": one.line,
        "currency": one.currency,
        "closed": str(one.closed),
        "corrected": str(one.corrected),
        "recomputed": str(one.recomputed),
        "amount": str(one.amount),
        "statement": year,
    }
