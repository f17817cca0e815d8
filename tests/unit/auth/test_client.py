"""The Python client by itself: whom it gives the token to."""

from __future__ import annotations

import asyncio

import httpx2
import pytest

from secops.auth.client import RefreshingAuth
from secops.errors import ConfigurationError


def test_no_other_origin_is_given_the_token() -> None:
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200)

    auth = RefreshingAuth("https://api.example.com/v1")
    auth._access = "secret"
    with httpx2.Client(auth=auth, transport=httpx2.MockTransport(answer)) as client:
        for url in (
            "https://evil.example",
            "http://api.example.com/",
            "https://api.example.com:8443/",
        ):
            client.get(url)
        client.get("https://API.example.com/x")
    assert ["authorization" in each.headers for each in seen] == [False, False, False, True]


def test_an_async_client_is_told_that_it_cannot() -> None:
    async def ask() -> None:
        auth = RefreshingAuth("https://api.example.com/v1")
        async with httpx2.AsyncClient(auth=auth) as client:
            await client.get("https://api.example.com/v1")

    with pytest.raises(ConfigurationError, match="AsyncClient"):
        asyncio.run(ask())
    with pytest.raises(ConfigurationError):
        RefreshingAuth("api.example.com")
