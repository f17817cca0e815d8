"""Loading a file of events into ``security_events``, fast, and never twice.

The file is read on this thread while a second one has PostgreSQL take in the batch before. Each batch is a
transaction of its own with the event that tells of it, so a run that dies leaves no row without its record,
and the same command finishes it: every row has the same id again, its own or one made from what it states.

What is not there yet goes in by COPY, which takes two thirds of the server's time that an INSERT takes for
the same rows. COPY cannot leave out a row that somebody else puts in at the same moment; where one does, the
batch goes through a temporary table and an INSERT that can.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, cast

from psycopg import errors, sql

from secops.accounts.event_rows import COLUMNS, Rows, Unfit
from secops.accounts.events import record
from secops.accounts.patience import reading
from secops.database.connection import transaction
from secops.errors import Interrupted, SecopsError
from secops.output.progress import SILENT

if TYPE_CHECKING:
    from datetime import tzinfo

    from secops.accounts.event_files import Line, Source
    from secops.accounts.operations import Operation
    from secops.accounts.patience import Patience
    from secops.database.connection import Connection
    from secops.database.layout import Layout
    from secops.output.progress import Progress

EVENT: Final = "events_imported"

BATCH: Final = 25_000
"""Events that one transaction takes in, at most."""

_TOLERANCE: Final = timedelta(days=1)
"""How far ahead of the server's clock an event may be: other machines' clocks and time zones are wrong."""

_COPIED: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class Rejected:
    """A line that is no event, and why."""

    line: int
    reason: str
    text: str

    def as_dict(self) -> dict[str, object]:
        """Return it for ``--json`` and for the file of rejected lines."""
        return {"line": self.line, "reason": self.reason, "text": self.text}


@dataclass
class Batch:
    """Events of a file that follow one another.

    Attributes:
        first: Number of the first one's line.
        last: Number of the last one's line.
        ids: Of each.
        rows: Each, as COPY reads it.
        bytes: How much of the file they and the lines between them took.
        undated: Whether one of them says no time.
    """

    first: int = 0
    last: int = 0
    ids: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    bytes: int = 0
    undated: bool = False


@dataclass
class Imported:
    """What a run did, or would do.

    Attributes:
        valid: Events in the file.
        new: Those that were not there.
        rejected: Lines that are no events.
        undated: Events that said no time.
        seconds: How long it took.
    """

    valid: int = 0
    new: int = 0
    rejected: int = 0
    undated: int = 0
    seconds: float = 0.0

    def facts(self) -> dict[str, object]:
        """Return it for the record and for ``--json``; JSON-serialisable."""
        return {
            "events": self.valid,
            "already_there": self.valid - self.new,
            "rejected": self.rejected,
            "undated": self.undated,
            "seconds": round(self.seconds, 3),
            "rows_per_second": round(self.valid / self.seconds) if self.seconds else 0,
        }


@dataclass
class Reading:
    """Reads a file of events in batches, and keeps count.

    Attributes:
        source: The file.
        rows: Turns its events into rows.
        reject: Told of each line that is no event.
        progress: Told of bytes.
    """

    source: Source
    rows: Rows
    reject: Callable[[Rejected], None] = lambda _: None
    progress: Progress = SILENT
    done: Imported = field(default_factory=Imported)

    def batches(self) -> Iterator[Batch]:
        """Give the events, :data:`BATCH` at a time."""
        batch, make = Batch(), self.rows.row
        before = 0
        for line in self.source.lines(extra=self.rows.extra_to_metadata):
            if line.given is None:
                self._rejected(line, line.reason)
                continue
            try:
                key, row = make(line.given, plain=line.plain)
            except Unfit as why:
                self._rejected(line, str(why))
                continue
            batch.ids.append(key)
            batch.rows.append(row)
            batch.last = line.number
            if not batch.first:
                batch.first = line.number
            if len(batch.rows) == BATCH:
                batch.bytes, before = self.source.position - before, self.source.position
                yield self._counted(batch)
                batch = Batch()
        batch.bytes = self.source.position - before
        if batch.rows:
            yield self._counted(batch)

    def _counted(self, batch: Batch) -> Batch:
        self.done.valid += len(batch.rows)
        batch.undated = self.rows.undated != self.done.undated
        self.done.undated = self.rows.undated
        self.progress.advance(batch.bytes)
        return batch

    def _rejected(self, line: Line, reason: str) -> None:
        self.done.rejected += 1
        self.reject(Rejected(line.number, reason, line.text))


def rows_of(conn: Connection, layout: Layout, *, timezone: tzinfo, extra_to_metadata: bool) -> Rows:
    """Make what turns a file's events into rows of this database.

    Args:
        conn: Any; its server's clock says what lies in the future.
        layout: The tables.
        timezone: That of times that name none.
        extra_to_metadata: Whether keys that no column has go into ``metadata``.
    """
    row = conn.execute("SELECT now() + %s", (_TOLERANCE,)).fetchone()
    assert row is not None
    return Rows(
        layout.users.id_type,
        timezone,
        cast("datetime", row[0]),
        extra_to_metadata=extra_to_metadata,
    )


def validate(reading_: Reading) -> Imported:
    """Read the whole file and only say what is no event."""
    for _ in reading_.batches():
        pass
    return reading_.done


def check(conn: Connection, layout: Layout, reading_: Reading) -> Imported:
    """Read the whole file and say what an import would do; changes nothing.

    Args:
        conn: In autocommit mode.
        layout: The tables.
        reading_: The file.
    """
    begun = time.monotonic()
    seen: set[int] = set()
    there = sql.SQL(
        "SELECT count(*) FROM unnest(string_to_array(%s, ',')::uuid[]) AS given (id)"
        " WHERE EXISTS (SELECT FROM {events} e WHERE e.id = given.id)"
    ).format(events=layout.events)
    done = reading_.done
    for batch in reading_.batches():
        fresh = []
        for number in batch.ids:
            # As good as the id itself, at a third of the memory: a file may hold millions.
            mark = hash(number)
            if mark not in seen:
                seen.add(mark)
                fresh.append(number)
        with reading(conn):
            row = conn.execute(there, (",".join(fresh),)).fetchone()
        assert row is not None
        done.new += len(fresh) - int(str(row[0]))
    done.seconds = time.monotonic() - begun
    return done


@dataclass
class Importer:
    """One import. Made once, run once.

    Attributes:
        conn: In autocommit mode; while it runs, only the importer uses it.
        layout: The tables.
        operation: Who, where, why.
        reading: The file.
        patience: How long to wait for a lock.
        alive: Called now and then; raises if the run must stop.
    """

    conn: Connection
    layout: Layout
    operation: Operation
    reading: Reading
    patience: Patience
    alive: Callable[[], None] = lambda: None
    _all_new: bool = field(default=True, init=False)

    def run(self) -> Imported:
        """Load the file.

        Raises:
            Interrupted: Ctrl-C; what was done stands and is recorded.
        """
        done = self.reading.done
        begun = time.monotonic()
        try:
            with ThreadPoolExecutor(1, "load") as loader:
                self._load_all(loader)
        except KeyboardInterrupt:
            self._finish()
            raise Interrupted(
                f"Interrupted after {done.new:,} events were imported.",
                hint="What was done stands; run it again to go on.",
                details={"changed": done.new},
            ) from None
        except SecopsError:
            self._finish()
            raise
        done.seconds = time.monotonic() - begun
        self._finish()
        return done

    def _load_all(self, loader: ThreadPoolExecutor) -> None:
        """Have each batch loaded while the next one is read."""
        under_way: Future[None] | None = None
        for batch in self.reading.batches():
            if under_way is not None:
                under_way.result()
            self.alive()
            under_way = loader.submit(self._load, batch)
        if under_way is not None:
            under_way.result()

    def _load(self, batch: Batch) -> None:
        self.reading.done.new += self.patience.run(
            self.conn, self.layout, lambda: self._transaction(batch)
        )

    def _transaction(self, batch: Batch) -> int:
        """Take a batch in, with its record; returns how many of its events were new."""
        new = self._add_absent(batch)
        if new is None:
            new = self._add_staged(batch)
        if new:
            self._record(batch, new)
        return new

    def _add_absent(self, batch: Batch) -> int | None:
        """Add the events that are not there by COPY.

        Whether they are there is asked only after a COPY met one: a file that is loaded for the first time
        would wait for an answer that is always no.

        Returns:
            How many, or ``None`` where that is not possible: an event says no time and would get none, or
            somebody else puts one of them in at the same moment.
        """
        if batch.undated:
            return None
        rows: dict[str, str] = {}
        for number, row in zip(batch.ids, batch.rows, strict=True):
            rows.setdefault(number, row)  # a file may hold an event twice
        if self._all_new:
            if self._copied(rows.values()):
                return len(rows)
            self._all_new = False
        there = self.conn.execute(_THERE.format(events=self.layout.events), (",".join(rows),))
        found = there.fetchall()
        for (known,) in found:
            rows.pop(str(known), None)
        self._all_new = not found
        return len(rows) if not rows or self._copied(rows.values()) else None

    def _copied(self, rows: Iterable[str]) -> bool:
        """Say whether the rows went in, or one of them is there."""
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(self.layout.events, _COLUMNS)
        try:
            with self.conn.transaction():
                self._copy(statement, list(rows))
        except errors.UniqueViolation:
            return False
        return True

    def _add_staged(self, batch: Batch) -> int:
        """Add the events that are not there, whoever else adds some of them."""
        self.conn.execute(_STAGE.format(key=self.layout.users.key))
        self._copy(_COPY, batch.rows)
        return self.conn.execute(
            _INSERT.format(events=self.layout.events, columns=_COLUMNS)
        ).rowcount

    def _copy(self, statement: sql.SQL | sql.Composed, rows: Sequence[str]) -> None:
        with self.conn.cursor() as cursor, cursor.copy(statement) as copy:
            for start in range(0, len(rows), 1000):
                copy.write("".join(rows[start : start + 1000]))

    def _record(self, batch: Batch, new: int) -> None:
        source = self.reading.source.name
        if not self.reading.done.new:
            self.operation.start(self.conn, self.layout, detail={"file": source})
        self.operation.advance(self.conn, self.layout, changed=self.reading.done.new + new)
        lines = f"line {batch.first:,}"
        if batch.last != batch.first:
            lines = f"lines {batch.first:,} to {batch.last:,}"
        record(
            self.conn,
            self.layout,
            self.operation,
            event_type=EVENT,
            user_id=None,
            email=None,
            message=f"{counted(new)} imported from {lines} of {source}",
            extra={
                "file": source,
                "first_line": batch.first,
                "last_line": batch.last,
                "imported": new,
                "already_there": len(batch.rows) - new,
            },
        )

    def _finish(self) -> None:
        done = self.reading.done
        if done.new:
            with transaction(self.conn):
                self.operation.finish(
                    self.conn,
                    self.layout,
                    changed=done.new,
                    matched=done.valid,
                    detail=done.facts(),
                )


def counted(number: int) -> str:
    """Write a number of events."""
    return "1 event" if number == 1 else f"{number:,} events"


_COLUMNS: Final = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
_STAGE: Final = sql.SQL(
    """CREATE TEMPORARY TABLE secops_import (
           event_type text, event_category text, severity text, email text, ip_address text,
           user_agent text, request_path text, request_method text, message text, success boolean,
           user_id {key}, metadata jsonb, created_at timestamptz, id uuid
       ) ON COMMIT DROP"""
)
_COPY: Final = sql.SQL("COPY pg_temp.secops_import FROM STDIN")
_THERE: Final = sql.SQL(
    """SELECT given.id::text FROM unnest(string_to_array(%s, ',')::uuid[]) AS given (id)
       WHERE EXISTS (SELECT FROM {events} e WHERE e.id = given.id)"""
)
# Without a target, for on a partitioned table the key is (id, created_at). There an event that states no
# time would get a new one at each import and so not conflict: it is looked up.
_INSERT: Final = sql.SQL(
    """INSERT INTO {events} ({columns})
       SELECT event_type, event_category, severity, email, ip_address, user_agent, request_path,
              request_method, message, success, user_id, metadata, coalesce(created_at, now()), id
       FROM pg_temp.secops_import s
       WHERE s.created_at IS NOT NULL OR NOT EXISTS (SELECT FROM {events} e WHERE e.id = s.id)
       ON CONFLICT DO NOTHING"""
)
