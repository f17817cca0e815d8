"""Partitions that hold nothing but events past their retention: they go as a whole.

Such a partition is detached beside the running app and dropped, which takes a moment and gives its space
back, where deleting its rows would take minutes and give nothing back. It is looked at twice: while it is a
partition, and under a lock on the detached table, in the transaction that drops it. What came in between, and
must stay, has it attached again; its other rows are then deleted in batches.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from psycopg import errors as pg
from psycopg import sql

from secops.database.connection import transaction
from secops.errors import Busy
from secops.schema.partitions import picture as pictures
from secops.schema.partitions import retire
from secops.schema.partitions.months import shown
from secops.schema.partitions.place import Partitioned
from secops.upkeep.retention import CLASSES

if TYPE_CHECKING:
    from secops.accounts.operations import Operation
    from secops.database.connection import Connection
    from secops.database.layout import Layout
    from secops.schema.partitions.months import Span
    from secops.schema.partitions.picture import Partition
    from secops.schema.partitions.retire import Marked
    from secops.schema.runner import Observer, Runner
    from secops.upkeep.record import Record
    from secops.upkeep.retention import Past

# How often, and after how many seconds, a lock on a detached table is tried for.
_WAITS: Final = (0.0, 0.2, 0.5, 1.0)

_STAYS: Final = sql.SQL("NOT coalesce({due}, false) OR {held}")


@dataclass(frozen=True, slots=True)
class Dropped:
    """A partition that was dropped, or would be.

    Attributes:
        schema: Its schema.
        name: Its name.
        span: What it held.
        rows: How many events it held.
        bytes: Its size, with indexes.
    """

    schema: str
    name: str
    span: Span
    rows: int
    bytes: int

    def as_dict(self) -> dict[str, object]:
        """Return it for the record and for ``--json``."""
        return {
            "partition": self.name,
            "from": shown(self.span.lower),
            "to": shown(self.span.upper),
            "rows": self.rows,
            "bytes": self.bytes,
        }


@dataclass(frozen=True, slots=True)
class Candidates:
    """What could go as a whole.

    Attributes:
        partitions: Those that hold only events past their retention.
        unfinished: Names of partitions that a run which died has left half gone.
        obstacle: Why partitions cannot be dropped, and their rows are deleted instead; or nothing.
        notes: Which partitions could go, were they not needed by something else.
    """

    partitions: tuple[Dropped, ...] = ()
    unfinished: tuple[str, ...] = ()
    obstacle: str = ""
    notes: tuple[str, ...] = ()

    @property
    def any(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.partitions or self.unfinished)


Keep = Callable[["Connection", "Marked", int], bool]
"""Given a detached table, under a lock in the transaction that drops it: archives its rows; says whether it
may be dropped."""


@dataclass(frozen=True, slots=True)
class Purpose:
    """Why partitions go, and what happens to their rows.

    Attributes:
        past: What is past its retention.
        record: That of the run.
        keep: Archives the rows of a detached table; ``None`` where they are deleted for good.
    """

    past: Past
    record: Record
    keep: Keep | None = None


def candidates(conn: Connection, layout: Layout, past: Past | None, *, pooled: bool) -> Candidates:
    """Look at what could go as a whole; changes nothing.

    Args:
        conn: In autocommit mode.
        layout: The tables.
        past: What is past its retention; ``None`` where nothing is, to look for what is unfinished alone.
        pooled: Whether a transaction pooler stands in between.
    """
    with transaction(conn, read_only=True, search_path="pg_catalog"):
        there = pictures.look(conn, layout)
        if not there.monthly:
            return Candidates()
        open_ones = tuple(
            dict.fromkeys(
                [each.name for each in there.partitions if each.detaching]
                + [each.name for each in retire.marked(conn)]
            )
        )
        found: list[Dropped] = []
        notes: list[str] = []
        for each in there.partitions if past is not None else ():
            if past is None or not _could_go(each, past) or _stays(conn, each, past):
                continue
            if by := _needed_by(conn, each):
                notes.append(f"{each.name} is not dropped as a whole: {by} depends on it.")
            else:
                found.append(_counted(conn, each))
        if not found and not open_ones:
            return Candidates(notes=tuple(notes))
        obstacle = _obstacle(conn, layout, there, pooled=pooled)
    return Candidates(() if obstacle else tuple(found), open_ones, obstacle, tuple(notes))


def _could_go(each: Partition, past: Past) -> bool:
    return (
        each.kind == "r"
        and not each.detaching
        and not each.default
        and each.span is not None
        and each.span.upper <= past.cutoff
    )


def _all_due(span: Span, past: Past) -> bool:
    """Say whether the span alone shows that every event in it may go."""
    every_class = all(name in past.before for name in CLASSES)
    return (
        every_class
        and span.upper <= min(past.before.values())
        and not past.holds.ids
        and not past.holds.emails
    )


def _stays(conn: Connection, each: Partition, past: Past) -> bool:
    """Say whether a partition holds an event that must stay; looks no further than the first."""
    assert each.span is not None
    if _all_due(each.span, past):
        return False
    row = conn.execute(
        sql.SQL("SELECT EXISTS (SELECT FROM {} t WHERE {})").format(
            sql.Identifier(each.schema, each.name), _staying(past)
        ),
        past.as_parameters(),
    ).fetchone()
    return row == (True,)


_DEPENDENTS: Final = """
    SELECT pg_describe_object('pg_class'::regclass, r.ev_class, 0)
    FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
    WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
      AND d.refobjid = %(oid)s::oid AND r.ev_class <> d.refobjid
    UNION ALL
    SELECT pg_describe_object('pg_constraint'::regclass, k.oid, 0)
    FROM pg_constraint k WHERE k.confrelid = %(oid)s::oid AND k.contype = 'f'
    LIMIT 1
"""


def _needed_by(conn: Connection, each: Partition) -> str:
    """Return the view or foreign key that stands on a partition itself, if one does."""
    oid = conn.execute(
        "SELECT c.oid::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname = %s",
        (each.schema, each.name),
    ).fetchone()
    row = None if oid is None else conn.execute(_DEPENDENTS, {"oid": oid[0]}).fetchone()
    return "" if row is None else f"the {row[0]}"


def _staying(past: Past) -> sql.Composed:
    return _STAYS.format(due=sql.SQL(past.due), held=sql.SQL(past.holds.condition))


def _counted(conn: Connection, each: Partition) -> Dropped:
    assert each.span is not None
    row = conn.execute(
        sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(each.schema, each.name))
    ).fetchone()
    assert row is not None
    return Dropped(each.schema, each.name, each.span, int(str(row[0])), each.bytes)


def _obstacle(conn: Connection, layout: Layout, there: pictures.Picture, *, pooled: bool) -> str:
    if pooled:
        return "a transaction pooler stands in between (set SECOPS_DIRECT_URL)"
    if there.default is not None:
        return f"the table has a DEFAULT partition ({there.default.name})"
    tables = [(layout.schema, pictures.TABLE), *((p.schema, p.name) for p in there.partitions)]
    row = conn.execute(
        """SELECT bool_and(pg_has_role(c.relowner, 'USAGE')), current_user::text
           FROM unnest(%s::text[], %s::text[]) AS p (schema, name)
           JOIN pg_namespace n ON n.nspname = p.schema
           JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.name
           GROUP BY 2""",
        ([schema for schema, _ in tables], [name for _, name in tables]),
    ).fetchone()
    assert row is not None
    return "" if row[0] is True else f"the role {row[1]} does not own them"


class Whole(Partitioned):
    """A database whose expired partitions go; made by :func:`secops.schema.workplace.opened`."""

    def candidates(self, past: Past | None) -> Candidates:
        """Return what could go as a whole; see :func:`candidates`."""
        return candidates(self._conn, self._layout, past, pooled=self.pooled)

    def drop(
        self,
        purpose: Purpose | None,
        operation: Operation,
        observer: Observer,
        *,
        budget: timedelta,
        deadline: float | None = None,
        proceed: Callable[[], bool] = lambda: True,
    ) -> tuple[list[Dropped], list[str]]:
        """End what a run that died has begun, then detach and drop what is past its retention.

        Args:
            purpose: Why; ``None`` where nothing may go, and what is half gone comes back.
            operation: Who, where, why.
            observer: Is told what runs and what is waited for.
            budget: How long to wait for locks, in all.
            deadline: By ``time.monotonic``, when to stop; the next run goes on.
            proceed: Waits as long as there is a reason to; says whether to go on.

        Returns:
            What was dropped, and notes on what was not.

        Raises:
            Busy: Another runner, or other sessions' locks, outlasted the budget.
        """
        dropped: list[Dropped] = []
        notes: list[str] = []
        with self._alone(observer, budget) as held:
            runner = self._runner(held, observer, budget)
            self._settle(runner)
            for each in retire.marked(self._conn):
                if each.attached:
                    runner.do(retire.unmark(each))  # it is looked at like any other
                elif found := self._end(runner, operation, each, purpose, notes):
                    dropped.append(found)
            for one in self.candidates(purpose.past).partitions if purpose is not None else ():
                if not proceed() or (deadline is not None and time.monotonic() >= deadline):
                    notes.append("Time is up; the next run drops the other partitions.")
                    break
                gone = self._let_go(runner, one, deadline)
                if gone is None:
                    notes.append(f"{one.name} is not detached yet; the next run finishes that.")
                    break
                if found := self._end(runner, operation, gone, purpose, notes):
                    dropped.append(found)
        return dropped, notes

    def _settle(self, runner: Runner) -> None:
        """Finish every DETACH CONCURRENTLY that was cut short, whoever began it."""
        for each in self.picture().partitions:
            if each.detaching:
                self._detach(runner, each.schema, each.name)

    def _detach(self, runner: Runner, schema: str, name: str) -> None:
        step = retire.detach(self._layout, schema, name)
        for last in (False, False, True):
            try:
                runner.do(step)
            except (pg.UndefinedTable, pg.ObjectNotInPrerequisiteState, pg.WrongObjectType):
                # The server may still be at it for a run that died: then it was done meanwhile.
                if last:
                    raise
            else:
                return

    def _let_go(self, runner: Runner, one: Dropped, deadline: float | None) -> Marked | None:
        """Mark and detach a partition; ``None`` where time was up before it was detached."""
        partition = next(
            each
            for each in self.picture().partitions
            if (each.schema, each.name) == (one.schema, one.name)
        )
        runner.do(retire.mark(self._conn, partition))
        if deadline is not None:
            left = max(1, round((deadline - time.monotonic()) * 1000))
            self._conn.execute(sql.SQL("SET statement_timeout = {}").format(sql.Literal(left)))
        try:
            self._detach(runner, one.schema, one.name)
        except pg.QueryCanceled:
            return None
        finally:
            if deadline is not None and not self._conn.closed:
                self._conn.execute("SET statement_timeout = 0")
        return next(each for each in retire.marked(self._conn) if each.name == one.name)

    def _end(
        self,
        runner: Runner,
        operation: Operation,
        each: Marked,
        purpose: Purpose | None,
        notes: list[str],
    ) -> Dropped | None:
        """Drop a detached table, or attach it again where something in it must stay."""
        why = "nothing says any more how long events stay"
        if purpose is not None:
            found, why = self._dropped(each, purpose)
            if found is not None:
                purpose.record.committed(found.rows)
                return found
        message = f"Attached the partition {each.name} of {pictures.TABLE} again: {why}."
        event = self._event(operation, message, "retention", partition=each.name)
        runner.do(retire.attach_again(self._conn, self._layout, each, event))
        notes.append(f"{each.name} is kept as a partition: {why}.")
        return None

    def _dropped(self, each: Marked, purpose: Purpose) -> tuple[Dropped | None, str]:
        """Drop a detached table, however often that takes; or say why not."""
        for wait in _WAITS:
            time.sleep(wait)
            try:
                return self._drop(each, purpose)
            except pg.LockNotAvailable:
                continue
            except pg.DependentObjectsStillExist as error:
                return None, f"something depends on it ({error.diag.message_detail})"
        raise Busy(
            f"Another session holds a lock on {each.name}, which is detached and to be dropped.",
            hint="Run it again; `secops doctor` shows who holds locks for long.",
        )

    def _drop(self, each: Marked, purpose: Purpose) -> tuple[Dropped | None, str]:
        """Drop a detached table and record it, in one transaction; or say why not."""
        conn, past = self._conn, purpose.past
        with transaction(conn, lock_timeout=self.settings.span("lock_timeout")):
            conn.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(each.identifier))
            stays = sql.SQL("false") if _all_due(each.span, past) else _staying(past)
            row = conn.execute(
                sql.SQL(
                    """SELECT count(*), count(*) FILTER (WHERE {}), pg_total_relation_size({}::oid)
                       FROM {} t"""
                ).format(stays, sql.Literal(each.oid), each.identifier),
                past.as_parameters(),
            ).fetchone()
            assert row is not None
            rows, staying, size = (int(str(value)) for value in row)
            if staying:
                return None, f"{past.things(staying)} in it must stay"
            if purpose.keep is not None and not purpose.keep(conn, each, rows):
                return None, "not all of its events can be archived in one go"
            found = Dropped(each.schema, each.name, each.span, rows, size)
            conn.execute(sql.SQL("DROP TABLE {}").format(each.identifier))
            purpose.record.write(conn, rows, f", with the partition {each.name}", **found.as_dict())
        return found, ""
