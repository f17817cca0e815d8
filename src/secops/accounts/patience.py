"""Short transactions that give way: a lock is waited for briefly, a few times, then somebody is told."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

import psycopg
from psycopg import errors as pg

from secops.database.connection import transaction
from secops.database.locks import sessions
from secops.errors import Busy, OutcomeUnknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from secops.database.connection import Connection
    from secops.database.layout import Layout
    from secops.settings import Settings

T = TypeVar("T")

# Rows are chosen by key in these transactions; one that runs longer than this is stuck.
_STATEMENT_TIMEOUT: Final = timedelta(seconds=30)
_NAMED: Final = 3
# What holds many rows already keeps the app from all of them for as long as it waits for the next.
_SHARE: Final = 4
# So many failures in a row mean that somebody holds all of the table.
_IN_VAIN: Final = 5
# Who waits to read makes nobody else wait.
_READING: Final = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a change waits for rows that the app or another operator has in hand.

    Attributes:
        lock_timeout: The longest wait for one lock; whoever queues behind us waits as long.
        tries: How often.
    """

    lock_timeout: timedelta = timedelta(milliseconds=100)
    tries: int = 6

    @classmethod
    def of(cls, settings: Settings) -> Patience:
        """Return what the settings say."""
        return cls(lock_timeout=settings.span("lock_timeout"))

    def run(
        self, conn: Connection, layout: Layout, work: Callable[[], T], *, many: bool = False
    ) -> T:
        """Do work in one transaction, again from its start where it met a lock.

        Args:
            conn: In autocommit mode.
            layout: Whose users table to look at for who holds it.
            work: Leaves nothing behind outside the database when it is interrupted.
            many: Whether it locks the rows of many accounts; then it waits less for the next.

        Raises:
            Busy: The lock was still held at the last try; names who most likely holds it.
        """
        # What is decided must see what others did while a row was waited for; a database's default may
        # be stricter, and end a run in its middle.
        conn.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        lock_timeout = self.lock_timeout / _SHARE if many else self.lock_timeout
        for left in reversed(range(self.tries)):
            try:
                with transaction(
                    conn, lock_timeout=lock_timeout, statement_timeout=_STATEMENT_TIMEOUT
                ):
                    return work()
            except (pg.LockNotAvailable, pg.DeadlockDetected):
                if not left:
                    raise _busy(conn, layout) from None
            time.sleep(random.uniform(0.02, 0.2))  # noqa: S311  jitter, not a secret
        raise AssertionError(self.tries)


def through(
    parts: Iterable[Sequence[object]],
    step: Callable[[Sequence[object]], Iterator[T]],
    stuck: list[Busy],
) -> Iterator[T]:
    """Work through accounts part by part; one row in other hands does not stop the rest.

    What meets a lock is set aside and tried again at the end, account by account.

    Args:
        parts: Keys of accounts, as many as one transaction takes.
        step: Does one part, in as many transactions as it needs, and hands out what each did.
        stuck: Gets an error for each account that stayed in other hands, and for the parts that
            were given up because nothing could be done any more.
    """
    late: list[object] = []
    vain = 0
    for part in parts:
        if vain == _IN_VAIN:
            late += part
            continue
        try:
            yield from step(part)
            vain = 0
        except Busy:
            late += part
            vain += 1
    vain = 0
    for each in late:
        try:
            yield from step([each])
            vain = 0
        except Busy as error:
            stuck.append(error)
            vain += 1
            if vain == _IN_VAIN:
                return


def unfinished(stuck: Sequence[Busy], done: int, total: int, things: str) -> OutcomeUnknown:
    """Return the error for a run that had to leave some in other hands."""
    return OutcomeUnknown(
        f"{done:,} of {total:,} {things} are done; the rest is in other hands. {stuck[-1].message}",
        hint="What was done stands. Run the same command again to finish it.",
        details={**stuck[-1].details, "done": done, "matched": total},
    )


def reading(conn: Connection) -> AbstractContextManager[None]:
    """Return a read-only transaction that does not wait for ever behind somebody's DDL."""
    return transaction(conn, read_only=True, lock_timeout=_READING)


def _busy(conn: Connection, layout: Layout) -> Busy:
    """Return the error; once the wait is over nobody can say whom it was for, only who may have been.

    Those are the sessions with a lock on one of the tables that goes with writing rows; the one
    whose transaction is oldest has most likely held up the others.
    """
    rows = conn.execute(
        """
        SELECT DISTINCT l.pid FROM pg_locks l
        JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE l.granted AND l.pid <> pg_backend_pid() AND l.mode <> 'AccessShareLock'
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND (n.nspname, c.relname) IN ((%s, %s), (%s, 'refresh_tokens'), ('secops', 'accounts'))
        """,
        (layout.users.schema, layout.users.name, layout.schema),
    ).fetchall()
    held = sessions(conn, [int(str(row[0])) for row in rows])[:_NAMED]
    named = "; ".join(map(str, held)) or "whoever it was has just let go"
    return Busy(
        f"Another session holds what this needs, and secops does not make the app wait: {named}.",
        hint="Nothing of this was changed. Run it again, or end that session with "
        "SELECT pg_terminate_backend(PID).",
        details={"holders": [holder.as_dict() for holder in held]},
    )
