"""Counting failed logins so that a limit of five is five, however many try at once.

A place among the attempts is taken *before* the password is verified, in one row that all attempts on one
identifier queue for; verifying, which takes long, holds no connection and no lock. Counting afterwards lets
as many guesses through as fit into the time that one verification takes (Zitadel GHSA-7h8m-vrxx-vr4m).

Identifiers that belong to nobody are counted like all others, in the same table and by the same statements:
what is answered must not tell whether an account exists. Of those that do belong to somebody the plan's
columns on ``users`` are the truth that every other program reads and writes; they and the place taken here
change together.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, cast

from psycopg import sql

from secops.accounts.agents import describe
from secops.accounts.login import identifiers, outbox
from secops.accounts.login.happenings import Origin, record
from secops.accounts.login.places import Answer, Count, Decision, Seen, decide
from secops.accounts.login.rules import EventRules, LockoutRules
from secops.accounts.vocabulary import Happening
from secops.database.connection import transaction

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from secops.database.connection import Connection
    from secops.database.layout import Layout

WAIT: Final = timedelta(seconds=5)
_POLL: Final = (0.01, 0.03)
# A verification that has not come back after this long never will: its process died. It counts as failed.
_LOST: Final = timedelta(seconds=20)


@dataclass(frozen=True, slots=True)
class Person:
    """Who an identifier belongs to.

    Attributes:
        id: The key.
        email: The address as the app has it.
        name: Display name, where the table has one.
        password: The stored hash.
        active: Whether they may log in.
    """

    id: object
    email: str | None
    name: str | None
    password: str | None
    active: bool

    def __repr__(self) -> str:
        return f"Person(id={self.id!r})"


@dataclass(frozen=True, slots=True)
class Place:
    """A place among the attempts: the password may be verified now.

    Attributes:
        identifier: Normalised.
        person: Whose it is, or ``None``.
    """

    identifier: str
    person: Person | None


@dataclass(frozen=True, slots=True)
class Locked:
    """No place: the account, or what is typed for one, is locked.

    Attributes:
        retry_after: For how long.
    """

    retry_after: timedelta


@dataclass(frozen=True, slots=True)
class Crowded:
    """No place for now: others are being verified, and that takes longer than a login may wait."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A wrong password, counted.

    Attributes:
        left: Attempts that are left.
        locked_for: For how long it is locked, where this failure locked it.
    """

    left: int
    locked_for: timedelta | None


@dataclass(frozen=True, slots=True)
class Attempts:
    """The service.

    Attributes:
        layout: The tables; its users table must have a column for the password.
        rules: When failures lock.
        events: Which events are written.
        pepper: Keys the identifiers.
        notices: Whether people are told by mail that their account was locked.
    """

    layout: Layout
    rules: LockoutRules
    events: EventRules
    pepper: bytes
    notices: bool = False

    def take(
        self,
        connect: Callable[[], AbstractContextManager[Connection]],
        identifier: str,
        origin: Origin,
    ) -> Place | Locked | Crowded:
        """Take a place, waiting for it where others are being verified.

        Args:
            connect: Lends a connection in autocommit mode; none is held while waiting.
            identifier: Normalised.
            origin: The request.
        """
        deadline = time.monotonic() + self.rules.patience.total_seconds()
        pause = _POLL[0]
        while True:
            with connect() as conn:
                found = self._take(conn, identifier, origin)
            if found is not None:
                return found
            if time.monotonic() >= deadline:
                return Crowded()
            time.sleep(pause)
            pause = min(pause * 1.5, _POLL[1])

    def fail(self, conn: Connection, place: Place, origin: Origin, reason: str) -> Failure:
        """Count a wrong password; the one that reaches the limit locks.

        Args:
            conn: In autocommit mode.
            place: What :meth:`take` gave.
            origin: The request.
            reason: ``invalid_password``, ``unknown_user`` or ``account_disabled``, for the event alone.
        """
        with transaction(conn, lock_timeout=WAIT):
            person = place.person
            theirs = None if person is None else self._hold(conn, person)
            row = conn.execute(
                """INSERT INTO secops.login_attempts AS a (identifier, failed) VALUES (%(key)s, 1)
                   ON CONFLICT (identifier) DO UPDATE
                   SET failed = least(coalesce(%(theirs)s, a.failed) + 1, %(most)s),
                       open = greatest(a.open - 1, 0),
                       locked_until = CASE WHEN coalesce(%(theirs)s, a.failed) + 1 >= %(most)s
                           THEN clock_timestamp() + %(duration)s ELSE a.locked_until END
                   RETURNING failed""",
                {
                    "key": identifiers.key(self.pepper, place.identifier),
                    # Somebody may have unlocked the account while the password was verified.
                    "theirs": theirs and theirs[1],
                    "most": self.rules.attempts,
                    "duration": self.rules.duration,
                },
            ).fetchone()
            assert row is not None
            failed = cast("int", row[0])
            locks = failed >= self.rules.attempts
            if person is not None:
                self._mirror(conn, person, failed, locks=locks)
            record(
                conn, self.layout, self.events, Happening.LOGIN_FAILED, origin,
                user_id=person and person.id,
                email=place.identifier if person is None else person.email,
                message=_WORDS[reason],
                facts={"reason": reason, "attempt": failed},
            )  # fmt: skip
            if locks:
                self._tell_lock(conn, place.identifier, person, origin, failed)
            return Failure(self.rules.attempts - failed, self.rules.duration if locks else None)

    def succeed(self, conn: Connection, place: Place) -> bool:
        """Forget the failures, in the caller's transaction, which begins a session with them.

        Returns:
            Whether the login still stands: ``False`` where the account was locked or disabled, or is
            gone, while the password was verified.
        """
        person = place.person
        assert person is not None
        held = self._hold(conn, person)
        if held is None or not held[0]:
            return False
        conn.execute(
            """UPDATE secops.login_attempts
               SET failed = 0, open = greatest(open - 1, 0), locked_until = NULL
               WHERE identifier = %s""",
            (identifiers.key(self.pepper, place.identifier),),
        )
        self._mirror(conn, person, 0, locks=False)
        return True

    # --- one transaction each ---------------------------------------------------------------------

    def _take(self, conn: Connection, identifier: str, origin: Origin) -> Place | Locked | None:
        key = identifiers.key(self.pepper, identifier)
        with transaction(conn, lock_timeout=WAIT):
            person, theirs = self._person(conn, identifier)
            seen = self._seen(conn, key, theirs)
            decision = decide(seen, self.rules.attempts)
            self._write(conn, key, decision)
            if decision.restarted and person is not None and theirs is not None and theirs[0]:
                self._mirror(conn, person, decision.count.failed, locks=False)
            match decision.answer:
                case Answer.PLACE:
                    return Place(identifier, person)
                case Answer.FULL:
                    return None
                case Answer.LOCKED:
                    assert seen.locked_for is not None
                    self._tell_locked(conn, identifier, person, origin)
                    return Locked(seen.locked_for)
                case Answer.LOCKS:
                    if person is not None:
                        self._mirror(conn, person, self.rules.attempts, locks=True)
                    self._tell_lock(conn, identifier, person, origin, self.rules.attempts)
                    self._tell_locked(conn, identifier, person, origin)
                    return Locked(self.rules.duration)

    def _person(
        self, conn: Connection, identifier: str
    ) -> tuple[Person | None, tuple[int, timedelta | None, bool] | None]:
        """Lock and read whom an identifier belongs to, with the count and the lock that the app knows."""
        users = self.layout.users
        assert users.password is not None
        name = (
            sql.SQL("u.{}::text").format(sql.Identifier(users.display_name))
            if users.display_name
            else sql.SQL("NULL::text")
        )
        row = conn.execute(
            sql.SQL(
                """SELECT u.{id}, u.{email}, {name}, u.{password}, {active},
                          coalesce(u.failed_login_attempts, 0),
                          CASE WHEN u.locked_until > clock_timestamp()
                               THEN least(u.locked_until - clock_timestamp(), interval '100 years') END,
                          coalesce(u.locked_until <= clock_timestamp(), false)
                   FROM {users} u WHERE lower(u.{email}) = %s
                   ORDER BY u.{id} LIMIT 1 FOR NO KEY UPDATE OF u"""
            ).format(
                id=sql.Identifier(users.id),
                email=sql.Identifier(users.email),
                name=name,
                password=sql.Identifier(users.password),
                active=self._active,
                users=users.table,
            ),
            (identifier,),
        ).fetchone()
        if row is None:
            return None, None
        person = Person(*row[:5])  # type: ignore[arg-type]  # the columns above
        return person, cast("tuple[int, timedelta | None, bool]", row[5:])

    def _seen(
        self,
        conn: Connection,
        key: bytes,
        theirs: tuple[int, timedelta | None, bool] | None,
    ) -> Seen:
        """Lock and read the count of an identifier."""
        row = None
        while row is None:  # upkeep may delete an old one between the two statements
            conn.execute(
                "INSERT INTO secops.login_attempts (identifier) VALUES (%s) ON CONFLICT DO NOTHING",
                (key,),
            )
            row = conn.execute(
                """SELECT failed, open, began_at + %(window)s <= clock_timestamp(),
                          taken_at + %(lost)s <= clock_timestamp(),
                          CASE WHEN locked_until > clock_timestamp()
                               THEN locked_until - clock_timestamp() END,
                          coalesce(locked_until <= clock_timestamp(), false)
                   FROM secops.login_attempts WHERE identifier = %(key)s FOR UPDATE""",
                {"key": key, "window": self.rules.window, "lost": _LOST},
            ).fetchone()
        failed, being_verified, over, lost, locked_for, lock_over = row
        if theirs is not None:
            failed, locked_for, lock_over = theirs
        return Seen(
            Count(cast("int", failed), cast("int", being_verified)),
            bool(over),
            bool(lost),
            cast("timedelta | None", locked_for),
            bool(lock_over),
        )

    def _write(self, conn: Connection, key: bytes, decision: Decision) -> None:
        if decision.answer is Answer.LOCKED:
            return
        conn.execute(
            """UPDATE secops.login_attempts
               SET failed = %(failed)s, open = %(open)s,
                   began_at = CASE WHEN %(restarted)s OR failed = 0 AND open = 0
                                   THEN clock_timestamp() ELSE began_at END,
                   taken_at = CASE WHEN %(place)s THEN clock_timestamp() ELSE taken_at END,
                   locked_until = CASE WHEN %(locks)s THEN clock_timestamp() + %(duration)s END
               WHERE identifier = %(key)s""",
            {
                "key": key,
                "failed": decision.count.failed,
                "open": decision.count.open,
                "restarted": decision.restarted,
                "place": decision.answer is Answer.PLACE,
                "locks": decision.answer is Answer.LOCKS,
                "duration": self.rules.duration,
            },
        )

    def _tell_lock(
        self,
        conn: Connection,
        identifier: str,
        person: Person | None,
        origin: Origin,
        failed: int,
    ) -> None:
        record(
            conn, self.layout, self.events, Happening.ACCOUNT_LOCKED, origin,
            user_id=person and person.id, email=identifier if person is None else person.email,
            message=f"Locked for {minutes(self.rules.duration)} after {failed} failed logins.",
            facts={"attempts": failed, "seconds": round(self.rules.duration.total_seconds())},
        )  # fmt: skip
        if self.notices and person is not None and person.email is not None:
            outbox.post(
                conn, "account_locked", person.id, person.email,
                {"name": person.name, "attempts": failed, "minutes": minutes(self.rules.duration),
                 "ip": origin.ip, "agent": describe(origin.agent)},
            )  # fmt: skip

    def _tell_locked(
        self, conn: Connection, identifier: str, person: Person | None, origin: Origin
    ) -> None:
        record(
            conn, self.layout, self.events, Happening.ATTEMPT_WHILE_LOCKED, origin,
            user_id=person and person.id, email=identifier if person is None else person.email,
            message="A login while locked; nothing was verified.",
            facts={"reason": "account_locked"},
        )  # fmt: skip

    @property
    def _active(self) -> sql.Composable:
        users = self.layout.users
        if users.active is None:
            return sql.SQL("true")
        return sql.SQL("u.{} IS NOT FALSE").format(sql.Identifier(users.active))

    def _hold(self, conn: Connection, person: Person) -> tuple[bool, int] | None:
        """Lock a person's row; say whether they may still log in, and their failures as the app counts them."""
        users = self.layout.users
        row = conn.execute(
            sql.SQL(
                """SELECT {active} AND NOT coalesce(u.locked_until > clock_timestamp(), false),
                          coalesce(u.failed_login_attempts, 0)
                   FROM {users} u WHERE u.{id} = %s FOR NO KEY UPDATE OF u"""
            ).format(active=self._active, users=users.table, id=sql.Identifier(users.id)),
            (person.id,),
        ).fetchone()
        return cast("tuple[bool, int] | None", row)

    def _mirror(self, conn: Connection, person: Person, failed: int, *, locks: bool) -> None:
        """Write the count and the lock where every other program looks."""
        conn.execute(
            sql.SQL(
                """UPDATE {users} u SET failed_login_attempts = %(failed)s,
                       locked_until = CASE WHEN %(locks)s
                           THEN greatest(u.locked_until, clock_timestamp() + %(duration)s)
                           WHEN u.locked_until <= clock_timestamp() THEN NULL
                           ELSE u.locked_until END
                   WHERE u.{id} = %(id)s"""
            ).format(users=self.layout.users.table, id=sql.Identifier(self.layout.users.id)),
            {
                "failed": failed,
                "locks": locks,
                "duration": self.rules.duration,
                "id": person.id,
            },
        )


def minutes(span: timedelta) -> str:
    """Say how long a lock lasts, as the plan's answer does."""
    number = max(1, round(span.total_seconds() / 60))
    return "1 minute" if number == 1 else f"{number} minutes"


_WORDS: Final = {
    "invalid_password": "Wrong password.",
    "unknown_user": "No such account.",
    "account_disabled": "The account is disabled.",
}
