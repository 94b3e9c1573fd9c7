"""A year of marked data: everything that metering reads about people, made up so that it can be found again."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import date, timedelta
from urllib.parse import quote

import psycopg

from tests.unit.metering.server_side import SMS

NAMES = ("Zebulon Marquet", "Zoé Ünalmark", "zebulon.marquet")
ADDRESSES = ("zebulon.marquet@blind.example", "zoe+mark@xn--mrk-qla.example")
PHONES = ("+32499123456", "0499123456", "0032499123456")
IPS = ("203.0.113.99", "2001:db8:dead:beef::99")
TEXTS = ("rendez-vous chez le juge Marquet", "mot-de-passe-Marquet")


def jwt(name: str) -> str:
    """A token as Collabora's calls carry it."""

    def part(value: object) -> str:
        data = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    signed = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part({'username': name, 'exp': 4_102_444_800})}"
    return f"{signed}.{part(hmac.new(b'key', signed.encode(), hashlib.sha256).digest())}"


TOKENS = tuple(jwt(name) for name in NAMES)


def marks() -> dict[str, bytes]:
    """What must not be found anywhere, with a name for each: the marks, and forms into which they may have been put."""
    found: dict[str, bytes] = {}
    for mark in (*NAMES, *ADDRESSES, *PHONES, *IPS, *TEXTS, *TOKENS, *(token.split(".")[1] for token in TOKENS)):
        plain = mark.encode()
        found[mark] = plain
        found[f"{mark} in JSON"] = json.dumps(mark).strip('"').encode()
        found[f"{mark} in a URL"] = quote(mark).encode()
        found[f"{mark} in Latin-1"] = mark.encode("latin-1")
        found[f"{mark} in base 64"] = base64.b64encode(plain)[: len(plain) // 3 * 4]
        for spelled in {plain, plain.lower(), mark.casefold().encode()}:
            for kind in ("md5", "sha1", "sha256"):
                # Without a key, a digest of a name is as good as the name.
                digest = hashlib.new(kind, spelled)
                found[f"{kind} of {mark}"] = digest.hexdigest()[:16].encode()
                found[f"{kind} of {mark}, raw"] = digest.digest()[:12]
    for part in ("zebulon", "ünalmark", "marquet", "blind.example", "xn--mrk-qla", "499123456"):
        found[part] = part.encode()
    return found


def found_in(haystack: bytes) -> list[str]:
    """The names of the marks that are in there, whatever their case."""
    lower = haystack.lower()
    return [name for name, mark in marks().items() if mark.lower() in lower or mark in haystack]


@dataclass(frozen=True)
class Year:
    """The days of the year, and the text of each log."""

    days: list[date]

    @classmethod
    def until(cls, last: date, number: int = 365) -> Year:
        return cls([last - timedelta(days=back) for back in reversed(range(number))])

    def mail_log(self) -> bytes:
        lines: list[bytes] = []
        for number, day in enumerate(self.days):
            stamp, who, ip = f"{day}T09:00:00+01:00 srv1", ADDRESSES[number % 2], IPS[number % 2]
            queue = f"{number:010X}"
            lines += [
                line.encode()
                for line in (
                    f"{stamp} postfix/smtpd[1]: connect from {NAMES[2]}[{ip}]",
                    f"{stamp} postfix/smtpd[1]: {queue}: client=x[{ip}], sasl_method=PLAIN, sasl_username={who}",
                    f"{stamp} postfix/cleanup[1]: {queue}: message-id=<{who}>",
                    f"{stamp} postfix/qmgr[1]: {queue}: from=<{who}>, size=1, nrcpt=1 (queue active)",
                    f"{stamp} postfix/smtp[1]: {queue}: to=<{who}>, orig_to=<{ADDRESSES[0]}>, relay=mx[{ip}]:25,"
                    f" delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (250 {NAMES[0]} {PHONES[0]})",
                    f"{stamp} postfix/pickup[1]: F{queue}: uid=998 from=<{who}>",
                    f"{stamp} postfix/qmgr[1]: F{queue}: from=<{who}>, size=1, nrcpt=1 (queue active)",
                    f"{stamp} postfix/smtp[1]: F{queue}: to=<{who}>, relay=mx[{ip}]:25, delay=1, delays=0/0/0/1,"
                    f" dsn=4.0.0, status=deferred (host {ip} said: 450 {who} {TEXTS[0]})",
                    f"{stamp} postfix/smtp[1]: F{queue}: to=<{who}>, relay=mx[{ip}]:25, delay=1, delays=0/0/0/1,"
                    f" dsn=2.0.0, status=sent (250 OK)",
                    # Broken ones: a queue id that is none, a line cut in half, another program's.
                    f"{stamp} postfix/smtp[1]: {who}: to=<{who}>, status=sent ({TEXTS[0]}",
                    f"{stamp} postfix/smtp[1]: message repeated 2 times: [ {queue}: to=<{who}>, status=sent (250)]",
                    f"{who} postfix/smtp[1]: {queue}: to=<{who}>, status=sent ({ip})",
                    f"{stamp} dovecot: imap({who})<1>: Logged out rip={ip} {TEXTS[1]}",
                )
            ]
            lines.append(f"{stamp} postfix/smtp[1]: ".encode() + NAMES[1].encode("latin-1") + b"\x00\xff status=sent (")
        return b"\n".join(lines) + b"\n"

    def metering_log(self) -> bytes:
        lines: list[bytes] = []
        for number, day in enumerate(self.days):
            stamp, name = f"[{day}T08:00:00+01:00]", NAMES[number % 3]
            token = json.dumps({"token": {"X\\Token": f'PostToken(user="{name}", roles="ROLE_USER")'}, "ip": IPS[0]})
            sms = {"class": "x", "recipient": PHONES[0], "text": TEXTS[0], "validReceivers": [PHONES[0], PHONES[1]]}
            record = {"message": f"sent to {PHONES[0]}", "level_name": "INFO", "channel": "messenger", "extra": {}}
            record |= {"context": sms, "datetime": f"{day}T10:00:00+01:00"}
            lines += [
                line.encode()
                for line in (
                    f"{stamp} security.INFO: Authenticator successful! {token} []",
                    f"{stamp} security.WARNING: {NAMES[0]} {IPS[1]} failed with {TEXTS[1]} [] []",
                    SMS.format(day=day, time="10:00:00").rstrip("\n").replace("[]", json.dumps({"to": PHONES[0]})),
                    f"{stamp} messenger.CRITICAL: Error thrown while handling message {PHONES[1]} {json.dumps(sms)} []",
                    f"{stamp} sms.INFO: job done {json.dumps(sms)} []",
                    json.dumps([record, record | {"message": "job done", "channel": "sms"}, NAMES]),
                    json.dumps(record)[:-20],
                    f"[{name} {PHONES[2]} was handled successfully messenger",
                    f"{stamp} messenger.INFO: {TOKENS[0]} {{{name} []",
                )
            ]
            lines.append(
                f"{stamp} sms.INFO: job done ".encode() + b'{"validReceivers": ["\xff' + PHONES[0].encode() + b'"]} []'
            )
        return b"\n".join(lines) + b"\n"

    def wopi_log(self) -> bytes:
        """nginx's combined form, and one JSON object a line; with tokens that are whole, cut and forged."""
        lines = []
        for number, day in enumerate(self.days):
            token = TOKENS[number % 3]
            when = day.strftime("%d/%b/%Y:10:00:00 +0100")
            for shown in (token, token[:-3], token.replace(".", "", 1), quote(NAMES[0])):
                request = f"GET /wopi/files/{number}?access_token={shown}&x={quote(ADDRESSES[0])} HTTP/1.1"
                lines.append(f'{IPS[number % 2]} - {NAMES[2]} [{when}] "{request}" 200 99 "-" "{TEXTS[0]}"')
            record = {"time_iso8601": f"{day}T11:00:00+01:00", "request_uri": f"/wopi/files/1?access_token={token}"}
            lines.append(json.dumps(record | {"status": 200, "request_method": "GET", "remote_addr": IPS[0]}))
        return "\n".join(lines).encode() + b"\n"

    def fill(self, database: str) -> None:
        """An application's database: its people, and what they wrote."""
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("CREATE TABLE users (id int PRIMARY KEY, username text, email text, enabled bool)")
            connection.execute(
                "CREATE TABLE note (id serial PRIMARY KEY, text text, createdby_id int, createdat timestamp)"
            )
            for number, name in enumerate(NAMES):
                address = ADDRESSES[number % 2]
                connection.execute("INSERT INTO users VALUES (%s, %s, %s, true)", [number, name, address])
            for number, day in enumerate(self.days):
                values = [TEXTS[number % 2], number % 3, f"{day} 12:00"]
                connection.execute("INSERT INTO note (text, createdby_id, createdat) VALUES (%s, %s, %s)", values)

    def export(self) -> str:
        """What a provider sells as a CSV file."""
        names = (NAMES[number % 2] for number in range(len(self.days)))
        rows = (f"{day}T10:00:00,sms-1,{PHONES[0]},{next(names)},{TEXTS[0]}" for day in self.days)
        return "\n".join(("Date,Service,To,Name,Text", *rows)) + "\n"
