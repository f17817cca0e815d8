"""All upkeep in one run: partitions ahead, expired tokens, old events, counts and mails, statistics.

One part that fails does not keep the others from running. The partitions come first: events that no
partition takes fail, and with them what the app was doing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import errors as pg
from psycopg import sql

from secops.database.connection import transaction, translate
from secops.database.locks import one_runner
from secops.errors import Interrupted, SecopsError
from secops.upkeep import expired, holds, retention
from secops.upkeep.events import EventPruner
from secops.upkeep.pace import Pace
from secops.upkeep.prune import Pruner
from secops.upkeep.sweep import Sweep
from secops.upkeep.throttle import Throttle

if TYPE_CHECKING:
    from secops.accounts.operations import Operation
    from secops.database.connection import Connection
    from secops.database.layout import Layout
    from secops.schema.runner import Observer
    from secops.settings import Settings
    from secops.upkeep.due import Due
    from secops.upkeep.events import PrunedEvents

TASK: Final = "cron cleanup"

# A partitioned table as a whole is never analysed by autovacuum.
_STALE: Final = timedelta(days=7)
# So large a part of a table gone makes what the planner knows of it wrong.
_SHARE: Final = 0.1


@dataclass
class Part:
    """One part of a run.

    Attributes:
        name: ``partitions ahead``, ``prune tokens``, ``prune events``, ``sweep`` or ``analyze``.
        changed: How many rows, partitions or tables.
        said: The same in words; empty where there was nothing to do.
        complete: Whether nothing is left to do for the next run.
        error: Why it failed.
        operation_id: The id under which the audit trail knows it.
        notes: What people should know of it.
        facts: What else machines may want.
    """

    name: str
    changed: int = 0
    said: str = ""
    complete: bool = True
    error: SecopsError | None = None
    operation_id: str = ""
    notes: list[str] = field(default_factory=list)
    facts: dict[str, object] = field(default_factory=dict)

    def as_item(self) -> dict[str, object]:
        """Return it for ``--json``."""
        return {
            "part": self.name,
            "changed": self.changed,
            "summary": self.said,
            "complete": self.complete,
            "error": None if self.error is None else self.error.as_dict(),
            "operation_id": self.operation_id,
            "notes": self.notes,
            **self.facts,
        }


@dataclass
class Cleanup:
    """One run. Made once, run once.

    Attributes:
        conn: In autocommit mode.
        layout: The tables.
        settings: Retention, lock timeout, budget.
        open_connection: Opens the connections that hold locks.
        operation: Makes the operation of a part, by the command's words.
        observer: Is told what making partitions runs and waits for.
        alive: Raises if the run must stop.
        dry_run: Whether to change nothing.
        tokens_older_than: For how long a token must have been expired.
        max_duration: How long pruning may take in all.
        throttle: What makes pruning wait.
    """

    conn: Connection
    layout: Layout
    settings: Settings
    open_connection: Callable[[], Connection]
    operation: Callable[[str], Operation]
    observer: Observer
    alive: Callable[[], None]
    dry_run: bool = False
    tokens_older_than: timedelta = timedelta(days=7)
    max_duration: timedelta | None = None
    throttle: Throttle = field(default_factory=Throttle)
    parts: list[Part] = field(default_factory=list, init=False)
    _began: float = field(default=0.0, init=False)

    def run(self) -> list[Part]:
        """Do what is to be done, part by part; what fails is in the parts."""
        self._began = time.monotonic()
        deleted: dict[str, int] = {}
        with self._part("partitions ahead") as part:
            self._partitions(part)
        with self._part("prune tokens") as part:
            limits = expired.bounds(self.conn, self.tokens_older_than)
            self._prune(part, limits, lambda: expired.count(self.conn, self.layout, limits).matched)
            deleted[limits.table] = part.changed
        with self._part("prune events") as part:
            if spans := retention.periods(self.settings):
                held = holds.read(self.settings.folder("retention.holds_file"))
                past = retention.past(self.conn, self.layout, spans, held)
                deleted[past.table] = self._prune_events(part, past)
            else:
                self._come_back(part)
        with self._part("sweep") as part:
            self._sweep(part)
        with self._part("analyze") as part:
            self._analyze(part, deleted)
        return self.parts

    @contextmanager
    def _part(self, name: str) -> Iterator[Part]:
        part = Part(name)
        self.parts.append(part)
        try:
            if not self.dry_run:
                self.alive()
            yield part
        except Interrupted:
            raise
        except SecopsError as error:
            part.error = error
        except psycopg.Error as error:
            part.error = translate(error)

    def _partitions(self, part: Part) -> None:
        from secops.schema.partitions import picture  # noqa: PLC0415  most tables have none

        there = picture.look(self.conn, self.layout)
        if not there.monthly and not there.pressing:
            return
        from secops.schema.partitions.ahead import Ahead  # noqa: PLC0415
        from secops.schema.workplace import opened  # noqa: PLC0415

        operation = self.operation("partition ahead")
        with opened(Ahead, self.settings, TASK) as place:
            if self.dry_run:
                made = [each.step.title for each in place.plan(operation).open]
            else:
                made = place.make_ahead(
                    operation, self.observer, budget=self.settings.span("lock_budget")
                )
        if made:
            part.changed = len(made)
            part.said = f"{len(made)} {'partition' if len(made) == 1 else 'partitions'} made"
            part.operation_id = str(operation.id)

    def _prune(self, part: Part, due: Due, count: Callable[[], int]) -> None:
        if self.dry_run:
            part.changed = count()
        else:
            operation = self.operation(due.command)
            with self._alone(due.command) as alive:
                done = Pruner(
                    self.conn,
                    self.layout,
                    operation,
                    due,
                    Pace(),
                    lock_timeout=self.settings.span("lock_timeout"),
                    alive=alive,
                    throttle=self.throttle,
                ).run(
                    expired=expired.estimate(self.conn, self.layout, due),
                    max_duration=self._time_left(),
                )
            part.changed, part.complete = done.deleted, done.complete and not done.locked
            part.operation_id = str(operation.id) if done.deleted else ""
        if part.changed:
            part.said = f"{due.things(part.changed)} deleted"
        elif not part.complete:
            part.said = f"{due.command} is not finished"

    @contextmanager
    def _alone(self, command: str) -> Iterator[Callable[[], None]]:
        """Hold the lock of a command too; gives what raises if the run must stop."""
        with one_runner(self.open_connection, command) as runner:

            def alive() -> None:
                self.alive()
                runner.check()

            yield alive

    def _time_left(self) -> timedelta | None:
        if self.max_duration is None:
            return None
        spent = timedelta(seconds=time.monotonic() - self._began)
        return max(self.max_duration - spent, timedelta(0))

    def _prune_events(self, part: Part, past: retention.Past) -> int:
        """Prune events; returns by how many rows the planner's idea of the table is wrong."""
        operation = self.operation(past.command)
        archive = self.settings.folder("archive.dir")
        pruner = EventPruner(
            self.conn,
            self.layout,
            self.settings,
            operation,
            past,
            Pace(),
            self.observer,
            archive=archive,
            throttle=self.throttle,
        )
        if self.dry_run:
            part.changed = retention.count(self.conn, self.layout, past).matched
            found = pruner.candidates()
            part.facts["partitions"] = [each.as_dict() for each in found.partitions]
            if part.changed:
                part.said = f"{past.things(part.changed)} deleted{_with(len(found.partitions))}"
            return 0
        with self._alone(past.command) as alive:
            pruner.alive = alive
            done = pruner.run(max_duration=self._time_left())
        part.changed, part.complete = done.deleted, done.complete and not done.locked
        part.operation_id = str(operation.id) if done.deleted or done.partitions else ""
        part.notes = done.notes
        part.facts = {name: done.facts()[name] for name in ("partitions", "archive")}
        part.said = _said(past, done)
        return done.deleted - sum(each.rows for each in done.partitions)

    def _come_back(self, part: Part) -> None:
        """Where nothing says any more how long events stay: end what a run that died left half gone."""
        from secops.database.connection import is_pooled  # noqa: PLC0415  rarely needed
        from secops.schema.workplace import opened  # noqa: PLC0415  as above
        from secops.upkeep import whole  # noqa: PLC0415  as above

        found = whole.candidates(self.conn, self.layout, None, pooled=is_pooled(self.conn))
        if not found.unfinished:
            return
        part.said = f"{', '.join(found.unfinished)} detached or attached for good"
        part.changed = len(found.unfinished)
        if self.dry_run:
            return
        with (
            self._alone(retention.Past.command),
            opened(whole.Whole, self.settings, TASK) as place,
        ):
            _, part.notes = place.drop(
                None,
                self.operation(retention.Past.command),
                self.observer,
                budget=self.settings.span("lock_budget"),
            )

    def _sweep(self, part: Part) -> None:
        """Delete what the backend counts and mails by, once it is over."""
        swept = Sweep(
            self.conn,
            self.alive,
            lock_timeout=self.settings.span("lock_timeout"),
            max_duration=self._time_left(),
            throttle=self.throttle,
        )
        found = swept.count() if self.dry_run else swept.run()
        part.changed, part.complete = sum(found.values()), swept.complete
        part.facts["tables"] = found
        if mails := found.get("outbox", 0):
            part.said = f"{mails:,} old {'mail' if mails == 1 else 'mails'} deleted"
        if attempts := found.get("login_attempts", 0) + found.get("rate_limits", 0):
            counts = (
                f"{attempts:,} {'count' if attempts == 1 else 'counts'} of login attempts deleted"
            )
            part.said = f"{part.said}; {counts}" if part.said else counts

    def _analyze(self, part: Part, deleted: dict[str, int]) -> None:
        """Gather statistics where autovacuum does not, or not soon enough after what was deleted."""
        done = []
        for table in ("refresh_tokens", "security_events"):
            if not self._stale(table, deleted.get(table, 0)):
                continue
            if not self.dry_run:
                query = sql.SQL("ANALYZE {}").format(sql.Identifier(self.layout.schema, table))
                try:
                    with transaction(self.conn, lock_timeout=self.settings.span("lock_timeout")):
                        self.conn.execute(query)
                except pg.LockNotAvailable:
                    continue  # whoever holds it is autovacuum or DDL; the next run sees to it
            done.append(table)
        if done:
            part.changed, part.said = len(done), f"{' and '.join(done)} analyzed"

    def _stale(self, table: str, deleted: int) -> bool:
        row = self.conn.execute(
            """SELECT pg_has_role(c.relowner, 'USAGE')
                  AND (%(deleted)s > greatest(c.reltuples, 1000) * %(share)s
                       OR c.relkind = 'p'
                          AND coalesce(s.last_analyze < now() - %(stale)s, true))
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
               WHERE n.nspname = %(schema)s AND c.relname = %(table)s""",
            {
                "deleted": deleted,
                "share": _SHARE,
                "stale": _STALE,
                "schema": self.layout.schema,
                "table": table,
            },
        ).fetchone()
        return row == (True,)


def _said(past: retention.Past, done: PrunedEvents) -> str:
    if not done.deleted and not done.partitions:
        return "" if done.complete else f"{past.command} is not finished"
    kept = f", {done.archived:,} archived" if done.archive is not None else ""
    return f"{past.things(done.deleted)} deleted{_with(len(done.partitions))}{kept}"


def _with(partitions: int) -> str:
    if not partitions:
        return ""
    return f" with {partitions:,} {'partition' if partitions == 1 else 'partitions'}"
