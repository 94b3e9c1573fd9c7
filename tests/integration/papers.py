"""The papers that are held to the standards and to their images: every kind, every language, the hard cases.

python -m tests.integration.papers       print them anew into tests/cases/papers, after looking at them
"""

from __future__ import annotations

import io
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from provision.settings import Language
from reports.annex import annex_page
from reports.overview import overview_page
from reports.statement import Statement, with_lines
from reports.table import words
from tests.unit.reports.printed import case, press
from tests.unit.reports.years import statement_of

IMAGES = Path(__file__).parents[1] / "cases" / "papers"
SCRIPTS = "Maison verte – جمعية العمل – אגודה – 社会福利中心 – 한국어 – हिन्दी – አማርኛ – 🌻 👩‍👧 🇧🇪"
LONG = "Œuvre d’aide à la jeunesse et aux familles du Brabant wallon, de Bruxelles et d’ailleurs, " * 2
# Dots to an inch: small files, in which a digit is still more than a shade.
RESOLUTION = 72
LOGO = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 90 30"><circle cx="15" cy="15" r="13" fill="#1f7a5a"/>'
    '<path d="M35 8h6v14h-6zM45 8h6v14h-6zM55 8h6v14h-6z" fill="#1f4e79"/></svg>'
)


def annex(statement: Statement, language: Language) -> bytes:
    """A customer's paper with a logo."""
    with tempfile.TemporaryDirectory() as directory:
        logo = Path(directory) / "logo.svg"
        logo.write_text(LOGO, encoding="utf-8")
        return press(statement.year, language, logo).annex(annex_page(statement, words(language)))


def opening() -> Statement:
    """What is invoiced at the opening."""
    year = statement_of(case("first-year"))
    return with_lines(replace(year, lines=(), paper="opening"), [line for line in year.lines if line.name == "base"])


def fleet(language: Language) -> bytes:
    """Customers of every case, and what they paid the year before."""
    names = ("full-year", "gaps", "base-only", "two-periods", "extras", "estimated", "first-year")
    clients = ("Alpha", "Beta", "Gamma", SCRIPTS, LONG, "אגודה", "W" * 60)
    made = [
        statement_of(case(name), client=client, slug=f"c{number}")
        for number, (name, client) in enumerate(zip(names, clients, strict=True))
    ]
    before = [replace(one, total=one.total - Decimal("12.34"), year=2025) for one in made[1:]]
    return press(2026, language).fleet(overview_page(made, 2026, words(language), before))


PAPERS: dict[str, Callable[[], bytes]] = {
    "full-year-fr": lambda: annex(statement_of(case("full-year")), "fr"),
    "gaps-en": lambda: annex(statement_of(case("gaps")), "en"),
    "extras-nl": lambda: annex(statement_of(case("extras")), "nl"),
    "two-periods-fr": lambda: annex(statement_of(case("two-periods")), "fr"),
    "nothing-sampled-fr": lambda: annex(statement_of(case("nothing-sampled"), client=LONG), "fr"),
    "scripts-fr": lambda: annex(statement_of(case("full-year"), client=SCRIPTS), "fr"),
    "right-to-left-en": lambda: annex(statement_of(case("first-year"), client="ביחד למען הקהילה!"), "en"),
    "opening-fr": lambda: annex(opening(), "fr"),
    "fleet-fr": lambda: fleet("fr"),
}


@cache
def printed(name: str) -> bytes:
    """One of the papers; printed once."""
    return PAPERS[name]()


def images(pdf: bytes) -> list[Image.Image]:
    """Each page in shades of grey, drawn by poppler."""
    with tempfile.TemporaryDirectory() as directory:
        command = ["pdftoppm", "-gray", "-r", str(RESOLUTION), "-", f"{directory}/page"]
        subprocess.run(command, input=pdf, check=True)
        return [Image.open(io.BytesIO(path.read_bytes())) for path in sorted(Path(directory).iterdir())]


def reference(name: str, page: int) -> Path:
    """Where the image of a page is kept; pages from 1."""
    return IMAGES / f"{name}-{page}.png"


def furthest(one: Image.Image, other: Image.Image, block: int = 5) -> float:
    """How far apart two pages are, where they are furthest: mean shades of blocks of `block` dots, 0 to 255.

    A hair's difference at the edges of letters hardly changes a mean; a digit that is another one, or a line that is
    elsewhere, does. Pages of different size are 255 apart.
    """
    if one.size != other.size:
        return 255.0
    distance = np.asarray(one, dtype=np.int16) - np.asarray(other, dtype=np.int16)
    height, width = (side // block * block for side in distance.shape)
    blocks = distance[:height, :width].reshape(height // block, block, width // block, block)
    return float(np.abs(blocks.mean(axis=(1, 3))).max())


def write(names: Sequence[str]) -> None:
    """Write the images of the papers."""
    IMAGES.mkdir(exist_ok=True)
    for name in names:
        for number, image in enumerate(images(printed(name)), 1):
            # Thirty-three shades of grey: a third of the size, and no shade is moved by more than four.
            image.point(lambda shade: min(255, (shade + 4) // 8 * 8)).save(reference(name, number), optimize=True)


if __name__ == "__main__":
    for path in IMAGES.glob("*.png"):
        path.unlink()
    write(list(PAPERS))
