"""Price lists: `tariffs/<name>.toml` become frozen, validated values; every fault is reported at once.

A tariff is a currency, a VAT rate and a list of versions, each with the day from which it is in force. Money is
`Decimal` and is written as text, because a TOML float has already lost the price that was meant.
"""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from provision.contract import DecimalText
from provision.errors import Problem

UserMeasure = Literal["mean_monthly", "peak_monthly", "distinct_year"]
DocumentMeasure = Literal["mean_daily", "peak_daily", "last"]

Count = Annotated[int, Field(ge=0, le=10**15)]


class _Table(BaseModel):
    """A table of a tariff: immutable, no key it does not know, no value bent into another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Base(_Table):
    """The base fee, per year."""

    price: DecimalText


class Tier(_Table):
    """A price per user and year for the billable users up to the `up_to`-th; None: for all the others."""

    price: DecimalText
    up_to: Annotated[int, Field(ge=1)] | None = None


class ActiveUsers(_Table):
    """Active users: how they are measured, how many the base fee includes, graduated prices above that."""

    measure: UserMeasure
    included: Count = 0
    tiers: Annotated[tuple[Tier, ...], Field(strict=False)]

    @field_validator("tiers")
    @classmethod
    def _in_order(cls, tiers: tuple[Tier, ...]) -> tuple[Tier, ...]:
        if not tiers:
            raise ValueError("is empty, expected one or more")
        if tiers[-1].up_to is not None:
            raise ValueError("the last tier must have no up_to, so that every user has a price")
        bounds = [tier.up_to for tier in tiers[:-1]]
        if None in bounds:
            raise ValueError("only the last tier may do without up_to")
        numbers = [bound for bound in bounds if bound is not None]
        if any(later <= earlier for earlier, later in itertools.pairwise(numbers)):
            raise ValueError(f"up_to must increase from tier to tier, not {', '.join(map(str, numbers))}")
        return tiers


class Sms(_Table):
    """SMS: a price for each."""

    price: DecimalText


class Emails(_Table):
    """E-mails: a quota per full year, then a price per started block of `per`."""

    included: Count = 0
    per: Annotated[int, Field(ge=1)]
    price: DecimalText


class Documents(_Table):
    """Documents: a quota in GB (10^9 bytes), then a price per started GB and year."""

    measure: DocumentMeasure
    included_gb: Annotated[int, Field(ge=0, le=10**9)] = 0
    price: DecimalText


class CollaboraUsers(_Table):
    """Collabora users: a price per user and year above `included`."""

    included: Count = 0
    price: DecimalText


class Version(_Table):
    """The prices in force from a day on. An absent section is not billed."""

    valid_from: date
    base: Base
    active_users: ActiveUsers | None = None
    sms: Sms | None = None
    emails: Emails | None = None
    documents: Documents | None = None
    collabora_users: CollaboraUsers | None = None


class Tariff(_Table):
    """A price list. `versions` are sorted by the day from which they are in force."""

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    vat_percent: DecimalText
    versions: Annotated[tuple[Version, ...], Field(alias="version", strict=False)]

    @field_validator("vat_percent")
    @classmethod
    def _a_share(cls, percent: Decimal) -> Decimal:
        if percent > 100:
            raise ValueError(f'"{percent}" is more than 100')
        return percent

    @field_validator("versions")
    @classmethod
    def _sorted(cls, versions: tuple[Version, ...]) -> tuple[Version, ...]:
        if not versions:
            raise ValueError("is empty, expected one or more")
        return tuple(sorted(versions, key=lambda version: version.valid_from))

    def in_force(self, year: int, starts: date) -> Version | None:
        """The version that holds all `year` for a contract from `starts` on; None when none is in force.

        It is the one in force on 1 January, or, in the contract's first year, on its start.
        """
        day = max(date(year, 1, 1), starts)
        found = [version for version in self.versions if version.valid_from <= day]
        return found[-1] if found else None


def read_tariff(path: Path) -> tuple[Tariff | None, Sequence[Problem]]:
    """Read `tariffs/<name>.toml`: the tariff, or every problem in it, each with its key."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None, [Problem(place(path), "there is no such tariff", "write it, or name another one in the contract")]
    except OSError as error:
        return None, [Problem(place(path), f"cannot be read: {error.strerror}")]
    except UnicodeDecodeError:
        return None, [Problem(place(path), "is not UTF-8 text")]
    return parse_tariff(text, place(path))


def parse_tariff(text: str, where: str) -> tuple[Tariff | None, Sequence[Problem]]:
    """The tariff that `text` (TOML) says, or every problem in it. `where` names the file in problems."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return None, [Problem(where, f"is not TOML: {error}")]
    # Looked for in the document itself, so that it is reported beside the other faults.
    problems = list(_overlaps(document.get("version"), where))
    try:
        tariff = Tariff.model_validate(document)
    except ValidationError as error:
        return None, sorted([*problems, *_problems(error, where)])
    return (None, problems) if problems else (tariff, [])


def place(path: Path) -> str:
    """A tariff's file as an adminsys names it, from the fleet directory."""
    return f"tariffs/{path.name}"


def _overlaps(versions: object, where: str) -> Iterator[Problem]:
    """Versions that are in force from the same day on: which of them would hold cannot be told."""
    first: dict[date, int] = {}
    for number, version in enumerate(versions if isinstance(versions, list) else (), start=1):
        day = version.get("valid_from") if isinstance(version, dict) else None
        if not isinstance(day, date):
            continue
        if day in first:
            message = f"{day} is also the start of version[{first[day]}]: the two overlap"
            yield Problem(f"{where}: version[{number}].valid_from", message, "give each version a day of its own")
        first.setdefault(day, number)


def version_faults(error: ValidationError) -> Iterator[tuple[str, str]]:
    """Each fault that validation found: its key as in the file, and what is wrong with it."""
    for fault in error.errors(include_url=False):
        yield _key(fault["loc"]), _fault_text(fault)


def _problems(error: ValidationError, where: str) -> Iterator[Problem]:
    for key, message in version_faults(error):
        yield Problem(f"{where}: {key}" if key else where, message)


def _key(location: tuple[int | str, ...]) -> str:
    """A key as in the file; elements of lists are counted from 1: `version[2].sms.price`."""
    key = ""
    for part in location:
        if isinstance(part, int):
            key += f"[{part + 1}]"
        elif part != "versions":
            key += f".{part}" if key else part
    return key


def _fault_text(fault: Any) -> str:
    """What is wrong with one key, in the words of this toolkit."""
    given = fault["input"].isoformat() if isinstance(fault["input"], date) else fault["input"]
    limits = fault.get("ctx", {})
    known = {
        "missing": "is missing",
        "extra_forbidden": "is not a key that is known here",
        "int_type": f"is {given!r}, expected a whole number",
        "greater_than_equal": f"is {given!r}, expected {limits.get('ge')} or more",
        "less_than_equal": f"is {given!r}, expected {limits.get('le')} or less",
        "date_type": f"is {given!r}, expected a date without quotes and without a time, such as 2026-01-01",
        "string_type": f"is {given!r}, expected text between quotes",
        "string_pattern_mismatch": f"is {given!r}, expected the three capitals of a currency, such as EUR",
        "literal_error": f"is {given!r}, expected one of {limits.get('expected')}",
        "model_type": "expected a table",
        "tuple_type": "expected a list of tables",
    }
    return known.get(fault["type"], str(fault["msg"])).removeprefix("Value error, ")
