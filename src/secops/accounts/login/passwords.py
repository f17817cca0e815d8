"""New accounts and new passwords."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import errors as pg
from psycopg import sql

from secops.accounts.login import identifiers
from secops.accounts.login.attempts import WAIT, Attempts, Crowded, Locked, Person, Place
from secops.accounts.login.happenings import Origin, record
from secops.accounts.login.password_policy import Policy
from secops.accounts.operations import storable
from secops.accounts.users import Account
from secops.accounts.vocabulary import Happening
from secops.database.connection import transaction

if TYPE_CHECKING:
    from uuid import UUID

    from secops.accounts.login.hashing import Hasher
    from secops.accounts.login.rules import EventRules
    from secops.accounts.login.service import Connect
    from secops.accounts.login.sessions import Sessions
    from secops.database.connection import Connection
    from secops.database.layout import Layout


@dataclass(frozen=True, slots=True)
class Weak:
    """The password is not good enough.

    Attributes:
        faults: Why, a sentence each.
    """

    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Taken:
    """Somebody has that address."""


@dataclass(frozen=True, slots=True)
class NoAddress:
    """That is no address."""


@dataclass(frozen=True, slots=True)
class Changed:
    """The password is changed.

    Attributes:
        ended: Other sessions that ended with it.
    """

    ended: int


@dataclass(frozen=True, slots=True)
class WrongPassword:
    """The current password is not that.

    Attributes:
        left: Attempts that are left.
    """

    left: int


@dataclass(frozen=True, slots=True)
class Passwords:
    """The service.

    Attributes:
        layout: The tables.
        connect: Lends connections.
        policy: What a new password must be.
        hasher: Makes hashes.
        attempts: Counts wrong current passwords, as it does at a login.
        sessions: Ends the other sessions.
        events: Which events are written.
    """

    layout: Layout
    connect: Connect
    policy: Policy
    hasher: Hasher
    attempts: Attempts
    sessions: Sessions
    events: EventRules

    def register(
        self, email: str, password: str, name: str, origin: Origin
    ) -> Account | Weak | Taken | NoAddress:
        """Make an account.

        Args:
            email: As it was typed.
            password: As it was typed.
            name: First name, or nothing.
            origin: The request.
        """
        identifier = identifiers.normalise(email)
        if identifier is None or "@" not in identifier[1:-1]:
            return NoAddress()
        faults = self.policy.faults(password, (identifier, name))
        if faults:
            return Weak(tuple(faults))
        stored = self.hasher.hash(password)
        try:
            with self.connect() as conn, transaction(conn, lock_timeout=WAIT):
                return self._insert(conn, identifier, stored, name, origin)
        except pg.UniqueViolation:
            return Taken()

    def change(
        self, user_id: object, session: UUID, current: str, new: str, origin: Origin
    ) -> Changed | Weak | WrongPassword | Locked | Crowded:
        """Give somebody who is logged in another password; every other session of theirs ends.

        Args:
            user_id: Who.
            session: The session that asks, which goes on.
            current: The current password; wrong ones count as failed logins do.
            new: The new one.
            origin: The request.
        """
        with self.connect() as conn:
            identifier = self._identifier(conn, user_id)
        place = self.attempts.take(self.connect, identifier, origin)
        if not isinstance(place, Place):
            return place
        person = place.person
        verified = self.hasher.verify(current, None if person is None else person.password)
        if person is None or person.id != user_id or not verified.right:
            with self.connect() as conn:
                left = self.attempts.fail(conn, place, origin, "invalid_password").left
            return WrongPassword(left)
        faults = self.policy.faults(new, (identifier, person.name or ""))
        if new == current:
            faults = ["Password must differ from the current one"]
        if faults:
            return self._reject(place, person, faults, origin)
        stored = self.hasher.hash(new)
        with self.connect() as conn, transaction(conn, lock_timeout=WAIT):
            if not self.attempts.succeed(conn, place):
                return Locked(self.attempts.rules.duration)
            self._store(conn, person, stored)
            ended = self.sessions.end(
                conn, user_id, origin, but=session, reason="password_change", happening=None
            )
            record(
                conn, self.layout, self.events, Happening.PASSWORD_CHANGED, origin,
                user_id=user_id, email=person.email,
                message="Password changed; other sessions were ended.", facts={"count": ended},
            )  # fmt: skip
            return Changed(ended)

    def _reject(self, place: Place, person: Person, faults: list[str], origin: Origin) -> Weak:
        with self.connect() as conn, transaction(conn, lock_timeout=WAIT):
            self.attempts.succeed(conn, place)
            record(
                conn, self.layout, self.events, Happening.PASSWORD_REJECTED, origin,
                user_id=person.id, email=person.email, message=". ".join(faults) + ".",
            )  # fmt: skip
        return Weak(tuple(faults))

    def _identifier(self, conn: Connection, user_id: object) -> str:
        users = self.layout.users
        row = conn.execute(
            sql.SQL("SELECT lower({}) FROM {} WHERE {} = %s").format(
                sql.Identifier(users.email), users.table, sql.Identifier(users.id)
            ),
            (user_id,),
        ).fetchone()
        return str(row[0]) if row is not None else ""

    def _store(self, conn: Connection, person: Person, stored: str) -> None:
        users = self.layout.users
        assert users.password is not None
        conn.execute(
            sql.SQL("UPDATE {} SET {} = %s WHERE {} = %s").format(
                users.table, sql.Identifier(users.password), sql.Identifier(users.id)
            ),
            (stored, person.id),
        )

    def _insert(
        self, conn: Connection, identifier: str, stored: str, name: str, origin: Origin
    ) -> Account | Taken:
        users = self.layout.users
        assert users.password is not None
        # Two that register one address at once: the app may have no unique index on its lower case.
        conn.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('secops register ' || %s, 0))",
            (identifier,),
        )
        there = conn.execute(
            sql.SQL("SELECT FROM {} WHERE lower({}) = %s").format(
                users.table, sql.Identifier(users.email)
            ),
            (identifier,),
        ).fetchone()
        if there is not None:
            return Taken()
        columns = {users.email: identifier, users.password: stored}
        if users.display_name is not None and name:
            columns[users.display_name] = storable(name)
        row = conn.execute(
            sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING {}").format(
                users.table,
                sql.SQL(", ").join(map(sql.Identifier, columns)),
                sql.SQL(", ").join([sql.Placeholder()] * len(columns)),
                sql.Identifier(users.id),
            ),
            list(columns.values()),
        ).fetchone()
        assert row is not None
        record(
            conn, self.layout, self.events, Happening.REGISTERED, origin,
            user_id=row[0], email=identifier, message="Account registered.",
        )  # fmt: skip
        return Account(row[0], identifier, name or None, active=True)
