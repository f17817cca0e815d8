"""Converting: what is in the way, what would be done, doing it, and what to do when it is cut short."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import errors as pg

from secops.errors import SecopsError
from secops.schema.partitions import picture as pictures
from secops.schema.partitions import preflight
from secops.schema.partitions.convert import conversion
from secops.schema.partitions.making import analyze
from secops.schema.partitions.months import AHEAD, cutoff
from secops.schema.partitions.obstacles import by_id_alone, refusal
from secops.schema.partitions.picture import PRESSING, TABLE
from secops.schema.partitions.place import Partitioned, Work
from secops.schema.partitions.shape import read

if TYPE_CHECKING:
    from collections.abc import Callable

    from secops.accounts.operations import Operation
    from secops.schema.partitions.picture import Picture
    from secops.schema.runner import Observer, Runner

_KEY_ROW: Final = 40
"""Bytes that an entry of the key (uuid, timestamptz) takes."""
_LAST_WORD: Final = timedelta(seconds=5)
_RESTARTS: Final = 3
"""How often a conversion draws a new cutoff because the old one came near."""


class Converting(Partitioned):
    """A database whose security_events is to be partitioned."""

    def plan(self, operation: Operation, months: int = AHEAD) -> Work:
        """Return what converting would do; changes nothing."""
        with self._looking():
            return self._plan(operation, months)

    def convert(
        self,
        operation: Operation,
        observer: Observer,
        *,
        budget: timedelta,
        months: int = AHEAD,
        planned: Callable[[Work], None],
    ) -> int:
        """Make security_events a partitioned table.

        Args:
            operation: Who does it.
            observer: Is told what happens.
            budget: How long to wait for another runner, and how long for locks in all.
            months: How many whole months ahead get their partition.
            planned: Is told the plan, once nobody else can change it, before the first statement.

        Returns:
            How many statements were run.

        Raises:
            Busy: Another runner, or other sessions' locks, outlasted the budget.
            Conflict: Something is in the way; nothing was touched.
            Refused: This role may not, or not from here; nothing was touched.
        """
        with self._alone(observer, budget) as held:
            runner = self._runner(held, observer, budget)
            work = self._plan(operation, months)
            planned(work)
            try:
                self._persist(runner, work, operation, months)
            except BaseException:
                self._let_go(runner, operation)
                raise
            if runner.ran:
                self._record_operation(operation, runner.ran, {"partitioned": True})
            return runner.ran

    def _plan(self, operation: Operation, months: int) -> Work:
        conn, layout = self._conn, self._layout
        there = pictures.look(conn, layout)
        if there.monthly:
            parts = [each.name for each in there.partitions]
            steps = [*self._vain_keys(there), analyze(layout, parts)]
            return Work(there, steps=self._planned(steps))
        at = there.cutoff.at if there.cutoff and not there.pressing else cutoff(there.now)
        obstacles = preflight.for_conversion(conn, self.site, there, at, pooled=self.pooled)
        if there.kind != "r" or there.emptying:
            return Work(there, obstacles)
        event = self._event(
            operation,
            f"Partitioned {TABLE} by month; what was there is the partition of everything before "
            f"{at:%Y-%m-%d}.",
            "partition",
        )
        shape = read(conn, layout.schema, TABLE)
        steps = []
        if not obstacles:
            steps = conversion(conn, layout, shape, there, cutoff=at, months=months, event=event)
        return Work(there, obstacles, self._planned(steps), at, warnings=self._warnings(there))

    def _warnings(self, there: Picture) -> tuple[str, ...]:
        known = by_id_alone(self._conn)
        seen = f" These do so: {', '.join(known)}." if known else ""
        megabytes = there.rows * _KEY_ROW / 1e6
        disk = f"The new key, built beside the old one, takes about {megabytes:,.0f} MB of disk."
        key = (
            "Afterwards (id, created_at) is unique, not id alone: an app's INSERT ... ON CONFLICT (id) "
            f"will fail, ON CONFLICT DO NOTHING goes on working.{seen}"
        )
        return disk, key

    def _persist(self, runner: Runner, work: Work, operation: Operation, months: int) -> None:
        """Carry the plan out, and where its cutoff comes too near, another with a later one."""
        for _ in range(_RESTARTS):
            if work.obstacles:
                raise refusal(f"Partitioning {TABLE}", work.obstacles)
            if self._carry_out(runner, work, operation):
                return
            work = self._plan(operation, months)
        raise _overtaken()

    def _carry_out(self, runner: Runner, work: Work, operation: Operation) -> bool:
        """Run the steps; returns whether the cutoff stayed far enough away."""
        for each in work.steps:
            there = pictures.look(self._conn, self._layout)
            if there.pressing:
                runner.do(self._release(operation))
                return False
            left = there.cutoff.at - there.now - PRESSING if there.cutoff else timedelta(0)
            try:
                self._do(runner, each.step, limit=left)
            except pg.QueryCanceled:
                if not pictures.look(self._conn, self._layout).pressing:
                    raise
                runner.do(self._release(operation))
                return False
        return True

    def _let_go(self, runner: Runner, operation: Operation) -> None:
        """Take the cutoff away where a conversion ends without its swap.

        It would refuse events from then on, and nobody may come back to it in time. What keeps us from
        it may be what kept us from the rest; then `secops doctor` and the next run tell of it.
        """
        runner.budget = _LAST_WORD
        with suppress(psycopg.Error, SecopsError):
            if pictures.look(self._conn, self._layout).cutoff is not None:
                runner.do(self._release(operation))


def _overtaken() -> SecopsError:
    return SecopsError(
        "Each month that was to be the first with a partition of its own came too near before all was "
        "ready; nothing was swapped.",
        hint="Nothing refuses events now. Run it again when the server is less busy.",
    )
