"""The fleet's paper of a real run: two years of a ledger, and what moved between them."""

from __future__ import annotations

import csv
import shutil
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from click.testing import CliRunner

from reports.cli import main
from reports.table import words
from tests.generated import Profile, generate
from tests.unit.reports.printed import plain, read

YEAR = 2025
COMPLETE = Profile("acme", "ASBL Acme", 6, 4, 10, (19.0, 23.0), 2)
NEW = Profile("nova", "Nova", 3, 2, 4, (1.0, 2.0), 1, starts=(4, 1))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Acme has two years of samples, of which the second has more users; Nova opened in the second."""
    directory = tmp_path_factory.mktemp("two-years")
    generate(directory / "before", YEAR - 1, [Profile("acme", "ASBL Acme", 4, 2, 5, (11.0, 12.0), 2)])
    generate(directory / "fleet", YEAR, [COMPLETE, NEW])
    shutil.copytree(directory / "before" / "ledger" / str(YEAR - 1), directory / "fleet" / "ledger" / str(YEAR - 1))
    shutil.copy(directory / "before" / "tariffs" / "standard.toml", directory / "fleet" / "tariffs" / "standard.toml")
    acme = directory / "fleet" / "inventory" / "instances" / "acme.yml"
    acme.write_text((directory / "before" / "inventory" / "instances" / "acme.yml").read_text(encoding="utf-8"))
    return directory / "fleet"


def annual(fleet: Path, year: int) -> Path:
    out = fleet.parent / f"papers-{year}"
    result = CliRunner().invoke(main, ["annual", str(year), "--fleet", str(fleet), "--out", str(out), "--lang", "en"])
    assert result.exit_code == 0, result.output
    return out


def total(papers: Path, year: int, slug: str) -> Decimal:
    with (papers / f"usage-{year}.csv").open(encoding="utf-8", newline="") as file:
        return next(
            Decimal(row["amount"]) for row in csv.DictReader(file) if (row["instance"], row["line"]) == (slug, "total")
        )


def test_the_fleet_sees_what_moved_since_the_year_before(fleet: Path) -> None:
    before = total(annual(fleet, YEAR - 1), YEAR - 1, "acme")
    papers = annual(fleet, YEAR)
    now = total(papers, YEAR, "acme")
    assert now > before
    moved = words("en").number(Fraction((now - before) * 100) / Fraction(before), 1)
    text = plain(read((papers / f"fleet-{YEAR}.pdf").read_bytes()))
    assert f"+{moved}%" in text
    assert "Nova since 1 April 2025" in text
    # The first of the two has no year before it.
    first = read((fleet.parent / f"papers-{YEAR - 1}" / f"fleet-{YEAR - 1}.pdf").read_bytes())
    assert "Change: of the total" not in first
