"""The app: routes under a prefix, limits on what comes in, headers on what goes out."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

import secops
from secops.auth import answers, cookies, routes
from secops.auth.answers import refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from secops.auth.services import Services

LARGEST: Final = 65_536
"""Bytes that a request's body may have; a login has a few hundred."""

# ASVS 5.0, 3.4 and 14.3.2: answers with tokens are for nobody's cache, and for nobody's frame.
_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"strict-transport-security", b"max-age=31536000; includeSubDomains"),
)


class Hardened:
    """ASGI middleware: refuses what is too large or no JSON, and adds the headers that every answer has.

    Args:
        app: The app behind it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(each for each in _HEADERS if each[0] not in there),
                ]
            await send(message)

        body = await _body(scope, receive)
        if isinstance(body, Response):
            await body(scope, receive, with_headers)
            return
        sent = body is None

        async def once_more() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, once_more, with_headers)


async def _body(scope: Scope, receive: Receive) -> bytes | Response | None:
    """Read a request's body, if it has one; return the refusal of one that is not taken."""
    given = dict(scope["headers"])
    length = given.get(b"content-length", b"")
    if length in {b"", b"0"} and b"transfer-encoding" not in given:
        return None
    if length.isdigit() and int(length) > LARGEST:
        return _too_large()
    if given.get(b"content-type", b"").split(b";")[0].strip().lower() != b"application/json":
        return refusal(415, "UNSUPPORTED_MEDIA_TYPE", "Send JSON.")
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)  # nothing more either where the client left
        if len(body) > LARGEST:
            return _too_large()
    return body


def _too_large() -> Response:
    return refusal(413, "TOO_LARGE", f"A request may have {LARGEST:,} bytes.")


def lifespan(services: Services) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Return what opens and closes the services' connections with an app: its ``lifespan``."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        services.pool.open()
        try:
            yield
        finally:
            services.pool.close()

    return life


def create_app(services: Services) -> FastAPI:
    """Return the whole backend as an app of its own.

    Args:
        services: See :func:`secops.auth.services.assemble`; its pool is opened and closed with the app.
    """
    app = FastAPI(
        title="secops reference backend",
        version=secops.__version__,
        description="Login, refresh, logout, lockout and theft detection, as the security plan has them.",
        lifespan=lifespan(services),
        docs_url=None,
        redoc_url=None,
    )
    mount(app, services)
    app.include_router(routes.health(services))
    app.add_middleware(Hardened)
    return app


def mount(app: FastAPI, services: Services) -> None:
    """Mount ``/auth`` in somebody's own FastAPI app, with its failures in the plan's shape.

    Args:
        app: The app.
        services: See :func:`secops.auth.services.assemble`; their connections are opened
            and closed by :func:`lifespan`.
    """
    rules = services.configuration
    answers.install(app, lambda response: cookies.clear(response, rules.cookie))
    app.include_router(routes.router(services), prefix=rules.prefix)
    if rules.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=sorted(rules.origins),
            allow_credentials=True,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["authorization", "content-type"],
            max_age=600,
        )
