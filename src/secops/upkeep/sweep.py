"""Keeping the backend's own tables small: counts of attempts, limits, and mails that are over."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final, LiteralString, cast

from psycopg import errors as pg
from psycopg import sql

from secops.database.connection import transaction
from secops.output.progress import SILENT
from secops.upkeep.pace import Pace
from secops.upkeep.throttle import Throttle

if TYPE_CHECKING:
    from secops.database.connection import Connection

OVER: Final[dict[str, LiteralString]] = {
    # Failures count and locks last for seven days at most (LOGIN_ATTEMPT_WINDOW_MINUTES and
    # LOCKOUT_DURATION_MINUTES); who counts as having failed must not be let off earlier.
    "login_attempts": """taken_at < clock_timestamp() - interval '8 days'
                         AND coalesce(locked_until < clock_timestamp() - interval '1 day', true)""",
    # From then on a client is as one that never came.
    "rate_limits": "until < clock_timestamp()",
    "outbox": """coalesce(sent_at, given_up_at) < clock_timestamp() - interval '30 days'""",
}
"""What is over, by table."""


@dataclass
class Sweep:
    """One run. Made once, run once.

    Attributes:
        conn: In autocommit mode.
        alive: Raises if the run must stop.
        lock_timeout: The longest wait for a row that the backend holds.
        max_duration: Stop after that long.
        throttle: What makes it wait.
        pace: How many rows at once.
        complete: Whether nothing is left to do.
    """

    conn: Connection
    alive: Callable[[], None]
    lock_timeout: timedelta = timedelta(milliseconds=100)
    max_duration: timedelta | None = None
    throttle: Throttle = field(default_factory=Throttle)
    pace: Pace = field(default_factory=Pace)
    complete: bool = field(default=True, init=False)

    def count(self) -> dict[str, int]:
        """Count what a run would delete, by table; tables that are not there are left out."""
        found = {}
        for table in self._there():
            query = sql.SQL("SELECT count(*) FROM secops.{} WHERE {}").format(
                sql.Identifier(table), sql.SQL(OVER[table])
            )
            with transaction(self.conn, read_only=True):
                row = self.conn.execute(query).fetchone()
            assert row is not None
            found[table] = cast("int", row[0])
        return found

    def run(self) -> dict[str, int]:
        """Delete what is over, in small batches; returns how many rows of each table."""
        deadline = (
            None
            if self.max_duration is None
            else time.monotonic() + self.max_duration.total_seconds()
        )
        return {table: self._table(table, deadline) for table in self._there()}

    def _there(self) -> list[str]:
        rows = self.conn.execute(
            "SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass('secops.' || name) IS NOT NULL",
            (list(OVER),),
        ).fetchall()
        return [str(row[0]) for row in rows]

    def _table(self, table: str, deadline: float | None) -> int:
        # What has changed since it was chosen is looked at again: the condition stands there twice.
        query = sql.SQL(
            """DELETE FROM secops.{table} WHERE {over} AND ctid = ANY (ARRAY(
                   SELECT ctid FROM secops.{table} WHERE {over} LIMIT {size}))"""
        )
        deleted = 0
        while True:
            self.alive()
            if deadline is not None and time.monotonic() >= deadline:
                self.complete = False
                return deleted
            if not self.throttle.hold(
                self.conn, deadline=deadline, alive=self.alive, progress=SILENT
            ):
                self.complete = False
                return deleted
            began, size = time.monotonic(), self.pace.size
            try:
                with transaction(self.conn, lock_timeout=self.lock_timeout):
                    done = self.conn.execute(
                        query.format(
                            table=sql.Identifier(table), over=sql.SQL(OVER[table]), size=size
                        )
                    ).rowcount
            except (pg.LockNotAvailable, pg.DeadlockDetected):
                self.complete = False  # the backend is just using one of them
                return deleted
            took = time.monotonic() - began
            deleted += done
            if done < size:
                return deleted
            self.pace.took(took)
            time.sleep(self.pace.rest(took))
