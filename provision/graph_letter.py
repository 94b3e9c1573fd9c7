"""The letter to a customer's technical contact: what to do at Microsoft's, and what to send back.

It holds nothing secret and travels as plain text. It asks for the answer to be encrypted to the key that signs
letters, when there is one.
"""

from __future__ import annotations

from datetime import date, datetime
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import make_msgid

import jinja2

from provision.errors import RequestError
from provision.fleet import Contact, Fleet, Instance
from provision.journal import Journal
from provision.letter import TEMPLATES, Letter, fill, one_line, printed_fingerprint
from provision.mail import read_password, send
from provision.openpgp import Keyring
from provision.settings import Language


def compose(instance: Instance, fleet: Fleet, language: Language, today: date) -> Letter:
    """Write the letter. RequestError when the instance has no technical contact."""
    contact, settings = _contact(instance), fleet.settings
    engine = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 (plain text)
        trim_blocks=True,
        lstrip_blocks=True,
    )
    key = _our_key(fleet, today)
    text = engine.get_template(f"graph_{language}.txt.j2").render(
        name=one_line(contact.name),
        client=one_line(instance.client),
        url=f"https://{instance.names.environments[0].domain}/",
        permissions=settings.graph.permissions,
        key=printed_fingerprint(key) if key else "",
        support_address=instance.names.support_address,
        domain=settings.domain,
    )
    subject, _, body = text.partition("\n\n")
    return Letter(subject, fill(body))


def send_letter(letter: Letter, instance: Instance, fleet: Fleet, now: datetime) -> str:
    """Send it, and note that in the journal. Whom it was sent to; ChillError when it was not taken."""
    contact, mail = _contact(instance), fleet.settings.mail
    message = EmailMessage(policy=SMTP)
    message["From"] = mail.sender
    try:
        message["To"] = Address(one_line(contact.name), addr_spec=contact.email)
    except (HeaderParseError, ValueError, IndexError):
        raise RequestError(
            f"{instance.path.name}: contacts.technical.email: no mail can be sent to {contact.email!r}",
            "correct the address",
        ) from None
    message["Reply-To"] = instance.names.support_address
    message["Subject"] = letter.subject
    message["Date"] = now
    message["Message-ID"] = make_msgid(domain=mail.sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.body, cte="8bit")
    send(message, mail, lambda: read_password(fleet.path(mail.password_file)))
    Journal(fleet.journal).add(instance.slug, "graph letter", "graph_letter_sent", result="ok")
    return contact.email


def _our_key(fleet: Fleet, today: date) -> str:
    """The fingerprint of the key that signs letters when one can also encrypt to it; else empty."""
    openpgp = fleet.settings.openpgp
    if not openpgp.signing_key:
        return ""
    with Keyring(fleet.path(openpgp.home)) as keyring:
        try:
            return keyring.fit_key(openpgp.signing_key, today, openpgp.minimum_validity_days).fingerprint
        except RequestError:
            return ""


def _contact(instance: Instance) -> Contact:
    try:
        return instance.contacts["technical"]
    except KeyError:
        raise RequestError(
            f"{instance.path.name}: contacts.technical is missing: there is nobody to write to",
            'add it: contacts: {technical: {name: "Alix Martin", email: "alix@example.org"}}',
        ) from None
