"""Opened in LibreOffice by someone in France, all numbers are numbers, and formulas come to what is billed."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from openpyxl import load_workbook

from provision.contract import Vat
from reports.lines import Line
from reports.statement import Statement, with_lines
from reports.table import words
from reports.to_csv import FRENCH, monthly_csv, usage_csv
from reports.to_xlsx import workbook
from tests.integration.office import Office, Table
from tests.unit.reports.printed import case
from tests.unit.reports.years import statement_of

YEAR = 2026
CASES = ("full-year", "gaps", "extras", "two-periods", "advance", "estimated")
RATES = ("6", "20", "21", "5.5", "19.25", "0")
# Language of the import dialogue: English (USA), which reads decimal dots.
DOTS = "44,34,76,1,,1033"
COMMAS = "59,34,76,1"


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    return Office(tmp_path_factory.mktemp("office"))


@pytest.fixture(scope="module")
def statements() -> list[Statement]:
    """The worked cases; and many in two currencies whose VAT lies on half a cent, or just beside."""
    made = [statement_of(case(name), slug=f"case-{number}") for number, name in enumerate(CASES)]
    plain = statement_of(case("base-only"))
    for number in range(600):
        percent = RATES[number % len(RATES)]
        terms = replace_vat(plain, f"many-{number:04d}", percent, "EUR" if number % 3 else "CHF")
        amount = Decimal(number * 37 + 10).scaleb(-2) * (-1 if number % 7 == 0 else 1)
        made.append(with_lines(terms, [one_off(amount), one_off(Decimal("0.40"))]))
    return made


def replace_vat(statement: Statement, slug: str, percent: str, currency: str) -> Statement:
    customer = replace(statement.customer, instance=slug)
    terms = Vat.model_validate({"treatment": "percent", "percent": percent})
    return replace(
        statement, customer=customer, currency=currency, vat_percent=Decimal(percent), vat_terms=terms, lines=()
    )


def one_off(amount: Decimal) -> Line:
    label = "Formation d’une journée"
    return Line("extra", None, None, None, None, amount, label=label, day=date(YEAR, 3, 1))


def assert_same_table(rows: Table, text: str) -> None:
    """Every number of the CSV is a number in LibreOffice, exactly; every text is that text."""
    expected = list(csv.reader(io.StringIO(text)))
    assert len(rows) == len(expected)
    for found, row in zip(rows, expected, strict=True):
        for cell, written in zip(found, row, strict=True):
            if isinstance(cell, str) or cell is None:
                assert (cell or "") == written
                assert not is_number(written), f"{written} became text"
            else:
                assert isinstance(cell, int | float), f"{written} became {cell!r}"
                assert Decimal(repr(cell)) == Decimal(written)


def is_number(text: str) -> bool:
    return text.lstrip("-").replace(".", "", 1).isdigit()


@pytest.mark.parametrize("dialect,options", [("csv", DOTS), ("csv-fr", COMMAS)])
def test_csv_opens_with_numbers(
    statements: list[Statement], office: Office, dialect: str, options: str, tmp_path: Path
) -> None:
    text = words("fr")
    wanted = {"usage": usage_csv(statements, text), "monthly": monthly_csv(statements)}
    written = wanted
    if dialect == "csv-fr":
        written = {"usage": usage_csv(statements, text, FRENCH), "monthly": monthly_csv(statements, FRENCH)}
    for name, content in written.items():
        path = tmp_path / f"{name}.csv"
        path.write_text(content, encoding="utf-8", newline="")
        (rows,) = office.opened(path, options).values()
        assert_same_table(rows, wanted[name])


def test_formulas_of_the_workbook_come_to_what_is_billed(
    statements: list[Statement], office: Office, tmp_path: Path
) -> None:
    path = tmp_path / "usage.xlsx"
    path.write_bytes(workbook(statements, YEAR, words("en")))
    stored = {sheet.title: list(sheet.iter_rows(values_only=True)) for sheet in load_workbook(path, data_only=True)}
    bare = tmp_path / "bare.xlsx"
    # openpyxl saves formulas without the values that stood beside them: LibreOffice has to compute them.
    load_workbook(path).save(bare)
    computed = office.opened(bare)
    for rows in (stored, computed):
        assert_customers(rows["Customers"], statements)
        assert_totals(rows["Totals"], statements)
    assert stored == computed


def assert_customers(rows: Table, statements: list[Statement]) -> None:
    head, *body = rows
    by_slug = {row[0]: dict(zip(head, row, strict=True)) for row in body}
    assert len(by_slug) == len(statements)
    for one in statements:
        row = by_slug[one.customer.instance]
        amounts = (row["Total before VAT"], row["VAT"], row["Total with VAT"])
        assert [Decimal(str(amount)) for amount in amounts] == [one.total, one.vat, one.total_with_vat]
        assert row["From"] == datetime.combine(one.window.first_day, datetime.min.time())


def assert_totals(rows: Table, statements: list[Statement]) -> None:
    head, *body = rows
    assert [row[0] for row in body] == ["CHF", "EUR"]
    for currency, *figures in body:
        of = [one for one in statements if one.currency == currency]
        total = sum(one.total for one in of)
        expected = [len(of), total, sum(one.vat for one in of), sum(one.total_with_vat for one in of), total, 0]
        assert [Decimal(str(figure)) for figure in figures] == expected, head
