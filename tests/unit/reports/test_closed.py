"""Statements of closed years: what is written reads the same, also what was written by the first version."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from reports.closed import parse_statements, write_statements
from tests.unit.reports.years import CASES, statement_of

CLOSED = Path(__file__).parents[2] / "cases" / "closed"
NAMES = sorted(path.stem for path in CASES.glob("*.toml"))


@pytest.mark.parametrize("name", NAMES)
def test_a_statement_reads_as_it_was_written(name: str) -> None:
    statement = statement_of(tomllib.loads((CASES / f"{name}.toml").read_text(encoding="utf-8")))
    other = replace(statement, customer=replace(statement.customer, client='Été, "l’ami" №1'))
    assert parse_statements(write_statements((statement, other))) == (statement, other)


@pytest.mark.parametrize("path", sorted(CLOSED.glob("*.json")), ids=lambda path: path.stem)
def test_an_older_file_is_read_with_nothing_lost(path: Path) -> None:
    written = json.loads(path.read_bytes())
    again = json.loads(write_statements(parse_statements(path.read_bytes())))
    assert_contains(again, written, path.stem)


def assert_contains(found: Any, expected: Any, place: str) -> None:
    """Everything of `expected` is in `found`; what is new may stand beside it."""
    if isinstance(expected, dict):
        for key, value in expected.items():
            assert key in found, f"{place}.{key}"
            assert_contains(found[key], value, f"{place}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), place
        for number, (one, value) in enumerate(zip(found, expected, strict=True)):
            assert_contains(one, value, f"{place}[{number}]")
    else:
        assert found == expected, place


def test_what_is_no_list_of_statements_is_refused() -> None:
    with pytest.raises(ValidationError):
        parse_statements(b'[{"customer": "acme"}]')
