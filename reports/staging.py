"""A directory of papers appears whole, and an interrupted run is taken up where it stopped.

While they are made, papers lie in a staging directory: inside `out` where that exists, else beside it.

    .chill-report/            locked by the run that works in it
        index.jsonl           a line for each paper that was printed: name, key of all it was made from, SHA-256
        new/                  the papers
        old/                  those of an earlier run, taken out of `out` just before the new ones come

A run that is killed leaves it, and the next one takes from it every paper that would be made from exactly the same
(`kept`), proven by its SHA-256: a file that was only half written is printed again, and nothing made from anything
else is used. At the end the whole directory goes. Papers of two runs never lie in `out` together: those that differ go
before the first new one comes.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

from provision.errors import ChillError, RequestError

_NAME: Final = ".chill-report"
_HINT: Final = "name a directory that can be written to: --out DIR"
# More files than these are brought to the disk together, which takes seconds instead of minutes.
_FEW: Final = 50


@dataclass(frozen=True, slots=True)
class _Entry:
    """A paper that was printed: under which name, and the SHA-256 of its bytes."""

    name: str
    digest: str


@dataclass(slots=True)
class Staging:
    """The papers of one run while they are written: `write` each, then `publish` them all.

    `kept` and `keep` are what the press asks before it prints a paper, and tells afterwards; `key` stands for all that
    the paper is made from. Both may be called from several threads.
    """

    out: Path
    _directory: Path
    _index: dict[str, _Entry]
    _names: dict[str, str] = field(default_factory=dict)
    _keys: dict[str, str] = field(default_factory=dict)
    _proven: set[_Entry] = field(default_factory=set)

    @property
    def _new(self) -> Path:
        return self._directory / "new"

    def kept(self, key: str) -> bytes | None:
        """The paper that an interrupted run made from the same; None when there is none."""
        entry = self._index.get(key)
        if entry is None:
            return None
        # A run that was killed while it published had some of them in their place already.
        for path in (self._new / entry.name, self.out / entry.name):
            data = path.read_bytes() if path.is_file() else b""
            if data and sha256(data).hexdigest() == entry.digest:
                self._keys[entry.digest] = key
                if path.parent == self._new:
                    self._proven.add(entry)
                return data
        return None

    def keep(self, key: str, data: bytes) -> None:
        """Remember from what a paper was made; it is kept from when it is written."""
        self._keys[sha256(data).hexdigest()] = key

    def write(self, name: str, content: str | bytes) -> None:
        """Write one file, not yet in its place."""
        data = content.encode("utf-8") if isinstance(content, str) else content
        digest = sha256(data).hexdigest()
        key = self._keys.pop(digest, None)
        entry = _Entry(name, digest)
        try:
            if entry not in self._proven:
                (self._new / name).write_bytes(data)
                if key is not None:
                    self._record(key, entry)
        except OSError as error:
            raise ChillError(f"{self.out / name} cannot be written: {error.strerror}", "no paper was changed") from None
        self._names[name] = digest

    def _record(self, key: str, entry: _Entry) -> None:
        line = json.dumps({"key": key, "name": entry.name, "sha256": entry.digest}, ensure_ascii=False)
        with (self._directory / "index.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(f"{line}\n")
        self._index[key] = entry

    def publish(self) -> tuple[Path, ...]:
        """Move every file into its place, over an older one of its name; their paths in order."""
        try:
            for path in self._new.iterdir():
                if path.name not in self._names:
                    path.unlink()
            self._to_disk()
            if self.out.exists():
                self._replace()
            else:
                self._new.chmod(0o777 & ~_umask())
                self._new.rename(self.out)
        except OSError as error:
            message = f"the papers could not be moved into {self.out}: {error.strerror}"
            raise ChillError(message, "some may be missing there; run the command again") from None
        return tuple(self.out / name for name in self._names)

    def _replace(self) -> None:
        """First all older ones that differ go, then all new ones come: at no moment do papers of both lie there."""
        older = self._directory / "old"
        older.mkdir()
        same = {name for name, digest in self._names.items() if _digest(self.out / name) == digest}
        for name in self._names.keys() - same:
            if (self.out / name).exists():
                (self.out / name).rename(older / name)
        for name in self._names:
            if name not in same:
                (self._new / name).rename(self.out / name)

    def _to_disk(self) -> None:
        """No name may come to its place before what it names is on the disk."""
        if len(self._names) > _FEW:
            os.sync()
            return
        for path in (*(self._new / name for name in self._names), self._new):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


@contextmanager
def staging(out: Path) -> Iterator[Staging]:
    """The staging directory for `out`, on the same file system, with what an interrupted run left there.

    It goes at the end; when the run fails or is interrupted it stays if it holds papers that the next one can use.
    RequestError when `out` cannot be written, before anything else was done; ChillError when another command is
    writing there.
    """
    if out.exists() and not out.is_dir():
        raise RequestError(f"--out: {out} is not a directory", _HINT)
    beside = out.parent / f"{_NAME}-{out.name}"
    try:
        # Inside an existing directory, else beside it: both show now whether `out` can be written.
        directory = out / _NAME if out.is_dir() else beside
        directory.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        raise RequestError(f"--out: {out.parent} does not exist", f"mkdir -p {out.parent}") from None
    except OSError as error:
        raise RequestError(f"--out: {out} cannot be written: {error.strerror}", _HINT) from None
    try:
        _lock(descriptor, out)
        if directory != beside:
            # Left by a run that was killed when it had published, or before `out` was made by someone else.
            shutil.rmtree(beside, ignore_errors=True)
        stage = _taken_up(out, directory)
        published = False
        try:
            yield stage
            published = True
        finally:
            if published or not stage._index:
                shutil.rmtree(directory, ignore_errors=True)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, out: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ChillError(f"--out: {out}: another command is writing papers there", "wait until it has ended") from None


def _taken_up(out: Path, directory: Path) -> Staging:
    """What an interrupted run left; nothing when there was none."""
    try:
        (directory / "new").mkdir(exist_ok=True)
        shutil.rmtree(directory / "old", ignore_errors=True)
        index = directory / "index.jsonl"
        lines = index.read_text(encoding="utf-8").split("\n") if index.is_file() else []
        entries = dict(found for line in lines if (found := _entry(line)))
        if lines and lines[-1]:
            # The kill came while a line was written: what follows must not stand on it.
            index.write_text("".join(f"{line}\n" for line in lines[:-1]), encoding="utf-8")
    except OSError as error:
        raise RequestError(f"--out: {out} cannot be written: {error.strerror}", _HINT) from None
    return Staging(out, directory, entries)


def _entry(line: str) -> tuple[str, _Entry] | None:
    try:
        found = json.loads(line)
        return str(found["key"]), _Entry(Path(found["name"]).name, str(found["sha256"]))
    except (ValueError, KeyError, TypeError):
        return None


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _umask() -> int:
    """The process's umask; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def leftovers(out: Path, year: int, written: Collection[str]) -> list[Path]:
    """Papers of the same year in `out` that this run did not write: of a customer who is no longer reported, say."""
    patterns = (f"*-{year}.pdf", f"usage-{year}.*", f"monthly-{year}.*")
    found = {path for pattern in patterns for path in out.glob(pattern)}
    return sorted(path for path in found if path.name not in written)
