"""The workbook: numbers, days, text that stays text, heads that stay, formulas with their values; and JSON."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime
from decimal import Decimal
from io import BytesIO

import pytest
from openpyxl import Workbook, load_workbook

from provision.settings import Language
from reports.table import words
from reports.to_csv import FRENCH, monthly_csv, usage_csv
from reports.to_json import usage_json
from reports.to_xlsx import workbook
from tests.unit.reports.printed import case
from tests.unit.reports.years import statement_of

YEAR = 2026


def opened(*names: str, client: str = "ASBL Acme", language: Language = "en", values: bool = True) -> Workbook:
    made = [statement_of(case(name), client=client, slug=f"c{number}") for number, name in enumerate(names)]
    return load_workbook(BytesIO(workbook(made, YEAR, words(language))), data_only=values)


def test_a_sheet_for_each_view_with_a_head_that_stays() -> None:
    book = opened("full-year", "gaps")
    assert book.sheetnames == ["Totals", "Customers", "Lines", "Months"]
    assert [sheet.freeze_panes for sheet in book] == ["A2", "C2", "C2", "C2"]
    assert all(sheet.auto_filter.ref for sheet in book)
    assert opened("full-year", language="fr").sheetnames == ["Totaux", "Clients", "Postes", "Mois"]
    assert opened("full-year", language="nl").sheetnames == ["Totalen", "Klanten", "Posten", "Maanden"]


def test_cells_are_numbers_and_days() -> None:
    book = opened("extras", "gaps")
    kinds = {sheet.title: [cell.data_type for cell in sheet[2]] for sheet in book}
    assert kinds["Months"] == ["d", "s", "s", *["n"] * 7]
    lines = book["Lines"]
    extra = next(row for row in lines.iter_rows(min_row=2) if row[3].value is not None)
    assert isinstance(extra[3].value, datetime)
    assert extra[12].number_format == "#,##0.00"
    assert isinstance(extra[12].value, int | float)


def test_totals_are_formulas_with_their_values() -> None:
    formulas, values = opened("full-year", "gaps", values=False), opened("full-year", "gaps")
    row = formulas["Customers"][2]
    assert [row[place].value for place in (14, 16, 17)] == [
        "=ROUND(SUM(G2:M2),2)",
        "=ROUND(O2*P2/100,2)",
        "=ROUND(O2+Q2,2)",
    ]
    statement = statement_of(case("full-year"))
    shown = [Decimal(str(values["Customers"][2][place].value)) for place in (14, 16, 17)]
    assert shown == [statement.total, statement.vat, statement.total_with_vat]
    assert all(str(cell.value).startswith("=") for cell in formulas["Totals"][2][1:])
    assert values["Totals"]["G2"].value == 0


@pytest.mark.parametrize("client", ["=1+1", "+32 2 123", "@SUM(A1)", "https://example.org/", "{=1}", "007", "1e5"])
def test_a_name_is_text_as_it_is(client: str) -> None:
    for sheet in ("Customers", "Lines"):
        cell = opened("full-year", client=client, values=False)[sheet]["B2"]
        assert (cell.value, cell.data_type) == (client, "s") or (cell.data_type == "f" and not client)


def test_a_gap_is_an_empty_cell_not_zero() -> None:
    found = opened("gaps")["Months"]
    empty = [cell.value for row in found.iter_rows(min_row=2) for cell in row[3:9]]
    assert None in empty


def test_the_same_statements_give_the_same_workbook() -> None:
    statements = [statement_of(case("full-year"))]
    assert workbook(statements, YEAR, words("fr")) == workbook(statements, YEAR, words("fr"))


def test_csv_for_decimal_commas_says_the_same() -> None:
    made = [statement_of(case(name), client="=a;b, c", slug=name) for name in ("full-year", "extras", "gaps")]
    for plain, french in (
        (usage_csv(made, words("fr")), usage_csv(made, words("fr"), FRENCH)),
        (monthly_csv(made), monthly_csv(made, FRENCH)),
    ):
        assert french.startswith("\ufeff")
        rows = list(csv.reader(io.StringIO(french[1:]), delimiter=";"))
        numbers = [
            [cell.replace(",", ".") if cell.replace(",", "").lstrip("-").isdigit() else cell for cell in row]
            for row in rows
        ]
        assert numbers == list(csv.reader(io.StringIO(plain)))
    assert "\n2026;full-year;'=a;b" not in usage_csv(made, words("fr"), FRENCH)


def test_json_says_what_the_csv_says() -> None:
    made = [statement_of(case(name), client="=Acme", slug=name) for name in ("two-periods", "extras", "gaps")]
    document = json.loads(usage_json(made, YEAR, words("fr")))
    assert [one["instance"] for one in document["statements"]] == ["extras", "gaps", "two-periods"]
    rows = list(csv.DictReader(io.StringIO(usage_csv(made, words("fr")))))
    for one in document["statements"]:
        mine = [row for row in rows if row["instance"] == one["instance"]]
        # No spreadsheet reads it: the name is as it is.
        assert one["client"] == "=Acme"
        for line, row in zip(one["lines"], mine, strict=False):
            shown = {
                name: "" if line[name] is None else str(line[name]) for name in ("line", "quantity", "amount", "note")
            }
            assert shown == {name: row[name] for name in shown}
        totals = [row["amount"] for row in mine[-3:]]
        assert totals == [one["total"], one["vat"], one["total_with_vat"]]
    assert all(isinstance(one["lines"][0]["amount"], str) for one in document["statements"])
