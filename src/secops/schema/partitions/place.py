"""A database whose security_events is made partitioned, or looked at, and the plan of what is to be done."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from psycopg import errors as pg
from psycopg import sql

from secops.accounts.events import as_statement
from secops.database.connection import transaction
from secops.errors import SecopsError
from secops.schema.partitions import picture as pictures
from secops.schema.partitions.making import drop_index, release_cutoff
from secops.schema.partitions.obstacles import Obstacle
from secops.schema.partitions.picture import TABLE, Picture
from secops.schema.partitions.shape import read
from secops.schema.partitions.undo import key_of_an_earlier_run
from secops.schema.steps import Lock, State
from secops.schema.versions import Planned
from secops.schema.workplace import Workplace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from secops.accounts.operations import Operation
    from secops.database.connection import Connection
    from secops.database.layout import Layout
    from secops.schema.partitions.making import Event
    from secops.schema.runner import Runner
    from secops.schema.steps import Step


@dataclass(frozen=True, slots=True)
class Work:
    """What is there, and what is left to do.

    Attributes:
        picture: What is there.
        obstacles: What stands in the way.
        steps: Every step, and what the database has of it.
        cutoff: Where a conversion parts old and new.
        rows: How many rows an undo has to move, all together.
        partitions: Where it moves them from: schema and name.
        drops: The steps after that.
        warnings: What does not stand in the way, and should be known.
    """

    picture: Picture
    obstacles: tuple[Obstacle, ...] = ()
    steps: tuple[Planned, ...] = ()
    cutoff: datetime | None = None
    rows: int = 0
    partitions: tuple[tuple[str, str], ...] = ()
    drops: tuple[Planned, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def open(self) -> tuple[Planned, ...]:
        """The steps that are not done."""
        found = (*self.steps, *self.drops)
        return tuple(each for each in found if each.finding.state is not State.DONE)

    @property
    def nothing_to_do(self) -> bool:
        """Whether the database is where it should be."""
        return not self.open and not self.obstacles


class Partitioned(Workplace):
    """A database whose security_events is looked at; made by :func:`secops.schema.workplace.opened`."""

    def picture(self) -> Picture:
        """Return what is there."""
        with self._looking():
            return pictures.look(self._conn, self._layout)

    @property
    def _layout(self) -> Layout:
        return self.site.layout

    @contextmanager
    def _looking(self) -> Iterator[None]:
        with transaction(self._conn, read_only=True, search_path="pg_catalog"):
            self._conn.execute("SET LOCAL TimeZone = 'UTC'")
            yield

    def _event(self, operation: Operation, message: str, direction: str, **extra: object) -> Event:
        def event(conn: Connection) -> sql.Composed:
            return as_statement(
                conn,
                self._layout,
                operation,
                event_type="schema_migrated",
                message=message,
                extra={"direction": direction, **extra},
            )

        return event

    def _release(self, operation: Operation) -> Step:
        message = (
            f"Gave up a conversion of {TABLE} that was cut short: events of any date come in again."
        )
        return release_cutoff(self._layout, self._event(operation, message, "release"))

    def _planned(self, steps: Sequence[Step]) -> tuple[Planned, ...]:
        return tuple(Planned("", step, step.probe(self._conn)) for step in steps)

    def _vain_keys(self, there: Picture) -> list[Step]:
        """Return what takes away keys that an undo has built that was not carried through."""
        steps = []
        for each in there.partitions:
            if each.kind == "r" and not each.detaching:
                key = key_of_an_earlier_run(read(self._conn, each.schema, each.name))
                if key is not None:
                    steps.append(drop_index((each.schema, each.name), key.name))
        return steps

    def _do(self, runner: Runner, step: Step, limit: timedelta = timedelta(0)) -> None:
        """Run a step; a long one is ended when a cutoff comes near, which is ``limit`` away."""
        milliseconds = max(0, limit // timedelta(milliseconds=1))
        if step.lock is Lock.SHORT or not milliseconds:
            try:
                runner.do(step)
            except pg.QueryCanceled:
                if step.lock is Lock.LONG:
                    raise
                raise _surprise(step) from None
            return
        self._conn.execute(
            sql.SQL("SET statement_timeout = {}").format(sql.Literal(min(milliseconds, 2**31 - 1)))
        )
        try:
            runner.do(step)
        finally:
            if not self._conn.closed:
                self._conn.execute("SET statement_timeout = 0")


def _surprise(step: Step) -> SecopsError:
    return SecopsError(
        f"{step.title}: it was cancelled, or took longer than it may while the app waits.",
        hint="Nothing of this step stands. Run it again when the server is less busy.",
    )
