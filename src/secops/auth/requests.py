"""Who asks: the client's address behind trusted proxies, and which site's page it was."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from secops.accounts.login.happenings import Origin
from secops.auth.answers import Refused

if TYPE_CHECKING:
    from fastapi import Request

    from secops.auth.configuration import Configuration, Network

_HOPS: Final = 20


def origin(request: Request, configuration: Configuration) -> Origin:
    """Return where a request came from."""
    return Origin(
        ip=client(request, configuration.proxies),
        agent=request.headers.get("user-agent"),
        path=request.url.path,
        method=request.method,
    )


def client(request: Request, proxies: tuple[Network, ...]) -> str | None:
    """Return the client's address.

    ``X-Forwarded-For`` is read from its end, for as long as the hop before is one of ours: what stands
    further left was written by whoever asks, and would let them choose whom their attempts count for.
    """
    peer = request.client.host if request.client else None
    found = _address(peer)
    if found is None or not _trusted(found, proxies):
        return peer
    hops = ",".join(request.headers.getlist("x-forwarded-for")).split(",")[-_HOPS:]
    for hop in reversed([each.strip() for each in hops if each.strip()]):
        address = _address(hop)
        if address is None:
            break
        found = address
        if not _trusted(address, proxies):
            break
    return str(found)


def _address(text: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address((text or "").strip("[]"))
    except ValueError:
        return None


def _trusted(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, proxies: tuple[Network, ...]
) -> bool:
    return any(address.version == each.version and address in each for each in proxies)


def refuse_other_sites(request: Request, configuration: Configuration) -> None:
    """Refuse what a page of another site has a browser send along with its cookie.

    ``SameSite`` does not do: to it every sub-domain is the same site.

    Raises:
        Refused: It is one.
    """
    given = request.headers.get("origin")
    if given is not None:
        if given.rstrip("/").lower() in configuration.origins:
            return
        parts = urlsplit(given)
        # The scheme is left out: where TLS ends at a proxy, we are asked in clear.
        if parts.scheme in {"http", "https"} and parts.netloc.lower() == _host(request):
            return
    elif request.headers.get("sec-fetch-site", "none") in {"none", "same-origin"}:
        return
    raise Refused(403, "FORBIDDEN_ORIGIN", "A page of another site asked for this.")


def _host(request: Request) -> str:
    return request.headers.get("host", "").lower()
