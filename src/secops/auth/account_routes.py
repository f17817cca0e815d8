"""What people do with their own account: register, change the password, look after their sessions.

Annotations are evaluated here, for FastAPI reads what a function depends on from them.
"""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request

from secops.accounts.agents import describe
from secops.accounts.criteria import Criteria
from secops.accounts.events import CATEGORY
from secops.accounts.explain import last_events
from secops.accounts.login.access import Bearer
from secops.accounts.login.passwords import Changed, NoAddress, Taken, Weak, WrongPassword
from secops.accounts.sessions import listing
from secops.accounts.users import Account
from secops.accounts.vocabulary import Happening
from secops.auth.answers import Refused, failures
from secops.auth.callers import Callers
from secops.auth.refusals import no_place, weak, wrong_password
from secops.auth.requests import origin
from secops.auth.services import Services
from secops.auth.shapes import (
    Ended,
    Event,
    NewPassword,
    Registered,
    Registration,
    Session,
    Success,
    User,
)


def add(routes: APIRouter, services: Services, callers: Callers) -> None:
    """Add the routes of one's own account.

    Args:
        routes: Where to.
        services: What they call.
        callers: Who may call.
    """
    rules = services.configuration

    @routes.post(
        "/register",
        status_code=201,
        responses=failures(400, 403, 409, 413, 415),
        dependencies=[Depends(callers.same_site)],
    )
    def register(given: Registration, request: Request) -> Success[Registered]:
        """Make an account; nothing but what is named here can be set."""
        found = services.passwords.register(
            given.email, given.password, given.firstName, origin(request, rules)
        )
        match found:
            case Weak():
                raise weak(found)
            case NoAddress():
                raise Refused(400, "INVALID_EMAIL", "That is no e-mail address.")
            case Taken():
                raise Refused(409, "EMAIL_TAKEN", "Somebody has that address.")
            case _:
                user = User(id=found.id, email=found.email, name=found.name)
                return Success(data=Registered(user=user))

    @routes.post(
        "/password",
        responses=failures(400, 401, 403, 413, 415, 423),
        dependencies=[Depends(callers.same_site)],
    )
    def password(
        caller: Annotated[Bearer, Depends(callers.known)], given: NewPassword, request: Request
    ) -> Success[Ended]:
        """Change the password; every other session ends."""
        found = services.passwords.change(
            caller.id,
            caller.session,
            given.currentPassword,
            given.newPassword,
            origin(request, rules),
        )
        match found:
            case Changed():
                return Success(data=Ended(sessions=found.ended))
            case Weak():
                raise weak(found)
            case WrongPassword():
                raise wrong_password(found.left)
            case _:
                raise no_place(found, rules.lockout.duration)

    @routes.get("/sessions", responses=failures(401, 423))
    def own_sessions(caller: Annotated[Bearer, Depends(callers.known)]) -> Success[list[Session]]:
        """List the account's live sessions."""
        with services.connection() as conn:
            found = list(listing(conn, services.layout, Criteria(users=(caller.id,))))
        return Success(
            data=[
                Session(
                    id=each.id,
                    device=describe(each.agent),
                    ip=each.ip,
                    createdAt=each.started,
                    lastUsedAt=each.last_used,
                    expiresAt=each.expires,
                    current=each.id == caller.session,
                )
                for each in sorted(found, key=lambda each: each.last_used, reverse=True)
            ]
        )

    @routes.delete(
        "/sessions/{session}",
        responses=failures(400, 401, 403, 404, 423),
        dependencies=[Depends(callers.same_site)],
    )
    def end_session(
        session: UUID, caller: Annotated[Bearer, Depends(callers.known)], request: Request
    ) -> Success[Ended]:
        """End one of the account's sessions."""
        with services.connection() as conn:
            ended = services.sessions.end(
                conn, caller.id, origin(request, rules), session=session, reason="logout",
                happening=Happening.SESSION_REVOKED,
            )  # fmt: skip
        if not ended:
            raise Refused(404, "SESSION_NOT_FOUND", "You have no such session.")
        return Success(data=Ended(sessions=ended))

    @routes.get("/events", responses=failures(400, 401, 423))
    def own_events(
        caller: Annotated[Bearer, Depends(callers.known)],
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
    ) -> Success[list[Event]]:
        """List what happened to the account, newest first."""
        account = Account(caller.id, caller.email)
        with services.connection() as conn:
            found = last_events(conn, services.layout, account, limit)
        return Success(
            data=[
                Event(
                    type=each.type,
                    at=each.at,
                    success=each.success,
                    # Why an operator acted is for operators.
                    message=None if each.category == CATEGORY else each.message,
                    device=describe(each.agent),
                    ip=each.ip,
                )
                for each in found
            ]
        )

    @routes.get("/me", responses=failures(401, 423))
    def me(caller: Annotated[Bearer, Depends(callers.known)]) -> Success[User]:
        """Say whose access token it is."""
        return Success(data=User(id=caller.id, email=caller.email, name=caller.name))
