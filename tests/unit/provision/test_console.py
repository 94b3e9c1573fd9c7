"""How texts are folded for a terminal."""

from __future__ import annotations

from provision.console import fold


def test_lines_are_folded_between_words_under_their_own_beginning() -> None:
    folded = fold("Steps:\n\n  1. write the file and more words\n", 20)

    assert folded == "Steps:\n\n  1. write the file\n  and more words"


def test_what_has_no_space_stays_whole_so_that_it_can_be_copied() -> None:
    path = "/tmp/fleet/journal/runs/20261126T124926Z-apply-10820.log"

    assert path in fold(f"log: {path}", 20).splitlines()
