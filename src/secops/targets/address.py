"""Where a service's API may be."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from secops.errors import ConfigurationError


def checked_address(address: str, service: str) -> str:
    """Return where an API is, without a slash at its end.

    Raises:
        ConfigurationError: It is no address, holds credentials, or is plain HTTP to another machine.
    """
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError(
            f"The url of {service} is no address.", hint="It looks like https://api.example.com."
        )
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigurationError(
            f"The url of {service} holds more than an address.",
            hint="Credentials come from the environment or a keyring; see token_env.",
        )
    if parts.scheme == "http" and not is_loopback(address):
        raise ConfigurationError(
            f"The url of {service} is plain HTTP to another machine; the token would travel in the open.",
            hint="Use https://.",
        )
    return address.rstrip("/")


def is_loopback(address: str) -> bool:
    """Say whether an address is on this machine."""
    host = urlsplit(address).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def origin(base: str) -> str:
    """Return the scheme, host and port of an address."""
    parts = urlsplit(base)
    return f"{parts.scheme}://{parts.netloc}"
