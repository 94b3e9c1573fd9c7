"""Where known secrets stand that should not: in files, streams, arguments and environments of processes.

A secret is looked for as it is and as programs rewrite it (base64 at any offset, hex, URL, JSON). Patterns travel by
standard input, so that the search itself leaves nothing behind.
"""

from __future__ import annotations

import base64
import json
import os
import shlex
import subprocess
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, quote_plus

from tests.lab import Machine
from tests.lab.paths import DATA, images

SHORTEST = 8
STREAMS = {
    "journal": "journalctl --all --output=export --no-pager",
    "databases": "cd /; runuser -u postgres -- pg_dumpall",
    "compressed logs": "find /var/log -name '*.gz' -exec zcat {} +",
}


@dataclass(frozen=True, slots=True)
class Known:
    """A secret by a name that may be shown, and the only places where it may stand (`server:/path`, `here:/path`)."""

    name: str
    value: str | bytes = field(repr=False)
    places: frozenset[str] = frozenset()

    def forms(self) -> set[str]:
        """How it may be written."""
        raw = self.value.encode() if isinstance(self.value, str) else self.value
        found = {raw.hex(), raw.hex().upper()}
        if isinstance(self.value, str):
            text = self.value
            found |= {text, text[::-1], quote(text, safe=""), quote_plus(text), json.dumps(text)[1:-1]}
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            for offset in range(3):
                # What stands before and behind it changes the first and the last letters.
                written = encode(b"\0" * offset + raw).decode().rstrip("=")
                found.add(written[(0, 2, 3)[offset] : len(written) - 1])
        return {form for form in found if len(form) >= SHORTEST}


@dataclass(frozen=True, slots=True, order=True)
class Leak:
    """A secret (by its name) at a place where it should not be."""

    place: str
    secret: str


class Search:
    """Looks for secrets everywhere, and reports those that stand at other places than their own."""

    def __init__(self, known: Iterable[Known]) -> None:
        self.known = list(known)
        self._owner = {form: one for one in self.known for form in one.forms()}
        self._patterns = "".join(f"{form}\n" for form in self._owner).encode()

    def text(self, place: str, text: bytes) -> set[Leak]:
        """In what a program said, or in what a list of processes showed."""
        return {Leak(place, one.name) for form, one in self._owner.items() if form.encode() in text}

    def files(self, paths: Iterable[Path]) -> set[Leak]:
        """In files of this machine."""
        names, found = [str(path) for path in paths], set()
        for start in range(0, len(names), 500):
            command = ["grep", "-aoFZH", "-D", "skip", "-f", "-", "--", *names[start : start + 500]]
            done = subprocess.run(command, input=self._patterns, capture_output=True, check=False)
            found |= self._leaks("here:", done.stdout)
        return found

    def server(self, machine: Machine, since: float) -> set[Leak]:
        """In every file of a server that was written since a time, and in its journal, databases and old logs.

        These are read by the programs they belong to: a search of their files alone would meet compressed text.
        """
        written = (
            "cd /; find $(ls -A | grep -vxE 'proc|sys' | sed 's#^#/#') -type f"
            f" -newerct @{since:.0f} -print0 </dev/null 2>/dev/null | xargs -0 -n 2000 grep -aoFZH -f /dev/fd/4"
        )
        found = self._leaks("server:", self._ask(machine, written))
        for name, command in STREAMS.items():
            stream = f"{{ {command}; }} </dev/null | grep -aoFZH --label={shlex.quote(name)} -f /dev/fd/4"
            found |= self._leaks("server's ", self._ask(machine, stream))
        return found

    def _ask(self, machine: Machine, search: str) -> bytes:
        """What a search (in bash) found; it reads the patterns on descriptor 4, which is a file in memory."""
        # A file without a name: several greps read it from its beginning, and it goes with the last of them.
        opened = "set -u; f=$(mktemp -p /dev/shm); exec 4<>$f; rm $f; cat >&4"
        script = f"{opened}\n{search}\n[ $? != 2 ]"
        command = [*machine.ssh_command, f"bash -c {shlex.quote(script)}"]
        done = subprocess.run(command, input=self._patterns, capture_output=True, check=False)
        assert done.returncode == 0, f"the search itself failed: {done.stderr.decode()[-500:]}"
        return done.stdout

    def _leaks(self, kind: str, output: bytes) -> set[Leak]:
        """Of `path NUL match` lines, those that are not at home there."""
        found = set()
        for line in output.decode(errors="replace").splitlines():
            path, _, form = line.partition("\0")
            one, place = self._owner[form], f"{kind}{path}"
            if place not in one.places:
                found.add(Leak(place, one.name))
        return found


def changed_files(since: Path, until: Path) -> list[Path]:
    """Regular files of this machine that were made or changed after `since` was and before `until` was."""
    # Libraries that somebody installs meanwhile, for another checkout, are not what a run writes.
    skipped = [Path("/proc"), Path("/sys"), DATA, images(), Path("*/site-packages")]
    prune = [word for path in skipped for word in ("-path", str(path), "-o")][:-1]
    # A root of its own for each file system that is not the first's.
    roots = sorted({"/", "/tmp", "/var/tmp", "/run", "/dev/shm", str(Path.home()), str(since.parent)})
    command = ["find", *roots, "-xdev", "(", *prune, ")", "-prune", "-o"]
    command += ["-type", "f", "-cnewer", str(since), "!", "-cnewer", str(until), "-print0"]
    done = subprocess.run(command, capture_output=True, check=False)
    return [Path(os.fsdecode(name)) for name in done.stdout.split(b"\0") if name]


@contextmanager
def sampled_processes(seconds: float = 0.02) -> Iterator[set[bytes]]:
    """Arguments and environments of all processes, of this machine and of those on it, sampled until the end."""
    seen: set[bytes] = set()
    ended = threading.Event()

    def sample() -> None:
        own = str(os.getpid())
        while not ended.wait(seconds):
            for place in Path("/proc").glob("[1-9]*"):
                if place.name != own:
                    seen.update(_shown(place))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def _shown(process: Path) -> Iterator[bytes]:
    for kind in ("cmdline", "environ"):
        try:
            yield (process / kind).read_bytes()
        except OSError:
            return
