"""CSV for accounting: columns, order, empty cells, and cells that no spreadsheet runs."""

from __future__ import annotations

import csv
import io
import tomllib
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from reports.table import words
from reports.to_csv import harmless, monthly_csv, usage_csv
from tests.unit.reports.years import CASES, statement_of


def case(name: str) -> dict[str, Any]:
    return tomllib.loads((CASES / f"{name}.toml").read_text(encoding="utf-8"))


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("client", ["=1+1", "+32 2 123", "-2", "@SUM(A1)", "  =1", "＝1"])
def test_what_a_spreadsheet_runs_is_made_harmless(client: str) -> None:
    found = rows(usage_csv([statement_of(case("full-year"), client=client)], words("fr")))
    assert {row["client"] for row in found} == {f"'{client}"}


@pytest.mark.parametrize("text", ["ASBL Acme", "a=b", "3 = 3", "", "'quoted'", "Éducation – @home"])
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert harmless(text) == text


@pytest.mark.parametrize(
    "client,cell",
    [("\t=1", "' =1"), ("\r=1", "' =1"), ("Acme\r\n=1", "Acme =1"), ("a\x00b", "a b"), ("a\u2028=1", "a =1")],
)
def test_a_cell_stays_on_its_line(client: str, cell: str) -> None:
    text = usage_csv([statement_of(case("full-year"), client=client)], words("fr"))
    assert {row["client"] for row in rows(text)} == {cell}
    assert len(text.splitlines()) == 10


@pytest.mark.parametrize("client", ['Say "hi", please', "semi;colon", "emoji 😀", "جمعية"])
def test_any_name_can_be_read_back(client: str) -> None:
    found = rows(usage_csv([statement_of(case("full-year"), client=client)], words("fr")))
    assert len(found) == 9
    assert {row["client"] for row in found} == {client}


def test_rows_are_sorted_by_instance_and_lines_keep_their_order() -> None:
    made = [statement_of(case("full-year"), slug=slug) for slug in ("zeta", "acme")]
    found = rows(usage_csv(made, words("fr")))
    assert [row["instance"] for row in found] == ["acme"] * 9 + ["zeta"] * 9
    lines = ["base", "active_users", "sms", "emails", "documents", "collabora_users", "total", "vat", "total_with_vat"]
    assert [row["line"] for row in found] == lines * 2


def test_notes_speak_the_language_of_the_papers() -> None:
    notes = {row["line"]: row["note"] for row in rows(usage_csv([statement_of(case("gaps"))], words("fr")))}
    assert notes["sms"] == "mois sans aucun relevé\u00a0: 2026-03; 31 jours sans relevé"
    assert notes["collabora_users"] == "aucun relevé"
    assert notes["base"] == notes["total"] == ""


def test_a_month_without_a_sample_is_empty_and_never_zero() -> None:
    found = rows(monthly_csv([statement_of(case("gaps"))]))
    assert [row["month"] for row in found] == [str(month) for month in range(1, 13)]
    march = {key: value for key, value in found[2].items() if key not in ("year", "month", "instance")}
    assert march.pop("days_sampled") == "0"
    assert set(march.values()) == {""}
    assert found[3]["sms"] == "10"


def test_months_outside_the_billed_period_have_no_row() -> None:
    found = rows(monthly_csv([statement_of(case("first-year"))]))
    assert [(row["month"], row["active_users"]) for row in found[:2]] == [("3", "7"), ("4", "7")]
    assert len(found) == 10


def test_means_are_rounded_half_up() -> None:
    made = statement_of(case("full-year"))
    first = replace(made.usage.months[0], mean_daily_active=Fraction(1, 8), mean_document_bytes=Fraction(5, 2))
    made = replace(made, usage=replace(made.usage, months=(first, *made.usage.months[1:])))
    row = rows(monthly_csv([made]))[0]
    assert (row["mean_daily_active"], row["mean_document_bytes"]) == ("0.13", "3")
