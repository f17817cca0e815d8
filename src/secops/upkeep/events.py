"""One run of ``prune events``: partitions as a whole, then the archive, or batches alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import sql

from secops.database.connection import is_pooled, transaction
from secops.errors import SecopsError
from secops.output.progress import SILENT
from secops.upkeep import expired, whole
from secops.upkeep.prune import Pruned, Pruner, interrupted
from secops.upkeep.record import Record
from secops.upkeep.throttle import Throttle

if TYPE_CHECKING:
    from pathlib import Path

    from secops.accounts.operations import Operation
    from secops.archive.store import Store
    from secops.database.connection import Connection
    from secops.database.layout import Layout
    from secops.output.progress import Progress
    from secops.schema.partitions.retire import Marked
    from secops.schema.runner import Observer
    from secops.settings import Settings
    from secops.upkeep.archiving import Archiver
    from secops.upkeep.pace import Pace
    from secops.upkeep.retention import Past
    from secops.upkeep.whole import Candidates, Dropped

_LEFT: Final = sql.SQL(
    """SELECT count(*) FILTER (WHERE {held}), count(*) FILTER (WHERE NOT {held})
       FROM {events} t WHERE {due}"""
)


@dataclass
class PrunedEvents(Pruned):
    """What a run did.

    Attributes:
        partitions: Those that were dropped; their rows are among the deleted.
        archive: The archive's folder, where there is one.
        archived: How many events were added to it.
        files: In how many files.
        notes: What people should know of it.
    """

    partitions: list[Dropped] = field(default_factory=list)
    archive: Path | None = None
    archived: int = 0
    files: int = 0
    notes: list[str] = field(default_factory=list)

    def facts(self) -> dict[str, object]:
        """Return it for the record and for ``--json``; JSON-serialisable."""
        found = super().facts()
        found["partitions"] = [each.as_dict() for each in self.partitions]
        found["archive"] = (
            None
            if self.archive is None
            else {"folder": str(self.archive), "events": self.archived, "files": self.files}
        )
        return found


@dataclass
class EventPruner:
    """One run. Made once, run once.

    Attributes:
        conn: In autocommit mode.
        layout: The tables.
        settings: Where the database is, lock timeout and budget.
        operation: Who, where, why.
        past: What is past its retention.
        pace: How much at once.
        observer: Is told what dropping partitions runs and waits for.
        archive: The folder that events go to first; ``None`` where they are deleted for good.
        progress: Told of what is deleted.
        alive: Called now and then; raises if the run must stop.
        throttle: What makes it wait.
    """

    conn: Connection
    layout: Layout
    settings: Settings
    operation: Operation
    past: Past
    pace: Pace
    observer: Observer
    archive: Path | None = None
    progress: Progress = SILENT
    alive: Callable[[], None] = lambda: None
    throttle: Throttle = field(default_factory=Throttle)

    def run(self, *, max_duration: timedelta | None = None) -> PrunedEvents:
        """Delete what is past its retention and under no hold.

        Args:
            max_duration: After how long to stop; the next run goes on.

        Raises:
            Interrupted: Ctrl-C; what was done stands and is recorded.
        """
        self.conn.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        began = time.monotonic()
        deadline = None if max_duration is None else began + max_duration.total_seconds()
        lock_timeout = self.settings.span("lock_timeout")
        record = Record(self.layout, self.operation, self.past)
        done = PrunedEvents(self.past, archive=self.archive)

        def finish() -> None:
            done.deleted, done.batches = record.deleted, record.batches
            done.seconds = time.monotonic() - began
            record.finish(
                self.conn,
                matched=record.deleted + done.locked,
                facts=done.facts(),
                lock_timeout=lock_timeout,
            )

        try:
            record.close_abandoned(self.conn, lock_timeout=lock_timeout)
            with ExitStack() as stack:
                store = None if self.archive is None else self._opened(stack, self.archive)
                try:
                    self._run(done, record, store, deadline)
                finally:
                    if store is not None:
                        done.archived, done.files = store.rows, store.written
        except BaseException as error:
            # The connection may be what failed; then the next run closes the operation.
            with suppress(psycopg.Error, SecopsError):
                finish()
            if isinstance(error, KeyboardInterrupt):
                raise interrupted(record) from None
            raise
        finish()
        return done

    def _opened(self, stack: ExitStack, folder: Path) -> Store:
        from secops.archive.rows import columns_of  # noqa: PLC0415  only who archives has pyarrow
        from secops.archive.store import EVENTS, opened  # noqa: PLC0415  as above

        row = self.conn.execute("SELECT current_database()::text").fetchone()
        assert row is not None
        source = {"database": str(row[0]), "schema": self.layout.schema}
        columns = columns_of(self.conn, self.layout.schema, EVENTS)
        return stack.enter_context(opened(folder, source, columns))

    def _run(
        self, done: PrunedEvents, record: Record, store: Store | None, deadline: float | None
    ) -> None:
        archiver = None if store is None else self._archiver(record, store)
        if archiver is not None and not archiver.recover(deadline):
            return
        self._drop(done, record, deadline, None if store is None else self._keep(store, record))
        # What was archived of partitions that are gone is noted as kept, of others it is taken out.
        if archiver is not None and not archiver.recover(deadline):
            return
        if archiver is None:
            rest = Pruner(
                self.conn,
                self.layout,
                self.operation,
                self.past,
                self.pace,
                lock_timeout=self.settings.span("lock_timeout"),
                progress=self.progress,
                alive=self.alive,
                throttle=self.throttle,
                record=record,
            ).run(
                expired=expired.estimate(self.conn, self.layout, self.past),
                max_duration=None
                if deadline is None
                else timedelta(seconds=max(0.0, deadline - time.monotonic())),
            )
            done.kept, done.locked, done.complete = rest.kept, rest.locked, rest.complete
            return
        done.complete = archiver.run(deadline)
        done.locked = archiver.locked
        with transaction(self.conn, read_only=True):
            query = _LEFT.format(
                events=self.layout.events,
                due=sql.SQL(self.past.due),
                held=sql.SQL(self.past.holds.condition),
            )
            row = self.conn.execute(query, self.past.as_parameters()).fetchone()
        assert row is not None
        done.kept, left = (int(str(value)) for value in row)
        if done.complete and left > done.locked:
            done.notes.append(
                f"{self.past.things(left - done.locked)} came, or changed, meanwhile, or are dated "
                "before the year 1000, which no archive takes."
            )

    def _drop(
        self,
        done: PrunedEvents,
        record: Record,
        deadline: float | None,
        keep: whole.Keep | None,
    ) -> None:
        found = self.candidates()
        done.notes += found.notes
        if found.obstacle and not found.unfinished:
            done.notes.append(f"Partitions are not dropped as a whole: {found.obstacle}.")
        if not found.any:
            return
        from secops.schema.workplace import opened  # noqa: PLC0415  most tables have no partitions

        self.progress.describe("Dropping partitions")
        with opened(whole.Whole, self.settings, self.operation.command) as place:
            dropped, notes = place.drop(
                whole.Purpose(self.past, record, keep),
                self.operation,
                self.observer,
                budget=self.settings.span("lock_budget"),
                deadline=deadline,
                proceed=lambda: self._proceed(deadline),
            )
        for each in dropped:
            self.progress.advance(each.rows)
        done.partitions += dropped
        done.notes += notes
        if deadline is not None and time.monotonic() >= deadline:
            done.complete = False

    def _proceed(self, deadline: float | None) -> bool:
        self.alive()
        return self.throttle.hold(
            self.conn, deadline=deadline, alive=self.alive, progress=self.progress
        )

    def candidates(self) -> Candidates:
        """Return which partitions could go as a whole."""
        direct = self.settings.secret("direct_url") is not None
        pooled = not direct and is_pooled(self.conn)
        return whole.candidates(self.conn, self.layout, self.past, pooled=pooled)

    def _now(self) -> datetime:
        row = self.conn.execute("SELECT now()").fetchone()
        assert row is not None
        assert isinstance(row[0], datetime)
        return row[0]

    def _archiver(self, record: Record, store: Store) -> Archiver:
        from secops.archive.rows import columns_of  # noqa: PLC0415  as above
        from secops.archive.store import EVENTS  # noqa: PLC0415  as above
        from secops.upkeep.archiving import Archiver  # noqa: PLC0415  as above

        return Archiver(
            self.conn,
            self.layout,
            self.past,
            record,
            store,
            self.pace,
            columns_of(self.conn, self.layout.schema, EVENTS),
            self._now(),
            lock_timeout=self.settings.span("lock_timeout"),
            progress=self.progress,
            alive=self.alive,
            throttle=self.throttle,
        )

    def _keep(self, store: Store, record: Record) -> whole.Keep:
        """Return what archives the rows of a detached table, in the transaction that drops it."""
        from secops.archive.rows import columns_of  # noqa: PLC0415  as above
        from secops.archive.store import Origin  # noqa: PLC0415  as above
        from secops.upkeep.archiving import archive_table  # noqa: PLC0415  as above

        def keep(conn: Connection, each: Marked, rows: int) -> bool:
            origin = Origin(each.name, each.oid, self._now(), str(record.operation.id))
            return archive_table(
                conn,
                each.identifier,
                self.past,
                store,
                origin,
                columns=columns_of(conn, each.schema, each.name),
                rows=rows,
                alive=self.alive,
            )

        return keep
