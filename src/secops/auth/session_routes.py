"""Logging in, refreshing, logging out: read the request, call a service, answer in the plan's shape.

Annotations are evaluated here, for FastAPI reads what a function depends on from them.
"""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, Response

from secops.accounts.login.access import Bearer
from secops.accounts.login.service import Limited, Welcome, Wrong
from secops.accounts.login.sessions import Verdict
from secops.auth import cookies
from secops.auth.answers import Refused, failures
from secops.auth.callers import Callers
from secops.auth.refusals import no_place, wrong_password
from secops.auth.requests import origin
from secops.auth.services import Services
from secops.auth.shapes import Credentials, Done, Ended, LoggedIn, Success, Tokens, User

_ENDS_COOKIE: Final = frozenset({Verdict.REUSED, Verdict.REVOKED, Verdict.DISABLED})
"""After these the browser's token opens nothing any more. After no other: a slow answer to one tab must not
delete the token that another tab was given meanwhile."""


def add(routes: APIRouter, services: Services, callers: Callers) -> None:
    """Add the routes that begin, prolong and end sessions.

    Args:
        routes: Where to.
        services: What they call.
        callers: Who may call.
    """
    rules = services.configuration

    @routes.post(
        "/login",
        responses=failures(400, 401, 403, 413, 415, 423, 429),
        dependencies=[Depends(callers.same_site)],
    )
    def login(given: Credentials, request: Request, response: Response) -> Success[LoggedIn]:
        """Log in; the refresh token comes as a cookie."""
        found = services.logins.login(given.email, given.password, origin(request, rules))
        match found:
            case Welcome():
                cookies.give(response, rules.cookie, found.grant.token, found.grant.expires_in)
                user = User(id=found.person.id, email=found.person.email, name=found.person.name)
                token = rules.signer.sign(found.grant)
                return Success(
                    data=LoggedIn(accessToken=token, expiresIn=rules.expires_in, user=user)
                )
            case Wrong():
                raise wrong_password(found.left)
            case Limited():
                raise Refused(
                    429, "RATE_LIMITED", "Too many attempts.", retry_after=found.retry_after
                )
            case _:
                raise no_place(found, rules.lockout.duration)

    @routes.post(
        "/refresh", responses=failures(401, 403, 423), dependencies=[Depends(callers.same_site)]
    )
    def refresh(request: Request, response: Response) -> Success[Tokens]:
        """Exchange the cookie's refresh token for an access token and the next refresh token."""
        token = cookies.given(request, rules.cookie)
        if token is None:
            raise Refused(401, "NO_REFRESH_TOKEN", "No refresh token came along.")
        with services.connection() as conn:
            found = services.sessions.refresh(conn, token, origin(request, rules))
        if found.grant is not None:
            cookies.give(response, rules.cookie, found.grant.token, found.grant.expires_in)
            access = rules.signer.sign(found.grant)
            return Success(data=Tokens(accessToken=access, expiresIn=rules.expires_in))
        if found.verdict is Verdict.LOCKED:
            raise Refused(
                423, "ACCOUNT_LOCKED", "The account is locked.", retry_after=found.retry_after
            )
        raise Refused(
            401,
            "INVALID_REFRESH_TOKEN",
            "Please log in again.",
            clear_cookie=found.verdict in _ENDS_COOKIE,
        )

    @routes.post("/logout", responses=failures(403), dependencies=[Depends(callers.same_site)])
    def logout(request: Request, response: Response) -> Done:
        """End the cookie's session; without one there is nothing to end, and that is fine."""
        token = cookies.given(request, rules.cookie)
        if token is not None:
            with services.connection() as conn:
                services.sessions.logout(conn, token, origin(request, rules))
        cookies.clear(response, rules.cookie)
        return Done()

    @routes.post(
        "/logout-all", responses=failures(401, 403, 423), dependencies=[Depends(callers.same_site)]
    )
    def logout_all(
        caller: Annotated[Bearer, Depends(callers.known)], request: Request, response: Response
    ) -> Success[Ended]:
        """End every session of the account, and make all its access tokens worthless."""
        with services.connection() as conn:
            ended = services.sessions.end(conn, caller.id, origin(request, rules))
        cookies.clear(response, rules.cookie)
        return Success(data=Ended(sessions=ended))
