"""Typst prints the papers: nothing breaks them, and they are reproducible."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from provision.errors import RequestError
from provision.fleet import Fleet
from provision.settings import Settings
from reports.annex import annex_page
from reports.overview import overview_page
from reports.table import words
from reports.to_pdf import Press
from tests.unit.reports.printed import COOPERATIVE, annex, case, press, read
from tests.unit.reports.years import statement_of

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
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 3"><rect width="9" height="3" fill="#176"/></svg>'


@pytest.mark.parametrize("client", HOSTILE)
def test_a_hostile_name_is_printed_as_text(client: str) -> None:
    statement = statement_of(case("full-year"), client=client)
    text = read(annex(statement))
    assert "1 710,94 €" in text
    overview = read(press().fleet(overview_page([statement], 2026, words("fr"))))
    assert "1 710,94" in overview
    if client.isascii() and "\x00" not in client and len(client) < 100:
        for word in client.split():
            assert word in text


def test_the_same_statement_gives_the_same_bytes() -> None:
    statement = statement_of(case("gaps"))
    assert annex(statement) == annex(statement)
    page = overview_page([statement], 2026, words("fr"))
    assert press().fleet(page) == press().fleet(page)


def test_many_papers_come_in_order_and_are_the_same_as_one_by_one() -> None:
    pages = [annex_page(statement_of(case("gaps"), client=f"Client {n}"), words("fr")) for n in range(20)]
    one_by_one = [press().annex(page) for page in pages]
    assert len(set(one_by_one)) == 20
    assert list(press().papers(iter(pages))) == one_by_one


def test_papers_are_made_as_they_are_asked_for() -> None:
    """Ten thousand of them are not held in memory at a time."""
    asked = []

    def pages():
        for n in range(100):
            asked.append(n)
            yield annex_page(statement_of(case("base-only"), client=f"Client {n}"), words("fr"))

    papers = press().papers(pages())
    next(papers)
    papers.close()
    assert len(asked) < 50


def test_the_logo_is_drawn(tmp_path: Path) -> None:
    logo = tmp_path / "our logo.svg"
    logo.write_text(SVG, encoding="utf-8")
    page = annex_page(statement_of(case("full-year")), words("fr"))
    with_logo, without = press(logo=logo).annex(page), press().annex(page)
    assert _has_colour(with_logo, (0x11, 0x77, 0x66))
    assert not _has_colour(without, (0x11, 0x77, 0x66))
    # Where the file lies is nobody's business, and would make two machines' papers differ.
    assert str(tmp_path).encode() not in with_logo


def test_the_fleet_says_who_sends(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "logo.svg").write_text(SVG, encoding="utf-8")
    cooperative = COOPERATIVE.model_copy(update={"logo": "pictures/logo.svg", "colour": "#aa1155"})
    # Nothing else of the settings is on a paper.
    fleet = Fleet(tmp_path, Settings.model_construct(cooperative=cooperative), {}, {})
    page = annex_page(statement_of(case("full-year")), words("nl"))
    pdf = Press.for_fleet(fleet, 2026, words("nl")).annex(page)
    assert "Btw BE 0000.000.097" in read(pdf)
    assert _has_colour(pdf, (0x11, 0x77, 0x66))
    assert _has_colour(pdf, (0xAA, 0x11, 0x55))
    (tmp_path / "pictures" / "logo.svg").unlink()
    with pytest.raises(RequestError, match=r"pictures/logo\.svg: cannot be read: No such file"):
        Press.for_fleet(fleet, 2026, words("nl"))


@pytest.mark.parametrize("content", [None, "not a picture", "<svg", "\u0089PNG"])
def test_a_logo_that_cannot_be_printed_is_named(content: str | None, tmp_path: Path) -> None:
    logo = tmp_path / "logo.svg"
    if content is not None:
        logo.write_text(content, encoding="latin-1")
    with pytest.raises(RequestError, match=r"chill\.toml: cooperative\.logo: .*logo\.svg") as caught:
        press(logo=logo)
    assert "SVG or PNG" in caught.value.hint


def _has_colour(pdf: bytes, colour: tuple[int, int, int]) -> bool:
    image = subprocess.run(["pdftoppm", "-r", "40", "-singlefile", "-"], input=pdf, capture_output=True, check=True)
    return bytes(colour) in image.stdout
