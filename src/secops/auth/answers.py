"""What the backend answers: the plan's shapes and codes, and one way to refuse."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from psycopg import OperationalError
from psycopg import errors as pg
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from secops.errors import OutcomeUnknown, Unreachable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI, Request


class Problem(BaseModel):
    """What went wrong."""

    code: str = Field(examples=["INVALID_CREDENTIALS"])
    message: str = Field(examples=["Invalid password. 4 attempts remaining."])


class Failure(BaseModel):
    """Every answer that is no success."""

    error: Problem


class Refused(Exception):  # noqa: N818  an answer, no error of ours
    """Ends a request with an answer that is no success.

    Args:
        status: HTTP status.
        code: The plan's code.
        message: For people.
        retry_after: When it is worth trying again.
        clear_cookie: Whether the browser is to forget its refresh token.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        retry_after: timedelta | None = None,
        clear_cookie: bool = False,
    ) -> None:
        super().__init__(code)
        self.status, self.code, self.message = status, code, message
        self.retry_after, self.clear_cookie = retry_after, clear_cookie


DESCRIBED: Final[dict[int, str]] = {
    400: "The request is not one that this takes.",
    401: "Not logged in, or not any more.",
    403: "A page of another site asked.",
    404: "No such thing of yours.",
    405: "Not this way.",
    409: "It is there already.",
    413: "The request is too large.",
    415: "The request is no JSON.",
    423: "The account is locked.",
    429: "Too many attempts.",
    503: "The database is away or too busy; try again after Retry-After.",
}


def failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says of a route's failures."""
    return {each: {"model": Failure, "description": DESCRIBED[each]} for each in (*statuses, 503)}


def refusal(
    status: int, code: str, message: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return a failure in the plan's shape."""
    return JSONResponse(
        {"error": {"code": code, "message": message}}, status, headers=dict(headers or {})
    )


def seconds(span: timedelta) -> str:
    """Return what ``Retry-After`` says: whole seconds, never too early."""
    return str(max(1, math.ceil(span.total_seconds())))


def _unavailable() -> JSONResponse:
    return refusal(503, "SERVICE_UNAVAILABLE", "Try again in a moment.", {"Retry-After": "1"})


_CODES: Final = {
    400: "INVALID_REQUEST",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    413: "TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
}


def install(app: FastAPI, clear: Any) -> None:  # noqa: ANN401  a function of a response
    """Have an app answer every failure in the plan's shape.

    Args:
        app: The app.
        clear: Deletes the refresh cookie in a response.
    """

    def refused(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Refused)
        headers = {"Retry-After": seconds(error.retry_after)} if error.retry_after else {}
        answer = refusal(error.status, error.code, error.message, headers)
        if error.clear_cookie:
            clear(answer)
        return answer

    def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        # Where, and not what: the value may be a password.
        where = {".".join(str(each) for each in fault["loc"][1:]) for fault in error.errors()}
        named = ", ".join(sorted(each for each in where if each and each.isascii())[:5])
        return refusal(
            400,
            "INVALID_REQUEST",
            f"Not as it should be: {named}." if named else "This is not what is asked for.",
        )

    def http(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        code = _CODES.get(error.status_code, "REFUSED")
        return refusal(
            error.status_code, code, DESCRIBED.get(error.status_code, "Refused."), error.headers
        )

    def away(_: Request, __: Exception) -> JSONResponse:
        return _unavailable()

    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    for kind in (
        Unreachable,
        OutcomeUnknown,
        OperationalError,
        pg.LockNotAvailable,
        pg.ReadOnlySqlTransaction,
    ):
        app.add_exception_handler(kind, away)
