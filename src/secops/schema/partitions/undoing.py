"""Undoing: what is in the way, what would be done, doing it, and moving the rows that must move."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from psycopg import errors as pg
from psycopg import sql

from secops.schema.partitions import picture as pictures
from secops.schema.partitions import preflight
from secops.schema.partitions.obstacles import refusal
from secops.schema.partitions.picture import TABLE
from secops.schema.partitions.place import Partitioned, Work
from secops.schema.partitions.shape import read
from secops.schema.partitions.undo import (
    choose,
    doubled,
    doubles,
    drop_emptied,
    leftovers,
    move_batch,
    unconversion,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from secops.accounts.operations import Operation
    from secops.database.locks import Runner as Held
    from secops.output.progress import Progress
    from secops.schema.partitions.undo import Pace
    from secops.schema.runner import Observer, Runner
    from secops.schema.versions import Planned


class Undoing(Partitioned):
    """A database whose security_events is to be one plain table again."""

    def plan(self, operation: Operation) -> Work:
        """Return what undoing would do; changes nothing."""
        with self._looking():
            return self._plan(operation)

    def undo(
        self,
        operation: Operation,
        observer: Observer,
        *,
        budget: timedelta,
        pace: Pace,
        progress: Progress,
        planned: Callable[[Work], None],
    ) -> tuple[int, int]:
        """Make security_events one plain table again, or take away what a cut-short conversion left.

        Args:
            operation: Who does it.
            observer: Is told what happens.
            budget: As for :meth:`convert`.
            pace: How many rows to move at once.
            progress: Is told how many were moved.
            planned: As for :meth:`convert`.

        Returns:
            How many statements of DDL were run, and how many rows were moved.

        Raises:
            Busy: Another runner, or other sessions' locks, outlasted the budget.
            Conflict: Something is in the way, or ids are not unique.
            Refused: This role may not, or not from here; nothing was touched.
        """
        with self._alone(observer, budget) as held:
            runner = self._runner(held, observer, budget)
            work = self._plan(operation)
            if work.obstacles:
                raise refusal(f"Undoing the partitions of {TABLE}", work.obstacles)
            planned(work)
            try:
                for each in work.steps:
                    self._do(runner, each.step)
            except pg.UniqueViolation as error:
                self._drop_key(runner)
                raise doubled(1, str(error.diag.message_detail)) from None
            moved = self._empty(runner, held, pace, progress)
            if runner.ran:
                self._record_operation(
                    operation, runner.ran, {"partitioned": False, "rows_moved": moved}
                )
            return runner.ran, moved

    def _plan(self, operation: Operation) -> Work:
        conn, layout = self._conn, self._layout
        there = pictures.look(conn, layout)
        message = f"Made {TABLE} one plain table again."
        event = self._event(operation, message, "unpartition")
        if there.kind == "r":
            steps = leftovers(layout, conn, there, self._event(operation, message, "release"))
            return Work(
                there,
                steps=self._planned(steps),
                rows=self._count(there.emptying),
                partitions=there.emptying,
                drops=self._drops(there.emptying),
            )
        base = choose(conn, there)
        obstacles = preflight.for_undo(conn, self.site, there, base, pooled=self.pooled)
        if obstacles:
            return Work(there, obstacles)
        assert base is not None
        others = [each for each in there.partitions if each is not base and not each.detaching]
        count, example = doubles(conn, base, others)
        if example is not None:
            raise doubled(count, example)
        names = tuple((each.schema, each.name) for each in others)
        steps = unconversion(conn, layout, there, base, event)
        return Work(
            there,
            steps=self._planned(steps),
            rows=self._count(names),
            partitions=names,
            drops=self._drops(names),
        )

    def _drops(self, partitions: Sequence[tuple[str, str]]) -> tuple[Planned, ...]:
        columns = read(self._conn, self._layout.schema, TABLE).written
        return self._planned([drop_emptied(self._layout, each, columns) for each in partitions])

    def _count(self, partitions: Sequence[tuple[str, str]]) -> int:
        total = 0
        for name in partitions:
            query = sql.SQL("SELECT count(*) FROM ONLY {}").format(sql.Identifier(*name))
            row = self._conn.execute(query).fetchone()
            assert row is not None
            total += int(str(row[0]))
        return total

    def _drop_key(self, runner: Runner) -> None:
        for step in self._vain_keys(pictures.look(self._conn, self._layout)):
            runner.do(step)

    def _empty(self, runner: Runner, held: Held, pace: Pace, progress: Progress) -> int:
        """Move what is left in partitions that were let go of, and drop them."""
        conn, layout = self._conn, self._layout
        columns = read(conn, layout.schema, TABLE).written
        moved = 0
        for partition in pictures.look(conn, layout).emptying:
            after = "-infinity"
            while True:
                held.check()
                begun = time.monotonic()
                try:
                    count, after = move_batch(
                        conn, layout, partition, columns, after=after, size=pace.size
                    )
                except pg.UniqueViolation as error:
                    raise doubled(1, str(error.diag.message_detail)) from None
                took = time.monotonic() - begun
                if not count:
                    break
                moved += count
                progress.advance(count)
                pace.took(took)
                time.sleep(pace.rest(took))
            self._do(runner, drop_emptied(layout, partition, columns))
        return moved
