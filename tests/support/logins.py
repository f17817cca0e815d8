"""The services of the login layer, put together as the backend does, for tests that call them directly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from threading import Barrier
from typing import TypeVar

from psycopg_pool import ConnectionPool

from secops.accounts.login.access import Gatekeeper, Signer
from secops.accounts.login.attempts import Attempts
from secops.accounts.login.happenings import Origin
from secops.accounts.login.hashing import Hasher, Verified
from secops.accounts.login.limits import Limit
from secops.accounts.login.rules import EventRules, LockoutRules, SessionRules
from secops.accounts.login.service import Logins
from secops.accounts.login.sessions import Grant, Sessions
from secops.database.layout import Layout
from secops.schema.detect import detect
from secops.settings import Secret
from support.databases import Database
from support.servers import Connection

Result = TypeVar("Result")

HOME = Origin(
    "203.0.113.7", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Firefox/128.0", "/v1/auth", "POST"
)
AWAY = Origin("198.51.100.66", "curl/8.5.0", "/v1/auth/refresh", "POST")


class Guess(Hasher):
    """Passwords in clear, and a count of verifications: hashing is not what these tests are about."""

    verified = 0

    def verify(self, password: str, stored: str | None) -> Verified:
        type(self).verified += 1
        return Verified(stored is not None and password == stored)


def at_once(count: int, work: Callable[[int], Result]) -> list[Result]:
    """Run work in so many threads that begin together; return what each returned."""
    gate = Barrier(count)

    def one(number: int) -> Result:
        gate.wait()
        return work(number)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(one, range(count)))


@dataclass
class Backend:
    """The services on one database."""

    database: Database
    pool: ConnectionPool[Connection]
    layout: Layout
    sessions: Sessions
    logins: Logins
    gate: Gatekeeper

    @classmethod
    def on(cls, database: Database, *, size: int = 20) -> Backend:
        """Put them together."""
        pool = ConnectionPool(
            database.url, min_size=1, max_size=size, kwargs={"autocommit": True, "prepare_threshold": None},
            open=True, timeout=60,
        )  # fmt: skip
        with database.connect() as conn:
            layout = detect(conn, database.settings())
        events = EventRules()
        sessions = Sessions(layout, SessionRules(), events)
        attempts = Attempts(layout, LockoutRules(), events, b"pepper")
        logins = Logins(
            layout, pool.connection, attempts, sessions, Guess(), Limit("login", 10_000, timedelta(minutes=15)),
            events,
        )  # fmt: skip
        Guess.verified = 0
        return cls(
            database, pool, layout, sessions, logins, Gatekeeper(layout, Signer(Secret("k" * 32)))
        )

    def close(self) -> None:
        """Close the pool."""
        self.pool.close()

    def sessions_with(self, **changes: object) -> Sessions:
        """Return the sessions' service under other rules."""
        return replace(self.sessions, rules=replace(self.sessions.rules, **changes))  # type: ignore[arg-type]

    def person(self, name: str = "alice") -> object:
        """Return somebody's key, whose password is "right"."""
        return self.database.execute(
            "UPDATE users SET password_hash = 'right' WHERE email = %s RETURNING id",
            (f"{name}@example.com",),
        )[0][0]

    def begin(self, user: object, origin: Origin = HOME) -> Grant:
        """Begin a session."""
        with self.pool.connection() as conn, conn.transaction():
            conn.execute("SELECT FROM users WHERE id = %s FOR NO KEY UPDATE", (user,))
            return self.sessions.issue(conn, user, origin)

    def live(self, user: object) -> int:
        """Count somebody's live tokens."""
        count: int = self.database.value(
            "SELECT count(*) FROM refresh_tokens WHERE user_id = %s AND used IS NOT TRUE"
            " AND revoked IS NOT TRUE AND expires_at > now()",
            (user,),
        )
        return count

    def events(self, *types: str) -> Sequence[tuple[object, ...]]:
        """Return events of some types, oldest first: type, user, e-mail, metadata."""
        return self.database.execute(
            "SELECT event_type, user_id, email, metadata FROM security_events"
            " WHERE event_type = ANY (%s) ORDER BY created_at, id",
            (list(types),),
        )
