"""What chill-meter takes from elsewhere: import sms; and what it forgets on the control machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metering.cli.ledger import load_the_fleet, today_of
from metering.cli.options import a_day, as_date, fleet_option, json_option, say
from provision.errors import InvalidFiles, PartlyDone, Problem, RequestError

if TYPE_CHECKING:
    from metering.ledger.import_sms import Imported
    from metering.ledger.provider_csv import Layout
    from provision.fleet import Fleet


@click.group("import")
def import_() -> None:
    """Take counts from elsewhere: sms."""


@import_.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option(
    "--map", "mapping", multiple=True, required=True, metavar="FIELD=COLUMN", help="What a column means; repeat."
)
@click.option("--account", "accounts", multiple=True, metavar="ACCOUNT=SLUG", help="Whose an account is; repeat.")
@click.option(
    "--accounts", "accounts_path", type=click.Path(path_type=Path), metavar="FILE", help="Lines of ACCOUNT=SLUG."
)
@click.option("--instance", default="", metavar="SLUG", help="All of FILE is this instance's.")
@click.option("--sent", multiple=True, metavar="TEXT", help="The texts of the status that count; repeat. Default: all.")
@click.option("--separator", default="", metavar="CHARACTER", help="Between cells; default: what the first line shows.")
@click.option("--encoding", default="utf-8-sig", metavar="NAME", help="Such as cp1252; default: UTF-8.")
@click.option(
    "--date-format", default="", metavar="FORMAT", help="As strftime has it: %d/%m/%Y %H:%M. Default: ISO 8601."
)
@click.option("--zone", default="", metavar="ZONE", help="Of times without an offset; default: the fleet's.")
@click.option("--since", type=a_day, metavar="DAY", help="First day that FILE covers; default: that of its first row.")
@click.option("--until", type=a_day, metavar="DAY", help="Last day that FILE covers; default: that of its last row.")
@click.option("--check", is_flag=True, help="Compare only; write nothing.")
@fleet_option
@json_option
def sms(file: Path, check: bool, fleet_path: str | None, as_json: bool, **said: Any) -> None:
    """Compare an SMS provider's CSV export with the ledger, and fill in the days that no log tells about.

    FIELD is one of: date, account, count (messages; default: 1 a row), credits, status. Where a server has counted a
    day, its number stays; a day on which the two disagree is named, and the exit status is 3. Nothing of FILE but
    counts is kept or shown. Run again, it changes nothing.

    \b
    Examples:
      chill-meter import sms export.csv --map date=Date --map account=Service --account sms-ab12345-1=acme
      chill-meter import sms jobs.csv --encoding cp1252 --date-format '%d/%m/%Y %H:%M' \\
        --map 'date=Date d’envoi' --map count=Nombre --map credits=Crédits --instance acme --check
    """
    fleet = load_the_fleet(fleet_path)
    from metering.ledger.import_sms import import_sms

    now = datetime.now(UTC)
    layout = _layout(fleet, said)
    today = today_of(fleet, now)
    period = as_date(said["since"], today), as_date(said["until"], today)
    found = import_sms(fleet, file, layout, period, now, write=not check)
    differing = [day for day in found.days if day.disagrees]
    if as_json:
        click.echo(json.dumps(_values(found), indent=2))
    else:
        for path in found.files:
            click.echo(path)
        say(_summary(found, check))
    if differing:
        lines = [
            f"    {one.instance} {one.day}: {one.ledger} in the ledger, {one.provider} at the provider"
            for one in differing
        ]
        hint = "the ledger's numbers stay; see the logs of these days, and `chill-meter record` for what they miss"
        raise PartlyDone("\n".join([f"the two disagree on {len(differing)} days:", *lines]), hint)


def _layout(fleet: Fleet, said: dict[str, Any]) -> Layout:
    from zoneinfo import ZoneInfo

    from metering.ledger.provider_csv import FIELDS, Layout

    named = _pairs("--map", said["mapping"], "date=Date")
    columns = {field: named[field] for field in FIELDS if field in named}
    for name in named.keys() - set(FIELDS):
        raise RequestError(f"--map: there is no field {name!r}", f"known: {', '.join(FIELDS)}")
    if "date" not in columns:
        raise RequestError("--map: the column of the date is missing", "--map date=COLUMN")
    if said["sent"] and "status" not in columns:
        raise RequestError("--sent: no column holds the status", "--map status=COLUMN")
    if len(said["separator"].replace("\\t", "\t")) > 1:
        raise RequestError("--separator: expected one character", "for example --separator ';'")
    try:
        "".encode(said["encoding"])
    except LookupError:
        raise RequestError("--encoding: there is no such encoding", "for example cp1252 or utf-8") from None
    try:
        zone = ZoneInfo(said["zone"] or fleet.settings.timezone)
    except (OSError, ValueError, KeyError):
        raise RequestError("--zone: is not a time zone that this machine knows", "for example Europe/Paris") from None
    return Layout(
        columns=columns,
        zone=zone,
        separator=said["separator"].replace("\\t", "\t"),
        encoding=said["encoding"],
        date_format=said["date_format"],
        accounts=_pairs("--account", said["accounts"], "sms-ab12345-1=acme") | _accounts_of(said["accounts_path"]),
        instance=said["instance"],
        sent=frozenset(said["sent"]),
    )


def _accounts_of(path: Path | None) -> dict[str, str]:
    """The pairs of a file: an account that is somebody's number does not belong on a command line."""
    if path is None:
        return {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise RequestError(f"--accounts: {path} cannot be read as UTF-8 text") from None
    wrong = [
        Problem(f"{path}: line {n}", "expected ACCOUNT=SLUG")
        for n, line in enumerate(lines, 1)
        if line and "=" not in line
    ]
    if wrong:
        raise InvalidFiles(wrong)
    return {account.strip(): slug.strip() for account, _, slug in (line.rpartition("=") for line in lines if line)}


def _pairs(option: str, texts: Sequence[str], example: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=") if option == "--map" else text.rpartition("=")
        if not (name and equals and value):
            raise RequestError(f"{option}: expected NAME=VALUE", f"for example {option} {example}")
        pairs[name.strip()] = value.strip()
    return pairs


def _summary(found: Imported, check: bool) -> str:
    gaps = [day for day in found.days if day.ledger is None]
    filled = sum(1 for day in found.days if day.write is not None)
    compared = len(found.days) - len(gaps)
    rows = f"{found.export.rows} rows from {found.first} to {found.last}"
    parts = [rows, f"{compared} days compared", f"{len(gaps)} days without a log"]
    parts.append(f"{filled} to be written" if check else f"{filled} written")
    if found.left_out:
        parts.append(f"{found.left_out} messages of today or outside the period left out")
    if found.export.unsent:
        parts.append(f"{found.export.unsent} rows were not sent")
    return "; ".join(parts)


def _values(found: Imported) -> dict[str, Any]:
    def day(one: Any) -> dict[str, Any]:
        return {"day": one.day.isoformat(), "instance": one.instance, "provider": one.provider, "ledger": one.ledger}

    return {
        "rows": found.export.rows,
        "unsent_rows": found.export.unsent,
        "left_out": found.left_out,
        "first": found.first.isoformat() if found.first else None,
        "last": found.last.isoformat() if found.last else None,
        "days": [{**day(one), "write": one.write} for one in found.days],
        "disagreements": [day(one) for one in found.days if one.disagrees],
        "files": [str(path) for path in found.files],
    }


def forget_in_the_ledger(fleet_path: str, year: int, as_json: bool) -> None:
    """`chill-meter forget YEAR --fleet DIR`."""
    fleet = load_the_fleet(fleet_path)
    from metering.ledger.forget import forget

    done = forget(fleet, year, datetime.now(UTC))
    if as_json:
        values = {"year": year, "counts": str(done.counts) if done.counts else None, "people": done.people}
        click.echo(json.dumps(values))
    elif done.counts:
        click.echo(done.counts)
        say(f"{year} is forgotten in the ledger: of {done.people} people, counts are left")
    else:
        say(f"the ledger holds nothing of {year}")
