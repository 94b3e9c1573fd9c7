"""The rest of the world, as far as mail goes: a real SMTP server that keeps what it is given."""

from __future__ import annotations

import email
import email.policy
import threading
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.fixtures.local_services import free_port


class Mailbox:
    """Receives on a free `port` of `host` until closed. `messages` holds (recipients, message) in order of arrival."""

    def __init__(self, host: str) -> None:
        self.messages: list[tuple[list[str], EmailMessage]] = []
        self._arrived = threading.Condition()
        self.port = free_port(host)
        self._controller = Controller(self, hostname=host, port=self.port, ready_timeout=30)

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 (aiosmtpd's name)
        content: Any = envelope.content or b""
        message = email.message_from_bytes(content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        with self._arrived:
            self.messages.append((list(envelope.rcpt_tos), message))
            self._arrived.notify_all()
        return "250 2.0.0 Ok: kept"

    def received(self, recipient: str) -> list[EmailMessage]:
        """What arrived for one recipient."""
        return [message for recipients, message in self.messages if recipient in recipients]

    def wait(self, enough: Callable[[Mailbox], bool], seconds: float) -> bool:
        """Wait until `enough` says so; whether it did within `seconds`."""
        with self._arrived:
            return self._arrived.wait_for(lambda: enough(self), timeout=seconds)
