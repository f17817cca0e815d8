"""Letting in whom an access token belongs to: a dependency for FastAPI, a middleware for any ASGI app."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool

from secops.accounts.login.access import Bearer, Refusal
from secops.auth.answers import Refused, refusal
from secops.errors import Unreachable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

    from secops.auth.services import Services

_ANSWERS = {
    Refusal.EXPIRED: (401, "TOKEN_EXPIRED", "Access token expired. Please refresh."),
    Refusal.INVALID: (401, "INVALID_TOKEN", "Not logged in."),
    Refusal.ENDED: (401, "INVALID_TOKEN", "This session has ended."),
    Refusal.LOCKED: (423, "ACCOUNT_LOCKED", "The account is locked."),
}


def bearer(services: Services, authorization: str | None) -> Bearer:
    """Return whom an ``Authorization`` header lets in.

    Raises:
        Refused: Nobody.
    """
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer":
        raise Refused(*_ANSWERS[Refusal.INVALID])
    with services.connection() as conn:
        found = services.gate.admit(conn, token.strip())
    if isinstance(found, Refusal):
        raise Refused(*_ANSWERS[found])
    return found


class Authenticate:
    """ASGI middleware: refuses what carries no good access token, and puts :class:`Bearer` into the scope.

    The app behind it finds ``scope["state"]["bearer"]`` (``request.state.bearer``).

    Args:
        app: The app to guard.
        services: See :func:`secops.auth.services.assemble`.
        open_paths: Paths that need no token, and all below those that end with a slash.
    """

    def __init__(self, app: ASGIApp, services: Services, open_paths: Sequence[str] = ()) -> None:
        self._app, self._services = app, services
        self._open = tuple(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or self._is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        header = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        try:
            found = await run_in_threadpool(bearer, self._services, header.decode("latin-1"))
        except Refused as no:
            await refusal(no.status, no.code, no.message)(scope, receive, send)
            return
        except Unreachable:
            answer = refusal(
                503, "SERVICE_UNAVAILABLE", "Try again in a moment.", {"Retry-After": "1"}
            )
            await answer(scope, receive, send)
            return
        state: dict[str, Any] = scope.setdefault("state", {})
        state["bearer"] = found
        await self._app(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        return any(
            path == each or (each.endswith("/") and path.startswith(each)) for each in self._open
        )
