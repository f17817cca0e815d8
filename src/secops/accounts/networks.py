"""Addresses and networks as operators write them."""

from __future__ import annotations

from ipaddress import IPv6Network, ip_network
from typing import TYPE_CHECKING, Final

from secops.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

# RFC 4291, 2.5.5.2. Servers that listen on IPv6 (Node's among them) report IPv4 clients so.
_MAPPED: Final = IPv6Network("::ffff:0:0/96")


def read_networks(texts: Iterable[str]) -> list[str]:
    """Read addresses and networks.

    Args:
        texts: ``203.0.113.7``, ``203.0.113.0/24``, ``2001:db8::/32``. Bits beyond the prefix do not
            matter.

    Returns:
        The networks as PostgreSQL's ``inet`` reads them; an IPv4 network also in its IPv6-mapped
        form and the other way round, for the same client is recorded in either.

    Raises:
        UsageError: A text is neither.
    """
    found: list[str] = []
    for text in texts:
        try:
            network = ip_network(text.strip(), strict=False)
        except ValueError:
            raise _no_network(text) from None
        if isinstance(network, IPv6Network):
            if network.network_address.scope_id is not None:
                raise _no_network(text)
            found.append(str(network))
            mapped = network.network_address.ipv4_mapped
            if mapped is not None and network.subnet_of(_MAPPED):
                found.append(f"{mapped}/{network.prefixlen - 96}")
        else:
            found.append(str(network))
            found.append(f"::ffff:{network.network_address}/{network.prefixlen + 96}")
    return list(dict.fromkeys(found))


def _no_network(text: str) -> UsageError:
    return UsageError(
        f"{text!r} is neither an IP address nor a network.",
        hint="Write it as 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32.",
    )
