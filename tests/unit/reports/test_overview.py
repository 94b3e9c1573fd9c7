"""What stands on the fleet's paper."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from reports.overview import in_parts, overview_page
from reports.statement import Statement
from reports.table import words
from tests.unit.reports.printed import case, pages, press, read
from tests.unit.reports.years import statement_of


def alpha() -> Statement:
    return statement_of(case("full-year"), client="Alpha", slug="alpha")


def beta() -> Statement:
    return statement_of(case("gaps"), client="Beta", slug="beta")


def gamma() -> Statement:
    return statement_of(case("base-only"), client="Gamma", slug="gamma")


def last_year(statement: Statement, total: str) -> Statement:
    return replace(statement, year=statement.year - 1, total=Decimal(total))


def section(page: dict[str, list[dict[str, object]]], title: str) -> dict[str, str]:
    rows = next((part["rows"] for part in page["sections"] if part["title"] == title), [])
    return {row["client"]["text"]: row["text"] for row in rows}


def test_a_row_for_each_customer_and_sums_by_currency() -> None:
    page = overview_page([alpha(), beta(), gamma()], 2026, words("en"))
    assert [row["client"]["text"] for row in page["rows"]] == ["Alpha", "Beta", "Gamma"]
    chf, eur = page["sums"]
    assert (chf[0], chf[10:13]) == ("Total CHF", ["16.67", "1.28", "17.95"])
    # 1414.00 + 1566.25, 296.94 + 328.91, 1710.94 + 1895.16
    assert (eur[0], eur[10:13]) == ("Total EUR", ["2,980.25", "625.85", "3,606.10"])
    assert [row["cells"][-1] for row in page["rows"]] == ["100%", "91%", ""]
    assert [row["incomplete"] for row in page["rows"]] == [False, True, False]
    assert {len(row["cells"]) + 1 for row in page["rows"]} == {len(page["head"])} == {len(chf)} == {len(eur)}
    assert list(section(page, "Incomplete samples")) == ["Beta"]
    text = read(press(language="en").fleet(page))
    assert "3 clients" in text
    assert "3,606.10" in text


def test_what_is_billed_once_has_a_column_and_the_row_adds_up() -> None:
    extras = statement_of(case("extras"), client="Delta", slug="delta")
    cells = overview_page([extras], 2026, words("en"))["rows"][0]["cells"]
    assert cells[2:9] == ["600.00", "440.00", "90.00", "1.00", "8.00", "", "1,258.32"]
    assert cells[9] == "2,397.32"
    parts = [Decimal(cell.replace(",", "")) for cell in cells[2:9] if cell]
    assert sum(parts) == Decimal("2397.32")


def test_changes_against_the_year_before() -> None:
    before = [last_year(alpha(), "1400.00"), last_year(beta(), "1000.00")]
    page = overview_page([alpha(), beta(), gamma()], 2026, words("en"), before)
    # 1414 is 1 % more than 1400. Beta lacks a month, Gamma was not there.
    assert [row["cells"][-2] for row in page["rows"]] == ["+1.0%", "", ""]
    assert [sums[13] for sums in page["sums"]] == ["", "+1.0%"]
    assert section(page, "Arrivals and departures") == {"Gamma": "since 1 January 2026"}
    left = overview_page([gamma()], 2026, words("en"), [last_year(alpha(), "1400.00"), gamma()])
    assert section(left, "Arrivals and departures") == {"Alpha": "no longer a client; €1,400.00 before VAT in 2025"}


def test_two_currencies_are_not_compared() -> None:
    before = replace(last_year(alpha(), "1400.00"), currency="CHF")
    page = overview_page([alpha()], 2026, words("en"), [before])
    assert page["rows"][0]["cells"][-2] == ""


def test_who_is_above_which_quota_and_since_when() -> None:
    crossed = section(overview_page([alpha(), gamma()], 2026, words("en")), "Above what is included")
    assert crossed == {
        "Alpha": "Active users: 16 above 5 included, from January on; "
        "E-mails sent: 2,000 above 10,000 included, from November on; "
        "Documents: 3.50\u00a0GB above 20\u00a0GB included, from April on"
    }


def test_an_estimate_is_marked() -> None:
    estimated = statement_of(case("estimated"))
    page = overview_page([estimated, alpha()], 2026, words("en"))
    assert [row["estimated"] for row in page["rows"]] == ["contains an estimate", ""]


def test_four_hundred_customers_fit_on_pages_with_repeated_titles() -> None:
    one = alpha()
    made = [
        replace(one, customer=replace(one.customer, client=f"Client {n}", instance=f"c{n}", domain=f"c{n}.chill.pro"))
        for n in range(400)
    ]
    pdf = press().fleet(overview_page(made, 2026, words("fr")))
    text = read(pdf)
    assert pages(pdf) > 20
    assert text.count("Évolution Relevé") >= 15
    assert text.count("Client 399") == 2


def test_a_fleet_without_statements_is_a_page() -> None:
    assert pages(press().fleet(overview_page([], 2026, words("fr")))) == 1


def test_a_large_paper_in_parts_has_every_row_once_and_its_sums_under_the_last() -> None:
    statements = [replace_client(alpha(), f"Client {number}") for number in range(7)]
    page = overview_page(statements, 2026, words("en"))
    assert list(in_parts(page, 7)) == [page]
    parts = list(in_parts(page, 3))
    rows = [[row["client"]["text"] for row in part["rows"]] for part in parts]
    assert [len(some) for some in rows] == [3, 3, 1, 0, 0, 0]
    assert [name for some in rows for name in some] == [f"Client {number}" for number in range(7)]
    assert [part["sums"] != [] for part in parts] == [False, False, True, False, False, False]
    # The heading of a section stands where it begins, and not again.
    sections = [section for part in parts for section in part["sections"]]
    assert [section["title"] for section in sections] == ["Above what is included", "", ""]
    assert [len(section["rows"]) for section in sections] == [3, 3, 1]
    # How many pages there will be is not known while a part is printed; columns are as wide in all of them.
    assert {part["page"] for part in parts} == {"page {page}"}
    assert len({tuple(part["widest"]) for part in parts}) == 1
    assert (parts[0]["widest"][10], parts[0]["widest"][4]) == ("1,414.00", "4,480.00")


def replace_client(statement: Statement, client: str) -> Statement:
    return replace(statement, customer=replace(statement.customer, client=client, instance=client))
