"""The papers look as they did when somebody last looked at them: every page against its image in tests/cases/papers."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from PIL import Image

from tests.integration.papers import IMAGES, PAPERS, annex, furthest, images, printed, reference
from tests.unit.reports.printed import case
from tests.unit.reports.years import statement_of

# Drawing the same page by another version of poppler stays below; one digit that is another one is well above.
TOLERANCE = 8.0


@pytest.mark.parametrize("name", PAPERS)
def test_a_paper_looks_like_its_image(name: str) -> None:
    pages = images(printed(name))
    kept = sorted(IMAGES.glob(f"{name}-[0-9].png"))
    assert [reference(name, number) for number in range(1, len(pages) + 1)] == kept
    for number, page in enumerate(pages, 1):
        expected = Image.open(reference(name, number)).convert("L")
        assert furthest(page, expected) < TOLERANCE, (
            f"{name}, page {number} looks different; if that is meant: python -m tests.integration.papers"
        )


def test_every_image_is_of_a_paper() -> None:
    known = {path for name in PAPERS for path in IMAGES.glob(f"{name}-[0-9].png")}
    assert set(IMAGES.glob("*.png")) == known
    assert max(path.stat().st_size for path in known) < 60_000


def test_one_cent_is_seen() -> None:
    statement = statement_of(case("full-year"))
    lines = [
        replace(line, amount=line.amount + Decimal("0.01")) if line.name == "sms" else line for line in statement.lines
    ]
    page, other = (images(annex(one, "fr"))[0] for one in (statement, replace(statement, lines=tuple(lines))))
    assert furthest(page, other) > 2 * TOLERANCE


def test_a_line_that_is_missing_or_elsewhere_is_seen() -> None:
    page = images(printed("full-year-fr"))[0]
    moved = Image.new("L", page.size, 255)
    moved.paste(page, (0, 2))
    assert furthest(page, moved) > 2 * TOLERANCE
    statement = statement_of(case("full-year"))
    shorter = images(annex(replace(statement, lines=statement.lines[:-1]), "fr"))[0]
    assert furthest(page, shorter) > 2 * TOLERANCE


def test_nothing_is_drawn_outside_the_margins() -> None:
    """A word that has no room must break: 15 mm on each side stay white on every page."""
    margin = round(15 / 25.4 * 72)
    for name in PAPERS:
        for page in images(printed(name)):
            width, height = page.size
            for box in ((0, 0, margin, height), (width - margin, 0, width, height)):
                assert page.crop(box).getextrema() == (255, 255), name
