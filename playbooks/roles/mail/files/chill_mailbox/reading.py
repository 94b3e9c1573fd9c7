"""From the bytes of a message to what a tester wants to see of it. Nothing a message holds may make this fail."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage, Message

SHOWN_HEADERS = ("From", "To", "Cc", "Reply-To", "Date")
# Four bytes a character at most, in a file name of 255.
NAME_LENGTH = 60


@dataclass(frozen=True)
class Attachment:
    """A part that is not shown but can be fetched. `name` is safe as a file name."""

    name: str
    content: bytes


@dataclass(frozen=True)
class Mail:
    """A message for people: `headers` those that matter, `head` all as they came; `text` and `html` may be empty."""

    subject: str
    headers: tuple[tuple[str, str], ...]
    head: str
    text: str
    html: str
    attachments: tuple[Attachment, ...]


def read(content: bytes) -> Mail:
    """Take a message apart."""
    # The tolerant policy: headers are decoded below, so that a broken one is shown as it is.
    message = message_from_bytes(content, EmailMessage, policy=policy.compat32)
    for part in message.walk():
        take_as_utf8(part)
    head = content.replace(b"\r\n", b"\n").partition(b"\n\n")[0].decode("utf-8", "replace")
    text, html = "", ""
    rest: list[Attachment] = []
    images: dict[str, str] = {}
    for part in leaves(message):
        kind, shown = part.get_content_type(), part.get_content_disposition() != "attachment"
        identifier = str(part.get("Content-ID", "")).strip(" <>")
        if shown and kind == "text/plain" and not part.get_filename():
            text += ("\n" if text else "") + decoded(part)
        elif shown and kind == "text/html" and not html:
            html = decoded(part)
        elif kind.startswith("image/") and identifier:
            images[identifier] = f"data:{kind};base64,{base64.b64encode(payload(part)).decode()}"
        else:
            rest.append(Attachment(file_name(part, len(rest) + 1), payload(part)))
    html = re.sub(r"cid:([^\"'\s)>]+)", lambda found: images.get(found[1], found[0]), html)
    headers = tuple((name, header(message, name)) for name in SHOWN_HEADERS if message.get(name) is not None)
    return Mail(header(message, "Subject"), headers, head, text, html, tuple(rest))


def take_as_utf8(part: Message) -> None:
    """Headers with bytes beyond ASCII, which mail programs send although only SMTPUTF8 allows them."""
    for name, value in list(part.raw_items()):
        if not value.isascii():
            text = value.encode("ascii", "surrogateescape").decode("utf-8", "replace")
            part.replace_header(name, text)


def leaves(message: Message) -> Iterator[Message]:
    """The parts without parts of their own; a message that is attached is one, and is not looked into."""
    if message.get_content_maintype() != "multipart":
        yield message
        return
    parts = message.get_payload()
    # A message that calls itself multipart need not be.
    if not isinstance(parts, list):
        yield message
        return
    for part in parts:
        if isinstance(part, Message):
            yield from leaves(part)


def header(message: Message, name: str) -> str:
    """A header, its encoded words decoded; as it came when that cannot be."""
    raw = str(message.get(name, ""))
    try:
        decoded_text = str(make_header(decode_header(raw)))
    except (LookupError, ValueError):
        decoded_text = raw
    return " ".join(decoded_text.split())


def payload(part: Message) -> bytes:
    """The bytes of a part; of an attached message, the message."""
    if part.get_content_maintype() == "message" and part.is_multipart():
        return b"\n".join(inner.as_bytes() for inner in part.get_payload() if isinstance(inner, Message))
    found = part.get_payload(decode=True)
    return found if isinstance(found, bytes) else str(part.get_payload()).encode("utf-8", "replace")


def decoded(part: Message) -> str:
    """The text of a part in its charset; what does not fit there is replaced."""
    charset = str(part.get_content_charset() or "utf-8")
    try:
        return payload(part).decode(charset, "replace")
    except (LookupError, ValueError):
        return payload(part).decode("utf-8", "replace")


def file_name(part: Message, number: int) -> str:
    """A name for a part, without anything that a path or a terminal could take amiss."""
    try:
        given = part.get_filename() or ""
        given = str(make_header(decode_header(given)))
    except (LookupError, ValueError, TypeError):
        given = ""
    name = "".join(char for char in given.replace("\\", "/").rpartition("/")[2] if char.isprintable())
    name = name.encode("utf-8", "replace").decode().strip(" .")[-NAME_LENGTH:]
    ending = {"message/rfc822": "eml", "text/calendar": "ics", "text/plain": "txt", "text/html": "html"}
    return name or f"{number}.{ending.get(part.get_content_type(), 'bin')}"
