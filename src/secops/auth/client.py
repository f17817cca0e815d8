"""A client's side of the backend: requests that carry an access token, and refresh it once when it expired.

    auth = RefreshingAuth("https://api.example.com/v1")
    with httpx2.Client(auth=auth) as client:
        auth.login(client, "alice@example.com", password)
        client.get("https://api.example.com/v1/orders")

However many threads find the token expired at once, one of them refreshes and the others wait for it: a
refresh token is good for one use, and a second one would look like theft.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpx2

from secops.errors import ConfigurationError, Refused

if TYPE_CHECKING:
    from secops.settings import Secret

_OK: Final = 200
_UNAUTHORIZED: Final = 401
_NOBODY: Final = httpx2.Auth()
"""Sends a request as it is, whatever the client's own way is."""
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class RefreshingAuth(httpx2.Auth):
    """Bears an access token, and exchanges the refresh token for a new one when the backend says so.

    The access token goes to the backend's own origin and to no other, the refresh token to ``/auth`` alone;
    neither is shown by a ``repr``. One object may serve many threads and many clients.

    Args:
        base: Where the backend is, with its prefix: ``https://api.example.com/v1``.
        cookie: The name of the refresh cookie (COOKIE_NAME).
        refresh_token: One from an earlier run.
        also: Other origins that take the same access tokens.

    Raises:
        ConfigurationError: ``base`` is no http or https URL.
    """

    def __init__(
        self,
        base: str,
        *,
        cookie: str = "refreshToken",
        refresh_token: Secret | None = None,
        also: tuple[str, ...] = (),
    ) -> None:
        self._base = base.rstrip("/")
        self._origins = {_origin(each) for each in (base, *also)}
        self._cookie = cookie
        self._refresh = refresh_token.reveal() if refresh_token is not None else None
        self._access: str | None = None
        self._one = threading.Lock()

    def __repr__(self) -> str:
        return f"RefreshingAuth({self._base!r})"

    @property
    def logged_in(self) -> bool:
        """Whether there is something to refresh with."""
        return self._refresh is not None

    def login(self, client: httpx2.Client, email: str, password: str) -> dict[str, object]:
        """Log in; returns the user as the backend describes them.

        Args:
            client: Sends the request.
            email: Who.
            password: With what.

        Raises:
            Refused: The backend says no; its code and message, and how long to wait, are in the details.
        """
        answer = client.post(
            f"{self._base}/auth/login", json={"email": email, "password": password}, auth=_NOBODY
        )
        if answer.status_code != _OK:
            raise _refused(answer)
        with self._one:
            self._take(answer)
        found: dict[str, object] = answer.json()["data"]["user"]
        return found

    def logout(self, client: httpx2.Client) -> None:
        """End the session, here and there.

        Raises:
            Refused: The backend did not; nothing is forgotten then.
        """
        with self._one:
            if self._refresh is None:
                return
            answer = client.send(self._request("logout"), auth=_NOBODY)
            if answer.status_code != _OK:
                raise _refused(answer)
            self._access = self._refresh = None

    def sync_auth_flow(
        self, request: httpx2.Request
    ) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Send a request, and once more with a new token where the old one had expired."""
        if _origin(str(request.url)) not in self._origins:
            yield request
            return
        request.read()  # it may be sent twice
        if self._access is None:
            yield from self._refreshed(None)
        used = self._bear(request)
        answer = yield request
        if answer.status_code != _UNAUTHORIZED:
            return
        answer.read()
        if _code(answer) == "TOKEN_EXPIRED" and self._refresh is not None:
            yield from self._refreshed(used)
            # Also where that failed: whoever asked gets the answer to their own request.
            self._bear(request)
            yield request

    def auth_flow(
        self,
        request: httpx2.Request,  # noqa: ARG002  the interface's
    ) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Refuse what is asked of it by an ``AsyncClient``: waiting for a thread would stop its loop."""
        raise ConfigurationError(
            "RefreshingAuth works with httpx2.Client, not with AsyncClient.",
            hint="Run it in a thread (asyncio.to_thread).",
        )

    def _refreshed(self, used: str | None) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Get a new access token, unless another thread has got one since ``used`` was taken."""
        with self._one:
            if self._access != used or self._refresh is None:
                return
            answer = yield self._request("refresh")
            answer.read()
            if answer.status_code == _OK:
                self._take(answer)
            elif _code(answer) in {"INVALID_REFRESH_TOKEN", "NO_REFRESH_TOKEN"}:
                self._access = self._refresh = None
            # After anything else, a 503 say, the same token can be tried again.

    def _request(self, what: str) -> httpx2.Request:
        return httpx2.Request(
            "POST",
            f"{self._base}/auth/{what}",
            headers={"cookie": f"{self._cookie}={self._refresh}"},
        )

    def _bear(self, request: httpx2.Request) -> str | None:
        token = self._access
        if token is not None:
            request.headers["authorization"] = f"Bearer {token}"
        return token

    def _take(self, answer: httpx2.Response) -> None:
        """Keep what a login or a refresh gave: the next refresh token first, for the old one is used up."""
        for header in answer.headers.get_list("set-cookie"):
            with suppress(CookieError):
                found = SimpleCookie(header).get(self._cookie)
                if found is not None and found.value:
                    self._refresh = found.value
        self._access = str(answer.json()["data"]["accessToken"])


def _origin(url: str) -> tuple[str, str, int]:
    try:
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
    except (ValueError, KeyError):
        port = 0
    if not port or not parts.hostname:
        raise ConfigurationError(
            "That is no http or https URL.", hint="Such as https://api.example.com/v1."
        )
    return parts.scheme, parts.hostname.lower(), port


def _error(answer: httpx2.Response) -> dict[str, object]:
    try:
        found = answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _code(answer: httpx2.Response) -> object:
    return _error(answer).get("code")


def _refused(answer: httpx2.Response) -> Refused:
    error = _error(answer)
    wait = answer.headers.get("retry-after")
    return Refused(
        str(error.get("message") or f"The backend answered {answer.status_code}."),
        hint=f"Try again in {wait} seconds." if wait else "",
        details={"status": answer.status_code, "code": error.get("code"), "retry_after": wait},
    )
