"""The pages of a mailbox: the list, and one page for each mail.

Text in, HTML out. Nothing of a mail goes in unescaped, but for its own HTML, into a page of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any
from urllib.parse import quote

from chill_mailbox.reading import Mail
from chill_mailbox.words import WORDS

ADDRESS = re.compile(r"https?://[^\s<>\"']+")


def words(settings: Mapping[str, Any]) -> Mapping[str, str]:
    return WORDS[settings["language"]]


def moment(seconds: float, said: Mapping[str, str]) -> str:
    """A time in the server's zone, which is the fleet's."""
    return datetime.fromtimestamp(seconds).astimezone().strftime(said["date"])


def document(settings: Mapping[str, Any], title: str, base: str, body: str, more: str = "") -> str:
    """A whole page; `base` leads from it to the mailbox's address."""
    return (
        f'<!DOCTYPE html>\n<html lang="{escape(settings["language"])}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width">\n{more}<title>{escape(title)}</title>\n'
        f'<link rel="stylesheet" href="{base}style.css">\n</head>\n<body>\n{body}</body>\n</html>\n'
    )


def index(settings: Mapping[str, Any], mails: Sequence[Mapping[str, Any]]) -> str:
    """The list.

    Each mail: `name` of its directory, `time`, `recipients`, `subject`, `from`, `attachments` (how many).
    """
    said = words(settings)
    title = said["title"].format(settings["domain"])
    rows = "".join(
        f'<tr><td class="time">{escape(moment(mail["time"], said))}</td>'
        f"<td>{escape(', '.join(mail['recipients']))}</td>"
        f'<td><a href="{quote(mail["name"])}/">{escape(mail["subject"] or said["no subject"])}</a>'
        f"{' &#128206;' * bool(mail['attachments'])}</td><td>{escape(mail['from'])}</td></tr>\n"
        for mail in mails
    )
    heads = "".join(f"<th>{escape(said[name])}</th>" for name in ("Received", "Recipients", "Subject", "From"))
    table = f"<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n"
    explained = said["explained"].format(days=settings["days"], messages=settings["messages"])
    body = f"<h1>{escape(title)}</h1>\n<p>{escape(explained)}</p>\n"
    body += table if mails else f"<p>{escape(said['none'])}</p>\n"
    return document(settings, title, "", body, '<meta http-equiv="refresh" content="15">\n')


def page(settings: Mapping[str, Any], about: Mapping[str, Any], mail: Mail) -> str:
    """One mail. `about`: sender, recipients and time, as Postfix knows them."""
    said = words(settings)
    title = mail.subject or said["no subject"]
    facts = [
        (said["Received"], moment(about["time"], said)),
        (said["Recipients"], ", ".join(about["recipients"])),
        (said["sender"], about["sender"]),
        *((said[name], value) for name, value in mail.headers),
    ]
    body = f'<p><a href="../">{escape(said["back"])}</a></p>\n<h1>{escape(title)}</h1>\n<dl>\n'
    body += "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>\n" for name, value in facts) + "</dl>\n"
    if mail.attachments:
        links = "".join(
            f'<li><a href="{number}/{quote(attachment.name)}">{escape(attachment.name)}</a>'
            f" ({len(attachment.content)})</li>\n"
            for number, attachment in enumerate(mail.attachments, start=1)
        )
        body += f"<h2>{escape(said['attachments'])}</h2>\n<ul>\n{links}</ul>\n"
    if mail.html:
        # The frame may open what its links name in a window of its own, and nothing else.
        body += (
            f"<h2>{escape(said['html'])}</h2>\n"
            f'<iframe src="body.html" title="{escape(said["html"])}"'
            ' sandbox="allow-popups allow-popups-to-escape-sandbox"></iframe>\n'
        )
    if mail.text or not mail.html:
        body += f"<h2>{escape(said['text'])}</h2>\n<pre>{linked(mail.text)}</pre>\n"
    body += f"<details><summary>{escape(said['headers'])}</summary><pre>{escape(mail.head)}</pre></details>\n"
    body += f'<p><a href="message.eml">{escape(said["original"])}</a></p>\n'
    return document(settings, title, "../", body)


def linked(text: str) -> str:
    """Text as HTML, its web addresses as links."""
    parts, end = [], 0
    for found in ADDRESS.finditer(text):
        address = found[0].rstrip(".,;:!?)»")
        parts.append(escape(text[end : found.start()]))
        parts.append(f'<a href="{escape(address)}" target="_blank" rel="noopener noreferrer">{escape(address)}</a>')
        end = found.start() + len(address)
    return "".join(parts) + escape(text[end:])


def body_page(mail: Mail) -> str:
    """The HTML of a mail as it came, in UTF-8. It is served as a page that may run, load and send nothing."""
    return f'<!DOCTYPE html>\n<meta charset="utf-8"><base target="_blank">\n{mail.html}'
