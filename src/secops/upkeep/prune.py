"""Deleting what is due in small batches, beside an app that does not notice.

Each batch is a transaction of its own, and its record is written in it (:mod:`secops.upkeep.record`).

What a session has locked is skipped (SKIP LOCKED) and tried again at the end. Locking every row first would
cost as much as deleting it, so rows that nobody has touched lately are deleted straight away: a row whose last
writer and last locker ended before the oldest transaction now running is locked by nobody. Should one be
locked in that very moment, the batch gives up within the lock timeout, and is done again row by row.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final, LiteralString

import psycopg
from psycopg import errors as pg
from psycopg import sql

from secops.database.connection import transaction
from secops.errors import Interrupted, OutcomeUnknown
from secops.output.progress import SILENT
from secops.upkeep.record import Record
from secops.upkeep.throttle import Throttle
from secops.upkeep.walks import ByKey, choose

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from secops.accounts.operations import Operation
    from secops.database.connection import Connection
    from secops.database.layout import Layout
    from secops.output.progress import Progress
    from secops.upkeep.due import Due, Keeping
    from secops.upkeep.pace import Pace
    from secops.upkeep.walks import Piece, Walk

# A batch that holds many rows keeps the app from all of them for as long as it waits for one more.
_SHARE: Final = 4
# How often, and in how many seconds, what was locked is tried again at the end.
_SWEEPS: Final = (0.0, 0.2, 0.5, 1.0)


# age() of no transaction at all, as of a row that was never locked, is the greatest number there is.
_SETTLED: Final = sql.SQL(
    """(age(t.xmin) > (SELECT current_setting('secops.oldest')::int)
        AND age(t.xmax) > (SELECT current_setting('secops.oldest')::int))"""
)
# The age of the oldest transaction that still runs is kept in the transaction, where all its statements find
# it. None need wait for the disk: a server that crashes loses the last batches at most, each together with its
# record, and the run's last transaction waits for all of them. The memory is for the families of a piece,
# which must be looked up once and not for each token.
_PREPARE: Final = """
    SELECT set_config('secops.oldest', age(pg_snapshot_xmin(pg_current_snapshot())::xid)::text, true),
           set_config('synchronous_commit', 'off', true), set_config('work_mem', '32MB', true)"""


_LEFT: Final = """
    SELECT count(*) FILTER (WHERE {kept}), count(*)
    FROM {table} t WHERE {piece} AND {due}"""
# Right after what may go has gone: what looks as if it should stay does.
_LEFT_AT_ONCE: Final = """
    SELECT count(*) FILTER (WHERE {kept_at_once} AND {settled}), count(*)
    FROM {table} t WHERE {piece} AND {due}"""


@dataclass
class Pruned:
    """What a run did.

    Attributes:
        bounds: What it counted as expired.
        deleted: Tokens that are gone.
        kept: Expired tokens that stay as evidence.
        locked: Expired tokens that other sessions held to the end; the next run takes them.
        batches: Transactions that deleted something.
        seconds: How long it took.
        complete: Whether it came to the end of the table.
    """

    bounds: Due
    deleted: int = 0
    kept: int = 0
    locked: int = 0
    batches: int = 0
    seconds: float = 0.0
    complete: bool = False

    def facts(self) -> dict[str, object]:
        """Return it for the record and for ``--json``; JSON-serialisable."""
        return {
            **self.bounds.facts(self.kept if self.complete else None),
            "locked": self.locked if self.complete else None,
            "batches": self.batches,
            "seconds": round(self.seconds, 3),
            "rows_per_second": round(self.deleted / self.seconds) if self.seconds else 0,
            "complete": self.complete,
        }


@dataclass
class _Left:
    """What of a piece is still there: evidence, and what others hold."""

    kept: int = 0
    locked: int = 0


@dataclass
class Pruner:
    """One run. Made once, run once.

    Attributes:
        conn: In autocommit mode.
        layout: The tables.
        operation: Who, where, why.
        bounds: What counts as expired.
        pace: How much at once.
        lock_timeout: The longest wait for one lock.
        progress: Told of each batch.
        alive: Called now and then; raises if the run must stop.
        throttle: What makes it wait between two batches.
        record: That of the run that this is a part of, which that run then ends; ``None``: one of its own.
    """

    conn: Connection
    layout: Layout
    operation: Operation
    bounds: Due
    pace: Pace
    lock_timeout: timedelta = timedelta(milliseconds=100)
    progress: Progress = SILENT
    alive: Callable[[], None] = lambda: None
    throttle: Throttle = field(default_factory=Throttle)
    record: Record | None = None
    _record: Record = field(init=False)
    _done: Pruned = field(init=False)
    _keeping: Keeping = field(init=False)
    _began: float = field(default=0.0, init=False)
    _checked: float = field(default=0.0, init=False)
    _composed: dict[tuple[str, str], bytes] = field(default_factory=dict, init=False)

    def run(self, *, expired: int, max_duration: timedelta | None = None) -> Pruned:
        """Delete what expired before the cutoff and is no evidence.

        Args:
            expired: About how many tokens are expired; decides in which order the table is read.
            max_duration: After how long to stop; the next run goes on.

        Raises:
            Interrupted: Ctrl-C; what was done stands and is recorded.
        """
        # A stricter default of the database would keep a batch from seeing what was just committed.
        self.conn.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        self._done = Pruned(self.bounds)
        self._record = self.record or Record(self.layout, self.operation, self.bounds)
        self._began = time.monotonic()
        deadline = None if max_duration is None else self._began + max_duration.total_seconds()
        try:
            if self.record is None:
                self._record.close_abandoned(self.conn, lock_timeout=self.lock_timeout)
            self._keeping = self.bounds.keeping(self.conn, self.layout)
            walk = choose(
                self.conn, self.layout, self.bounds, expired=expired, batch=self.pace.most
            )
            left = self._walk(walk, deadline, rows_apart=False)
            for wait in _SWEEPS:
                if left is None or not left.locked:
                    break
                self.progress.describe("Trying again what was locked")
                time.sleep(wait)
                left = self._walk(ByKey(self.layout, self.bounds), deadline, rows_apart=True)
            if left is not None:
                self._done.kept, self._done.locked = left.kept, left.locked
                self._done.complete = True
        except BaseException as error:
            # The connection may be what failed; then the next run writes the event.
            with suppress(psycopg.Error, OutcomeUnknown):
                self._finish()
            if isinstance(error, KeyboardInterrupt):
                raise Interrupted(
                    f"Interrupted after {self.bounds.things(self._done.deleted)} were deleted.",
                    hint="What was done stands; run it again to go on.",
                    details={"changed": self._done.deleted},
                ) from None
            raise
        self._finish()
        return self._done

    def _walk(self, walk: Walk, deadline: float | None, *, rows_apart: bool) -> _Left | None:
        """Go through the table once.

        Returns:
            What is left of the expired tokens, or ``None`` where time was up.
        """
        total = _Left()
        while True:
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                return None
            if now - self._checked >= 1:
                self.alive()
                self._checked = now
            if not self.throttle.hold(
                self.conn, deadline=deadline, alive=self.alive, progress=self.progress
            ):
                return None
            now = time.monotonic()
            piece = walk.step(self.conn, self.pace.size)
            if piece is None:
                return total
            left = self._batch(piece, rows_apart=rows_apart)
            total.kept += left.kept
            total.locked += left.locked
            ended = time.monotonic()
            took = ended - now
            self.pace.took(took)
            rest = self.pace.rest(took)
            # A long pause is no reason to stay beyond the time that was given.
            time.sleep(rest if deadline is None else max(0.0, min(rest, deadline - ended)))

    def _batch(self, piece: Piece, *, rows_apart: bool) -> _Left:
        if not rows_apart:
            try:
                return self._transaction(piece, rows_apart=False)
            except (pg.LockNotAvailable, pg.DeadlockDetected):
                pass  # somebody was quicker by a hair: nothing was deleted, and now row by row
        return self._transaction(piece, rows_apart=True)

    def _transaction(self, piece: Piece, *, rows_apart: bool) -> _Left:
        """Delete what may go of a piece, and record it, in one transaction."""
        bound = {**piece.bound, **self.bounds.as_parameters()}
        # In a pipeline statements do not wait for the answers to those before: a database at some distance
        # would else be idle, with the batch's locks held, for most of the time.
        with (
            self.conn.pipeline(),
            transaction(self.conn, lock_timeout=self.lock_timeout / (1 if rows_apart else _SHARE)),
        ):
            self.conn.execute(_PREPARE)
            deleted, left = 0, _Left()
            if rows_apart:
                left = self._left(piece, bound)
            else:
                deleted, some_left = self._delete_untouched(piece, bound)
                if some_left:
                    left = self._left(piece, bound, _LEFT_AT_ONCE)
            if left.locked:
                deleted += self._delete_one_by_one(piece, bound)
                left = self._left(piece, bound)
            if deleted:
                self._record.write(self.conn, deleted)
        if deleted:
            self._record.committed(deleted)
            self._done.deleted += deleted
            self._done.batches += 1
            self.progress.advance(deleted)
        return left

    def _delete_untouched(self, piece: Piece, bound: Mapping[str, object]) -> tuple[int, bool]:
        """Delete what may go and is locked by nobody; say how much, and whether anything stays.

        Counting what stays would mean to read the piece once more, for which there is a reason in few
        pieces of most tables. The setting is the only thing that a DELETE can leave about a row it spares.
        """
        gone = self._run(
            """DELETE FROM {table} t
               WHERE {piece} AND {due}
                 AND CASE WHEN {settled} AND NOT {kept} THEN true
                          ELSE set_config('secops.left', 'some', true) IS NULL END""",
            piece,
            bound,
        )
        noted = self.conn.execute("SELECT current_setting('secops.left', true)").fetchone()
        return gone.rowcount, noted == ("some",)

    def _left(
        self, piece: Piece, bound: Mapping[str, object], query: LiteralString = _LEFT
    ) -> _Left:
        """Count what is left of a piece."""
        row = self._run(query, piece, bound).fetchone()
        assert row is not None
        kept, all_left = (int(str(value)) for value in row)
        return _Left(kept, all_left - kept)

    def _delete_one_by_one(self, piece: Piece, bound: Mapping[str, object]) -> int:
        """Delete what nobody holds; whether it is evidence is decided once it cannot change any more."""
        rows = self._run(
            """SELECT t.id FROM {table} t WHERE {piece} AND {due}
                 AND NOT {kept}
               FOR UPDATE SKIP LOCKED""",
            piece,
            bound,
        ).fetchall()
        gone = self._run(
            """DELETE FROM {table} t
               WHERE t.id = ANY (%(held)s::uuid[]) AND {due} AND NOT {kept} RETURNING 1""",
            piece,
            {**bound, "held": [row[0] for row in rows]},
        )
        return len(gone.fetchall())

    def _run(
        self, query: LiteralString, piece: Piece, bound: Mapping[str, object]
    ) -> psycopg.Cursor[tuple[object, ...]]:
        known = (query, piece.where)
        if known not in self._composed:
            self._composed[known] = (
                sql.SQL(query)
                .format(
                    table=sql.Identifier(self.layout.schema, self.bounds.table),
                    due=sql.SQL(self.bounds.due),
                    piece=piece.on("t"),
                    settled=_SETTLED,
                    kept=self._keeping.condition(piece),
                    kept_at_once=sql.SQL(self.bounds.kept_at_once),
                )
                .as_bytes()
            )
        return self.conn.execute(self._composed[known], bound)

    def _finish(self) -> None:
        self._done.seconds = time.monotonic() - self._began
        if self.record is None:
            self._record.finish(
                self.conn,
                matched=self._record.deleted + self._done.locked,
                facts=self._done.facts(),
                lock_timeout=self.lock_timeout,
            )


def interrupted(record: Record) -> Interrupted:
    """Return the error for Ctrl-C in the middle of a run."""
    return Interrupted(
        f"Interrupted after {record.due.things(record.deleted)} were deleted.",
        hint="What was done stands; run it again to go on.",
        details={"changed": record.deleted},
    )
