"""One shell on a server that answers every question of the checks.

testinfra starts an ssh for each question; the checks of one environment ask some thirty. Here a single `sh` on the
server reads commands from its standard input, and each answer ends in a mark that no other output holds.
"""

from __future__ import annotations

import os
import secrets
import selectors
import shlex
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from testinfra.backend.base import BaseBackend, CommandResult

CHUNK = 65536


class ShellBackend(BaseBackend):  # type: ignore[misc]
    """A testinfra backend over one ssh session. `options`: those of ssh; `sudo`: ask as root, who did not log in."""

    NAME = "chill-shell"

    def __init__(self, host: str, options: Sequence[str], *, sudo: bool) -> None:
        super().__init__(host, sudo=sudo)
        self._mark = f"end-{secrets.token_hex(16)}"
        self._command = ["ssh", *options, host, "sh"]
        self._process = self._started()

    def _started(self) -> Any:
        # Its streams are pipes, which subprocess cannot promise to a type checker.
        return subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def run(self, command: str, *arguments: str, **_: Any) -> CommandResult:
        """Run a command there, again when the session was lost; RuntimeError with what ssh said when that was, too."""
        asked = self.get_command(command, *arguments)
        try:
            return self._ask(asked)
        except RuntimeError:
            # A connection may break. One that broke is no statement about what the checks would have found.
            self.close()
            self._process = self._started()
            return self._ask(asked)

    def _ask(self, asked: str) -> CommandResult:
        # A shell of its own: whatever the command does to it, the next one finds the session as it was.
        marks = f"printf '\\n{self._mark} %s\\n' $?; printf '\\n{self._mark}\\n' >&2"
        # Of a session that has ended, what it said on the way is read below.
        with suppress(BrokenPipeError):
            self._process.stdin.write(f"sh -c {shlex.quote(asked)} </dev/null; {marks}\n".encode())
            self._process.stdin.flush()
        out, errors = self._answer()
        text, found, status = out.rpartition(f"\n{self._mark} ".encode())
        if not found:
            code = self._process.wait()
            raise RuntimeError(self.result(code or 255, asked.encode(), out, errors))
        return self.result(int(status), asked.encode(), text, errors.rpartition(f"\n{self._mark}\n".encode())[0])

    def _answer(self) -> tuple[bytes, bytes]:
        """What came on both streams until both had their mark, or the session ended."""
        read = {self._process.stdout: b"", self._process.stderr: b""}
        with selectors.DefaultSelector() as selector:
            for stream in read:
                selector.register(stream, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select():
                    chunk = os.read(key.fd, CHUNK)
                    read[key.fileobj] += chunk
                    if not chunk or self._ended(read[key.fileobj]):
                        selector.unregister(key.fileobj)
        return read[self._process.stdout], read[self._process.stderr]

    def _ended(self, read: bytes) -> bool:
        """Whether a stream has given a whole answer: the mark's line is its last."""
        return read.endswith(b"\n") and read[:-1].rpartition(b"\n")[2].startswith(self._mark.encode())

    def close(self) -> None:
        """End the session."""
        self._process.kill()
        self._process.communicate()
