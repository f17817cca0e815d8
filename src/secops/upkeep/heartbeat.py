"""Telling a monitor that a scheduled run began, ended or failed, so that one that never ran is noticed.

The form is that of healthchecks-style monitors: a request to a URL means success; ``/start`` and ``/fail``
after its path mean what they say. Such a URL is a secret: who knows it can say that all is well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import Request, urlopen

from secops.errors import UsageError
from secops.settings import Secret

TIMEOUT: Final = 5.0
"""Seconds that a monitor has to answer; upkeep matters more than who hears of it."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Where to tell. Made by :meth:`at`."""

    _url: Secret

    @classmethod
    def at(cls, url: str) -> Heartbeat:
        """Check the URL.

        Raises:
            UsageError: It is no http or https URL; it is not repeated, for it is a secret.
        """
        try:
            parts = urlsplit(url.strip())
            good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if not good or any(letter.isspace() or ord(letter) < ord(" ") for letter in url.strip()):
            raise UsageError(
                "The heartbeat URL is no http or https URL.",
                hint="Give what the monitor shows, https://hc-ping.com/... for instance.",
            )
        return cls(Secret(url.strip()))

    def send(self, suffix: str = "", text: str = "") -> str | None:
        """Tell the monitor.

        Args:
            suffix: Nothing for success, ``start`` or ``fail``.
            text: One line that the monitor keeps; nothing secret.

        Returns:
            ``None`` where it answered well, or why not, in words that do not show the URL.
        """
        parts = urlsplit(self._url.reveal())
        path = parts.path.rstrip("/") + (f"/{suffix}" if suffix else "")
        url = urlunsplit(parts._replace(path=path, fragment=""))
        request = Request(url, data=text.encode("utf-8"), method="POST")  # noqa: S310  at() checked it
        try:
            with urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
                answer.read(1)
        except HTTPError as error:
            error.close()
            return f"{parts.hostname} answered {error.code}"
        except URLError as error:
            reason = error.reason
            known = reason.strerror if isinstance(reason, OSError) else None
            return f"{parts.hostname} cannot be reached: {known or type(reason).__name__}"
        except Exception as error:  # noqa: BLE001  no failure of a monitor may fail the upkeep
            return f"{parts.hostname} did not answer: {type(error).__name__}"
        return None
