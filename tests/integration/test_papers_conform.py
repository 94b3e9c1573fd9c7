"""The papers keep PDF/UA-1 and PDF/A-2a: by an independent validator, and by a walk through their structure.

The validator (page, MIT) goes by the rules that can be checked by a machine: 104 of ISO 14289-1, 154 of ISO 19005-2
level A. What it says is tested, too: papers that were damaged on purpose are refused.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

import page as validator
import pikepdf
import pytest

from reports.overview import ROWS_OF_A_PART, overview_page
from reports.table import words
from tests.integration.papers import PAPERS, SCRIPTS, printed
from tests.unit.reports.printed import case, press, read
from tests.unit.reports.years import statement_of

# Operators that draw, and those that begin and end marked content (ISO 32000-1, tables 51 and 320).
_DRAWING = {"Tj", "TJ", "'", '"', "S", "s", "f", "F", "f*", "B", "B*", "b", "b*", "sh", "Do", "EI"}
_SHOWING = {"Tj", "TJ", "'", '"'}


# The validator takes a carriage return, when it is a stream's last byte, for a part of the line's end after it.
_OF_LENGTHS = "PDFA2A-STREAM-LENGTH-001"
_STREAM = re.compile(rb"/Length (\d+)[^\r\n]*>>\s*stream\n")


def faults(pdf: bytes, profile: str) -> list[str]:
    report = validator.validate_pdf_bytes(pdf, profile=profile)
    assert report.rules.total > 100
    return [
        f"{fault.rule_id}: {fault.message}"
        for fault in report.failures
        if not (fault.rule_id == _OF_LENGTHS and lengths_hold(pdf))
    ]


def lengths_hold(pdf: bytes) -> bool:
    """Whether every stream is exactly as long as it says (ISO 19005-2, 6.1.7.1): that many bytes, then `endstream`."""
    found = list(_STREAM.finditer(pdf))
    assert len(found) == pdf.count(b"endstream")
    return all(pdf.startswith(b"\nendstream", one.end() + int(one[1])) for one in found)


def elements(node: pikepdf.Object) -> Iterator[pikepdf.Dictionary]:
    """Every structure element below a node, in reading order."""
    kids = node.get("/K", [])
    for kid in kids if isinstance(kids, pikepdf.Array) else [kids]:
        if isinstance(kid, pikepdf.Dictionary) and "/S" in kid:
            yield kid
            yield from elements(kid)


def kinds(pdf: pikepdf.Pdf) -> list[str]:
    return [str(element.S).removeprefix("/") for element in elements(pdf.Root.StructTreeRoot)]


def streams(pdf: pikepdf.Pdf) -> Iterator[pikepdf.Object]:
    """The content of every page, and of every form drawn on one."""
    yield from pdf.pages
    for item in pdf.objects:
        if isinstance(item, pikepdf.Stream) and item.get("/Subtype") == "/Form":
            yield item


@pytest.mark.parametrize("profile", ["ua1", "2a"])
@pytest.mark.parametrize("name", PAPERS)
def test_the_validator_finds_no_fault(name: str, profile: str) -> None:
    assert faults(printed(name), profile) == []


@pytest.mark.parametrize("name", PAPERS)
def test_all_that_is_drawn_is_tagged_or_an_artifact(name: str) -> None:
    with pikepdf.open(io.BytesIO(printed(name))) as pdf:
        for number, page in enumerate(pdf.pages, 1):
            depth = 0
            for instruction in pikepdf.parse_content_stream(page):
                operator = str(instruction.operator)
                if operator in ("BDC", "BMC"):
                    depth += 1
                elif operator == "EMC":
                    depth -= 1
                assert depth or operator not in _DRAWING, f"{operator} on page {number} is in no marked content"
            assert page.obj.StructParents is not None
            assert page.obj.Tabs == "/S"


@pytest.mark.parametrize("name", PAPERS)
def test_no_character_is_printed_without_a_glyph(name: str) -> None:
    """Glyph 0 is the box that stands for a missing one; every font has two bytes for a glyph (Identity-H)."""
    shown = 0
    with pikepdf.open(io.BytesIO(printed(name))) as pdf:
        for content in streams(pdf):
            for instruction in pikepdf.parse_content_stream(content):
                if str(instruction.operator) not in _SHOWING:
                    continue
                parts = instruction.operands[0]
                for part in parts if isinstance(parts, pikepdf.Array) else [parts]:
                    if isinstance(part, pikepdf.String):
                        codes = bytes(part)
                        assert b"\0\0" not in [codes[at : at + 2] for at in range(0, len(codes), 2)]
                        shown += len(codes) // 2
    assert shown > 400
    assert "□" not in read(printed(name))


@pytest.mark.parametrize("name", PAPERS)
def test_fonts_are_embedded_and_can_be_read_back(name: str) -> None:
    with pikepdf.open(io.BytesIO(printed(name))) as pdf:
        fonts = [item for item in pdf.objects if isinstance(item, pikepdf.Dictionary) and item.get("/Type") == "/Font"]
        whole = [font for font in fonts if font.Subtype == "/Type0"]
        assert whole
        for font in whole:
            assert font.Encoding == "/Identity-H"
            assert "/ToUnicode" in font
        for font in fonts:
            if "/FontDescriptor" in font:
                assert {"/FontFile2", "/FontFile3"} & set(font.FontDescriptor.keys()), font.BaseFont


def test_the_document_says_what_it_is() -> None:
    with pikepdf.open(io.BytesIO(printed("full-year-fr"))) as pdf:
        assert pdf.Root.Lang == "fr"
        assert pdf.Root.MarkInfo.Marked is True
        assert pdf.Root.ViewerPreferences.DisplayDocTitle is True
        with pdf.open_metadata() as metadata:
            assert metadata["dc:title"] == "Relevé d’utilisation 2026 – ASBL Acme"
            assert metadata["pdfuaid:part"] == "1"
            assert (metadata["pdfaid:part"], metadata["pdfaid:conformance"]) == ("2", "A")
            assert metadata["dc:creator"] == ["Les Petits Chênes"]


def test_headings_tables_and_figures_are_tagged_as_such() -> None:
    with pikepdf.open(io.BytesIO(printed("full-year-fr"))) as pdf:
        found = Counter(kinds(pdf))
        assert (found["H1"], found["H2"]) == (1, 2)
        assert found["Table"] == 2
        # The columns of the lines and of the days sampled.
        assert found["TH"] == 6 + 3
        # The logo and four charts.
        assert found["Figure"] == 5


def test_a_chart_is_told_in_words() -> None:
    with pikepdf.open(io.BytesIO(printed("gaps-en"))) as pdf:
        figures = [element for element in elements(pdf.Root.StructTreeRoot) if element.S == "/Figure"]
        said = [str(figure.Alt) for figure in figures]
        assert said[0] == "Les Petits Chênes"
        assert said[1].startswith("Active users (distinct people per month) in 2026: January 30, February 30, March no")
        assert said[2].startswith("Documents (GB, mean of the month) in 2026: January 20.50")
        assert len(said) == 5


def test_text_can_be_selected_in_every_script() -> None:
    text = read(printed("scripts-fr"))
    for word in ("Maison", "社会福利中心", "한국어", "አማርኛ", "🌻"):
        assert word in text
    assert "1 710,94 €" in text
    # Poppler gives what is written from right to left in its own order.
    assert set("جمعية العمل") <= set(text)
    assert set("אגודה") <= set(text)
    assert {word for word in SCRIPTS.split() if word.isascii()} <= set(text.split())


@cache
def of_many() -> bytes:
    """A fleet's paper that is printed in parts."""
    one = statement_of(case("gaps"))
    clients = [replace(one.customer, instance=f"c{n:03}", client=f"Client {n:03}") for n in range(ROWS_OF_A_PART + 20)]
    statements = [replace(one, customer=customer) for customer in clients]
    return press().fleet(overview_page(statements, 2026, words("fr")))


@pytest.mark.parametrize("profile", ["ua1", "2a"])
def test_a_paper_bound_of_parts_keeps_the_standards(profile: str) -> None:
    assert faults(of_many(), profile) == []


def test_a_paper_bound_of_parts_is_one_paper() -> None:
    text = read(of_many())
    # Twice each: in the table, and above what is included.
    assert [text.count(f"Client {n:03} ") for n in (0, 499, 500, 519)] == [3, 3, 3, 3]
    with pikepdf.open(io.BytesIO(of_many())) as pdf:
        assert re.findall(r"2026 page (\d+)", text) == [str(number) for number in range(1, len(pdf.pages) + 1)]
        found = Counter(kinds(pdf))
        assert (found["Document"], found["H1"], found["H2"]) == (1, 1, 2)
        numbers = [int(page.obj.StructParents) for page in pdf.pages]
        tree = pdf.Root.StructTreeRoot
        assert numbers == [int(number) for number in tree.ParentTree.Nums[::2]] == list(range(tree.ParentTreeNextKey))
        # Every page leads to tags that lie on it, and every cell to header cells that are there.
        for page, tags in zip(pdf.pages, tree.ParentTree.Nums[1::2], strict=True):
            assert {element.Pg.objgen for element in tags} == {page.obj.objgen}
        names = {str(name) for name in tree.IDTree.Names[::2]}
        asked = {
            str(name)
            for element in elements(tree)
            for attribute in element.get("/A", [])
            for name in attribute.get("/Headers", [])
        }
        assert asked == names


def test_a_paper_bound_of_parts_is_reproducible() -> None:
    assert of_many.__wrapped__() == of_many()


def _without_alt(pdf: pikepdf.Pdf) -> None:
    for element in elements(pdf.Root.StructTreeRoot):
        if element.S == "/Figure":
            del element.Alt


def _without_language(pdf: pikepdf.Pdf) -> None:
    del pdf.Root.Lang


def _without_fonts(pdf: pikepdf.Pdf) -> None:
    for item in pdf.objects:
        if isinstance(item, pikepdf.Dictionary) and "/FontFile2" in item:
            del item.FontFile2


def _without_structure(pdf: pikepdf.Pdf) -> None:
    del pdf.Root.StructTreeRoot


@pytest.mark.parametrize(
    "damage, profile",
    [
        (_without_alt, "ua1"),
        (_without_language, "ua1"),
        (_without_fonts, "2a"),
        (_without_structure, "2a"),
        (_without_structure, "ua1"),
    ],
)
def test_the_validator_refuses_a_damaged_paper(damage: Callable[[pikepdf.Pdf], None], profile: str) -> None:
    with pikepdf.open(io.BytesIO(printed("full-year-fr"))) as pdf:
        damage(pdf)
        damaged = io.BytesIO()
        pdf.save(damaged, static_id=True)
    assert faults(damaged.getvalue(), profile)
