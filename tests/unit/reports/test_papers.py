"""PDF papers, printed by Typst and read back: what they say, that nothing breaks them, that they are reproducible."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
import typst

from provision.settings import Language
from reports.annex import annex_page
from reports.overview import overview_page
from reports.statement import Statement
from reports.table import words
from reports.to_pdf import MISSING_GLYPH, Press, printable
from tests.unit.reports.years import CASES, statement_of

HOSTILE = [
    '#set page(width: 1cm); #panic("x") [*bold*] _it_ $x$ `raw` <label> @ref',
    '"quoted" \\ back\\slash {"json": 1}',
    "// comment /* block */",
    "😀 👩‍👩‍👧 🏳️‍🌈 中文 \ue000",
    "جمعية العمل الاجتماعي – אגודה",
    "null\x00byte\x1b[31mred\u202ereversed\ufeff",
    "Wolfeschlegelsteinhausenbergerdorff" * 6,
    "Une association au nom vraiment très long, " * 8,
    " ",
]


def case(name: str) -> dict[str, Any]:
    return tomllib.loads((CASES / f"{name}.toml").read_text(encoding="utf-8"))


def read(pdf: bytes) -> str:
    """The text of a PDF, by poppler; spaces of every kind as one plain space."""
    assert shutil.which("pdftotext"), "apt-get install poppler-utils"
    text = subprocess.run(["pdftotext", "-layout", "-", "-"], input=pdf, capture_output=True, check=True).stdout
    return " ".join(text.decode("utf-8").split())


def pages(pdf: bytes) -> int:
    info = subprocess.run(["pdfinfo", "-"], input=pdf, capture_output=True, check=True, text=False).stdout.decode()
    return int(next(line.split()[1] for line in info.splitlines() if line.startswith("Pages:")))


def annex(statement: Statement, language: Language = "fr") -> bytes:
    return Press.for_year(statement.year).annex(annex_page(statement, words(language)))


def plain(text: str) -> str:
    return text.replace("\u00a0", " ").replace("\u202f", " ")


@pytest.mark.parametrize("language", get_args(Language))
@pytest.mark.parametrize("name", sorted(path.stem for path in CASES.glob("*.toml")))
def test_a_simple_year_is_one_page_with_the_amounts_of_the_statement(name: str, language: Language) -> None:
    statement = statement_of(case(name))
    pdf = annex(statement, language)
    text = read(pdf)
    assert pages(pdf) == 1
    assert "ASBL Acme" in text
    assert "acme.chill.pro" in text
    for line in statement.lines:
        if line.billed:
            assert plain(words(language).money(line.amount, statement.currency)) in text
    for amount in (statement.total, statement.vat, statement.total_with_vat):
        assert plain(words(language).money(amount, statement.currency)) in text


def test_the_page_explains_the_amounts() -> None:
    text = read(annex(statement_of(case("first-year"))))
    assert "12 mars 2026 – 31 décembre 2026" in text
    assert "10 sur 12" in text
    assert "3 × 40,00 € × 10/12" in text
    assert "1 tranche entamée de 1 000 × 0,50 €, au-dessus de 10 000 × 10/12" in text
    tiers = read(annex(statement_of(case("gaps"))))
    assert "20 × 40,00 € + 5 × 30,00 €" in tiers


def test_what_is_missing_is_said() -> None:
    text = read(annex(statement_of(case("gaps"))))
    assert "334 jours relevés sur 365 mois sans aucun relevé : mars ; 31 jours sans relevé" in text
    assert "Utilisateurs Collabora aucun relevé" in text
    complete = read(annex(statement_of(case("full-year"))))
    assert "Rien : chaque jour de la période a été relevé" in complete


def test_what_is_not_billed_is_shown_without_an_amount() -> None:
    page = annex_page(statement_of(case("base-only")), words("en"))
    sms = next(line for line in page["lines"] if line["label"] == "SMS sent")
    assert (sms["quantity"], sms["unit_price"], sms["amount"]) == ("7", "", "not billed")


def test_bars_are_in_proportion_and_gaps_have_none() -> None:
    page = annex_page(statement_of(case("gaps")), words("fr"))
    users = page["months"]["rows"][0]
    assert [cell["text"] for cell in users["cells"][:4]] == ["30", "30", "–", "30"]
    assert [cell["height"] for cell in users["cells"][:4]] == [1.0, 1.0, 0.0, 1.0]
    assert users["quota"]["height"] == pytest.approx(5 / 30)
    blank = annex_page(statement_of(case("first-year")), words("fr"))["months"]["rows"][0]["cells"][1]
    assert blank == {"text": "", "height": 0.0}


@pytest.mark.parametrize("client", HOSTILE)
def test_a_hostile_name_is_printed_as_text(client: str) -> None:
    statement = statement_of(case("full-year"), client=client)
    text = read(annex(statement))
    assert "1 710,94 €" in text
    overview = read(Press.for_year(2026).fleet(overview_page([statement], 2026, words("fr"))))
    assert "1 710,94 €" in overview
    if client.isascii() and "\x00" not in client and len(client) < 100:
        for word in client.split():
            assert word in text


def test_the_same_statement_gives_the_same_bytes() -> None:
    statement = statement_of(case("gaps"))
    assert annex(statement) == annex(statement)
    page = overview_page([statement], 2026, words("fr"))
    assert Press.for_year(2026).fleet(page) == Press.for_year(2026).fleet(page)


def test_fonts_are_embedded_and_the_standards_declared(tmp_path: Path) -> None:
    path = tmp_path / "annex.pdf"
    path.write_bytes(annex(statement_of(case("full-year"), client="ASBL جمعية")))
    rows = subprocess.run(["pdffonts", str(path)], capture_output=True, check=True, text=True).stdout.splitlines()[2:]
    assert {row.split("+")[1].split()[0].split("-")[0] for row in rows} == {"SourceSans3", "DejaVuSans"}
    assert all(" yes yes yes " in row for row in rows)
    metadata = subprocess.run(["pdfinfo", "-meta", str(path)], capture_output=True, check=True, text=True).stdout
    assert "<pdfuaid:part>1</pdfuaid:part>" in metadata
    assert "<pdfaid:part>2</pdfaid:part>" in metadata
    assert "<pdfaid:conformance>A</pdfaid:conformance>" in metadata
    info = subprocess.run(["pdfinfo", str(path)], capture_output=True, check=True, text=True).stdout
    assert "Tagged:          yes" in info
    assert "(A4)" in info


def test_the_fleet_has_a_row_for_each_customer_and_sums_by_currency() -> None:
    made = [
        statement_of(case("full-year"), client="Alpha", slug="alpha"),
        statement_of(case("gaps"), client="Beta", slug="beta"),
        statement_of(case("base-only"), client="Gamma", slug="gamma"),
    ]
    page = overview_page(made, 2026, words("en"))
    assert [row["client"] for row in page["rows"]] == ["Alpha", "Beta", "Gamma"]
    chf, eur = page["sums"]
    assert (chf[0], chf[8:11]) == ("Total CHF", ["CHF16.67", "CHF1.28", "CHF17.95"])
    # 1414.00 + 1566.25, 296.94 + 328.91, 1710.94 + 1895.16
    assert (eur[0], eur[8:11]) == ("Total EUR", ["€2,980.25", "€625.85", "€3,606.10"])
    assert [row["cells"][-1] for row in page["rows"]] == ["100%", "91%", ""]
    assert [row["incomplete"] for row in page["rows"]] == [False, True, False]
    assert [client for client, _ in page["incomplete"]["rows"]] == ["Beta"]
    text = read(Press.for_year(2026).fleet(page))
    assert "3 clients" in text
    assert "€3,606.10" in text


def test_four_hundred_customers_fit_on_pages_with_repeated_titles() -> None:
    made = [statement_of(case("full-year"), client=f"Client {n}", slug=f"c{n}") for n in range(400)]
    pdf = Press.for_year(2026).fleet(overview_page(made, 2026, words("fr")))
    text = read(pdf)
    assert text.count("TVA comprise") == pages(pdf) > 10
    assert "Client 399" in text


def test_every_character_that_is_listed_can_be_drawn() -> None:
    """PDF/A refuses a character without a glyph, so printing them all proves the list that `printable` goes by."""
    listed = [chr(code) for code in range(0x20, 0x20000) if printable(chr(code)) == chr(code)]
    assert len(listed) > 5000
    page = annex_page(statement_of(case("full-year"), client=" ".join(listed)), words("fr"))
    assert pages(Press.for_year(2026).annex(page)) >= 1


def test_a_character_without_a_glyph_is_replaced() -> None:
    assert printable("中 a") == f"{MISSING_GLYPH} a"
    assert printable("a\u200db\ufe0f\x00c\nd") == "abc d"
    # Were it not replaced, nothing could be printed.
    with pytest.raises(typst.TypstError):
        typst.compile("中".encode(), ignore_system_fonts=True, pdf_standards=["a-2a"])
