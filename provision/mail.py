"""Hands a message to the mail server that `chill.toml` names, and says in words why it was not taken."""

from __future__ import annotations

import os
import smtplib
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from email.message import EmailMessage
from pathlib import Path

from provision.errors import ChillError, Problem, RequestError
from provision.secrets import Secret
from provision.settings import Mail

TIMEOUT_SECONDS = 30
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
SETTINGS_HINT = "see chill.toml: mail.host, mail.port, mail.security"


def send(message: EmailMessage, mail: Mail, password_reader: Callable[[], Secret]) -> None:
    """Hand a message to the mail server, which answers for it from then on. ChillError when it is not taken.

    `password_reader` is asked only when `mail.username` is set: see `read_password`.
    """
    password = password_reader() if mail.username else None
    for problem in mail_problems(mail):
        raise RequestError(f"{problem.place}: {problem.message}", problem.hint)
    try:
        smtp = _connect(mail)
        try:
            if password:
                smtp.login(mail.username, password.reveal())
            refused = smtp.send_message(message)
            if refused:
                raise smtplib.SMTPRecipientsRefused(refused)
        finally:
            # The letter is taken or refused by now: how the server says good-bye changes nothing.
            with suppress(smtplib.SMTPException, OSError):
                smtp.quit()
    except UnicodeError:
        raise ChillError(
            f"the mail server {mail.host} cannot take this user name or password: they are not ASCII",
            "see chill.toml: mail.username, mail.password_file",
        ) from None
    except (smtplib.SMTPException, OSError) as error:
        raise _refusal(error, mail) from None


def mail_problems(mail: Mail) -> Iterator[Problem]:
    """What is wrong with the mail settings before anything is sent."""
    if mail.username and mail.security == "none" and mail.host not in LOOPBACK:
        yield Problem(
            "chill.toml: mail.security",
            f"the password of {mail.username} would travel to {mail.host} in clear",
            'set security = "starttls" or "tls"',
        )


def read_password(path: Path) -> Secret:
    """The mail password: the first line of a file that only its owner can read. RequestError otherwise."""
    place = f"chill.toml: mail.password_file: {path}"
    try:
        with path.open(encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise RequestError(f"{place} can be read by others than its owner", f"chmod 600 {path}")
            line = file.readline().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise RequestError(f"{place}: {reason}", "one line with the password, mode 600") from None
    if not line:
        raise RequestError(f"{place} is empty", "one line with the password, mode 600")
    return Secret(line)


def _connect(mail: Mail) -> smtplib.SMTP:
    """A connection as the settings ask for; certificates are checked against the system's authorities."""
    if mail.security == "tls":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(mail.host, mail.port, timeout=TIMEOUT_SECONDS, context=context)
    smtp = smtplib.SMTP(mail.host, mail.port, timeout=TIMEOUT_SECONDS)
    if mail.security == "starttls":
        try:
            smtp.starttls(context=ssl.create_default_context())
        except BaseException:
            smtp.close()
            raise
    return smtp


def _refusal(error: Exception, mail: Mail) -> ChillError:
    """Say in words what the mail server, or the way to it, answered."""
    server = f"the mail server {mail.host}:{mail.port}"
    match error:
        case smtplib.SMTPRecipientsRefused(recipients=recipients):
            answers = "; ".join(f"{address}: {_answer(*reply)}" for address, reply in recipients.items())
            return ChillError(f"{server} refused the recipient {answers}", "correct responsible.email")
        case smtplib.SMTPSenderRefused():
            said = _answer(error.smtp_code, error.smtp_error)
            return ChillError(f"{server} refused the sender {error.sender}: {said}", "see chill.toml: mail.sender")
        case smtplib.SMTPAuthenticationError():
            said = _answer(error.smtp_code, error.smtp_error)
            hint = "see chill.toml: mail.username, mail.password_file"
            return ChillError(f"{server} refused the user name or password: {said}", hint)
        case smtplib.SMTPResponseException():
            return ChillError(f"{server} refused: {_answer(error.smtp_code, error.smtp_error)}", SETTINGS_HINT)
        case smtplib.SMTPNotSupportedError():
            return ChillError(f"{server} cannot do what the settings ask for: {error}", SETTINGS_HINT)
        case ssl.SSLCertVerificationError():
            return ChillError(f"the certificate of {server} is not valid: {error.verify_message}", SETTINGS_HINT)
        case smtplib.SMTPException():
            return ChillError(f"{server} broke off: {error}", SETTINGS_HINT)
        case TimeoutError():
            return ChillError(f"{server} gave no answer within {TIMEOUT_SECONDS} seconds", SETTINGS_HINT)
    reason = getattr(error, "strerror", None) or error
    return ChillError(f"{server} cannot be reached: {reason}", SETTINGS_HINT)


def _answer(code: int, text: bytes | str) -> str:
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return f"{code} {' '.join(words.split())}"
