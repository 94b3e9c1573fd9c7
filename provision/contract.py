"""What was agreed with a customer: periods, particular conditions, one-off lines, VAT; the values of `contract:`.

`contract: {starts, ends, tariff}` is a whole contract; every other key may be left out. docs/reports.md says what each
of them does to a statement.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from provision.settings import Language, Section

# The sections of a tariff, and of a statement's measured lines (docs/reports.md).
TariffSection = Literal["base", "active_users", "sms", "emails", "documents", "collabora_users"]
VatTreatment = Literal["standard", "percent", "exempt", "reverse_charge"]

_DECIMAL = re.compile(r"\d{1,9}(\.\d{1,6})?", re.ASCII)


def decimal_number(value: object) -> Decimal:
    """A decimal number written as text, 0 or more, at most 9 digits before and 6 after the dot. Else a ValueError."""
    if isinstance(value, Decimal):
        value = f"{value:f}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f'is a bare number, which is not exact: write it between quotes, "{value}"')  # noqa: TRY004
    if not isinstance(value, str):
        raise ValueError('expected a decimal number between quotes, such as "40.00"')  # noqa: TRY004
    if value.startswith("-"):
        raise ValueError(f'is negative: "{value}"')
    if not _DECIMAL.fullmatch(value):
        raise ValueError(f'"{value}" is not a decimal number: digits and a dot, such as "40.00"')
    return Decimal(value)


def _tariff_key(text: str) -> str:
    if not re.fullmatch(rf"({'|'.join(get_args(TariffSection))})(\.[a-z_]+)?", text):
        raise ValueError(f'"{text}" is neither a section of a tariff nor a key in one, such as active_users.included')
    return text


def _vat_number(text: str) -> str:
    if not re.fullmatch(r"[A-Z]{2}[0-9A-Z]{2,13}", text):
        raise ValueError("is not a VAT number: two capitals and the rest without spaces, such as BE0123456789")
    return text


DecimalText = Annotated[Decimal, BeforeValidator(decimal_number)]
TariffName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Year = Annotated[int, Field(ge=2000, le=2999)]
# One line of print: no control characters.
ShortText = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]+$")]


class Period(Section):
    """Days that are billed by one price list. `ends` is the last day, None while the period runs."""

    starts: date
    ends: date | None = None
    tariff: TariffName

    @model_validator(mode="after")
    def _in_order(self) -> Period:
        if self.ends and self.ends < self.starts:
            raise ValueError(f"ends {self.ends} is before starts {self.starts}")
        return self


class EarlierPeriod(Period):
    """A period before the one that the contract itself names; it has an end."""

    ends: date


class Override(Section):
    """A particular condition: `value` instead of what the price list says at `key`, in the years `since` to `until`.

    `key` is a section of the tariff (`sms`; a value of None takes the section away) or a key in one
    (`active_users.included`). What the value may be is the tariff's to say. `reason` is printed.
    """

    key: Annotated[str, AfterValidator(_tariff_key)]
    value: Any
    reason: ShortText
    since: Year | None = None
    until: Year | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Override:
        if self.since and self.until and self.until < self.since:
            raise ValueError(f"until {self.until} is before since {self.since}")
        return self

    @property
    def section(self) -> str:
        """The section of the tariff, which is also the name of the statement's line."""
        return self.key.partition(".")[0]

    def holds_in(self, year: int) -> bool:
        """Whether the condition holds in `year`; a side that is left out is open."""
        return (self.since or year) <= year <= (self.until or year)


class Extra(Section):
    """A line that is billed once, in the year of `day`: a data migration, a training; or a credit, which is taken off.

    Either `amount`, before VAT, or `quantity` × `unit_price`; both of them 0 or more, also for a credit.
    """

    day: date
    kind: Literal["one-off", "credit"] = "one-off"
    label: ShortText
    amount: DecimalText | None = None
    quantity: DecimalText | None = None
    unit: ShortText | None = None
    unit_price: DecimalText | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Extra:
        by_unit = self.quantity is not None and self.unit_price is not None
        if (self.amount is None) != by_unit:
            raise ValueError("expected either amount, or quantity and unit_price")
        if self.amount is not None and (self.quantity is not None or self.unit_price is not None):
            raise ValueError("has amount beside quantity or unit_price: which of them holds cannot be told")
        if self.amount is not None and self.amount != round(self.amount, 2):
            raise ValueError(f'amount "{self.amount}" has more than two decimals')
        return self


class Mention(Section):
    """A sentence by language; None: that of the toolkit."""

    fr: ShortText | None = None
    en: ShortText | None = None
    nl: ShortText | None = None

    def in_language(self, language: Language) -> str | None:
        """The sentence in one language."""
        return {"fr": self.fr, "en": self.en, "nl": self.nl}[language]


class Vat(Section):
    """How VAT is charged. `standard`: at the tariff's rate; `percent`: at the rate given here; else not at all.

    `customer_number` is the customer's VAT number, mandatory for a reverse charge. `mention` replaces, by language,
    the legal mention that the papers print when no VAT is charged.
    """

    treatment: VatTreatment = "standard"
    percent: Annotated[DecimalText, Field(le=100)] | None = None
    customer_number: Annotated[str, AfterValidator(_vat_number)] | None = None
    mention: Mention = Mention()

    @model_validator(mode="after")
    def _complete(self) -> Vat:
        if self.treatment == "percent" and self.percent is None:
            raise ValueError('percent is missing: the rate, such as "6"')
        if self.treatment != "percent" and self.percent is not None:
            raise ValueError(f"percent is given, but the treatment is {self.treatment}: make it percent")
        if self.treatment == "reverse_charge" and self.customer_number is None:
            raise ValueError("customer_number is missing: a reverse charge needs the customer's VAT number")
        return self


class OpeningInvoice(Section):
    """What was invoiced at the opening of the instance: on which day, and how much, before VAT."""

    day: date
    amount: DecimalText


class Contract(Period):
    """What is billed from when to when, by which price list, and all that was agreed beside it.

    `starts`, `ends` and `tariff` are those of the latest period; `periods` are the earlier ones.
    """

    periods: tuple[EarlierPeriod, ...] = ()
    overrides: tuple[Override, ...] = ()
    extras: tuple[Extra, ...] = ()
    vat: Vat = Vat()
    opening_invoiced: OpeningInvoice | None = None

    @property
    def history(self) -> tuple[Period, ...]:
        """All periods in order of time, the latest one included."""
        latest = Period(starts=self.starts, ends=self.ends, tariff=self.tariff)
        return (*sorted(self.periods, key=lambda period: period.starts), latest)

    @property
    def opens(self) -> date:
        """The first day of the first period: the installation."""
        return min((period.starts for period in self.periods), default=self.starts)

    @model_validator(mode="after")
    def _periods_apart(self) -> Contract:
        for earlier, later in itertools.pairwise(self.history):
            ends = earlier.ends or date.max
            if later.starts <= ends:
                raise ValueError(f"the period from {later.starts} starts before the one before it ends, on {ends}")
            if (later.starts.year, later.starts.month) == (ends.year, ends.month):
                raise ValueError(
                    f"the period from {later.starts} starts in the month in which the one before it ends: a month is "
                    "billed whole and once, so let the later one start on the 1st of the next month"
                )
        return self

    @model_validator(mode="after")
    def _one_value_a_year(self) -> Contract:
        for one, other in itertools.combinations(self.overrides, 2):
            whole = "." not in one.key or "." not in other.key
            same = one.key == other.key or (whole and one.section == other.section)
            later = max(one.since or 0, other.since or 0)
            if same and later <= min(one.until or 9999, other.until or 9999):
                raise ValueError(f"{one.key} is overridden twice for the same year: which of them holds cannot be told")
        return self

    @model_validator(mode="after")
    def _extras_are_billed(self) -> Contract:
        for extra in self.extras:
            if not covered(self.history, extra.day.year):
                raise ValueError(
                    f"the extra of {extra.day} ({extra.label}) is in a year that the contract does not cover: "
                    "no statement would bill it"
                )
        return self


def covered(periods: Sequence[Period], year: int) -> bool:
    """Whether one of the periods touches `year`."""
    return any(period.starts.year <= year and (period.ends is None or period.ends.year >= year) for period in periods)
