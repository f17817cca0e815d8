"""Partitions for the months to come, made before they begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from secops.errors import Conflict
from secops.schema import workplace
from secops.schema.partitions import picture as pictures
from secops.schema.partitions.making import make_partition, names_for
from secops.schema.partitions.months import AHEAD, missing, wanted
from secops.schema.partitions.picture import TABLE
from secops.schema.partitions.place import Partitioned, Work
from secops.schema.partitions.shape import read

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from secops.accounts.operations import Operation
    from secops.database.connection import Connection
    from secops.database.layout import Layout
    from secops.schema.partitions.making import Event
    from secops.schema.partitions.months import Span
    from secops.schema.partitions.picture import Picture
    from secops.schema.runner import Observer
    from secops.schema.steps import Step
    from secops.settings import Settings


def months_to_make(
    conn: Connection,
    layout: Layout,
    picture: Picture,
    months: int,
    event: Callable[[str, Span], Event],
) -> list[Step]:
    """Return the steps that make what is missing of this month and so many ahead.

    Args:
        conn: To see what there is.
        layout: The tables.
        picture: What there is.
        months: How many whole months after the current one.
        event: Given a partition's name and span, returns what tells of it.

    Raises:
        Conflict: There is a DEFAULT partition, which would be locked and read for each new one.
    """
    spans = missing(picture.spans, wanted(picture.now, months))
    if not spans:
        return []
    if picture.default is not None:
        raise default_in_the_way(layout, picture.default.schema, picture.default.name)
    shape = read(conn, layout.schema, TABLE)
    # The whole has no storage parameters; the newest of its partitions has.
    newest = next((each for each in reversed(picture.partitions) if each.kind == "r"), None)
    options = () if newest is None else read(conn, newest.schema, newest.name).options
    names = names_for(conn, layout.schema, spans)
    return [
        make_partition(
            layout,
            shape,
            TABLE,
            span,
            names[span],
            options=options,
            event=event(names[span], span),
        )
        for span in spans
    ]


def default_in_the_way(layout: Layout, schema: str, name: str) -> Conflict:
    """Return the error for a DEFAULT partition."""
    table = sql.Identifier(schema, name)
    detach = sql.SQL("ALTER TABLE {} DETACH PARTITION {}").format(layout.events, table)
    return Conflict(
        f"{TABLE} has a DEFAULT partition ({name}): PostgreSQL would lock it and read it for each "
        "partition that is made, and partitions could not be detached beside a running app.",
        hint=f"secops makes none. Detach it ({detach.as_string()}), run it again, then insert its rows "
        f"into {TABLE} anew.",
    )


class Ahead(Partitioned):
    """A database whose security_events is to have its partitions ahead."""

    def plan(self, operation: Operation, months: int = AHEAD) -> Work:
        """Return what making months ahead would do; changes nothing."""
        with self._looking():
            return self._plan(operation, months)

    def make_ahead(
        self,
        operation: Operation,
        observer: Observer,
        *,
        budget: timedelta,
        months: int = AHEAD,
    ) -> list[str]:
        """Make what is missing of so many months ahead; give up a forgotten conversion's cutoff.

        Returns:
            What was done, in words: nothing, as a rule.

        Raises:
            Busy: Another runner, or other sessions' locks, outlasted the budget.
            Conflict: There is a DEFAULT partition.
        """
        if not self.plan(operation, months).open:
            return []
        with self._alone(observer, budget) as held:
            runner = self._runner(held, observer, budget)
            done = []
            for each in self._plan(operation, months).open:
                self._do(runner, each.step)
                done.append(each.step.title)
            if runner.ran:
                self._record_operation(operation, runner.ran, {"ahead": done})
            return done

    def _plan(self, operation: Operation, months: int) -> Work:
        conn, layout = self._conn, self._layout
        there = pictures.look(conn, layout)
        steps: list[Step] = []
        if there.pressing:
            steps.append(self._release(operation))
        if there.monthly:

            def event(name: str, span: Span) -> Event:
                message = f"Made the partition {name} of {TABLE}, {span}."
                return self._event(operation, message, "ahead", partition=name)

            steps += months_to_make(conn, layout, there, months, event)
        return Work(there, steps=self._planned(steps))


def make_ahead(
    settings: Settings,
    operation: Operation,
    observer: Observer,
    *,
    budget: timedelta,
    months: int = AHEAD,
) -> list[str]:
    """Open the database and make months ahead; see :meth:`Ahead.make_ahead`."""
    with workplace.opened(Ahead, settings, operation.command) as place:
        return place.make_ahead(operation, observer, budget=budget, months=months)
