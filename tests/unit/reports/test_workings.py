"""What is told of how an amount came about leads to that amount."""

from __future__ import annotations

import re
import tomllib
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest

from reports.extras import correction_line
from reports.lines import Line, Origin
from reports.statement import Statement, with_lines
from reports.workings import number_text, workings
from tests.unit.reports.years import CASES, statement_of

NAMES = sorted(path.stem for path in CASES.glob("*.toml"))


def case(name: str) -> Statement:
    return statement_of(tomllib.loads((CASES / f"{name}.toml").read_text(encoding="utf-8")))


def worked_out(steps: list[str]) -> Decimal:
    """The amount that follows from the step with the price: sums of products, perhaps times twelfths."""
    (price,) = (step for step in steps if step.startswith("price: "))
    text = price.removeprefix("price: ").split(": ")[-1].removesuffix(", taken off")
    share = re.search(r" × (\d+)/12$", text)
    products = text[: share.start()] if share else text
    total = sum(
        (
            Fraction(count) * Fraction(each)
            for count, _, each in (p.partition(" × ") for p in products.split(" + "))
            if each
        ),
        Fraction(products) if " × " not in products else Fraction(0),
    )
    exact = total * (Fraction(int(share[1]), 12) if share else 1)
    return Decimal(exact.numerator * 10**6 // exact.denominator).scaleb(-6).quantize(Decimal("0.01"), ROUND_HALF_UP)


@pytest.mark.parametrize("name", NAMES)
def test_the_price_step_gives_the_amount_of_every_billed_line(name: str) -> None:
    statement = case(name)
    for line in statement.lines:
        steps = list(workings(statement, line))
        assert steps[-1] == f"amount: {line.amount} {statement.currency}"
        if line.billed and (line.measured or line.unit_price):
            assert worked_out(steps) == abs(line.amount), (line.name, steps)
            assert (line.amount < 0) == any(step.endswith(", taken off") for step in steps)
        elif line.measured:
            assert "not billed: the tariff has no such section" in steps


@pytest.mark.parametrize("name", NAMES)
def test_flows_are_the_sum_of_their_months(name: str) -> None:
    statement = case(name)
    for line in statement.lines:
        if line.name in ("sms", "emails") and line.quantity is not None and not line.estimated:
            (step,) = (step for step in workings(statement, line) if step.startswith("quantity: "))
            months, _, result = step.removeprefix("quantity: ").partition(" = ")
            assert sum(int(month) for month in months.split(" + ") if month != "-") == line.quantity
            assert result == f"{line.quantity} {line.unit}"


def test_what_was_estimated_is_told_apart() -> None:
    statement = case("estimated")
    (line,) = (line for line in statement.lines if line.name == "sms")
    (step,) = (step for step in workings(statement, line) if step.startswith("quantity: "))
    assert " days without a sample at the mean of the others = 120 messages" in step


def test_a_correction_says_what_it_corrects_and_from_what_to_what() -> None:
    added = correction_line(Origin(2025, "sms"), Decimal("-15.00"), "75.75 → 60.75 EUR")
    statement = with_lines(case(NAMES[0]), [added])
    line: Line = statement.lines[-1]
    assert list(workings(statement, line)) == [
        "because: 75.75 → 60.75 EUR",
        "corrects: sms of 2025",
        f"amount: -15.00 {statement.currency}",
    ]


@pytest.mark.parametrize(
    "value, text", [(None, "-"), (0, "0"), (Fraction(5, 2), "2.5"), (Fraction(1, 3), "0.333333"), (10**18, f"{10**18}")]
)
def test_numbers_are_in_full(value: Fraction | int | None, text: str) -> None:
    assert number_text(value) == text
