"""Takes the mail of test environments out of Postfix's hold queue, into their mailboxes.

Postfix holds what users of test environments hand in (/etc/postfix/caught). What is held is neither delivered, nor
bounced, nor reported on; so whatever goes wrong here, nothing leaves. Runs as root, because the queue is; reading
messages is left to `filing`, which runs as chill-mail.

A message belongs to the mailbox of the user number in its first header, which pickup(8) writes and nobody can
precede. One that was held only because a later header looks like that is set free. One that is held for other reasons
is an adminsys's, and left alone.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

QUEUE = Path("/var/spool/postfix")
MAILBOXES = Path("/etc/chill/mailboxes")
# How many messages are handed over at once: what they hold is in memory meanwhile.
BATCH = 20
SWEEP_SECONDS = 3600
HANDED_IN = re.compile(rb"Received: by \S+ \(Postfix, from userid (\d+)\)")


def mailboxes(directory: Path = MAILBOXES) -> dict[int, dict[str, Any]]:
    """The settings of the mailboxes, by user number."""
    read = (json.loads(path.read_text(encoding="utf-8")) for path in sorted(directory.glob("*.json")))
    return {int(settings["uid"]): settings for settings in read}


def submitter(content: bytes) -> int | None:
    """The number of the user who handed a message in, by its first header."""
    found = HANDED_IN.match(content)
    return int(found[1]) if found else None


def looks_caught(content: bytes, known: Mapping[int, object]) -> bool:
    """Whether a header of the message is one for which Postfix would hold it."""
    head = content.partition(b"\n\n")[0]
    return any(int(found[1]) in known for found in re.finditer(rb"^" + HANDED_IN.pattern, head, re.MULTILINE))


def envelope(text: bytes) -> tuple[str, list[str]]:
    """Sender and recipients, from what `postcat -e` prints."""
    lines = text.decode("utf-8", "replace").splitlines()
    found = [line.split(": ", 1) for line in lines if ": " in line]
    sender = next((value for name, value in found if name == "sender"), "")
    return sender, [value for name, value in found if name == "recipient"]


def whole(message: Path) -> bool:
    """Whether a message in the queue is complete: Postfix says so by its mode (mail_stream_finish)."""
    try:
        return bool(message.stat().st_mode & 0o100)
    except FileNotFoundError:
        return False


def postfix(*command: str, stdin: bytes = b"") -> bytes:
    """The output of one of Postfix's commands; empty when the message went meanwhile."""
    return subprocess.run(command, input=stdin, capture_output=True, check=False).stdout


@dataclass
class Watch:
    """What is remembered between two looks: messages that are not ours, the mailboxes seen, the last sweep."""

    foreign: set[str] = field(default_factory=set)
    seen: list[tuple[str, int]] = field(default_factory=list)
    swept: float = float("-inf")

    def look(self) -> bool:
        """One look at the queue; whether all that was found could be filed."""
        if any((QUEUE / "maildrop").iterdir()):
            # A sandboxed worker cannot tell pickup that there is something, which looks but once a minute.
            postfix("postkick", "public", "pickup", "W")
        held = {path.name for path in (QUEUE / "hold").iterdir() if whole(path)}
        self.foreign &= held
        settings = [(path.name, path.stat().st_mtime_ns) for path in sorted(MAILBOXES.glob("*.json"))]
        due = settings != self.seen or time.monotonic() - self.swept > SWEEP_SECONDS
        new = sorted(held - self.foreign)
        if not new and not due:
            return True
        known = mailboxes()
        done = [self.take(new[start : start + BATCH], known) for start in range(0, max(len(new), 1), BATCH)]
        self.seen, self.swept = settings, time.monotonic() if due else self.swept
        return all(done)

    def take(self, names: list[str], known: Mapping[int, dict[str, Any]]) -> bool:
        """File messages, and remove from the queue those that were; whether the filing went well."""
        records = b"".join(self.records(names, known))
        command = [sys.executable, "-B", "-m", "chill_mailbox.filing", str(MAILBOXES)]
        done = subprocess.run(
            command,
            input=records,
            stdout=subprocess.PIPE,
            check=False,
            user="chill-mail",
            group="chill-mail",
            extra_groups=[],
        )
        filed = [name for name in done.stdout.decode().split() if name in names]
        if filed:
            postfix("postsuper", "-d", "-", stdin="".join(f"{name}\n" for name in filed).encode())
        return done.returncode == 0

    def records(self, names: list[str], known: Mapping[int, dict[str, Any]]) -> Iterator[bytes]:
        """Messages as `filing` reads them: a line of JSON, and as many bytes as it says."""
        for name in names:
            content = postfix("postcat", "-bhq", name)
            user = submitter(content)
            if user not in known:
                self.pass_over(name, content, known)
                continue
            sender, recipients = envelope(postfix("postcat", "-eq", name))
            try:
                arrived = (QUEUE / "hold" / name).stat().st_mtime
            except FileNotFoundError:
                continue
            about = {
                "id": name,
                "uid": user,
                "sender": sender,
                "recipients": recipients,
                "time": arrived,
                "size": len(content),
            }
            yield json.dumps(about).encode() + b"\n" + content

    def pass_over(self, name: str, content: bytes, known: Mapping[int, object]) -> None:
        """A message of no test environment."""
        if content and looks_caught(content, known):
            print(f"{name} is not of a test environment, although a header says so: set free", flush=True)
            postfix("postsuper", "-H", name)
            # It is among the deferred ones now: not in five minutes, but at once.
            postfix("postqueue", "-i", name)
        elif content:
            print(f"{name} is on hold for a reason of its own: left alone", flush=True)
            self.foreign.add(name)


def main() -> None:
    watch = Watch()
    while True:
        # A full disk does not get better by hurry.
        time.sleep(1 if watch.look() else 30)


if __name__ == "__main__":
    main()
