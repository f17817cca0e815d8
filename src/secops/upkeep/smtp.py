"""A mail server, reached under TLS: where it is, and what its answers mean."""

from __future__ import annotations

import re
import smtplib
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from secops.errors import ConfigurationError, Unreachable
from secops.output.safe import inert
from secops.settings import Secret

if TYPE_CHECKING:
    from email.message import EmailMessage

TIMEOUT: Final = 30.0
"""Seconds that the server has for each answer."""

_PORTS: Final = {"smtp": 587, "smtps": 465}
_LONGEST: Final = 300
_PERMANENT: Final = 500
"""Replies from here on say that trying again is of no use (RFC 5321, 4.2.1)."""
_FORM: Final = (
    "smtp://USER:PASSWORD@HOST:587 speaks STARTTLS, smtps://HOST:465 TLS from the start; "
    "smtp://localhost:25?tls=off is for a relay on this machine."
)


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail goes. Made by :meth:`at`."""

    host: str
    port: int
    tls: Literal["starttls", "implicit", "off"]
    user: str
    password: Secret

    @classmethod
    def at(cls, url: Secret) -> MailServer:
        """Read a URL.

        Raises:
            ConfigurationError: It is none, or would send a password in clear; the URL is not repeated.
        """
        try:
            parts = urlsplit(url.reveal().strip())
            port = parts.port or _PORTS[parts.scheme]
            options = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
        except (ValueError, KeyError):
            raise ConfigurationError(
                "mail.smtp_url is no URL of a mail server.", hint=_FORM
            ) from None
        wanted = options.pop("tls", "on")
        if (
            not parts.hostname
            or options
            or parts.path not in {"", "/"}
            or wanted not in {"on", "off"}
        ):
            raise ConfigurationError("mail.smtp_url is no URL of a mail server.", hint=_FORM)
        if wanted == "off" and (parts.scheme == "smtps" or parts.username):
            raise ConfigurationError(
                "mail.smtp_url has tls=off beside a user or smtps.",
                hint="A password goes over TLS or not at all.",
            )
        tls: Literal["starttls", "implicit", "off"]
        tls = "implicit" if parts.scheme == "smtps" else "starttls"
        if wanted == "off":
            tls = "off"
        return cls(
            parts.hostname,
            port,
            tls,
            unquote(parts.username or ""),
            Secret(unquote(parts.password or "")),
        )

    def open(self) -> Link:
        """Connect, under TLS and logged in as the URL says.

        Raises:
            Unreachable: It does not answer, its certificate is not good, or it refuses the login.
        """
        try:
            return Link(self._connected())
        except smtplib.SMTPAuthenticationError as error:
            raise self._away(f"it refuses the login ({error.smtp_code})") from None
        except ssl.SSLCertVerificationError as error:
            raise self._away(f"its certificate is not good: {error.verify_message}") from None
        except smtplib.SMTPNotSupportedError:
            raise self._away("it offers no STARTTLS or no login") from None
        except OSError as error:  # smtplib's own are among them
            raise self._away(error.strerror or type(error).__name__) from None

    def _connected(self) -> smtplib.SMTP:
        context = ssl.create_default_context()
        if self.tls == "implicit":
            smtp: smtplib.SMTP = smtplib.SMTP_SSL(
                self.host, self.port, timeout=TIMEOUT, context=context
            )
        else:
            smtp = smtplib.SMTP(self.host, self.port, timeout=TIMEOUT)
        try:
            if self.tls == "starttls":
                smtp.starttls(context=context)
            if self.user:
                smtp.login(self.user, self.password.reveal())
        except BaseException:
            smtp.close()
            raise
        return smtp

    def _away(self, why: str) -> Unreachable:
        return Unreachable(
            f"The mail server {inert(self.host)}:{self.port} cannot be used: {inert(why)}.",
            hint="Nothing was sent, and nothing is lost: the next run tries again.",
        )


@dataclass(frozen=True, slots=True)
class Failed:
    """Why a mail was not taken.

    Attributes:
        why: In the server's words, inert.
        for_good: Whether trying again is of no use.
        link_lost: Whether the connection is gone, and what became of the mail is not known.
    """

    why: str
    for_good: bool = False
    link_lost: bool = False


class Link:
    """An open connection. Made by :meth:`MailServer.open`."""

    def __init__(self, smtp: smtplib.SMTP) -> None:
        self._smtp = smtp

    def close(self) -> None:
        """Take leave, as far as the server still listens."""
        with suppress(OSError):
            self._smtp.quit()
        self._smtp.close()

    def send(self, message: EmailMessage, sender: str, address: str) -> Failed | None:
        """Hand over a mail; ``None`` where the server took it.

        Args:
            message: What.
            sender: Where what bounces goes.
            address: Where it goes.
        """
        try:
            self._smtp.send_message(message, sender, [address])
        except smtplib.SMTPRecipientsRefused as refused:
            code, said = refused.recipients.get(address, (0, b""))
            return _answered(code, said)
        except smtplib.SMTPServerDisconnected:
            return Failed("the connection was lost", link_lost=True)
        except smtplib.SMTPResponseException as refused:
            return _answered(refused.smtp_code, refused.smtp_error)
        except smtplib.SMTPNotSupportedError:
            return Failed("the server takes no such address (SMTPUTF8)", for_good=True)
        except OSError as error:
            return Failed(error.strerror or type(error).__name__, link_lost=True)
        return None


def _answered(code: int, said: bytes | str) -> Failed:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    words = inert(re.sub(r"\s+", " ", text))[:_LONGEST]
    # 421 is "I am closing"; what the server closes cannot be used for the next mail.
    return Failed(f"{code} {words}".strip(), for_good=code >= _PERMANENT, link_lost=code == 421)  # noqa: PLR2004
