"""`chill-report preview` and `compare`: the running year, and why a year differs from another, to the cent."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings

from metering.ledger.usage import Window, YearUsage
from provision.fleet_reader import load_fleet
from reports.cli import main, previews
from reports.compare import Change, changes
from reports.preview import Preview
from reports.preview import previews as make_previews
from reports.statement import Part, Statement, statement_of
from reports.tariff import Tariff, read_tariff
from tests.generated import Profile, generate
from tests.unit.reports.test_statement import spans, tariffs, years
from tests.unit.reports.years import customer

YEAR = 2025
TODAY = date(2025, 7, 1)
SMALL = (
    Profile("acme", "ASBL Acme", 6, 4, 10, (19.0, 23.0), 2),
    Profile("beta", "=Beta #1 [x]", 3, 1, 2, (1.0, 2.0), 0, starts=(4, 10)),
)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fleet of which the ledger ends on 30 June 2025, and lacks the 1st of May."""
    directory = tmp_path_factory.mktemp("generated") / "fleet"
    generate(directory, YEAR, SMALL)
    for path in (directory / "ledger").rglob("*.csv"):
        if path.name[:10] > "2025-06-30" or path.name.startswith("2025-05-01"):
            path.unlink()
    return directory


@pytest.fixture
def fleet(generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it; for commands, today is 1 July 2025."""
    monkeypatch.setattr(previews, "fleet_today", lambda _: TODAY)
    return shutil.copytree(generated, tmp_path / "fleet")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def sent(fleet: Path, metric: str) -> int:
    """What the sample files say of acme."""
    total = 0
    for path in (fleet / "ledger").rglob("*.samples.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            total += sum(int(row["value"]) for row in rows if (row["instance"], row["metric"]) == ("acme", metric))
    return total


def previewed(fleet: Path, slug: str, today: date = TODAY) -> Preview:
    (made,) = make_previews(load_fleet(fleet), [slug], today)
    return made


def quantities(statement: Statement | None) -> dict[str, Fraction | int | None]:
    assert statement
    return {line.name: line.quantity for line in statement.lines}


def test_flows_go_on_at_the_mean_of_the_sampled_days_and_levels_stay(fleet: Path) -> None:
    made = previewed(fleet, "acme")
    assert made.until == date(2025, 6, 30)
    so_far, projected = quantities(made.so_far), quantities(made.projected)
    for name, metric in (("sms", "sms_sent"), ("emails", "emails_sent")):
        counted = sent(fleet, metric)
        assert so_far[name] == counted
        # 181 days are over, one of them without a sample; 185 of 365 have none.
        assert projected[name] == int(Fraction(counted * 365, 180) + Fraction(1, 2))
    assert (so_far["base"], projected["base"]) == (6, 12)
    for level in ("active_users", "documents"):
        assert so_far[level] == projected[level]
        assert so_far[level] is not None
    assert made.so_far
    assert made.so_far.amount_of("base") == Decimal("300.00")
    assert made.so_far.coverage == Fraction(100 * 180, 181)
    assert "until" not in made.method
    assert "2025-06-30" in made.method


def test_only_what_is_over_is_expected_so_far(fleet: Path) -> None:
    """Beta starts on 10 April: 82 days until June, 266 in the year."""
    made = previewed(fleet, "beta")
    assert made.so_far
    days = [(line.days_sampled, line.days_expected) for line in made.so_far.lines if line.name == "sms"]
    assert days == [(81, 82)]
    projected = next(line for line in made.projected.lines if line.name == "sms")
    assert (projected.days_expected, projected.estimated) == (266, True)


def test_a_contract_that_has_not_begun_costs_nothing_so_far(fleet: Path) -> None:
    made = previewed(fleet, "beta", today=date(2025, 4, 10))
    assert made.so_far is None
    assert made.projected.amount_of("base") == Decimal("450.00")
    assert all(before is None for before, _ in made.lines)


def test_on_1_january_the_year_that_ended_is_shown(fleet: Path) -> None:
    made = previewed(fleet, "acme", today=date(2026, 1, 1))
    assert made.projected.year == 2025
    assert made.so_far
    assert made.so_far.months == 12


def test_a_period_to_come_is_projected_by_its_own_prices(fleet: Path) -> None:
    path = fleet / "inventory" / "instances" / "acme.yml"
    text = path.read_text().replace("starts: 2024-02-01", "starts: 2025-09-01")
    earlier = ", tariff: standard, periods: [{starts: 2024-02-01, ends: 2025-08-31, tariff: standard}]"
    path.write_text(text.replace(", tariff: standard", earlier))
    made = previewed(fleet, "acme")
    assert made.so_far
    assert [part.window.last_day for part in made.so_far.parts] == [date(2025, 6, 30)]
    assert [part.months for part in made.projected.parts] == [8, 4]
    assert [before is None for before, line in made.lines if line.name == "base"] == [False, True]


def test_one_off_lines_come_up_on_their_day(fleet: Path) -> None:
    path = fleet / "inventory" / "instances" / "acme.yml"
    extras = '[{day: 2025-06-30, label: now, amount: "1"}, {day: 2025-07-01, label: later, amount: "2"}]'
    path.write_text(path.read_text().replace(", tariff: standard", f", tariff: standard, extras: {extras}"))
    made = previewed(fleet, "acme")
    assert [(before and before.label, line.label) for before, line in made.lines][-2:] == [
        ("now", "now"),
        (None, "later"),
    ]


def test_a_preview_as_a_table_json_and_csv(fleet: Path) -> None:
    before = sorted(path.name for path in fleet.parent.iterdir())
    result = run("preview", "acme", "--fleet", fleet)
    assert result.exit_code == 0, result.output
    made = previewed(fleet, "acme")
    assert made.so_far
    assert str(made.so_far.total) in result.stdout
    assert str(made.projected.total_with_vat) in result.stdout
    assert "as if the contract ended on 2025-06-30" in result.stdout
    documents = json.loads(run("preview", "--all", "--json", "--fleet", fleet).stdout)
    assert [document["instance"] for document in documents] == ["acme", "beta"]
    assert documents[0]["total"] == {"so_far": str(made.so_far.total), "projected": str(made.projected.total)}
    assert [line["line"] for line in documents[0]["lines"] if line["extrapolated"]] == ["sms", "emails"]
    assert "=Beta #1 [x]" in run("preview", "--all", "--fleet", fleet).stdout
    assert sorted(path.name for path in fleet.parent.iterdir()) == before, "nothing may be written"
    assert run("preview", "--all", "--fleet", fleet, "--out", fleet.parent / "out").exit_code == 0
    text = (fleet.parent / "out" / "preview-2025.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert next(row["amount_projected"] for row in rows if row["line"] == "total") == str(made.projected.total)
    assert {row["client"] for row in rows} == {"ASBL Acme", "'=Beta #1 [x]"}


@pytest.mark.parametrize("arguments", [["preview"], ["preview", "acme", "--all"], ["preview", "acne"]])
def test_a_preview_of_nobody_is_refused(fleet: Path, arguments: list[str]) -> None:
    result = run(*arguments, "--fleet", fleet)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "SLUG: " in result.stderr


# Comparisons.


def bill(usage: YearUsage, prices: Tariff, span: list[int]) -> Statement:
    first, last = span
    window = Window(date(2026, first, 1), date(2026, last, 28), first, last)
    return statement_of(customer(date(2020, 1, 1)), prices, [Part(window, "standard", prices.versions[0], usage)])


@settings(deadline=None, max_examples=60)
@given(years(), years(), tariffs(), tariffs(), spans, spans)
def test_effects_add_up_to_the_difference_to_the_cent(
    use: YearUsage, use_later: YearUsage, prices: Tariff, prices_later: Tariff, span: list[int], span_later: list[int]
) -> None:
    before, after = bill(use, prices, span), bill(use_later, prices_later, span_later)
    found = list(changes(before, after))
    assert sum(change.difference for change in found) == after.total - before.total
    for change in found:
        # Nothing is left for the contract to explain.
        assert change.quantity + change.price + change.proration == change.difference
        assert change.contract == 0


@settings(deadline=None, max_examples=30)
@given(years(), years(), tariffs(), tariffs(), spans, spans)
def test_only_what_changed_has_an_effect(
    use: YearUsage, use_later: YearUsage, prices: Tariff, prices_later: Tariff, span: list[int], span_later: list[int]
) -> None:
    first = bill(use, prices, span)
    kinds: list[tuple[Statement, Callable[[Change], Decimal]]] = [
        (bill(use_later, prices, span), lambda change: change.quantity),
        (bill(use, prices_later, span), lambda change: change.price),
    ]
    for other, effect in kinds:
        for change in changes(first, other):
            assert effect(change) == change.difference
    # By other months, what is no matter of months moves by proration alone.
    for change in changes(first, bill(use, prices, span_later)):
        if change.line in ("base", "documents", "collabora_users"):
            assert [change.quantity, change.price, change.proration] == [Decimal(0), Decimal(0), change.difference]


@settings(deadline=None, max_examples=10)
@given(years(), tariffs(), spans)
def test_who_came_or_left_moved_by_contract(use: YearUsage, prices: Tariff, span: list[int]) -> None:
    made = bill(use, prices, span)
    for found, sign in ((changes(None, made), 1), (changes(made, None), -1)):
        moved = list(found)
        assert sum(change.contract for change in moved) == sign * made.total
        assert not any(change.quantity or change.price or change.proration for change in moved)


def test_an_estimate_is_a_matter_of_quantity(fleet: Path) -> None:
    made = previewed(fleet, "acme").projected
    doubled = replace(made.parts[0], usage=replace(made.parts[0].usage, sms=2 * (made.parts[0].usage.sms or 0)))
    after = statement_of(made.customer, prices_of(fleet), [doubled], estimate=True)
    for change in changes(made, after):
        assert change.quantity == change.difference
    assert after.total > made.total


def prices_of(fleet: Path) -> Tariff:
    tariff, problems = read_tariff(fleet / "tariffs" / "standard.toml")
    assert tariff, problems
    return tariff


@pytest.fixture
def two_years(fleet: Path) -> Path:
    """Acme goes on into 2026, where SMS cost twice as much; beta ends with 2025."""
    tariff = fleet / "tariffs" / "standard.toml"
    text = tariff.read_text()
    later = text[text.index("[[version]]") :].replace("2025-01-01", "2026-01-01").replace('"0.075"', '"0.150"')
    tariff.write_text(text + later)
    beta = fleet / "inventory" / "instances" / "beta.yml"
    beta.write_text(beta.read_text().replace("ends: null", "ends: 2025-12-31"))
    for path in list((fleet / "ledger" / "2025").iterdir()):
        target = fleet / "ledger" / "2026" / path.name.replace("2025-", "2026-", 1)
        target.parent.mkdir(exist_ok=True)
        lines = path.read_text().replace("\n2025-", "\n2026-").splitlines(keepends=True)
        target.write_text("".join(line for line in lines if ",beta," not in line))
    return fleet


def compared(fleet: Path, *more: object) -> Any:
    result = run("compare", 2025, 2026, "--fleet", fleet, *more)
    assert result.exit_code == 0, result.output
    return result


def test_a_comparison_as_a_table_json_and_csv(two_years: Path) -> None:
    acme, beta = json.loads(compared(two_years, "--json").stdout)
    moved = {line["line"]: line for line in acme["lines"]}
    was = Decimal(moved["sms"]["amounts"][0])
    assert Decimal(moved["sms"]["price"]) == Decimal(moved["sms"]["difference"])
    assert abs(Decimal(moved["sms"]["amounts"][1]) - 2 * was) <= Decimal("0.01")
    assert {line["difference"] for name, line in moved.items() if name != "sms"} == {"0.00"}
    assert beta["totals"][1] is None
    assert beta["difference"] == f"-{beta['totals'][0]}"
    table = compared(two_years).stdout
    assert f"+{moved['sms']['price']}" in table
    assert "acme      base" not in table, "what did not move is left out"
    compared(two_years, "acme", "--out", two_years.parent / "out")
    rows = list(csv.DictReader((two_years.parent / "out" / "compare-2025-2026.csv").open(encoding="utf-8")))
    assert {row["instance"] for row in rows} == {"acme"}
    assert sum(Decimal(row["difference"]) for row in rows) == Decimal(acme["difference"])


def test_amounts_of_two_currencies_are_not_subtracted(two_years: Path) -> None:
    tariff = (two_years / "tariffs" / "standard.toml").read_text()
    (two_years / "tariffs" / "francs.toml").write_text(tariff.replace('"EUR"', '"CHF"'))
    path = two_years / "inventory" / "instances" / "acme.yml"
    text = path.read_text().replace("starts: 2024-02-01", "starts: 2026-01-01")
    earlier = ", tariff: francs, periods: [{starts: 2024-02-01, ends: 2025-12-31, tariff: standard}]"
    path.write_text(text.replace(", tariff: standard", earlier))
    result = compared(two_years, "acme")
    assert "EUR → CHF" in result.stdout
    assert "acme: went from EUR to CHF: nothing can be subtracted" in result.stderr
    (acme,) = json.loads(compared(two_years, "acme", "--json").stdout)
    assert (acme["difference"], acme["lines"], acme["currencies"]) == (None, [], ["EUR", "CHF"])


def test_a_comparison_that_says_nothing_is_refused(two_years: Path) -> None:
    assert "2025 is given twice" in run("compare", 2025, 2025, "--fleet", two_years).stderr
    assert "no contract" in run("compare", 2019, 2025, "--fleet", two_years).stderr
    assert run("compare", 2025, 2026, "acne", "--fleet", two_years).exit_code == 2
