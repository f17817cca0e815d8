"""A real SMTP server on a loopback port, for tests that send mail."""

from __future__ import annotations

import email
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from support.servers import free_port

Answer = Callable[[str], str | None]


@dataclass
class Mailbox:
    """What the server took.

    Attributes:
        port: Where it listens.
        answer: Says what it answers for a recipient; ``None`` for taking the mail.
        mails: The mails, in the order in which they came.
        logins: Users and passwords that were given.
        recipients: Where each goes.
        after: Called when a mail was taken, before the server says so.
    """

    port: int
    answer: Answer = lambda _: None
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    after: Callable[[], None] = lambda: None

    async def handle_RCPT(  # noqa: N802  aiosmtpd's name
        self, _: SMTP, __: Session, envelope: Envelope, address: str, ___: list[str]
    ) -> str:
        """Take or refuse a recipient."""
        refused = self.answer(address)
        if refused is None:
            envelope.rcpt_tos.append(address)
        return refused or "250 OK"

    async def handle_DATA(self, _: SMTP, __: Session, envelope: Envelope) -> str:  # noqa: N802  as above
        """Take a mail."""
        assert isinstance(envelope.content, bytes)
        self.recipients.append(envelope.rcpt_tos)
        self.mails.append(email.message_from_bytes(envelope.content, policy=policy.default))
        self.after()
        return "250 OK"

    def authenticate(self, _: SMTP, __: Session, ___: Envelope, ____: str, data: Any) -> AuthResult:
        """Let one user in."""
        self.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=data.password == b"right", handled=False)


@contextmanager
def mailbox(tls: ssl.SSLContext | None = None, port: int | None = None) -> Iterator[Mailbox]:
    """Listen, with STARTTLS and a login where a certificate is given."""
    box = Mailbox(port or free_port())
    more: dict[str, Any] = (
        {} if tls is None
        else {"tls_context": tls, "require_starttls": True, "authenticator": box.authenticate,
              "auth_required": True}
    )  # fmt: skip
    controller = Controller(box, hostname="127.0.0.1", port=box.port, enable_SMTPUTF8=True, **more)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()
