"""A year worked out a second time, from the ledger's text and the contract's words alone: no code of the toolkit.

Ledger, tariff and contract are drawn from a seed; `files` writes the ledger as docs/ledger-format.md has it, with days
counted again by a later run, counts that failed, several sources and days without any; `expected` gives the rows of
`usage-<YEAR>.csv` by the formulas of docs/reports.md.
"""

from __future__ import annotations

from calendar import monthrange
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor
from pathlib import Path
from random import Random

YEAR = 2026
SOURCES = ("srv1.example.net", "srv2.example.net")
METRICS = {
    "active_users": "active_users",
    "sms": "sms_sent",
    "emails": "emails_sent",
    "documents": "document_bytes",
    "collabora_users": "collabora_users",
}
UNITS = {
    "base": "months",
    "active_users": "users",
    "sms": "messages",
    "emails": "recipients",
    "documents": "bytes",
    "collabora_users": "users",
}
SAMPLES = "day,instance,metric,value,status,source,collected_at,note\n"
USERS = "day,instance,user\n"


@dataclass(frozen=True)
class Agreed:
    """A price list, and the first and last day of a contract."""

    prices: dict[str, dict[str, object]]
    vat: Decimal
    starts: date
    ends: date | None


def agreed(random: Random) -> Agreed:
    """A price list of which any section but the base may be absent, and a contract that touches the year."""

    def price(most: int) -> str:
        return str(Decimal(random.randrange(most)) / random.choice((100, 1000)))

    bound = random.randint(1, 4)
    prices: dict[str, dict[str, object]] = {
        "base": {"price": price(90000)},
        "active_users": {
            "measure": random.choice(("mean_monthly", "peak_monthly", "distinct_year")),
            "included": random.randint(0, 4),
            "tiers": [(bound, price(5000)), (bound + 3, price(5000)), (None, price(5000))],
        },
        "sms": {"price": price(200)},
        "emails": {"included": random.randint(0, 900), "per": random.randint(1, 100), "price": price(200)},
        "documents": {
            "measure": random.choice(("mean_daily", "peak_daily", "last")),
            "included_gb": random.randint(0, 4),
            "price": price(300),
        },
        "collabora_users": {"included": random.randint(0, 2), "price": price(3000)},
    }
    for name in list(prices)[1:]:
        if random.random() < 0.15:
            del prices[name]
    starts = date(YEAR - 1, 1, 1) + timedelta(days=random.randrange(600))
    late = date(YEAR, 12, 31) - max(starts, date(YEAR, 1, 1))
    ends = max(starts, date(YEAR, 1, 1)) + timedelta(days=random.randrange(late.days + 200))
    vat = Decimal(random.choice(("21", "6", "0", "7.7")))
    return Agreed(prices, vat, starts, None if random.random() < 0.4 else ends)


def tariff_text(one: Agreed) -> str:
    """The price list as its file says it; a version before it and one within the year change nothing."""
    lines = ['currency = "EUR"', f'vat_percent = "{one.vat}"']
    for since, factor in ((f"{YEAR - 3}-01-01", 1), (f"{one.starts.year + 1}-06-02", 0)):
        lines += ["[[version]]", f"valid_from = {since}"]
        for name, section in one.prices.items():
            if factor or name == "base":
                lines.append(f"[version.{name}]")
                lines += [f"{key} = {_value(value)}" for key, value in section.items()]
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    if isinstance(value, list):
        tiers = [f'{{{f"up_to = {top}, " if top else ""}price = "{price}"}}' for top, price in value]
        return f"[{', '.join(tiers)}]"
    return str(value) if isinstance(value, int) else f'"{value}"'


def files(random: Random, slugs: list[str]) -> dict[str, str]:
    """The files of a ledger's year by name."""
    found: dict[str, str] = {}
    for month in range(1, 13):
        if random.random() < 0.15:
            continue  # A month without any sample.
        for day in sorted(random.sample(range(1, monthrange(YEAR, month)[1] + 1), 4)):
            for number, source in enumerate(SOURCES):
                for run in range(random.choice((1, 1, 2))):
                    stamp = f"{YEAR + 1}0101T{month:02d}{day:02d}{10 * run + number:02d}Z"
                    samples, users = _run(random, f"{YEAR}-{month:02d}-{day:02d}", source, stamp, slugs)
                    name = f"{YEAR}-{month:02d}-{day:02d}.{source}.{stamp}"
                    found[f"{name}.samples.csv"], found[f"{name}.users.csv"] = samples, users
    return found


def _run(random: Random, day: str, source: str, stamp: str, slugs: list[str]) -> tuple[str, str]:
    at = f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]}T{stamp[9:11]}:{stamp[11:13]}:{stamp[13:15]}Z"
    samples, users = SAMPLES, USERS
    for slug in slugs:
        for metric in METRICS.values():
            kind = random.random()
            if kind < 0.2:
                continue
            people = random.sample(range(12), random.randint(0, 6))
            most = {"document_bytes": 4 * 10**9, "emails_sent": 200, "collabora_users": 4}.get(metric, 30)
            value = len(people) if metric == "active_users" else random.randint(0, most)
            told = "" if kind < 0.3 else str(value)
            status, note = ("failed", "no answer") if kind < 0.3 else ("ok", "")
            samples += f"{day},{slug},{metric},{told},{status},{source},{at},{note}\n"
            if metric == "active_users" and told:
                users += "".join(f"{day},{slug},{person:016x}\n" for person in people)
    return samples, users


class Counts:
    """What counts of a ledger's files: of each day, instance, metric and source the latest row that is `ok`."""

    def __init__(self, ledger: dict[str, str], slug: str) -> None:
        latest: dict[tuple[str, str, str], tuple[str, int, str]] = {}
        for name, text in ledger.items():
            for row in text.splitlines()[1:] if name.endswith(".samples.csv") else ():
                day, instance, metric, value, status, source, at, _ = row.split(",")
                key = (day, metric, source)
                if instance == slug and status == "ok" and at > latest.get(key, ("",))[0]:
                    latest[key] = (at, int(value), name)
        self.values: dict[str, dict[date, int]] = defaultdict(lambda: defaultdict(int))
        self.people: dict[int, set[str]] = defaultdict(set)
        for (day, metric, _), (_, value, name) in latest.items():
            self.values[metric][date.fromisoformat(day)] += value
            if metric == "active_users":
                for row in ledger[name.replace(".samples.", ".users.")].splitlines()[1:]:
                    of, instance, user = row.split(",")
                    if (of, instance) == (day, slug):
                        self.people[int(day[5:7])].add(user)


def half_up(value: Fraction) -> int:
    return floor(value + Fraction(1, 2))


def cents(amount: Fraction) -> Decimal:
    return Decimal(half_up(amount * 100)).scaleb(-2)


def expected(one: Agreed, ledger: dict[str, str], slug: str) -> Iterator[list[str]]:
    """The cells `line` to `days_expected` of every row of an instance; what is not known is empty."""
    counts = Counts(ledger, slug)
    first, last = max(one.starts, date(YEAR, 1, 1)), min(one.ends or date.max, date(YEAR, 12, 31))
    months = range(first.month, last.month + 1)
    share = Fraction(len(months), 12)
    total = Decimal(0)
    for name, unit in UNITS.items():
        section = one.prices.get(name)
        quantity = _quantity(name, section, counts, months)
        included, billable, unit_price, amount = _billed(name, section, quantity, share)
        total += amount
        days = (last - first).days + 1
        sampled = sum(first <= day <= last for day in counts.values[METRICS[name]]) if name != "base" else ""
        shown = "" if quantity is None else str(half_up(quantity))
        told = [name, shown, unit, included, billable, unit_price, f"{amount:.2f}", "EUR", str(len(months))]
        yield [*told, str(sampled), str(days) if name != "base" else ""]
    vat = cents(Fraction(total) * Fraction(one.vat) / 100)
    for name, amount in (("total", total), ("vat", vat), ("total_with_vat", total + vat)):
        yield [name, "", "", "", "", "", f"{amount:.2f}", "EUR", str(len(months)), "", ""]


def _quantity(name: str, section: dict[str, object] | None, counts: Counts, months: range) -> Fraction | None:
    if name == "base":
        return Fraction(len(months))
    values = counts.values[METRICS[name]]
    billed = {day: value for day, value in values.items() if day.month in months}
    if name == "collabora_users":
        return Fraction(values[max(values)]) if values else None
    if not billed:
        return None
    measure = (section or {}).get("measure", {"active_users": "mean_monthly", "documents": "mean_daily"}.get(name))
    if name == "active_users":
        sampled = [len(counts.people[month]) for month in sorted({day.month for day in billed})]
        if measure == "mean_monthly":
            return Fraction(half_up(Fraction(sum(sampled), len(sampled))))
        return Fraction(
            max(sampled) if measure == "peak_monthly" else len(set().union(*map(counts.people.get, months_of(billed))))
        )
    if name == "documents":
        if measure == "mean_daily":
            return Fraction(sum(billed.values()), len(billed))
        return Fraction(max(billed.values()) if measure == "peak_daily" else billed[max(billed)])
    return Fraction(sum(billed.values()))


def months_of(days: dict[date, int]) -> set[int]:
    return {day.month for day in days}


def _billed(
    name: str, section: dict[str, object] | None, quantity: Fraction | None, share: Fraction
) -> tuple[str, str, str, Decimal]:
    """The cells `included`, `billable`, `unit_price`, and the amount."""
    if section is None:
        return "", "", "", cents(Fraction(0))
    price = Fraction(str(section.get("price", 0)))
    shown = "" if name == "active_users" else str(section["price"])
    if name == "base":
        return "", str(int(share * 12)), shown, cents(price * share)
    quota = {
        "sms": 0,
        "emails": half_up(Fraction(int(str(section.get("included", 0)))) * share),
        "documents": section.get("included_gb"),
    }.get(name, section.get("included"))
    included = "" if name == "sms" else str(quota)
    if quantity is None:
        return included, "", shown, cents(Fraction(0))
    units = ceil(quantity / 10**9) if name == "documents" else half_up(quantity)
    billable = max(0, units - int(str(quota)))
    if name == "active_users":
        amount, below = Fraction(0), 0
        for top, each in section["tiers"]:  # type: ignore[attr-defined]
            upper = billable if top is None else min(billable, top)
            amount += max(0, upper - below) * Fraction(each)
            below = max(below, upper)
        return included, str(billable), shown, cents(amount * share)
    if name == "emails":
        return included, str(billable), shown, cents(ceil(Fraction(billable, int(str(section["per"])))) * price)
    return included, str(billable), shown, cents(billable * price * (1 if name == "sms" else share))


def write(directory: Path, ledger: dict[str, str]) -> None:
    """The files of a ledger's year into its directory."""
    (directory / str(YEAR)).mkdir(parents=True)
    for name, text in ledger.items():
        (directory / str(YEAR) / name).write_text(text, encoding="utf-8", newline="")
