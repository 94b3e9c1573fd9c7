"""Codes stand for texts and their combinations: equal where these are, and in their order."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from metering.ledger.codes import Codes, combined, matching, repeated, text_column
from metering.ledger.condense import TEXT

TEXTS = st.lists(st.sampled_from(["", "a", "b", "Z", "é", "aa", "10", "9"]), max_size=12)
LARGE = 2**31 - 1


def column(texts: list[str]) -> pa.Table:
    return pa.table({"text": pa.array(texts, pa.string()).cast(TEXT)})


@given(st.lists(st.tuples(*[st.integers(0, 3) | st.integers(LARGE - 3, LARGE - 1)] * 4), max_size=12))
def test_combinations_are_equal_and_ordered_as_their_parts(rows: list[tuple[int, ...]]) -> None:
    """However many values the parts may have together: far more than fit into 64 bits."""
    parts = np.array(rows, dtype=np.int64).reshape(len(rows), 4)
    found = combined(*(Codes(parts[:, at], LARGE) for at in range(4))).rows.tolist()
    assert [found.index(code) for code in found] == [rows.index(row) for row in rows]
    assert [rows[at] for at in np.argsort(found, kind="stable")] == sorted(rows)
    assert repeated(Codes(np.array(found, np.int64), 0)).tolist() == [rows.count(row) > 1 for row in rows]


@given(TEXTS)
def test_texts_are_asked_and_ranked_by_what_they_are(texts: list[str]) -> None:
    found = text_column(column(texts), "text")
    assert [found.texts[code] for code in found.rows] == texts
    assert found.where(lambda text: text in ("a", "")).tolist() == [text in ("a", "") for text in texts]
    assert [texts[at] for at in np.argsort(found.ranked().rows, kind="stable")] == sorted(texts)
    assert matching(column(texts), "text", "^[0-9]+$").tolist() == [text in ("10", "9") for text in texts]
    for wanted in ("a", "other"):
        assert (found.rows == found.code(wanted)).tolist() == [text == wanted for text in texts]
        index = np.zeros(len(texts), np.int64)
        assert found.matches([wanted], index).tolist() == [text == wanted for text in texts]
