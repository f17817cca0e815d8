"""Mails as people get them: a template, filled in with what is inert.

Names, addresses and user agents in them were chosen by whoever sent a request, and a mail from the app is
trusted. So nothing of it reaches a header, none of it breaks a line, and a name in which somebody could
hide a link ("Your prize: www.example.com") is left out.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from email import policy
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import parseaddr
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Final

from secops.errors import ConfigurationError
from secops.output.safe import inert

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

SHIPPED: Final = Path(__file__).resolve().parent / "mails"

_SUBJECT: Final = "Subject: "
_LONGEST: Final = 60
# What mail programs make a link of: a scheme, a dot between letters, a slash, an at sign.
_LINK: Final = re.compile(r"[/\\@]|:\S|\w\.\w|\bwww\b", re.IGNORECASE)


class Undeliverable(Exception):  # noqa: N818  the mail's fault, and no program's
    """No mail can be made of it, now or later."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Whom mails come from.

    Attributes:
        shown: The ``From`` header.
        address: The address alone.
        domain: What stands in message ids.
    """

    shown: Address
    address: str
    domain: str

    @classmethod
    def read(cls, text: str) -> Sender:
        """Read ``Name <address>`` or an address.

        Raises:
            ConfigurationError: It is none.
        """
        name, address = parseaddr(text)
        try:
            found = Address(display_name=inert(name), addr_spec=address)
        except (MessageError, ValueError, IndexError):
            found = Address()
        if not found.username or not found.domain or not text.isprintable():
            raise ConfigurationError(
                f"mail.from is no address: {inert(text)!r}.",
                hint='Set SECOPS_MAIL_FROM, such as "Example <no-reply@example.com>".',
            )
        return cls(found, address, found.domain)


@dataclass(frozen=True, slots=True)
class Notice:
    """A row of the outbox.

    Attributes:
        id: Its number; the message id is made of it, so that a mail sent twice is one.
        kind: Its template.
        address: Where it goes.
        facts: What is filled in.
        created_at: When it happened.
    """

    id: UUID
    kind: str
    address: str
    facts: Mapping[str, object]
    created_at: datetime


def compose(notice: Notice, sender: Sender, folder: Path | None = None) -> EmailMessage:
    """Make the mail.

    Args:
        notice: What it tells.
        sender: Whom it comes from.
        folder: Templates of one's own, by kind (``account_locked.txt``); the shipped one where it has none.

    Raises:
        Undeliverable: Its address is none, or nobody knows such a mail.
        ConfigurationError: A template cannot be read or names what there is not.
    """
    subject, body = _filled(notice, folder)
    message = EmailMessage(policy=policy.SMTP)
    message["Subject"] = subject
    message["From"] = sender.shown
    message["To"] = recipient(notice.address)
    message["Date"] = notice.created_at
    message["Message-ID"] = f"<{notice.id}@{sender.domain}>"
    # RFC 3834: no vacation answers to it, and no error loops.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(body, cte="quoted-printable")
    return message


def recipient(text: str) -> Address:
    """Return an address that mail can go to.

    Raises:
        Undeliverable: It is none: people may log in under names that are no addresses.
    """
    name, _, host = text.rpartition("@")
    try:
        # Names of hosts go over the wire in ASCII (RFC 5891); what is before the @ is the host's business.
        found = Address(addr_spec=f"{name}@{host.encode('idna').decode()}")
    except (MessageError, ValueError, IndexError):
        raise Undeliverable("that is no address for mail") from None
    if not found.username or not found.domain or not text.isprintable() or " " in text:
        raise Undeliverable("that is no address for mail")
    return found


def _filled(notice: Notice, folder: Path | None) -> tuple[str, str]:
    path = _template(notice.kind, folder)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"The mail template {path} cannot be read: {type(error).__name__}.",
            hint="It is a text file in UTF-8.",
        ) from None
    subject, _, body = text.partition("\n")
    if not subject.startswith(_SUBJECT) or not body.strip():
        raise ConfigurationError(
            f"The mail template {path} has no subject.",
            hint=f'Its first line is "{_SUBJECT}...", then an empty line, then the text.',
        )
    try:
        filled = Template(body.strip("\n") + "\n").substitute(_facts(notice))
    except (KeyError, ValueError) as error:
        raise ConfigurationError(
            f"The mail template {path} names what there is not: {inert(str(error))}.",
            hint=f"There are: {', '.join('$' + name for name in _facts(notice))}.",
        ) from None
    # The subject is the template's alone: no stranger's text stands in a header.
    return inert(subject.removeprefix(_SUBJECT).strip()), filled


def _template(kind: str, folder: Path | None) -> Path:
    known = {path.stem: path for path in SHIPPED.glob("*.txt")}
    if kind not in known:
        raise Undeliverable(f"no mail of the kind {inert(kind)[:_LONGEST]} is known")
    own = folder / f"{kind}.txt" if folder is not None else known[kind]
    return own if own.is_file() else known[kind]


def _facts(notice: Notice) -> dict[str, str]:
    """Return what templates may name; always the same names, whatever the row lacks."""
    given = {name: str(value) for name, value in notice.facts.items() if value is not None}
    name = inert(given.get("name", "").strip())
    shown = bool(name) and len(name) <= _LONGEST and not _LINK.search(name)
    agent = inert(given.get("agent", ""))[:_LONGEST]
    return {
        "name": f" {name}" if shown else "",
        "attempts": _number(given.get("attempts", "")),
        "minutes": inert(given.get("minutes", "some time"))[:_LONGEST],
        "agent": "an unknown device" if not agent or _LINK.search(agent) else agent,
        "ip": _ip(given.get("ip", "")),
        "time": f"{notice.created_at:%Y-%m-%d %H:%M}",
    }


def _number(text: str) -> str:
    return text if text.isascii() and text.isdigit() and len(text) < _LONGEST else "several"


def _ip(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return "that is not known"
