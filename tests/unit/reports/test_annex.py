"""What stands on a customer's paper."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest

from provision.contract import Extra
from provision.settings import Language
from reports.annex import annex_page, named
from reports.extras import correction_line
from reports.lines import Origin, money
from reports.statement import Statement, with_lines
from reports.table import words
from tests.unit.reports.printed import annex, case, pages, plain, read
from tests.unit.reports.years import CASES, statement_of

NAMES = sorted(path.stem for path in CASES.glob("*.toml"))


def page_of(name: str, language: Language = "fr") -> dict[str, Any]:
    return annex_page(statement_of(case(name)), words(language))


def lines_of(page: dict[str, Any]) -> list[dict[str, Any]]:
    return [line for group in page["groups"] for line in group["lines"]]


def line_of(page: dict[str, Any], label: str) -> dict[str, Any]:
    return next(line for line in lines_of(page) if line["label"] == label)


@pytest.mark.parametrize("language", get_args(Language))
@pytest.mark.parametrize("name", NAMES)
def test_a_year_of_one_period_is_one_page_with_the_amounts_of_the_statement(name: str, language: Language) -> None:
    statement = statement_of(case(name))
    pdf = annex(statement, language)
    text = read(pdf)
    assert pages(pdf) <= len(statement.parts)
    assert "ASBL Acme" in text
    assert "acme.chill.pro" in text

    def written(amount: Any) -> str:
        return plain(words(language).money(amount, statement.currency)).replace("-", "\u2212")

    for line in statement.lines:
        assert not line.billed or written(line.amount) in text
    assert written(statement.total) in text
    assert text.count(written(statement.total_with_vat)) >= 2


def test_the_sender_is_on_the_paper() -> None:
    text = read(annex(statement_of(case("full-year"))))
    for said in ("Les Petits Chênes", "Rue du Moulin 12", "4000 Liège", "bonjour@example.org", "BE68 5390 0754 7034"):
        assert said in text


def test_the_page_explains_the_amounts() -> None:
    text = read(annex(statement_of(case("first-year"))))
    assert "12 mars 2026 – 31 décembre 2026" in text
    assert "10 sur 12" in text
    assert "3 × 40,00 € × 10/12" in text
    assert "1 tranche entamée de 1 000 × 0,50 €, au-dessus de 10 000 × 10/12" in text
    assert "20 × 40,00 € + 5 × 30,00 €" in read(annex(statement_of(case("gaps"))))


def test_what_the_quota_leaves_is_said() -> None:
    page = page_of("first-year", "en")
    assert line_of(page, "Documents")["details"] == [
        "mean volume of the sampled days, 1\u00a0GB = 10⁹ bytes · 0.00\u00a0GB left of 20\u00a0GB included"
    ]


def test_days_sampled_of_days_expected_are_said_once_for_all_measures_that_rest_on_the_same_days() -> None:
    rows = page_of("full-year")["coverage"]["rows"]
    assert [(label, days) for label, days, _ in rows] == [
        ("Utilisateurs actifs, SMS envoyés, E-mails envoyés, Documents", "365 jours relevés sur 365"),
        ("Utilisateurs Collabora", "noté une fois par an"),
    ]


def test_what_is_missing_of_some_measures_is_said_of_them_alone() -> None:
    rows = page_of("estimated", "en")["coverage"]["rows"]
    assert [(label, days) for label, days, _ in rows] == [
        ("Active users, Documents", "334 days sampled of 365"),
        ("SMS sent, E-mails sent", "334 days sampled of 365"),
        ("Collabora users", ""),
    ]
    assert ["estimate" in remarks for _, _, remarks in rows] == [False, True, False]


def test_what_is_missing_is_said() -> None:
    text = read(annex(statement_of(case("gaps"))))
    assert "334 jours relevés sur 365 mois sans aucun relevé : mars ; 31 jours sans relevé" in text
    assert "Utilisateurs Collabora aucun relevé" in text


def test_what_is_not_billed_is_shown_without_an_amount() -> None:
    sms = line_of(page_of("base-only", "en"), "SMS sent")
    assert (sms["quantity"], sms["unit_price"], sms["amount"]) == ("7", "", "not billed")


def test_what_is_billed_once_stands_by_itself() -> None:
    page = page_of("extras", "en")
    assert [group["title"] for group in page["groups"]] == ["", "Billed once"]
    migration, training, credit = page["groups"][1]["lines"]
    assert (migration["label"], migration["details"]) == ("=Data migration", ["10 February 2026"])
    assert (training["quantity"], training["unit_price"], training["amount"]) == ("2.5 day", "€333.333", "€833.33")
    assert (credit["details"], credit["amount"]) == (["credit of 1 September 2026"], "\u2212€25.01")


def test_a_particular_condition_gives_its_reason() -> None:
    details = line_of(page_of("extras", "en"), "Active users")["details"]
    assert details[1:] == ["particular condition: pilot customer"]


def test_without_vat_the_mention_says_why() -> None:
    page = page_of("extras", "en")
    assert [label for label, _ in page["totals"]] == ["Total before VAT", "Total to pay"]
    assert page["due"] == {"label": "Total to pay", "amount": "€2,397.32", "before_vat": "", "estimated": ""}
    assert "Reverse charge" in page["mention"]
    assert "FR12345678901" in page["mention"]
    assert page_of("full-year")["mention"] == ""


def test_several_periods_have_their_own_lines() -> None:
    page = page_of("two-periods", "en")
    assert [group["title"] for group in page["groups"]] == [
        "from 1 January 2026 to 31 May 2026, tariff standard",
        "from 1 July 2026 to 31 December 2026, tariff solidarity",
    ]
    first, second = (group["lines"][1] for group in page["groups"])
    assert (first["included"], second["included"]) == ("5", "10")
    assert "9 × €40.00 × 5/12" in first["details"][0]
    assert "17 × €20.00 × 6/12" in second["details"][0]
    assert [row[0] for row in page["coverage"]["rows"]] == [
        "Active users, SMS sent, E-mails sent, Documents (Jan–May)",
        "Collabora users (Jan–May)",
        "Active users, SMS sent, E-mails sent, Documents (Jul–Dec)",
        "Collabora users (Jul–Dec)",
    ]


def test_an_estimate_is_marked_at_the_amount_due_and_at_its_line() -> None:
    page = page_of("estimated", "en")
    assert page["due"]["estimated"] == "contains an estimate"
    sms = line_of(page, "SMS sent")
    assert sms["quantity"].startswith("≈")
    assert "quantity partly estimated, see below" in sms["details"]
    assert not line_of(page, "Base fee")["quantity"].startswith("≈")
    assert any("estimate: the mean" in remarks for _, _, remarks in page["coverage"]["rows"])


def test_a_correction_tells_from_what_to_what() -> None:
    line = correction_line(Origin(2025, "sms"), money(-1250), "112.50 → 100.00 EUR")
    page = annex_page(with_lines(statement_of(case("full-year")), [line]), words("fr"))
    shown = line_of(page, "Correction 2025, SMS envoyés")
    assert [plain(detail) for detail in shown["details"]] == ["112,50 € devient 100,00 €"]
    assert plain(shown["amount"]) == "−12,50 €"


def test_a_statement_of_corrections_alone_has_neither_period_nor_charts() -> None:
    line = correction_line(Origin(2025, "sms"), money(500))
    alone = with_lines(replace(statement_of(case("full-year")), lines=(), parts=(), months=0), [line])
    page = annex_page(alone, words("fr"))
    assert [label for label, _ in page["facts"]] == ["Instance"]
    assert (page["charts"]["charts"], page["coverage"]["rows"]) == ([], [])
    assert pages(annex(alone)) == 1


def test_a_statement_without_lines_is_a_page() -> None:
    none = with_lines(replace(statement_of(case("full-year")), lines=()), [])
    text = read(annex(none))
    assert "0,00 €" in text
    assert pages(annex(none)) == 1


def test_the_opening_is_a_paper_of_its_own() -> None:
    year = statement_of(case("first-year"))
    base = [line for line in year.lines if line.name == "base"]
    page = annex_page(with_lines(replace(year, lines=(), paper="opening"), base), words("fr"))
    assert page["title"] == "Hébergement 2026, dès l’ouverture"
    assert [line["label"] for line in lines_of(page)] == ["Base annuelle"]
    assert (page["charts"]["charts"], page["coverage"]["rows"]) == ([], [])


def test_a_name_from_right_to_left_is_told_by_its_first_letter() -> None:
    assert named("אגודה (Liège)")["rtl"]
    assert named("12 جمعية")["rtl"]
    assert not named("Liège אגודה")["rtl"]
    assert not named("123 – !")["rtl"]


def many_extras(count: int) -> Statement:
    terms = case("full-year")
    extras = [
        Extra.model_validate({"day": f"2026-03-{day + 1:02d}", "label": "Formation sur place " * 4, "amount": "1.00"})
        for day in range(count)
    ]
    return statement_of(terms | {"contract": {"extras": extras}})


def test_a_long_year_is_two_pages() -> None:
    pdf = annex(many_extras(12))
    assert pages(pdf) == 2
    assert read(pdf).count("Formation sur place") == 12 * 4
