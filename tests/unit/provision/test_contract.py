"""Contracts: what may be agreed, and every fault named with file, line and key."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from provision.contract import Contract
from provision.errors import InvalidFiles
from provision.fleet_reader import load_fleet
from provision.yaml_lines import key_lines
from tests.unit.provision.fleets import add_instance, make_fleet

CONTRACT = """
    contract:
      starts: 2026-07-01
      ends:
      tariff: standard
      periods:
        - {starts: 2023-01-01, ends: 2024-06-30, tariff: first}
        - {starts: 2024-09-01, ends: 2026-05-31, tariff: second}
      overrides:
        - key: active_users.included
          value: 10
          reason: "pilot customer"
          until: 2027
        - {key: sms, value: null, reason: "sends them itself"}
      extras:
        - {day: 2026-07-02, label: "Data migration", amount: "450.00"}
        - {day: 2026-07-03, kind: credit, label: "Outage", quantity: "1.5", unit: day, unit_price: "20"}
      vat: {treatment: reverse_charge, customer_number: BE0123456789, mention: {fr: "Autoliquidation"}}
      opening_invoiced: {day: 2023-01-05, amount: "600.00"}
"""


def write(tmp_path: Path, contract: str) -> Path:
    """A fleet whose customer acme has this contract."""
    fleet = make_fleet(tmp_path / "fleet")
    path = add_instance(fleet, "acme")
    lines = path.read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if "contract:" in line)
    path.write_text("\n".join([*lines[:at], contract.strip("\n"), *lines[at + 1 :]]) + "\n")
    return fleet


def test_a_whole_contract_is_read(tmp_path: Path) -> None:
    contract = load_fleet(write(tmp_path, CONTRACT)).instance("acme").contract
    assert [period.tariff for period in contract.history] == ["first", "second", "standard"]
    assert contract.opens == date(2023, 1, 1)
    assert [override.holds_in(2027) for override in contract.overrides] == [True, True]
    assert [override.holds_in(2028) for override in contract.overrides] == [False, True]
    assert contract.extras[1].unit_price == Decimal(20)
    # What is frozen of a closed year is read back as it was.
    assert Contract.model_validate(contract.model_dump(mode="json")) == contract


@pytest.mark.parametrize(
    "old,new,key,message",
    [
        ("2024-09-01", "2024-06-30", "", "the period from 2024-06-30 starts before the one before it ends"),
        ("starts: 2026-07-01", "starts: 2026-05-31", "", "the period from 2026-05-31 starts before"),
        ("ends: 2024-06-30", "ends: 2024-09-01", "", "the period from 2024-09-01 starts before the one before it ends"),
        (
            "ends: 2024-06-30, tariff: first}\n        - {starts: 2024-09-01",
            "ends: 2024-09-10, tariff: first}\n        - {starts: 2024-09-20",
            "",
            "the period from 2024-09-20 starts in the month in which the one before it ends",
        ),
        ("ends: 2024-06-30, ", "", ".periods.0.ends", "is missing"),
        ("ends: 2024-06-30", "ends: 2022-12-31", ".periods.0", "ends 2022-12-31 is before starts 2023-01-01"),
        (
            "key: active_users.included",
            "key: users.included",
            ".overrides.0.key",
            '"users.included" is neither a section',
        ),
        ('          reason: "pilot customer"\n', "", ".overrides.0.reason", "is missing"),
        ('"pilot customer"', '""', ".overrides.0.reason", "at least 1 character"),
        ("until: 2027", "until: 2027\n          since: 2028", ".overrides.0", "until 2027 is before since 2028"),
        ("key: sms,", "key: active_users,", "", "overridden twice for the same year"),
        ('amount: "450.00"', "amount: 450.5", ".extras.0.amount", 'write it between quotes, "450.5"'),
        ('amount: "450.00"', 'amount: "-450.00"', ".extras.0.amount", "is negative"),
        ('amount: "450.00"', 'amount: "450.005"', ".extras.0", "has more than two decimals"),
        (', amount: "450.00"', "", ".extras.0", "expected either amount, or quantity and unit_price"),
        ('amount: "450.00"', 'amount: "450.00", quantity: "2"', ".extras.0", "which of them holds cannot be told"),
        ("kind: credit", "kind: gift", ".extras.1.kind", "'one-off' or 'credit'"),
        ("day: 2026-07-02", "day: 2022-07-02", "", "the extra of 2022-07-02 (Data migration) is in a year that"),
        (", customer_number: BE0123456789", "", ".vat", "customer_number is missing"),
        ("BE0123456789", "BE 0123", ".vat.customer_number", "is not a VAT number"),
        ("reverse_charge", "percent", ".vat", 'percent is missing: the rate, such as "6"'),
        ("reverse_charge", 'exempt, percent: "6"', ".vat", "percent is given, but the treatment is exempt"),
        ("reverse_charge", 'percent, percent: "100.5"', ".vat.percent", "less than or equal to 100"),
        ("reverse_charge", "none", ".vat.treatment", "'reverse_charge'"),
        ("mention: {fr:", "mention: {de:", ".vat.mention.de", "is not a key that is known here"),
        ('amount: "600.00"', "amount: 600", ".opening_invoiced.amount", "is a bare number"),
        ("opening_invoiced:", "opening_billed:", ".opening_billed", "is not a key that is known here"),
    ],
)
def test_each_fault_names_file_line_and_key(tmp_path: Path, old: str, new: str, key: str, message: str) -> None:
    assert CONTRACT.count(old) >= 1
    fleet = write(tmp_path, CONTRACT.replace(old, new, 1))
    with pytest.raises(InvalidFiles) as caught:
        load_fleet(fleet)
    (problem,) = caught.value.problems
    file, line, full = problem.place.split(":")
    assert (file, full.strip()) == ("inventory/instances/acme.yml", problem.place.rpartition(" ")[2])
    assert full.strip().startswith(f"chill_acme.vars.contract{key}")
    assert message in problem.message
    # The line is that of the key, or of what should hold it.
    text = (fleet / file).read_text().splitlines()[int(line) - 1]
    last = [part for part in full.strip().split(".") if not part.isdigit()][-1]
    if not problem.message.startswith("is missing") and not full.strip()[-1].isdigit():
        assert last in text


def test_lines_of_keys_are_those_an_editor_shows() -> None:
    found = key_lines("a:\n  b: 1\n  c:\n    - x\n    - {y: 2}\n")
    assert found == {"a": 1, "a.b": 2, "a.c": 3, "a.c.0": 4, "a.c.1": 5, "a.c.1.y": 5}
    assert key_lines("a: [") == {}


def test_what_the_example_shows_in_comments_may_be_agreed() -> None:
    text = (Path(__file__).parents[3] / "inventory.example.yml").read_text(encoding="utf-8")
    head, _, rest = text.partition("      # More may be agreed")
    shown = re.sub(r"^      # ", "      ", rest.partition("\n")[2], flags=re.MULTILINE)
    agreed = yaml.safe_load(f"{head}\n{shown}")["chill_acme"]["vars"]["contract"]
    assert set(agreed) == set(Contract.model_fields)
    assert Contract.model_validate(agreed).opens == date(2024, 1, 1)
