"""Logging in with a password, from the limit on attempts to the session: the order is what makes it safe."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from psycopg import sql

from secops.accounts.login import identifiers
from secops.accounts.login.attempts import WAIT, Attempts, Crowded, Locked, Person, Place
from secops.accounts.login.happenings import Origin, record
from secops.accounts.login.limits import Limit, client_of
from secops.accounts.vocabulary import Happening
from secops.database.connection import transaction

if TYPE_CHECKING:
    from secops.accounts.login.hashing import Hasher
    from secops.accounts.login.rules import EventRules
    from secops.accounts.login.sessions import Grant, Sessions
    from secops.database.connection import Connection
    from secops.database.layout import Layout

Connect = Callable[[], AbstractContextManager["Connection"]]
"""Lends a connection in autocommit mode for the length of a block."""


@dataclass(frozen=True, slots=True)
class Welcome:
    """The password is right.

    Attributes:
        grant: The session that begins.
        person: Whose it is.
    """

    grant: Grant
    person: Person


@dataclass(frozen=True, slots=True)
class Wrong:
    """The password is not right, or there is no such account; which of the two is nobody's business.

    Attributes:
        left: Attempts that are left.
    """

    left: int


@dataclass(frozen=True, slots=True)
class Limited:
    """Too many attempts from one place.

    Attributes:
        retry_after: How long to wait.
    """

    retry_after: timedelta


@dataclass(frozen=True, slots=True)
class Logins:
    """The service.

    Attributes:
        layout: The tables.
        connect: Lends connections; none is held while a password is verified.
        attempts: Counts failures.
        sessions: Begins sessions.
        hasher: Verifies passwords.
        limit: Attempts of one client.
        events: Which events are written.
    """

    layout: Layout
    connect: Connect
    attempts: Attempts
    sessions: Sessions
    hasher: Hasher
    limit: Limit
    events: EventRules

    def login(
        self, email: str, password: str, origin: Origin
    ) -> Welcome | Wrong | Locked | Crowded | Limited:
        """Log somebody in.

        Args:
            email: As it was typed.
            password: As it was typed.
            origin: The request.
        """
        wait = self._limited(origin)
        if wait is not None:
            return Limited(wait)
        identifier = identifiers.normalise(email)
        if identifier is None:
            # Nobody has such an address, and no count is kept of it: it takes as long, and is as wrong.
            self.hasher.verify(password, None)
            return Wrong(self.attempts.rules.attempts - 1)
        place = self.attempts.take(self.connect, identifier, origin)
        if not isinstance(place, Place):
            return place
        person = place.person
        verified = self.hasher.verify(password, None if person is None else person.password)
        if person is None or not verified.right or not person.active:
            reason = (
                "unknown_user"
                if person is None
                else "account_disabled"
                if verified.right
                else "invalid_password"
            )
            with self.connect() as conn:
                return Wrong(self.attempts.fail(conn, place, origin, reason).left)
        return self._welcome(place, person, verified.rehashed, origin)

    def _welcome(
        self, place: Place, person: Person, rehashed: str | None, origin: Origin
    ) -> Welcome | Locked | Crowded | Wrong:
        with self.connect() as conn, transaction(conn, lock_timeout=WAIT):
            if self.attempts.succeed(conn, place):
                if rehashed is not None:
                    self._store(conn, person, rehashed)
                grant = self.sessions.issue(conn, person.id, origin)
                record(
                    conn, self.layout, self.events, Happening.LOGIN_SUCCESS, origin,
                    user_id=person.id, email=person.email, message="Logged in.",
                    facts={"token_family": str(grant.session)},
                )  # fmt: skip
                return Welcome(grant, person)
        # Locked, disabled or deleted while the password was verified.
        again = self.attempts.take(self.connect, place.identifier, origin)
        if not isinstance(again, Place):
            return again
        with self.connect() as conn:
            return Wrong(self.attempts.fail(conn, again, origin, "account_disabled").left)

    def _limited(self, origin: Origin) -> timedelta | None:
        with self.connect() as conn:
            wait = self.limit.take(conn, client_of(origin.ip))
            if wait is not None:
                with transaction(conn):
                    record(
                        conn, self.layout, self.events, Happening.RATE_LIMITED, origin,
                        message="Too many login attempts from one address.",
                        facts={"limit": self.limit.most},
                    )  # fmt: skip
            return wait

    def _store(self, conn: Connection, person: Person, rehashed: str) -> None:
        """Replace a weak hash, unless the password was changed meanwhile."""
        users = self.layout.users
        assert users.password is not None
        conn.execute(
            sql.SQL("UPDATE {} SET {} = %s WHERE {} = %s AND {} = %s").format(
                users.table,
                sql.Identifier(users.password),
                sql.Identifier(users.id),
                sql.Identifier(users.password),
            ),
            (rehashed, person.id, person.password),
        )
