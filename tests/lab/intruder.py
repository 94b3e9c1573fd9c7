"""An environment's code gone bad: runs shell commands on a server as that environment, in every way its code runs.

Three ways: as its Unix user without a sandbox (as `bin/console` is run), through its own php-fpm, and in a systemd unit
that is the one of its periodic jobs but for the command.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from provision.names import EnvironmentNames
from tests.lab import Machine

Way = Literal["user", "web", "unit"]
WAYS: Sequence[Way] = ("user", "web", "unit")

# Asks a php-fpm to run a file, as nginx does.
# FastCGI 1.0: BEGIN_REQUEST 1, END_REQUEST 3, PARAMS 4, STDIN 5, STDOUT 6.
_FASTCGI = """
import socket, struct, sys
path, script = sys.argv[1:]
def record(kind, data):
    return struct.pack(">BBHHBB", 1, kind, 1, len(data), 0, 0) + data
def pair(name, value):
    return struct.pack(">II", len(name) | 1 << 31, len(value) | 1 << 31) + name.encode() + value.encode()
body = sys.stdin.buffer.read()
wanted = {"REQUEST_METHOD": "POST", "SCRIPT_FILENAME": script, "CONTENT_LENGTH": str(len(body))}
client = socket.socket(socket.AF_UNIX)
client.connect(path)
params = b"".join(pair(*item) for item in wanted.items())
client.sendall(record(1, struct.pack(">HB5x", 1, 0)) + record(4, params) + record(4, b""))
client.sendall(record(5, body) + record(5, b""))
stream = client.makefile("rb")
while header := stream.read(8):
    _, kind, _, length, padding, _ = struct.unpack(">BBHHBB", header)
    data = stream.read(length + padding)[:length]
    if kind == 6:
        sys.stdout.buffer.write(data)
    if kind == 3:
        break
"""
_PROBE = '<?php header("X: y"); passthru("sh -c ".escapeshellarg(file_get_contents("php://input"))." 2>&1");'


@dataclass(frozen=True, slots=True)
class Said:
    """What came of one attempt: exit status and output, both streams."""

    status: int
    output: str


@dataclass(frozen=True, slots=True)
class Intruder:
    """The code of one environment on a server."""

    machine: Machine
    names: EnvironmentNames

    def attempt(self, way: Way, attempts: Mapping[str, str]) -> dict[str, Said]:
        """Try shell commands, by name; what came of each."""
        script = "cd /\n" + "".join(
            f"(\n{command}\n) </dev/null 2>&1; printf '\\n<<%s %d>>\\n' {number} $?\n"
            for number, command in enumerate(attempts.values())
        )
        output = {"user": self._as_user, "web": self._by_the_web, "unit": self._in_the_unit}[way](script)
        found = {}
        for number, name in enumerate(attempts):
            before, mark, output = output.partition(f"\n<<{number} ")
            assert mark, f"{way}: nothing came of {name!r}: {before}"
            status, _, output = output.partition(">>\n")
            found[name] = Said(int(status), before)
        return found

    def _as_user(self, script: str) -> str:
        return self._run(f"cd / && runuser -u {self.names.user} -- sh", script)

    def _by_the_web(self, script: str) -> str:
        """A PHP file is put into the release for the while, as if the application ran what it was sent."""
        page = f"{self.names.home}/current/public/probe.php"
        self._run(f"cat > {page}", _PROBE)
        try:
            socket = f"/run/{self.names.user}/php.sock"
            answer = self._run(f"python3 -c {shlex.quote(_FASTCGI)} {socket} $(readlink -f {page})", script)
        finally:
            self._run(f"rm {page}", "")
        return answer.partition("\r\n\r\n")[2]

    def _in_the_unit(self, script: str) -> str:
        unit, path = f"{self.names.user}-probe.service", f"{self.names.home}/shared/tmp/probe.sh"
        self._run(f"cat > {path}", script)
        command = f"s#^ExecStart=.*#ExecStart=/bin/sh {path}\\nStandardOutput=truncate:/run/probe.out#"
        return self._run(
            f"sed '{command}' /etc/systemd/system/{self.names.user}-cron.service > /run/systemd/system/{unit}"
            f" && systemctl daemon-reload && systemctl start {unit}; cat /run/probe.out; rm -f /run/probe.out {path}"
            f" /run/systemd/system/{unit}; systemctl daemon-reload",
            "",
        )

    def _run(self, command: str, data: str) -> str:
        return str(self.machine.ssh(command, input=data).stdout)
