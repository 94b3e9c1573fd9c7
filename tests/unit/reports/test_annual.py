"""`chill-report annual`, whole: a generated fleet and ledger in, papers out; and every way to be refused."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from provision.fleet_reader import load_fleet
from reports import annual as verb
from reports.annex import Page
from reports.cli import main
from reports.staging import staging
from reports.to_pdf import Press
from tests.generated import PROFILES, Profile, generate

YEAR = 2025
SMALL = (
    Profile("acme", "ASBL Acme", 6, 4, 10, (19.0, 23.0), 2),
    Profile("beta", "=Beta #1 [x]", 3, 1, 2, (1.0, 2.0), 0, starts=(4, 10)),
)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("generated") / "fleet"
    generate(directory, YEAR, SMALL)
    return directory


@pytest.fixture
def fleet(generated: Path, tmp_path: Path) -> Path:
    return shutil.copytree(generated, tmp_path / "fleet")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def annual(fleet: Path, *more: object) -> Result:
    return run("annual", YEAR, "--fleet", fleet, "--out", fleet.parent / "papers", *more)


def tree(directory: Path) -> dict[str, str]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def usage_rows(papers: Path) -> list[dict[str, str]]:
    with (papers / f"usage-{YEAR}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_papers_of_a_fleet(fleet: Path) -> None:
    result = annual(fleet)
    assert result.exit_code == 0, result.output
    papers = fleet.parent / "papers"
    expected = {"usage-2025.csv", "monthly-2025.csv", "fleet-2025.pdf", "acme-2025.pdf", "beta-2025.pdf"}
    assert set(tree(papers)) == expected
    for name in expected:
        assert str(papers / name) in result.stdout
    rows = usage_rows(papers)
    for slug in ("acme", "beta"):
        mine = {row["line"]: row for row in rows if row["instance"] == slug}
        lines = [Decimal(mine[name]["amount"]) for name in list(mine)[:6]]
        assert Decimal(mine["total"]["amount"]) == sum(lines)
        assert mine["total"]["amount"] in result.stdout
        paper = papers / f"{slug}-2025.pdf"
        text = subprocess.run(["pdftotext", str(paper), "-"], capture_output=True, check=True, text=True).stdout
        assert mine["total_with_vat"]["amount"].replace(".", ",") + " €" in text
    assert {row["client"] for row in rows if row["instance"] == "beta"} == {"'=Beta #1 [x]"}
    assert "=Beta #1 [x]" in result.stdout


def test_usage_is_that_of_the_ledger(fleet: Path) -> None:
    """Sums straight from the sample files, beside what the papers say."""
    annual(fleet)
    sums = {"sms_sent": 0, "emails_sent": 0}
    for path in (fleet / "ledger").rglob("*.samples.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row["instance"] == "acme" and row["metric"] in sums:
                    sums[row["metric"]] += int(row["value"])
    mine = {row["line"]: row for row in usage_rows(fleet.parent / "papers") if row["instance"] == "acme"}
    assert int(mine["sms"]["quantity"]) == sums["sms_sent"]
    assert int(mine["emails"]["quantity"]) == sums["emails_sent"]
    assert (mine["documents"]["days_sampled"], mine["documents"]["days_expected"]) == ("365", "365")


def test_a_second_run_gives_the_same_bytes(fleet: Path) -> None:
    annual(fleet)
    first = tree(fleet.parent / "papers")
    assert annual(fleet).exit_code == 0
    assert tree(fleet.parent / "papers") == first


def test_json_for_programs(fleet: Path) -> None:
    result = annual(fleet, "--json", "--lang", "en")
    document = json.loads(result.stdout)
    acme = document["statements"][0]
    assert (document["year"], acme["instance"], acme["incomplete"]) == (YEAR, "acme", [])
    total = sum(Decimal(amount) for amount in acme["lines"].values())
    assert Decimal(acme["total"]) == total
    assert [Path(name).name for name in document["files"]][:3] == [
        "usage-2025.csv",
        "monthly-2025.csv",
        "fleet-2025.pdf",
    ]


def test_a_month_without_samples_is_told_and_ends_with_status_3(fleet: Path) -> None:
    for path in (fleet / "ledger").rglob(f"{YEAR}-03-*"):
        path.unlink()
    result = annual(fleet)
    assert result.exit_code == 3
    assert f"missing: acme: sms: months without any sample: {YEAR}-03, 31 days without a sample" in result.stderr
    assert "samples that are billed are missing for 1 customer" in result.stderr
    assert "beta" not in result.stderr
    assert (fleet.parent / "papers" / "acme-2025.pdf").exists()


def test_single_days_without_samples_are_a_warning(fleet: Path) -> None:
    for path in (fleet / "ledger").rglob(f"{YEAR}-03-17*"):
        path.unlink()
    result = annual(fleet)
    assert result.exit_code == 0
    assert "warning: single days have no sample, as their papers say: acme" in result.stderr
    mine = {row["line"]: row for row in usage_rows(fleet.parent / "papers") if row["instance"] == "acme"}
    assert mine["sms"]["days_sampled"] == "364"
    assert mine["sms"]["note"] == "1 jour sans relevé"


def test_who_has_too_few_samples_comes_first(fleet: Path) -> None:
    """Of beta, the whole of June is missing: 30 of 266 days; of acme, nothing."""
    for path in (fleet / "ledger").rglob(f"{YEAR}-06-*.csv"):
        rows = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(row for row in rows if ",beta," not in row), encoding="utf-8", newline="")
    result = annual(fleet, "--json")
    assert result.exit_code == 3
    first, second = json.loads(result.stdout)["statements"]
    assert (first["instance"], first["coverage_percent"], first["below_coverage"]) == ("beta", "88.7", True)
    assert (second["instance"], second["coverage_percent"], second["below_coverage"]) == ("acme", "100.0", False)
    assert "less than 95 % of the days were sampled for 1 customer, listed first" in result.stderr
    table = annual(fleet).stdout
    assert table.index("beta") < table.index("acme")
    # The CSV is in the order that its readers know.
    assert next(iter(usage_rows(fleet.parent / "papers")))["instance"] == "acme"
    settings = fleet / "chill.toml"
    settings.write_text(settings.read_text() + "\n[reports]\ncoverage_percent = 88\n")
    assert [one["instance"] for one in json.loads(annual(fleet, "--json").stdout)["statements"]] == ["acme", "beta"]


def test_what_was_agreed_is_no_gap(fleet: Path) -> None:
    path = fleet / "inventory" / "instances" / "acme.yml"
    agreed = '[{key: sms.price, value: "0.10", reason: "pilot customer"}]'
    path.write_text(path.read_text().replace(", tariff: standard", f", tariff: standard, overrides: {agreed}"))
    result = annual(fleet)
    assert result.exit_code == 0
    assert "warning" not in result.stderr
    mine = {row["line"]: row for row in usage_rows(fleet.parent / "papers") if row["instance"] == "acme"}
    assert mine["sms"]["note"] == "condition particulière\u00a0: pilot customer"
    assert mine["sms"]["unit_price"] == "0.10"


def test_missing_days_are_estimated_on_demand_only(fleet: Path) -> None:
    for path in (fleet / "ledger").rglob(f"{YEAR}-03-17*"):
        path.unlink()
    plain = json.loads(annual(fleet, "--json").stdout)["statements"][0]
    result = annual(fleet, "--json", "--estimate")
    made = json.loads(result.stdout)["statements"][0]
    assert (plain["estimated"], made["estimated"]) == (False, True)
    assert "days without a sample were estimated for 1 customer, as their papers say" in result.stderr
    assert Decimal(made["lines"]["sms"]) > Decimal(plain["lines"]["sms"])
    mine = {row["line"]: row for row in usage_rows(fleet.parent / "papers") if row["instance"] == "acme"}
    assert "estimation\u00a0: " in mine["sms"]["note"]
    assert mine["sms"]["days_sampled"] == "364"


def test_customers_without_a_contract_in_the_year_are_left_out(fleet: Path) -> None:
    path = fleet / "inventory" / "instances" / "beta.yml"
    path.write_text(path.read_text().replace("starts: 2025-04-10", "starts: 2026-04-10"))
    result = annual(fleet)
    assert result.exit_code == 0
    assert {row["instance"] for row in usage_rows(fleet.parent / "papers")} == {"acme"}


def test_older_papers_are_left_alone_and_named(fleet: Path) -> None:
    papers = fleet.parent / "papers"
    papers.mkdir()
    (papers / "gone-2025.pdf").write_text("an older one")
    result = annual(fleet)
    assert result.exit_code == 0
    assert "gone-2025.pdf is of an earlier run and was left alone" in result.stderr
    assert (papers / "gone-2025.pdf").read_text() == "an older one"


# Refused: exit status 2, the place is named, nothing is written.


@pytest.fixture
def unchanged(fleet: Path) -> Iterator[Path]:
    """The fleet; afterwards it must be what the test made of it, and no paper must be there."""
    yield fleet
    assert {path.name for path in fleet.parent.iterdir()} == {"fleet"}


def assert_refused(fleet: Path, *expected: str) -> None:
    before = tree(fleet)
    result = annual(fleet)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    for text in expected:
        assert text in result.stderr
    assert tree(fleet) == before


def test_a_tariff_that_is_not_there(unchanged: Path) -> None:
    (unchanged / "tariffs" / "standard.toml").unlink()
    assert_refused(unchanged, "tariffs/standard.toml: there is no such tariff")


def test_a_wrong_tariff_and_a_wrong_ledger_are_reported_together(unchanged: Path) -> None:
    tariff = unchanged / "tariffs" / "standard.toml"
    tariff.write_text(tariff.read_text().replace('"600.00"', '"-600.00"').replace('"0.075"', "0.075"))
    (sample,) = (unchanged / "ledger").rglob(f"{YEAR}-02-03.srv1.*.samples.csv")
    sample.write_text(sample.read_text().replace("acme,sms_sent,", "acme,sms_sent,-"))
    assert_refused(
        unchanged, "version[1].base.price: is negative", "version[1].sms.price: is a bare number", sample.name
    )


def test_no_version_in_force(unchanged: Path) -> None:
    tariff = unchanged / "tariffs" / "standard.toml"
    tariff.write_text(tariff.read_text().replace("2025-01-01", "2025-02-01"))
    assert_refused(unchanged, "tariffs/standard.toml: version: no version is in force for acme in 2025")


def test_samples_of_an_unknown_instance(unchanged: Path) -> None:
    (unchanged / "inventory" / "instances" / "beta.yml").unlink()
    assert_refused(unchanged, "beta")


def test_a_year_without_contracts(unchanged: Path) -> None:
    result = run("annual", 2019, "--fleet", unchanged, "--out", unchanged.parent / "papers")
    assert result.exit_code == 2
    assert "YEAR: no contract" in result.stderr


def test_a_year_that_is_none(unchanged: Path) -> None:
    assert run("annual", "next", "--fleet", unchanged).exit_code == 2


def test_a_directory_that_is_no_fleet(tmp_path: Path) -> None:
    result = run("annual", YEAR, "--fleet", tmp_path, "--out", tmp_path / "papers")
    assert result.exit_code == 2
    assert "chill.toml" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_instance_called_as_the_fleets_paper(unchanged: Path) -> None:
    instances = unchanged / "inventory" / "instances"
    text = (instances / "acme.yml").read_text().replace("acme", "fleet")
    (instances / "fleet.yml").write_text(text)
    assert_refused(unchanged, "inventory/instances/fleet.yml: 'fleet' is not a slug: it is a reserved word")


@pytest.mark.parametrize("out", ["fleet/chill.toml", "fleet/chill.toml/papers", "nowhere/papers", "/proc/papers"])
def test_an_output_directory_that_cannot_be_written(unchanged: Path, out: str) -> None:
    before = tree(unchanged)
    # Refused before the ledger is read: here one that is wrong.
    (unchanged / "ledger" / str(YEAR) / "broken.csv").write_text("x")
    result = run("annual", YEAR, "--fleet", unchanged, "--out", unchanged.parent / out)
    assert result.exit_code == 2
    assert "--out" in result.stderr
    assert "broken" not in result.stderr
    (unchanged / "ledger" / str(YEAR) / "broken.csv").unlink()
    assert tree(unchanged) == before


def papers_in(directory: Path) -> dict[str, str]:
    """Without what is hidden."""
    return {name: digest for name, digest in tree(directory).items() if not name.startswith(".")}


def test_an_interrupted_run_leaves_the_older_papers_whole(fleet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    annual(fleet)
    papers = fleet.parent / "papers"
    before = tree(papers)
    tariff = fleet / "tariffs" / "standard.toml"
    tariff.write_text(tariff.read_text().replace('"600.00"', '"700.00"'))

    def interrupt(_page: object, _text: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(verb, "annex_page", interrupt)
    result = annual(fleet)
    assert result.exit_code == 1
    assert papers_in(papers) == before
    assert {path.name for path in fleet.parent.iterdir()} == {"fleet", "papers"}
    monkeypatch.undo()
    assert annual(fleet).exit_code == 0
    after = tree(papers)
    assert {name for name in before if after[name] == before[name]} == {f"monthly-{YEAR}.csv"}
    assert after.keys() == before.keys()


def test_what_was_printed_before_an_interruption_is_not_printed_again(
    fleet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless what it is made from has changed: here the client of one of two customers."""
    whole = Press._set
    printed: list[str] = []

    def counted(press: Press, template: str, content: str, page: Page, printer: object) -> bytes:
        printed.append(page.get("instance", "fleet"))
        return whole(press, template, content, page, printer)

    def interrupt(done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    monkeypatch.setattr(Press, "_set", counted)
    out = fleet.parent / "papers"
    with pytest.raises(KeyboardInterrupt):
        verb.annual(load_fleet(fleet), YEAR, out, "fr", interrupt)
    assert not out.exists()
    printed.clear()
    assert annual(fleet).exit_code == 0
    assert printed == []
    with pytest.raises(KeyboardInterrupt):
        verb.annual(load_fleet(fleet), YEAR, out, "fr", interrupt)
    printed.clear()
    path = fleet / "inventory" / "instances" / "beta.yml"
    path.write_text(path.read_text().replace("=Beta", "Gamma"))
    assert annual(fleet).exit_code == 0
    assert sorted(printed) == ["beta.chill.pro", "fleet"]


@pytest.mark.parametrize(
    "formats,expected",
    [
        ("xlsx", {"usage-2025.xlsx"}),
        ("csv,json", {"usage-2025.csv", "monthly-2025.csv", "usage-2025.json"}),
        ("json, csv-fr,json", {"usage-2025.fr.csv", "monthly-2025.fr.csv", "usage-2025.json"}),
    ],
)
def test_the_figures_come_in_the_formats_that_are_asked_for(fleet: Path, formats: str, expected: set[str]) -> None:
    result = annual(fleet, "--format", formats)
    assert result.exit_code == 0, result.output
    assert {name for name in tree(fleet.parent / "papers") if not name.endswith(".pdf")} == expected
    assert all(name in result.stdout for name in expected)


@pytest.mark.parametrize("formats", ["xls", "csv,pdf", "", ","])
def test_a_format_that_is_none(unchanged: Path, formats: str) -> None:
    result = annual(unchanged, "--format", formats)
    assert result.exit_code == 2
    assert "--format" in result.stderr
    assert "csv,csv-fr,xlsx,json" in result.stderr


def test_a_new_directory_appears_whole_and_readable(tmp_path: Path) -> None:
    out = tmp_path / "papers"
    with staging(out) as stage:
        stage.write("a.csv", "a")
        assert not out.exists()
        assert stage.publish() == (out / "a.csv",)
    assert (out / "a.csv").read_text() == "a"
    assert out.stat().st_mode & 0o777 == 0o777 & ~_umask(tmp_path)
    assert list(tmp_path.iterdir()) == [out]


def _umask(directory: Path) -> int:
    (directory / "probe").mkdir()
    mode = (directory / "probe").stat().st_mode & 0o777
    (directory / "probe").rmdir()
    return 0o777 & ~mode


def test_the_generated_fleet_is_the_same_every_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        generate(tmp_path / name, YEAR, PROFILES[1:3])
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_help_shows_an_example() -> None:
    assert "chill-report annual 2026 --fleet" in run("annual", "--help").stdout
