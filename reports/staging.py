"""A directory of papers appears whole: files are written beside their place and moved when all of them are there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from provision.errors import ChillError, RequestError

_PREFIX = ".chill-report-"
_HINT = "name a directory that can be written to: --out DIR"


@dataclass(slots=True)
class Staging:
    """The papers of one run while they are written: `write` each, then `publish` them all."""

    out: Path
    _directory: Path
    _names: list[str] = field(default_factory=list)

    def write(self, name: str, content: str | bytes) -> None:
        """Write one file, not yet in its place."""
        data = content.encode("utf-8") if isinstance(content, str) else content
        try:
            (self._directory / name).write_bytes(data)
        except OSError as error:
            raise ChillError(f"{self.out / name} cannot be written: {error.strerror}", "no paper was changed") from None
        self._names.append(name)

    def publish(self) -> tuple[Path, ...]:
        """Move every file into its place, each at once over an older one of its name; their paths in order."""
        try:
            if self.out.exists():
                for name in self._names:
                    (self._directory / name).replace(self.out / name)
            else:
                self._directory.chmod(0o777 & ~_umask())
                self._directory.rename(self.out)
        except OSError as error:
            message = f"the papers could not be moved into {self.out}: {error.strerror}"
            raise ChillError(message, "some may be of an earlier run; run the command again") from None
        return tuple(self.out / name for name in self._names)


@contextmanager
def staging(out: Path) -> Iterator[Staging]:
    """A staging directory for `out`, on the same file system; it goes at the end, whatever happens.

    RequestError when `out` cannot be written, before anything else was done.
    """
    try:
        # Inside an existing directory, else beside it: both show now whether `out` can be written.
        if out.is_dir():
            directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=out))
        elif out.exists():
            raise RequestError(f"--out: {out} is not a directory", _HINT)
        else:
            directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=out.parent))
    except FileNotFoundError:
        raise RequestError(f"--out: {out.parent} does not exist", f"mkdir -p {out.parent}") from None
    except OSError as error:
        raise RequestError(f"--out: {out} cannot be written: {error.strerror}", _HINT) from None
    try:
        yield Staging(out, directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _umask() -> int:
    """The process's umask; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def leftovers(out: Path, year: int, written: Collection[str]) -> list[Path]:
    """Papers of the same year in `out` that this run did not write: of a customer who is no longer reported, say."""
    return [path for path in sorted(out.glob(f"*-{year}.pdf")) if path.name not in written]
