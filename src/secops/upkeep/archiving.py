"""Events past their retention go to an archive first, and only then from the database.

Many rows are read, month by month, and written as one file. When that file is synced and was read back, its
rows are deleted in small batches: each batch locks its rows, compares them with what was read back, and
deletes those that are the same, under the same rules as any other run. What cannot go (somebody holds it, it
was changed, it has come under a legal hold) is taken out of the file again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, cast

from psycopg import errors as pg
from psycopg import sql

from secops.archive.rows import (
    equal_keys,
    fetch,
    keys,
    microseconds,
    moment,
    months,
    same_words,
    selected,
)
from secops.archive.store import EVENTS, Origin
from secops.database.connection import transaction
from secops.schema.partitions.months import later, month_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from secops.archive.manifest import Entry
    from secops.archive.rows import Key, Table
    from secops.archive.store import Store
    from secops.database.connection import Connection
    from secops.database.layout import Layout
    from secops.output.progress import Progress
    from secops.upkeep.pace import Pace
    from secops.upkeep.record import Record
    from secops.upkeep.retention import Past
    from secops.upkeep.throttle import Throttle

FILE: Final = 250_000
"""Rows that one file holds, at most."""

_PAGE: Final = 10_000
# What other sessions hold is tried again after so many seconds.
_SWEEPS: Final = (0.2, 0.5, 1.0)
_BATCHES: Final = 5_000

FIRST: Final = datetime(1000, 1, 1, tzinfo=UTC)
"""Events dated before it are not archived, and so stay: files cannot say -infinity."""

_NEXT: Final = sql.SQL(
    """SELECT t.created_at, t.id::text FROM {events} t
       WHERE t.created_at >= %(from_time)s AND (t.created_at, t.id) > (%(from_time)s, %(from_id)s::uuid)
         AND {due} AND NOT {held}
       ORDER BY t.created_at, t.id LIMIT 1"""
)
_ROWS: Final = sql.SQL(
    """SELECT {columns} FROM {table} t
       WHERE t.created_at >= %(from_time)s::timestamptz AND t.created_at < %(end)s::timestamptz
         AND (t.created_at, t.id) > (%(from_time)s::timestamptz, %(from_id)s::uuid)
         AND {due} AND NOT {held}
       ORDER BY t.created_at, t.id LIMIT {limit}"""
)
_LOCKED: Final = sql.SQL(
    """SELECT {columns} FROM {events} t
       WHERE t.id = ANY (string_to_array(%(ids)s, ',')::uuid[])
         AND t.created_at >= %(first)s::timestamptz AND t.created_at <= %(last)s::timestamptz
         AND {due} AND NOT {held}
       ORDER BY t.created_at, t.id FOR UPDATE OF t SKIP LOCKED"""
)
_DELETE: Final = sql.SQL(
    """DELETE FROM {events} t
       USING unnest(string_to_array(%(ids)s, ',')::uuid[],
                    string_to_array(%(times)s, ',')::timestamptz[]) AS k (id, at)
       WHERE t.id = k.id AND t.created_at = k.at
         AND t.created_at >= %(first)s::timestamptz AND t.created_at <= %(last)s::timestamptz"""
)
# No row comes between the last instant of a month, with the highest id, and the first of the next.
_HIGHEST: Final = "ffffffff-ffff-ffff-ffff-ffffffffffff"
_INSTANT: Final = timedelta(microseconds=1)


@dataclass
class Archiver:
    """One run. Made once, run once.

    Attributes:
        conn: In autocommit mode.
        layout: The tables.
        past: What is past its retention.
        record: That of the run.
        store: The archive.
        pace: How much to delete at once.
        columns: The table's columns.
        now: The database's time.
        lock_timeout: The longest wait for one lock.
        progress: Told of each batch.
        alive: Called now and then; raises if the run must stop.
        throttle: What makes it wait between two batches.
        locked: Rows that other sessions held to the end; the next run takes them.
    """

    conn: Connection
    layout: Layout
    past: Past
    record: Record
    store: Store
    pace: Pace
    columns: dict[str, str]
    now: datetime
    lock_timeout: timedelta
    progress: Progress
    alive: Callable[[], None]
    throttle: Throttle
    locked: int = field(default=0, init=False)

    def run(self, deadline: float | None) -> bool:
        """Archive and delete what is past its retention.

        Args:
            deadline: By ``time.monotonic``, when to stop; the next run goes on.

        Returns:
            Whether it came to the end.
        """
        if not self.recover(deadline):
            return False
        position = (FIRST, _HIGHEST)
        while (chunk := self._chunk(position)) is not None:
            if self._over(deadline):
                return False
            if again := self.store.holding(chunk):
                for entry in again:
                    if not self._delete(self.store.reopen(entry), deadline):
                        return False
                continue
            position = _last(chunk)
            origin = Origin(EVENTS, 0, self.now, str(self.record.operation.id))
            if not self._delete(self.store.write(chunk, origin), deadline):
                return False
        return True

    def recover(self, deadline: float | None) -> bool:
        """Finish what a run that died has begun.

        Returns:
            Whether it came to the end.
        """
        for entry in self.store.unfinished:
            if entry.table == EVENTS:
                if not self._delete(entry, deadline):
                    return False
            elif self._is_there(entry):
                # A partition is dropped with all its rows at one stroke, so they are all still there.
                self.store.forget(entry)
            else:
                self.store.settle(entry, self.store.read(entry).slice(0, 0))
        return True

    def _is_there(self, entry: Entry) -> bool:
        row = self.conn.execute(
            "SELECT EXISTS (SELECT FROM pg_class WHERE oid = %s AND relname = %s)",
            (entry.table_oid, entry.table),
        ).fetchone()
        return row == (True,)

    def _over(self, deadline: float | None) -> bool:
        self.alive()
        if deadline is not None and time.monotonic() >= deadline:
            return True
        return not self.throttle.hold(
            self.conn, deadline=deadline, alive=self.alive, progress=self.progress
        )

    def _chunk(self, position: tuple[datetime, str]) -> Table | None:
        """Return the next rows of one month, or ``None`` at the end."""
        bound = {
            "from_time": position[0], "from_id": position[1], **self.past.as_parameters(),
        }  # fmt: skip
        with transaction(self.conn, read_only=True):
            row = self.conn.execute(self._composed(_NEXT), bound).fetchone()
        if row is None:
            return None
        first = row[0]
        assert isinstance(first, datetime)
        month = month_of(first)
        if position[0] < month:
            position = (month - _INSTANT, _HIGHEST)
        return self._until(position, later(month, 1))

    def _until(self, position: tuple[datetime, str], end: datetime) -> Table:
        from secops.archive.libraries import arrow  # noqa: PLC0415  only who archives has it

        pages = list(
            pages_of(self.conn, self._composed, self.columns, self.past, position=position, end=end)
        )
        return arrow().concat_tables(pages)

    def _composed(self, query: sql.SQL, **more: sql.Composable) -> sql.Composed:
        return query.format(
            **{
                "events": self.layout.events,
                "table": self.layout.events,
                "columns": selected(self.columns),
                "due": sql.SQL(self.past.due),
                "held": sql.SQL(self.past.holds.condition),
                **more,
            }
        )

    def _delete(self, entry: Entry, deadline: float | None) -> bool:
        """Delete the rows of a file, as far as they can go.

        Returns:
            Whether it came to the end; if not, the next run finishes the file.
        """
        left = self.store.read(entry)
        for wait in (0.0, *_SWEEPS):
            time.sleep(wait)
            left = self._sweep(entry, left, deadline)
            if left is None:
                return False
            held_by_others = self._still_due(left)
            if not held_by_others:
                break
        self.locked += held_by_others
        self.store.settle(entry, left)
        return True

    def _sweep(self, entry: Entry, rows: Table, deadline: float | None) -> Table | None:
        """Go through rows of a file once; return those that are still there, or ``None``: time is up."""
        from secops.archive.libraries import arrow  # noqa: PLC0415  as above

        start, left = 0, []
        while start < rows.num_rows:
            if self._over(deadline):
                return None
            piece = rows.slice(start, min(self.pace.size, _BATCHES))
            start += piece.num_rows
            began = time.monotonic()
            gone = self._batch(entry, piece)
            took = time.monotonic() - began
            self.pace.took(took)
            stays = self._there(piece, set(gone))
            if stays.num_rows:
                left.append(stays)
            time.sleep(self.pace.rest(took))
        return arrow().concat_tables(left) if left else rows.slice(0, 0)

    def _bound(self, known: list[Key]) -> dict[str, object]:
        """Return what queries of rows with these keys bind; they are in order."""
        return {
            "ids": _joined(key for _, key in known),
            "first": moment(known[0][0]),
            "last": moment(known[-1][0]),
            **self.past.as_parameters(),
        }

    def _batch(self, entry: Entry, piece: Table) -> list[Key]:
        """Delete the rows of a piece that are what was archived, and record it, in one transaction."""
        known = keys(piece)
        bound = self._bound(known)
        try:
            with transaction(self.conn, lock_timeout=self.lock_timeout):
                same_words(self.conn)
                live = fetch(self.conn, self._composed(_LOCKED), bound, self.columns)
                same = equal_keys(piece, live)
                if same:
                    gone = self.conn.execute(
                        self._composed(_DELETE),
                        {
                            **bound,
                            "ids": _joined(key for _, key in same),
                            "times": _joined(moment(time_).isoformat() for time_, _ in same),
                        },
                    ).rowcount
                    assert gone == len(same), "locked rows are there"
                    self.record.write(
                        self.conn,
                        gone,
                        f"; they are in {entry.file} of the archive",
                        archive_file=entry.file,
                        archive_sha256=entry.sha256,
                    )
        except (pg.LockNotAvailable, pg.DeadlockDetected):
            return []
        if same:
            self.record.committed(len(same))
            self.progress.advance(len(same))
        return same

    def _there(self, piece: Table, gone: set[Key]) -> Table:
        """Return the rows of a piece that are still in the database, whatever they are now."""
        from secops.archive.libraries import arrow  # noqa: PLC0415  as above

        known = keys(piece)
        if len(gone) == len(known):
            return piece.slice(0, 0)
        with transaction(self.conn, read_only=True):
            rows = self.conn.execute(
                sql.SQL(
                    """SELECT t.created_at, t.id::text FROM {} t
                       WHERE t.id = ANY (string_to_array(%s, ',')::uuid[]) AND t.created_at BETWEEN %s AND %s"""
                ).format(self.layout.events),
                (_joined(key for _, key in known), moment(known[0][0]), moment(known[-1][0])),
            ).fetchall()
        there = {(microseconds(cast("datetime", at)), str(key)) for at, key in rows}
        return piece.filter(arrow().array([key in there for key in known], arrow().bool_()))

    def _still_due(self, left: Table) -> int:
        """Say how many rows stayed only because other sessions hold them."""
        if not left.num_rows:
            return 0
        bound = self._bound(keys(left))
        query = sql.SQL(
            """SELECT {columns} FROM {events} t
               WHERE t.id = ANY (string_to_array(%(ids)s, ',')::uuid[])
                 AND t.created_at BETWEEN %(first)s AND %(last)s AND {due} AND NOT {held}
               ORDER BY t.created_at, t.id"""
        )
        with transaction(self.conn, read_only=True):
            same_words(self.conn)
            live = fetch(self.conn, self._composed(query), bound, self.columns)
        return len(equal_keys(left, live))


def _joined(words: Iterable[str]) -> str:
    """Return words as one parameter: each of a list would be quoted by itself."""
    return ",".join(words)


def _last(table: Table) -> tuple[datetime, str]:
    """Return the key of the last row, as a position."""
    time_, key = keys(table.slice(table.num_rows - 1))[0]
    return moment(time_), key


def archive_table(
    conn: Connection,
    table: sql.Identifier,
    past: Past,
    store: Store,
    origin: Origin,
    *,
    columns: dict[str, str],
    rows: int,
    alive: Callable[[], None],
) -> bool:
    """Write all rows of a table that is about to be dropped to the archive.

    Args:
        conn: In the transaction that drops it, with a lock that keeps everybody out.
        table: The table.
        past: What is past its retention: all of its rows.
        store: The archive.
        origin: The table, for the manifest.
        columns: Its columns.
        rows: How many rows it has.
        alive: Raises if the run must stop.

    Returns:
        Whether all of them were written, and none was there before. If not, the table must not be dropped;
        the files that were written are taken out again by the next :meth:`Archiver.recover`.
    """
    from secops.archive.libraries import arrow  # noqa: PLC0415  only who archives has it

    def composed(query: sql.SQL, **more: sql.Composable) -> sql.Composed:
        return query.format(
            table=table,
            columns=selected(columns),
            due=sql.SQL(past.due),
            held=sql.SQL(past.holds.condition),
            **more,
        )

    given = 0
    position, end = (FIRST - _INSTANT, _HIGHEST), past.cutoff
    while True:
        pages = list(pages_of(conn, composed, columns, past, position=position, end=end))
        chunk = arrow().concat_tables(pages)
        if not chunk.num_rows:
            return given == rows
        for _, part in months(chunk):
            alive()
            if store.holding(part):
                return False
            store.write(part, origin)
        given += chunk.num_rows
        position = _last(chunk)


def pages_of(
    conn: Connection,
    composed: Callable[..., sql.Composed],
    columns: dict[str, str],
    past: Past,
    *,
    position: tuple[datetime, str],
    end: datetime,
) -> Iterator[Table]:
    """Give the due rows behind a position and before an end, page by page, :data:`FILE` of them at most.

    Args:
        conn: In autocommit mode, or in a transaction.
        composed: Completes a query.
        columns: The table's columns.
        past: What is past its retention.
        position: The key of the last row that is not wanted.
        end: The time from which on none is wanted.
    """
    given = 0
    while given < FILE:
        limit = min(_PAGE, FILE - given)
        query = composed(_ROWS, limit=sql.Literal(limit))
        bound = {
            "from_time": position[0], "from_id": position[1], "end": end, **past.as_parameters(),
        }  # fmt: skip
        with transaction(conn):
            same_words(conn)
            page = fetch(conn, query, bound, columns)
        if page.num_rows or not given:
            yield page
        given += page.num_rows
        if page.num_rows < limit:
            return
        position = _last(page)
