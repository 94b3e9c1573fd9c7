"""Every row of the CSV is what the published formulas give, worked out a second time from the ledger's text."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest

from metering.ledger.store import open_ledger
from provision.contract import Contract
from reports.billing import bill
from reports.statement import Customer
from reports.table import words
from reports.to_csv import monthly_csv, usage_csv
from tests.unit.reports.recomputed import YEAR, Counts, agreed, expected, files, tariff_text, write

CUSTOMERS = 4


@pytest.mark.parametrize("seed", range(6))
def test_every_amount_is_what_the_published_formulas_give(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    terms = {f"c{number}": agreed(random) for number in range(CUSTOMERS)}
    ledger = files(random, list(terms))
    write(tmp_path / "ledger", ledger)
    (tmp_path / "tariffs").mkdir()
    customers = {}
    for slug, one in terms.items():
        (tmp_path / "tariffs" / f"{slug}.toml").write_text(tariff_text(one), encoding="utf-8")
        contract = Contract(starts=one.starts, ends=one.ends, tariff=slug)
        customers[slug] = Customer(slug, f"Client {slug}", f"{slug}.chill.pro", contract)
    made = bill(customers, tmp_path / "tariffs", open_ledger(tmp_path / "ledger", years=[YEAR]), YEAR)
    rows = list(csv.reader(io.StringIO(usage_csv(made, words("en")))))[1:]
    told = [[row[1], *_plain(row[3:14])] for row in rows]
    assert told == [[slug, *_plain(cells)] for slug, one in terms.items() for cells in expected(one, ledger, slug)]
    for row in csv.DictReader(io.StringIO(monthly_csv(made))):
        counts = Counts(ledger, row["instance"])
        sampled = [day for day in counts.values["active_users"] if day.month == int(row["month"])]
        assert row["active_users"] == (str(len(counts.people[int(row["month"])])) if sampled else "")
        sms = [value for day, value in counts.values["sms_sent"].items() if day.month == int(row["month"])]
        assert row["sms"] == (str(sum(sms)) if sms else "")


def _plain(cells: list[str]) -> list[str]:
    """The price is compared as a number: 0.5 is 0.50."""
    return [str(Decimal(cell).normalize()) if number == 5 and cell else cell for number, cell in enumerate(cells)]
