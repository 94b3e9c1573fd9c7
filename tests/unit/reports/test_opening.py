"""`chill-report opening`: what is invoiced beforehand, and how the first year's statement takes it off."""

from __future__ import annotations

import csv
import json
import shutil
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from reports.cli import main
from tests.generated import Profile, generate

YEAR = 2025
ACME = Profile("acme", "ASBL Acme", 6, 4, 10, (19.0, 23.0), 2, starts=(4, 10))
EXTRAS = """extras: [
      {day: 2025-04-12, label: Data migration, amount: "300.00"},
      {day: 2025-04-15, label: Welcome, amount: "20.00", kind: credit},
      {day: 2025-09-01, label: Training, quantity: "1.5", unit: day, unit_price: "400"}]"""


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("generated") / "fleet"
    generate(directory, YEAR, [ACME])
    agree(directory, EXTRAS)
    return directory


@pytest.fixture
def fleet(generated: Path, tmp_path: Path) -> Path:
    return shutil.copytree(generated, tmp_path / "fleet")


def agree(fleet: Path, more: str) -> None:
    """Add to the contract of acme."""
    path = fleet / "inventory" / "instances" / "acme.yml"
    text = path.read_text()
    assert ", tariff: standard" in text
    path.write_text(text.replace(", tariff: standard", f", tariff: standard, {more}"))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def opening(fleet: Path, *more: object) -> Result:
    return run("opening", "acme", "--fleet", fleet, "--out", fleet.parent / "papers", *more)


def rows(path: Path) -> list[tuple[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["line"], row["amount"]) for row in csv.DictReader(file)]


def test_the_base_until_december_and_what_is_dated_until_then(fleet: Path) -> None:
    result = opening(fleet, "--date", "2025-04-15")
    assert result.exit_code == 0, result.output
    papers = fleet.parent / "papers"
    # 600.00 × 9/12; the training is later.
    assert rows(papers / "acme-opening-2025.csv") == [
        ("base", "450.00"),
        ("extra", "300.00"),
        ("credit", "-20.00"),
        ("total", "730.00"),
        ("vat", "153.30"),
        ("total_with_vat", "883.30"),
    ]
    assert (papers / "acme-opening-2025.pdf").read_bytes().startswith(b"%PDF")
    assert "883.30" in result.stdout
    assert 'opening_invoiced: {day: 2025-04-15, amount: "730.00"}' in result.stderr


def test_a_contract_that_ends_in_its_first_year_is_invoiced_until_then(fleet: Path) -> None:
    path = fleet / "inventory" / "instances" / "acme.yml"
    path.write_text(path.read_text().replace("ends: null", "ends: 2025-06-30"))
    # Its extras are of the same year, so they still find their statement.
    opening(fleet, "--date", "2025-04-10")
    assert rows(fleet.parent / "papers" / "acme-opening-2025.csv")[0] == ("base", "150.00")


def test_nothing_of_the_ledger_is_read(fleet: Path) -> None:
    (fleet / "ledger" / str(YEAR) / "broken.csv").write_text("x")
    assert opening(fleet, "--date", "2025-04-10").exit_code == 0


def test_the_first_years_statement_takes_off_what_was_invoiced_to_the_cent(fleet: Path) -> None:
    before = annual_total(fleet)
    told = opening(fleet, "--date", "2025-04-15").stderr.splitlines()
    agree(fleet, next(line.strip() for line in told if "opening_invoiced" in line))
    assert annual_total(fleet) == before - Decimal("730.00")
    # Once it is said, the paper is made again as it was, whatever the day.
    again = opening(fleet)
    assert rows(fleet.parent / "papers" / "acme-opening-2025.csv")[3] == ("total", "730.00")
    assert "note: 730.00 was invoiced on 2025-04-15, says the contract" in again.stderr


def annual_total(fleet: Path) -> Decimal:
    result = run("annual", YEAR, "--fleet", fleet, "--out", fleet.parent / "reports", "--json")
    assert result.exit_code == 0, result.output
    (statement,) = json.loads(result.stdout)["statements"]
    assert Decimal(statement["total"]) == sum(Decimal(amount) for amount in statement["lines"].values())
    return Decimal(statement["total"])


def test_what_is_wrong_is_refused_and_nothing_is_written(fleet: Path) -> None:
    assert run("opening", "acne", "--fleet", fleet).exit_code == 2
    assert opening(fleet, "--date", "tomorrow").exit_code == 2
    (fleet / "tariffs" / "standard.toml").unlink()
    result = opening(fleet)
    assert result.exit_code == 2
    assert "tariffs/standard.toml: there is no such tariff" in result.stderr
    assert not (fleet.parent / "papers").exists()
