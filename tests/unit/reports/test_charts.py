"""The year month by month, as columns with quotas and as words."""

from __future__ import annotations

from typing import Any

import pytest

from provision.settings import Language
from reports.charts import charts, crossed_in
from reports.table import words
from tests.unit.reports.printed import case
from tests.unit.reports.years import statement_of


def chart_of(name: str, title: str, language: Language = "en") -> dict[str, Any]:
    found = charts(statement_of(case(name)), words(language))["charts"]
    return next(chart for chart in found if chart["title"] == title)


def test_columns_are_in_proportion_and_a_gap_has_none() -> None:
    columns = chart_of("gaps", "Active users")["columns"]
    assert [column["text"] for column in columns[:4]] == ["30", "30", "–", "30"]
    assert [column["height"] for column in columns[:4]] == [1.0, 1.0, 0.0, 1.0]
    assert [column["quota"] for column in columns] == pytest.approx([5 / 30] * 12)


def test_a_month_outside_the_period_is_blank() -> None:
    assert chart_of("first-year", "Active users")["columns"][1] == {
        "text": "",
        "base": 0.0,
        "height": 0.0,
        "quota": 0.0,
    }


def test_a_quota_of_the_year_is_held_against_the_sum_of_its_months() -> None:
    columns = chart_of("full-year", "E-mails sent")["columns"]
    assert [column["text"] for column in columns[:3]] == ["1,000", "2,000", "3,000"]
    assert [column["base"] for column in columns[:3]] == [0.0, pytest.approx(1 / 12), pytest.approx(2 / 12)]
    assert columns[0]["height"] == pytest.approx(1 / 12)
    assert columns[0]["quota"] == pytest.approx(10 / 12)


def test_each_period_has_its_own_quota_and_its_own_sum() -> None:
    columns = chart_of("two-periods", "E-mails sent")["columns"]
    assert [column["text"] for column in columns] == [
        *("1,000", "2,000", "3,000", "4,000", "5,000"),
        "",
        *("1,000", "2,000", "3,000", "4,000", "5,000", "6,000"),
    ]
    assert [round(column["quota"] * 6000) for column in columns] == [4167] * 5 + [0] + [3000] * 6


def test_what_is_left_of_a_quota_or_above_it() -> None:
    assert chart_of("full-year", "Documents")["left"] == {
        "text": "3.50\u00a0GB above 20\u00a0GB included",
        "share": 1.0,
        "over": True,
    }
    year = case("full-year") | {"emails": " ".join(["250"] * 12)}
    emails = charts(statement_of(year), words("en"))["charts"][2]
    assert emails["left"] == {"text": "7,000 left of 10,000 included", "share": 0.3, "over": False}
    assert chart_of("full-year", "SMS sent")["left"] is None


def test_who_does_not_see_the_chart_hears_every_month() -> None:
    alt = chart_of("gaps", "Active users")["alt"]
    assert alt.startswith("Active users (distinct people per month) in 2026: January 30, February 30, March no sample,")
    assert alt.endswith("December 30. Included: 5.")


def test_long_numbers_are_shortened_over_the_columns_and_whole_in_the_words() -> None:
    year = case("full-year") | {"sms": "1234567 " + " ".join(["10"] * 11)}
    sms = charts(statement_of(year), words("fr"))["charts"][3]
    assert [column["text"].replace("\u00a0", " ") for column in sms["columns"][:2]] == ["1,2 M", "10"]
    assert "janvier 1\u202f234\u202f567" in sms["alt"]


def test_only_what_is_there_is_explained() -> None:
    def legend(name: str) -> list[str]:
        return charts(statement_of(case(name)), words("en"))["legend"]

    assert legend("full-year") == ["Dotted: what is included."]
    assert legend("gaps") == ["Dotted: what is included.", "–: no sample in that month."]
    assert legend("first-year")[-1] == "A month outside the billed period is left blank."


def test_the_month_in_which_a_quota_was_crossed() -> None:
    statement = statement_of(case("full-year"))
    months = {line.name: crossed_in(line, statement) for line in statement.lines}
    # 10 users in January, 5 included; e-mails 11,000 after November; 21 GB in April; Collabora has no months.
    assert (months["active_users"], months["emails"], months["documents"]) == (1, 11, 4)
    assert (months["collabora_users"], months["sms"], months["base"]) == (None, None, None)
