"""Columns of text as whole numbers: what lets millions of rows be compared, joined and sorted as arrays.

A column is an array of codes and the distinct texts they stand for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
# A combined code stays below this, whatever it is combined with next.
_ROOM = 2**31


@dataclass(frozen=True, slots=True)
class Codes:
    """One code a row, each below `size`."""

    rows: Ints
    size: int


@dataclass(frozen=True, slots=True)
class Text(Codes):
    """Codes that stand for texts: row i holds `texts[rows[i]]`. No text is null."""

    texts: Sequence[str]

    def where(self, sound: Callable[[str], bool]) -> Bools:
        """For each row whether its text is sound; each distinct text is asked once."""
        answers = np.fromiter((sound(text) for text in self.texts), dtype=np.bool_, count=len(self.texts))
        return np.zeros(0, np.bool_) if not self.texts else answers[self.rows]

    def code(self, text: str) -> int:
        """The code of a text; -1 when no row can hold it."""
        return self.texts.index(text) if text in self.texts else -1

    def ranked(self) -> Codes:
        """Codes in the order of the texts' code points."""
        order = np.argsort(np.array(self.texts, dtype=np.str_), kind="stable") if self.texts else np.zeros(0, np.int64)
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        return Codes(rank[self.rows] if len(rank) else self.rows, self.size)

    def matches(self, texts: Sequence[str], index: Ints) -> Bools:
        """For each row whether its text is `texts[index[row]]`."""
        known = {text: code for code, text in enumerate(self.texts)}
        wanted = np.array([known.get(text, -1) for text in texts], dtype=np.int64)
        return self.rows == wanted[index] if len(wanted) else np.zeros(0, np.bool_)


def text_column(table: pa.Table, name: str) -> Text:
    """A dictionary-encoded column of one chunk at most."""
    column = table[name]
    if not column.num_chunks:
        return Text(np.zeros(0, np.int64), 0, [])
    chunk = column.chunk(0)
    texts: list[str] = chunk.dictionary.to_pylist()
    return Text(chunk.indices.to_numpy(zero_copy_only=False).astype(np.int64), len(texts), texts)


def matching(table: pa.Table, name: str, pattern: str) -> Bools:
    """For each row whether the text in that column is matched by the RE2 pattern; each distinct text is asked once."""
    column = table[name]
    if not column.num_chunks:
        return np.zeros(0, np.bool_)
    chunk = column.chunk(0)
    answers = pc.match_substring_regex(chunk.dictionary, pattern)
    found: Bools = answers.take(chunk.indices).to_numpy(zero_copy_only=False)
    return found


def combined(*columns: Codes) -> Codes:
    """One code for each combination: rows are equal where all columns are, and in the columns' order, first column
    first.
    """
    rows, size = columns[0].rows, max(columns[0].size, 1)
    for column in columns[1:]:
        if size > _ROOM:
            distinct, rows = np.unique(rows, return_inverse=True)
            size = max(len(distinct), 1)
        rows = rows * max(column.size, 1) + column.rows
        size *= max(column.size, 1)
    return Codes(rows, size)


def repeated(codes: Codes) -> Bools:
    """For each row whether another one has the same code."""
    order = np.argsort(codes.rows, kind="stable")
    ordered = codes.rows[order]
    same = np.zeros(len(ordered), np.bool_)
    if len(ordered) > 1:
        equal = ordered[1:] == ordered[:-1]
        same[1:] |= equal
        same[:-1] |= equal
    found = np.empty(len(ordered), np.bool_)
    found[order] = same
    return found
