"""Ask a service's page as anybody could, each time over a connection of its own."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import secops
from secops.targets.address import is_loopback

if TYPE_CHECKING:
    from httpx2 import Client

_LARGEST: Final = 65_536


@dataclass(frozen=True, slots=True)
class Answer:
    """What one probe brought.

    Attributes:
        status: The HTTP status; ``None`` where no answer came.
        seconds: How long it took, the connection's making included.
        body: The beginning of the page.
        problem: Why no answer came, in a few words.
    """

    status: int | None
    seconds: float
    body: str = ""
    problem: str = ""


def probe(url: str, timeout: timedelta) -> Answer:
    """Ask a page once.

    A connection of its own, so that a balancer may choose another copy of the service; no redirect is
    followed, for what answers behind it may be another service.

    Args:
        url: The page.
        timeout: How long to wait for all of it.
    """
    from httpx2 import HTTPError, InvalidURL  # noqa: PLC0415  takes longer to load than most probes

    begun = time.monotonic()
    limit = timeout.total_seconds()
    try:
        with _client(url, limit) as client, client.stream("GET", url) as reply:
            body = b""
            for piece in reply.iter_bytes(8_192):
                body += piece
                if len(body) >= _LARGEST or time.monotonic() - begun > limit:
                    break
            status = reply.status_code
    except (HTTPError, InvalidURL, OSError, ssl.SSLError) as error:
        said = str(error).strip().split("\n")[0] or type(error).__name__
        return Answer(None, time.monotonic() - begun, problem=said)
    return Answer(status, time.monotonic() - begun, body[:_LARGEST].decode("utf-8", "replace"))


def _client(url: str, limit: float) -> Client:
    from httpx2 import Client  # noqa: PLC0415

    return Client(
        headers={"User-Agent": f"secops/{secops.__version__}", "Cache-Control": "no-cache"},
        timeout=limit,
        follow_redirects=False,
        # A proxy is for what is elsewhere; a context for TLS takes longer to make than a plain request.
        trust_env=not is_loopback(url),
        verify=not url.startswith("http://"),
    )
