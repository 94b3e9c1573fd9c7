"""Papers printed by Typst, and read back by poppler."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

from provision.settings import Cooperative, Language
from reports.annex import annex_page
from reports.letterhead import letterhead
from reports.statement import Statement
from reports.table import words
from reports.to_pdf import Press
from tests.unit.reports.years import CASES

COOPERATIVE = Cooperative(
    name="Les Petits Chênes",
    address=("Rue du Moulin 12", "4000 Liège"),
    email="bonjour@example.org",
    phone="+32 4 000 00 00",
    vat_number="BE 0000.000.097",
    iban="BE68539007547034",
    colour="#1f4e79",
)


def case(name: str) -> dict[str, Any]:
    """A year of tests/cases/statement."""
    return tomllib.loads((CASES / f"{name}.toml").read_text(encoding="utf-8"))


def press(year: int = 2026, language: Language = "fr", logo: Path | None = None) -> Press:
    """A press of a cooperative with everything set but, mostly, a logo."""
    return Press.for_year(year, letterhead(COOPERATIVE, words(language)), logo)


def annex(statement: Statement, language: Language = "fr") -> bytes:
    """A customer's paper."""
    return press(statement.year, language).annex(annex_page(statement, words(language)))


def read(pdf: bytes) -> str:
    """The text of a PDF; spaces of every kind as one plain space."""
    assert shutil.which("pdftotext"), "apt-get install poppler-utils"
    text = subprocess.run(["pdftotext", "-layout", "-", "-"], input=pdf, capture_output=True, check=True).stdout
    return " ".join(text.decode("utf-8").split())


def pages(pdf: bytes) -> int:
    """How many pages a PDF has."""
    info = subprocess.run(["pdfinfo", "-"], input=pdf, capture_output=True, check=True).stdout.decode()
    return int(next(line.split()[1] for line in info.splitlines() if line.startswith("Pages:")))


def plain(text: str) -> str:
    """Text with plain spaces."""
    return text.replace("\u00a0", " ").replace("\u202f", " ")
