"""Who asks."""

from __future__ import annotations

import ipaddress

import pytest
from fastapi import Request

from secops.accounts.login.limits import client_of
from secops.auth.requests import client

PROXIES = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("2001:db8:ffff::/48"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("198.51.100.4", "203.0.113.9", "198.51.100.4"),
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "6.6.6.6, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "6.6.6.6, 203.0.113.9, 10.9.9.9", "203.0.113.9"),
        ("10.0.0.1", "6.6.6.6, nonsense, 10.9.9.9", "10.9.9.9"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "10.2.2.2", "10.2.2.2"),
        ("2001:db8:ffff::1", "2001:db8:1::7", "2001:db8:1::7"),
        ("unix socket", "203.0.113.9", "unix socket"),
    ],
)
def test_forwarded_addresses_are_believed_of_our_own_proxies_alone(
    peer: str, forwarded: str, found: str
) -> None:
    headers = [(b"x-forwarded-for", forwarded.encode())] if forwarded else []
    request = Request({"type": "http", "client": (peer, 1), "headers": headers})
    assert client(request, PROXIES) == found


@pytest.mark.parametrize(
    ("ip", "client"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        (None, "unknown"),
        ("not an address", "unknown"),
    ],
)
def test_who_an_address_counts_for(ip: str | None, client: str) -> None:
    assert client_of(ip) == client
