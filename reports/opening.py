"""The verb `opening`: what is invoiced when an instance opens, for the first year, before anything was used.

It is the base fee from the installation (the first day of the contract) to December, or to the end of the contract, and
the one-off lines and credits that are dated until then. Once it was invoiced, `contract.opening_invoiced` says so, and
the statement of the first year takes its amount off. See docs/decisions/0010-opening-and-annual.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from metering.ledger.usage import MONTHS, MonthUsage, YearUsage
from provision.fleet import Fleet
from provision.settings import Language
from reports.annex import annex_page
from reports.billing import charge, checked_terms, customer_of
from reports.extras import extra_lines
from reports.staging import staging
from reports.statement import Customer, Statement, with_lines
from reports.table import words
from reports.to_csv import usage_csv
from reports.to_pdf import Press


@dataclass(frozen=True, slots=True)
class Opening:
    """What a run made: the statement and the files, CSV and PDF."""

    statement: Statement
    files: tuple[Path, ...]


def opening(fleet: Fleet, slug: str, until: date, out: Path, language: Language) -> Opening:
    """Write the opening's papers of an instance into `out`. RequestError or InvalidFiles when nothing was written."""
    customer = customer_of(fleet.instance(slug))
    with staging(out) as stage:
        statement = opening_statement(customer, fleet.tariffs, until)
        text = words(language)
        name = f"{slug}-opening-{statement.year}"
        stage.write(f"{name}.csv", usage_csv([statement], text))
        stage.write(f"{name}.pdf", Press.for_fleet(fleet, statement.year, text).annex(annex_page(statement, text)))
        return Opening(statement, stage.publish())


def opening_statement(customer: Customer, tariffs: Path, until: date) -> Statement:
    """The base lines of the contract's first year, and its one-off lines and credits with a day not after `until`.

    InvalidFiles when a tariff or a particular condition is wrong.
    """
    contract = customer.contract
    year = contract.opens.year
    terms = checked_terms({customer.instance: customer}, tariffs, year)[customer.instance]
    whole = charge(terms, [_nothing_yet(customer.instance, year)] * len(terms.parts))
    base = [line for line in whole.lines if line.name == "base"]
    extras = extra_lines(contract, year, until)
    return with_lines(replace(whole, lines=(), paper="opening"), [*base, *extras])


def _nothing_yet(instance: str, year: int) -> YearUsage:
    """A year of which nothing is counted."""
    return YearUsage(
        instance=instance,
        year=year,
        months=tuple(MonthUsage(month) for month in MONTHS),
        distinct_users=None,
        sms=None,
        emails=None,
        document_bytes_total=None,
        document_days=0,
        document_bytes_peak=None,
        document_bytes_last=None,
        collabora_users=None,
        days_sampled={},
    )
