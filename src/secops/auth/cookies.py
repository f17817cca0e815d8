"""The cookie that holds the refresh token: set and deleted with the same attributes, or it stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import timedelta

    from fastapi import Request
    from starlette.responses import Response

    from secops.auth.configuration import CookieRules


def give(response: Response, rules: CookieRules, token: str, expires_in: timedelta) -> None:
    """Have the browser keep a token for as long as it is good."""
    _set(response, rules, token, round(min(expires_in, rules.most).total_seconds()))


def clear(response: Response, rules: CookieRules) -> None:
    """Have the browser forget the token."""
    _set(response, rules, "", 0)


def given(request: Request, rules: CookieRules) -> str | None:
    """Return the token that came with a request."""
    return request.cookies.get(rules.name) or None


def _set(response: Response, rules: CookieRules, value: str, age: int) -> None:
    response.set_cookie(
        rules.name,
        value,
        max_age=age,
        path=rules.path,
        secure=rules.secure,
        httponly=rules.http_only,
        samesite=rules.same_site,
    )
