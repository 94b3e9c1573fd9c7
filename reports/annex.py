"""The content of a customer's paper: a statement → texts and shares, laid out by `templates/annex.typ`. Pure.

The page is plain data (JSON): the template computes nothing but positions, and no text of a customer is ever
read as markup.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from itertools import groupby
from typing import Any, Final

from reports.charts import charts, quota_left
from reports.lines import Line, Note, Step
from reports.statement import Part, Statement
from reports.table import Words

Page = dict[str, Any]

_COLUMNS: Final = ("line", "quantity", "included", "billable", "unit_price", "amount")
# A longer name would push the page's number out of the foot.
_LONGEST_IN_FOOT: Final = 60
_CHANGE: Final = re.compile(r"(-?\d+\.\d\d) → (-?\d+\.\d\d) ([A-Z]{3})", re.ASCII)


def annex_page(statement: Statement, words: Words) -> Page:
    """Everything `templates/annex.typ` shows, as JSON-ready values; its keys are listed in that template."""
    customer = statement.customer
    title = words.text(f"annex.{statement.paper}_title", year=statement.year)
    return {
        "lang": words.language,
        "title": title,
        "subject": words.text(f"annex.{statement.paper}_subject"),
        "client": named(customer.client),
        "foot": [title, named(_shortened(customer.client))],
        "instance": customer.domain,
        "facts": [list(fact) for fact in _facts(statement, words)],
        "due": _due(statement, words),
        "head": [words.text(f"annex.{column}") for column in _COLUMNS],
        "groups": list(_groups(statement, words)),
        "totals": _totals(statement, words),
        "mention": words.vat_mention(statement.vat_terms),
        "charts": charts(statement, words),
        "coverage": _coverage(statement, words),
        "page": words.text("annex.page", page="{page}", pages="{pages}"),
    }


def named(name: str) -> Page:
    """A name, and whether it is written from right to left, by its first letter (Unicode Annex 9, rule P2)."""
    strong = (unicodedata.bidirectional(character) for character in name)
    return {"text": name, "rtl": next((kind for kind in strong if kind in ("L", "R", "AL")), "L") != "L"}


def written_money(amount: Decimal, currency: str, words: Words) -> str:
    """An amount as the papers write it: with a minus sign, not a hyphen, that stays with its number."""
    return words.money(amount, currency).replace("-", "\u2212")


def written_amount(amount: Decimal, words: Words) -> str:
    """An amount without its currency, for columns that say it once."""
    sign = "\u2212" if amount < 0 else ""
    return sign + words.number(Fraction(abs(amount)), 2)


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_IN_FOOT else f"{name[:_LONGEST_IN_FOOT].rstrip()}…"


def _due(statement: Statement, words: Words) -> Page:
    """The amount due and what it is made of, in a few words."""
    total = written_money(statement.total, statement.currency, words)
    charged = words.text("annex.before_vat_of", total=total)
    return {
        "label": _due_label(statement, words),
        "amount": written_money(statement.total_with_vat, statement.currency, words),
        "before_vat": charged if statement.vat_percent else "",
        "estimated": words.text("annex.estimated") if statement.estimated else "",
    }


def _due_label(statement: Statement, words: Words) -> str:
    return words.text("annex.total_with_vat" if statement.vat_percent else "annex.total_without_vat")


def _facts(statement: Statement, words: Words) -> Iterator[tuple[str, str]]:
    """Whose statement it is, for which period, by which price list: label and value."""
    yield words.text("annex.instance"), statement.customer.domain
    if not statement.parts:
        return
    first, last = statement.window.first_day, statement.window.last_day
    yield words.text("annex.period"), f"{words.day(first)} – {words.day(last)}"
    yield words.text("annex.months_billed"), words.text("annex.months_of", months=statement.months)
    if len(statement.parts) == 1:
        since = words.day(statement.version.valid_from)
        yield words.text("annex.tariff"), words.text("annex.tariff_of", name=statement.tariff, day=since)


def _totals(statement: Statement, words: Words) -> list[list[str]]:
    """Label and amount: before VAT, VAT where it is charged, due."""
    rows = [(words.text("annex.total"), statement.total)]
    if statement.vat_terms.treatment in ("standard", "percent"):
        rows.append((words.text("annex.vat", percent=words.percent(statement.vat_percent)), statement.vat))
    rows.append((_due_label(statement, words), statement.total_with_vat))
    return [[label, written_money(amount, statement.currency, words)] for label, amount in rows]


def _groups(statement: Statement, words: Words) -> Iterator[Page]:
    """The lines, by period of the contract where there are several, then what is billed once."""
    several = len(statement.parts) > 1

    def group_of(line: Line) -> int:
        return line.part if line.measured else -1

    for number, lines in groupby(statement.lines, key=group_of):
        title = ""
        if number >= 0 and several:
            title = _period(statement.parts[number], words)
        elif number < 0 and statement.parts:
            title = words.text("annex.billed_once")
        yield {"title": title, "lines": [_line(line, statement, words) for line in lines]}


def _period(part: Part, words: Words) -> str:
    first, last = part.window.first_day, part.window.last_day
    return words.text("notes.period", first=words.day(first), last=words.day(last), text=part.tariff)


def _line(line: Line, statement: Statement, words: Words) -> Page:
    graduated = line.name == "active_users" and line.billed
    price = words.price(line.unit_price, statement.currency) if line.unit_price is not None else ""
    return {
        "label": words.label(line),
        "details": [detail for detail in _details(line, statement, words) if detail],
        "quantity": _in_unit(line, words),
        "included": _billing_unit(line, line.included, words),
        "billable": _billing_unit(line, line.billable, words),
        "unit_price": words.text("annex.graduated") if graduated else price,
        "amount": written_money(line.amount, statement.currency, words)
        if line.billed
        else words.text("notes.not_billed"),
        "billed": line.billed,
    }


def _details(line: Line, statement: Statement, words: Words) -> Iterator[str]:
    """What stands below a line's label: how it is measured, how its amount comes about, what was agreed."""
    if not line.measured:
        yield words.text(f"annex.{line.name}_of", day=words.day(line.day)) if line.day else ""
        yield "" if line.label == words.label(line) else _figures(line.label, words)
        return
    measure, calculation = words.text(f"measures.{_measure(line, statement)}"), _calculation(line, statement, words)
    yield words.text("annex.measure_and", measure=measure, calculation=calculation) if calculation else measure
    yield from (words.note(note, statement.year, iso=False) for note in line.notes if note.kind == "condition")
    if line.estimated:
        yield words.text("annex.estimated_line")


def _figures(text: str, words: Words) -> str:
    """The two amounts that a correction goes from and to, in the paper's language."""

    def written(found: re.Match[str]) -> str:
        before, after = (written_money(Decimal(found[place]), found[3], words) for place in (1, 2))
        return words.text("annex.from_to", before=before, after=after)

    return _CHANGE.sub(written, text)


def _part(line: Line, statement: Statement) -> Part:
    return statement.parts[line.part]


def _measure(line: Line, statement: Statement) -> str:
    """Which measure a line is taken by: the tariff's choice, or the only one there is."""
    version = _part(line, statement).version
    if line.name == "active_users":
        return version.active_users.measure if version.active_users else "mean_monthly"
    if line.name == "documents":
        return version.documents.measure if version.documents else "mean_daily"
    return line.name


def _in_unit(line: Line, words: Words) -> str:
    """A quantity: months, documents in GB, a contract's own unit, or a number; a dash where there is no sample."""
    quantity = line.quantity
    if not line.measured:
        if quantity is None:
            return ""
        return f"{words.exact_number(quantity)} {line.unit}".rstrip()
    if quantity is None:
        return words.text("annex.gap")
    if line.name == "base":
        return words.text("month_count" if quantity == 1 else "months_count", count=words.number(quantity))
    number = words.gigabytes(quantity) if line.name == "documents" else words.number(quantity)
    return words.text("annex.about", number=number) if line.estimated else number


def _billing_unit(line: Line, count: int | None, words: Words) -> str:
    """A quota or a billed quantity, in the unit that is billed."""
    if count is None:
        return ""
    number = words.number(count)
    return words.text("gigabytes", number=number) if line.name == "documents" else number


def _calculation(line: Line, statement: Statement, words: Words) -> str:
    """How the amount comes about, such as `(20 × 40,00 € + 3 × 30,00 €) × 10/12`; empty where it is plain."""
    months = _part(line, statement).months
    share = f"{months}/12"
    if line.name == "base":
        return words.text("steps.prorated", months=months) if line.prorated else ""
    if not line.billed or line.billable is None:
        return ""
    if not line.steps:
        left = quota_left(line, words)
        return left["text"] if left else ""
    parts = [_step(line, step, statement, words) for step in line.steps]
    text = " + ".join(parts)
    version = _part(line, statement).version
    if line.name == "emails" and version.emails and months < 12:
        quota = words.number(version.emails.included)
        return words.text("steps.quota", step=text, quota=quota, share=share)
    if not line.prorated:
        return text
    return f"({text}) × {share}" if len(parts) > 1 else f"{text} × {share}"


def _step(line: Line, step: Step, statement: Statement, words: Words) -> str:
    price = words.price(step.price, statement.currency)
    count = words.number(step.count)
    emails = _part(line, statement).version.emails
    if line.name == "emails" and emails:
        key = "steps.block" if step.count == 1 else "steps.blocks"
        return words.text(key, count=count, per=words.number(emails.per), price=price)
    key = "steps.gigabytes" if line.name == "documents" else "steps.times"
    return words.text(key, count=count, price=price)


def _coverage(statement: Statement, words: Words) -> Page:
    """On how many days each measure rests, and what is missing of it; nothing on an opening's paper."""
    measured = [line for line in statement.lines if line.measured and line.name != "base"]
    several = len(statement.parts) > 1
    # What rests on the same days, and lacks the same, is said once.
    alike: dict[tuple[str, str, str], list[str]] = {}
    for line in measured:
        months = f" ({_months(_part(line, statement), words)})" if several else ""
        remarks = [words.note(note, statement.year, iso=False) for note in line.notes if _of_gaps(note)]
        found = months, _days(line, words), words.text("separator").join(remarks)
        alike.setdefault(found, []).append(words.text(f"lines.{line.name}"))
    rows = [[", ".join(labels) + months, days, remarks] for (months, days, remarks), labels in alike.items()]
    return {
        "title": words.text("annex.coverage_title"),
        "head": [words.text(f"annex.{column}") for column in ("line", "sampled", "missing")],
        "rows": rows,
        "text": words.text("annex.coverage_text") if rows else "",
    }


def _months(part: Part, words: Words) -> str:
    first, last = part.window.first_month, part.window.last_month
    return words.short_month(first) if first == last else f"{words.short_month(first)}–{words.short_month(last)}"


def _of_gaps(note: Note) -> bool:
    return note.kind not in ("not_billed", "condition", "period")


def _days(line: Line, words: Words) -> str:
    """Days sampled of days expected; for what is recorded once a year, whether it was."""
    if line.name == "collabora_users":
        return "" if line.quantity is None else words.text("annex.recorded")
    key = "annex.all_days" if line.days_sampled == line.days_expected else "annex.days_of"
    sampled, expected = (words.number(Fraction(days or 0)) for days in (line.days_sampled, line.days_expected))
    return words.text(key, sampled=sampled, expected=expected)
