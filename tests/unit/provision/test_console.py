"""What commands say at a terminal: folded, and in its encoding."""

from __future__ import annotations

import os
import subprocess
import sys

from provision.console import fold


def test_lines_are_folded_between_words_under_their_own_beginning() -> None:
    folded = fold("Steps:\n\n  1. write the file and more words\n", 20)

    assert folded == "Steps:\n\n  1. write the file\n  and more words"


def test_what_has_no_space_stays_whole_so_that_it_can_be_copied() -> None:
    path = "/tmp/fleet/journal/runs/20261126T124926Z-apply-10820.log"

    assert path in fold(f"log: {path}", 20).splitlines()


def test_what_the_encoding_does_not_have_is_written_in_its_place() -> None:
    program = "from provision.console import Commands; group = Commands('group')\n"
    program += "group.command('say')(lambda: print('Émile')); group(['say'])"

    said = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=False,
    )

    assert (said.returncode, said.stdout) == (0, b"\\xc9mile\n"), said.stderr
