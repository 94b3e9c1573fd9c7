"""The manifest of a closed year: what is written reads the same, and nothing else is taken for one."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from reports.manifest import Earlier, LedgerProof, Manifest, Rows, parse_manifest

DIGEST = "ab" * 32
MANIFEST = Manifest(
    year=2025,
    closed_at=datetime(2026, 1, 15, 9, 0, tzinfo=UTC),
    toolkit="0.1.0",
    signer="AB" * 20,
    language="fr",
    accepted_gaps={"acme": "srv1 « en panne »"},
    files={"usage-2025.csv": DIGEST, "tariffs/standard.toml": DIGEST},
    inputs={"chill.toml": DIGEST},
    ledger=LedgerProof(files={"a.samples.csv": DIGEST}, rows={"2025-01": {"samples": Rows(rows=3, sha256=DIGEST)}}),
    earlier={2024: Earlier(manifest=DIGEST, late={"b.samples.csv": DIGEST})},
)


def test_a_manifest_is_plain_json_and_reads_as_it_was_written() -> None:
    text = MANIFEST.to_json()
    assert parse_manifest(text) == MANIFEST
    document = json.loads(text)
    assert document["format"] == 1
    assert document["closed_at"] == "2026-01-15T09:00:00Z"
    assert document["accepted_gaps"] == {"acme": "srv1 « en panne »"}
    assert document["earlier"]["2024"]["late"] == {"b.samples.csv": DIGEST}


@pytest.mark.parametrize(
    "change, expected",
    [
        (lambda document: document.update(format=2), "format"),
        (lambda document: document.update(files={"../../chill.toml": DIGEST}), "files"),
        (lambda document: document.update(files={"/etc/passwd": DIGEST}), "files"),
        (lambda document: document.update(files={"a//b": DIGEST}), "files"),
        (lambda document: document.update(inputs={"chill.toml": DIGEST[:-1]}), "inputs"),
        (lambda document: document.update(more=1), "more"),
        (lambda document: document.pop("ledger"), "ledger"),
    ],
)
def test_what_is_no_manifest_is_refused_with_the_key(change: Callable[[dict[str, Any]], Any], expected: str) -> None:
    document = json.loads(MANIFEST.to_json())
    change(document)
    found = parse_manifest(json.dumps(document).encode())
    assert isinstance(found, str)
    assert found.startswith(expected)


def test_a_file_that_is_cut_is_no_manifest() -> None:
    assert isinstance(parse_manifest(MANIFEST.to_json()[:-20]), str)
