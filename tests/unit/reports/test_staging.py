"""Papers appear whole, and what an interrupted run made is used again only when it is what would be made now."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.errors import ChillError
from reports.staging import leftovers, staging


class Killed(BaseException):
    """Stands for the end of the process."""


def make(out: Path, *papers: tuple[str, str], stop_after: int | None = None) -> list[str]:
    """Write papers, each of a key and its text; the keys of those that had to be made."""
    made = []
    with staging(out) as stage:
        for number, (key, text) in enumerate(papers):
            if number == stop_after:
                raise Killed
            data = stage.kept(key)
            if data is None:
                made.append(key)
                data = text.encode()
                stage.keep(key, data)
            stage.write(f"{text.split()[0]}.pdf", data)
        stage.publish()
    return made


def interrupted(out: Path, *papers: tuple[str, str], after: int) -> None:
    with pytest.raises(Killed):
        make(out, *papers, stop_after=after)


def found(out: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(out.iterdir())}


A, B, C = ("key a", "a one"), ("key b", "b one"), ("key c", "c one")


@pytest.mark.parametrize("exists", [False, True])
def test_an_interrupted_run_is_taken_up(tmp_path: Path, exists: bool) -> None:
    out = tmp_path / "papers"
    if exists:
        out.mkdir()
    interrupted(out, A, B, C, after=2)
    assert not list(out.glob("*.pdf"))
    assert make(out, A, B, C) == ["key c"]
    assert found(out) == {"a.pdf": "a one", "b.pdf": "b one", "c.pdf": "c one"}
    assert list(tmp_path.iterdir()) == [out]


def test_what_is_made_from_something_else_is_made_again(tmp_path: Path) -> None:
    out = tmp_path / "papers"
    interrupted(out, A, B, C, after=2)
    changed = [("key a 2", "a two"), B, ("key d", "d one")]
    assert make(out, *changed) == ["key a 2", "key d"]
    assert found(out) == {"a.pdf": "a two", "b.pdf": "b one", "d.pdf": "d one"}
    assert make(out, A, B, C) == ["key a", "key b", "key c"]


def test_a_file_that_was_half_written_is_made_again(tmp_path: Path) -> None:
    out = tmp_path / "papers"
    interrupted(out, A, B, C, after=2)
    (half,) = tmp_path.rglob("a.pdf")
    half.write_text("a o")
    assert make(out, A, B, C) == ["key a", "key c"]
    assert found(out)["a.pdf"] == "a one"


def test_a_half_written_line_of_the_index_is_forgotten(tmp_path: Path) -> None:
    out = tmp_path / "papers"
    interrupted(out, A, B, C, after=2)
    (index,) = tmp_path.rglob("index.jsonl")
    index.write_text(index.read_text()[:-20])
    interrupted(out, A, B, C, after=2)
    assert make(out, A, B, C) == ["key c"]


def test_papers_of_two_runs_are_never_beside_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publishing is stopped at each of its renames."""
    out = tmp_path / "papers"
    old = (("1", "a one"), ("2", "b one"), ("3", "same"))
    new = (("4", "a two"), ("5", "b two"), ("3", "same"))
    rename, stopped = Path.rename, 0
    for steps in range(10):
        make(out, *old)
        left = steps

        def counted(path: Path, target: Path) -> Path:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", counted)
        try:
            make(out, *new)
        except Killed:
            stopped += 1
        monkeypatch.undo()
        texts = {path.read_text().partition(" ")[2] for path in out.glob("*.pdf")} - {""}
        assert len(texts) <= 1, f"after {steps} renames: {texts}"
        if steps == 3:
            # What was in its place already is not made again, either.
            assert make(out, *new) == []
    assert stopped == 4
    assert found(out) == {"a.pdf": "a two", "b.pdf": "b two", "same.pdf": "same"}


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with staging(tmp_path / "papers"), pytest.raises(ChillError, match="another command is writing papers there"):
        make(tmp_path / "papers", A)


def test_nothing_is_left_of_a_run_that_kept_nothing(tmp_path: Path) -> None:
    interrupted(tmp_path / "papers", A, after=0)
    assert list(tmp_path.iterdir()) == []


def test_what_a_run_before_left_is_named_in_every_format(tmp_path: Path) -> None:
    for name in ("gone-2025.pdf", "usage-2025.xlsx", "monthly-2025.fr.csv", "usage-2024.csv", "preview-2025.csv"):
        (tmp_path / name).touch()
    assert [path.name for path in leftovers(tmp_path, 2025, {"usage-2025.csv"})] == [
        "gone-2025.pdf",
        "monthly-2025.fr.csv",
        "usage-2025.xlsx",
    ]
