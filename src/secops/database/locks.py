"""One runner at a time, and who holds what.

A runner's lock is a transaction-level advisory lock on a connection of its own, in an open READ COMMITTED
transaction that does nothing else: it holds no snapshot (so vacuum goes on), works through a transaction
pooler, and the server ends it with the process that held it. It is polled, never waited for: a blocking
advisory lock beside CREATE INDEX CONCURRENTLY deadlocks.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from secops.database.connection import Connection
from secops.durations import about
from secops.errors import Busy, OutcomeUnknown

_NAMESPACE: Final = 0x5EC0
"""The first of the two advisory lock keys; the second is the task's number in :data:`TASKS`."""

_SHORTEST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 1.0
"""Seconds between two looks at whether the lock is free; they grow from one to the other."""

TASKS: Final[dict[str, int]] = {
    "migrate": 1,
    "prune tokens": 2,
    "cron cleanup": 3,
    "quickstart": 4,
    "prune events": 5,
    "import events": 5,
}


@dataclass(frozen=True, slots=True)
class Holder:
    """A session that holds or blocks something.

    Attributes:
        pid: Its server process.
        application: Its ``application_name``.
        user: Its role.
        state: ``active``, ``idle in transaction`` ...
        age: Since its transaction began.
        query: The beginning of its last statement.
    """

    pid: int
    application: str
    user: str
    state: str
    age: timedelta
    query: str

    def __str__(self) -> str:
        return (
            f"pid {self.pid} ({self.application or 'unnamed'}, {self.user}), "
            f"{self.state} for {about(self.age)}: {self.query}"
        )

    def as_dict(self) -> dict[str, object]:
        """Return it for ``--json``; age in seconds."""
        return {
            "pid": self.pid,
            "application": self.application,
            "user": self.user,
            "state": self.state,
            "age_seconds": round(self.age.total_seconds(), 1),
            "query": self.query,
        }


def sessions(conn: Connection, pids: Sequence[int]) -> list[Holder]:
    """Describe the sessions of some server processes."""
    cursor = conn.cursor(row_factory=class_row(Holder))
    return cursor.execute(
        """
        SELECT pid, coalesce(application_name, '') AS application, coalesce(usename::text, '') AS user,
               coalesce(state, '') AS state,
               coalesce(clock_timestamp() - coalesce(xact_start, backend_start), interval '0') AS age,
               coalesce(left(regexp_replace(query, '\\s+', ' ', 'g'), 120), '') AS query
        FROM pg_stat_activity WHERE pid = ANY(%s) ORDER BY xact_start NULLS LAST
        """,
        (list(pids),),
    ).fetchall()


def blockers(conn: Connection, pid: int) -> list[Holder]:
    """Return the sessions that the server process ``pid`` waits for."""
    rows = conn.execute("SELECT unnest(pg_blocking_pids(%s))", (pid,)).fetchall()
    return sessions(conn, [int(str(row[0])) for row in rows])


def _holders(conn: Connection, task: str) -> list[Holder]:
    rows = conn.execute(
        """
        SELECT pid FROM pg_locks
        WHERE locktype = 'advisory' AND classid = %s AND objid = %s AND granted
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        """,
        (_NAMESPACE, TASKS[task]),
    ).fetchall()
    return sessions(conn, [int(str(row[0])) for row in rows])


class Runner:
    """The lock while it is held. Made by :func:`one_runner`."""

    def __init__(self, conn: Connection, task: str) -> None:
        self._conn = conn
        self._task = task

    def check(self) -> None:
        """Make sure that the lock is still held; call it before each step.

        Raises:
            OutcomeUnknown: Its connection was lost, so another runner may have begun.
        """
        try:
            self._conn.execute("SELECT 1")
        except psycopg.OperationalError:
            raise OutcomeUnknown(
                f"The connection that holds the lock of `{self._task}` was lost.",
                hint="What was done stands; run it again to go on.",
            ) from None


@contextmanager
def one_runner(
    open_connection: Callable[[], Connection],
    task: str,
    *,
    wait: timedelta = timedelta(0),
    waiting: Callable[[list[Holder]], None] | None = None,
) -> Iterator[Runner]:
    """Hold the lock of a task; nobody else runs it meanwhile.

    Args:
        open_connection: Opens the connection that holds the lock; closed at the end.
        task: One of :data:`TASKS`.
        wait: How long to wait for another runner.
        waiting: Told who holds it, once a second while waiting.

    Raises:
        Busy: Another runner holds it, and still does when ``wait`` ends; names it.
    """
    with open_connection() as conn:
        deadline = time.monotonic() + wait.total_seconds()
        told, pause = 0.0, _SHORTEST_PAUSE
        while True:
            with conn.transaction():
                # A database's default may be stricter, and a snapshot held for the whole run would
                # keep vacuum back and a CREATE INDEX CONCURRENTLY beside it waiting for ever.
                conn.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
                # Held for the whole run: no server default may end this quiet transaction.
                conn.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
                # Written out: a statement that binds values leaves its portal open, and a snapshot with
                # it, which an index that is built concurrently would wait for.
                query = sql.SQL("SELECT pg_try_advisory_xact_lock({}, {})")
                row = conn.execute(query.format(_NAMESPACE, TASKS[task])).fetchone()
                if row == (True,):
                    yield Runner(conn, task)
                    return
            holders = _holders(conn, task)
            now = time.monotonic()
            if now >= deadline:
                raise Busy(
                    f"Another `secops {task}` is running: "
                    + ("; ".join(map(str, holders)) or "it has just ended")
                    + ".",
                    hint="Wait for it, or end it with SELECT pg_terminate_backend(PID).",
                    details={"holders": [holder.as_dict() for holder in holders]},
                )
            if waiting and now - told >= 1:
                waiting(holders)
                told = now
            jitter = random.uniform(0.5, 1.5)  # noqa: S311  not a secret
            time.sleep(min(pause * jitter, deadline - now))
            # Many who wait are not to keep the server busy with asking.
            pause = min(pause * 1.5, _LONGEST_PAUSE)
