"""Files messages into mailboxes: a directory for each mail, and the list of all. Runs as chill-mail.

Reads messages from standard input, each a line of JSON (id, uid, sender, recipients, time, size) and `size` bytes.
Prints the id of each that is filed. Filing one again replaces it. What is too old, or too much, is removed.

    <mailbox>/index.html
    <mailbox>/20261126T101500-4Yz…/       time and Postfix's id: index.html, about.json, message.eml,
                                         body.html when there is HTML, 1/NAME, 2/NAME for attachments
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from chill_mailbox import pages, reading
from chill_mailbox.watch import mailboxes

# A message of which nothing can be made but its bytes.
UNREADABLE = reading.Mail("", (), "", "", "", ())


def messages(stream: BinaryIO) -> Iterator[tuple[dict[str, Any], bytes]]:
    """What stands on standard input."""
    while line := stream.readline():
        about = json.loads(line)
        yield about, stream.read(about["size"])


def name_of(about: Mapping[str, Any]) -> str:
    return f"{datetime.fromtimestamp(about['time'], UTC):%Y%m%dT%H%M%S}-{about['id']}"


def file(settings: Mapping[str, Any], about: Mapping[str, Any], content: bytes) -> bool:
    """File a mail; whether that went well. It stays in Postfix's queue when not, for a later attempt."""
    try:
        make(settings, about, content, reading.read(content))
    except Exception as error:
        # A message is a stranger's: whatever it provokes, it is kept, and shown as far as can be.
        print(f"{about['id']}: {error!r}", file=sys.stderr)
        try:
            make(settings, about, content, UNREADABLE)
        except OSError as fault:
            print(f"{about['id']}: stays in the queue: {fault}", file=sys.stderr)
            return False
    return True


def make(settings: Mapping[str, Any], about: Mapping[str, Any], content: bytes, mail: reading.Mail) -> None:
    """Make the directory of a mail, whole or not at all."""
    box = Path(settings["directory"])
    beside, final = box / f".{about['id']}.new", box / name_of(about)
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    (beside / "message.eml").write_bytes(content)
    (beside / "index.html").write_text(pages.page(settings, about, mail), "utf-8", "replace")
    if mail.html:
        (beside / "body.html").write_text(pages.body_page(mail), "utf-8", "replace")
    for number, attachment in enumerate(mail.attachments, start=1):
        (beside / str(number)).mkdir()
        (beside / str(number) / attachment.name).write_bytes(attachment.content)
    row = {
        "time": about["time"],
        "recipients": about["recipients"],
        "subject": mail.subject,
        "from": dict(mail.headers).get("From", about["sender"]),
        "attachments": len(mail.attachments),
        "bytes": sum(path.stat().st_size for path in beside.rglob("*") if path.is_file()),
    }
    (beside / "about.json").write_text(json.dumps(row), "utf-8")
    shutil.rmtree(final, ignore_errors=True)
    beside.rename(final)


def kept(settings: Mapping[str, Any], now: float) -> list[dict[str, Any]]:
    """The mails of a mailbox, newest first; those that are too old or too much are removed."""
    box = Path(settings["directory"])
    oldest = name_of({"time": now - settings["days"] * 86400, "id": ""})
    # Names that begin with a dot were being made when something went wrong.
    found = sorted((path for path in box.iterdir() if path.is_dir()), key=lambda path: path.name, reverse=True)
    whole = [path for path in found if not path.name.startswith(".")]
    rows, room = [], settings["megabytes"] * 1_000_000
    for path in whole[: settings["messages"]]:
        row = json.loads((path / "about.json").read_text("utf-8"))
        room -= row["bytes"]
        if path.name < oldest or room < 0:
            break
        rows.append({**row, "name": path.name})
    for path in set(found) - {box / row["name"] for row in rows}:
        shutil.rmtree(path)
    return rows


def bring_up_to_date(settings: Mapping[str, Any], now: float) -> None:
    """Remove what has to go, and write the list of the rest."""
    rows = kept(settings, now)
    box = Path(settings["directory"])
    beside = box / ".index.html.new"
    beside.write_text(pages.index(settings, rows), "utf-8", "replace")
    beside.replace(box / "index.html")


def main() -> None:
    os.umask(0o027)
    boxes = mailboxes(Path(sys.argv[1]))
    filed, count = [], 0
    for about, content in messages(sys.stdin.buffer):
        count += 1
        if file(boxes[about["uid"]], about, content):
            filed.append(about["id"])
    for settings in boxes.values():
        # One that is being made has its settings before its directory, or the other way round.
        if Path(settings["directory"]).is_dir():
            bring_up_to_date(settings, time.time())
    print(*filed, sep="\n", flush=True)
    sys.exit(len(filed) < count)


if __name__ == "__main__":
    main()
