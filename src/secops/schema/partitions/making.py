"""Steps that converting, undoing and making months ahead have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from psycopg import sql

from secops.database.connection import Connection
from secops.schema import catalogue, effects, naming
from secops.schema.effects import Statement, together
from secops.schema.partitions import picture
from secops.schema.partitions.months import FIRST, LAST, Span, later, month_of
from secops.schema.partitions.picture import CHECK, TABLE
from secops.schema.partitions.shape import dressing, parameters
from secops.schema.steps import ABSENT, DONE, Finding, Lock, State, Step

if TYPE_CHECKING:
    from datetime import datetime

    from secops.database.layout import Layout
    from secops.schema.partitions.shape import Shape

Event = Callable[[Connection], sql.Composed]
"""Returns the INSERT of the event that tells of a step."""


def literal(boundary: datetime) -> sql.Composable:
    """Write a boundary so that no time zone of a session changes what it means."""
    if boundary in {FIRST, LAST}:
        return sql.SQL("MINVALUE" if boundary == FIRST else "MAXVALUE")
    text = boundary.isoformat(" ", "microseconds" if boundary.microsecond else "seconds")
    return sql.Literal(text)


def partition_name(span: Span) -> str:
    """Return what the partition of a span is called, where nothing else has the name."""
    whole = span.lower == month_of(span.lower) and span.upper == later(span.lower, 1)
    return f"{TABLE}_p{span.lower:%Y_%m}" if whole else f"{TABLE}_p{span.lower:%Y_%m_%d}"


def names_for(
    conn: Connection, schema: str, spans: Iterable[Span], taken: Iterable[str] = ()
) -> dict[Span, str]:
    """Return a free name for the partition of each span."""
    found: dict[Span, str] = {}
    for span in spans:
        spoken_for = {*taken, *found.values()}
        found[span] = naming.free(conn, schema, partition_name(span), also=spoken_for)
    return found


def make_partition(
    layout: Layout,
    shape: Shape,
    parent: str,
    span: Span,
    name: str,
    *,
    options: tuple[str, ...],
    event: Event | None = None,
) -> Step:
    """Make a partition and attach it, all in one transaction.

    ``PARTITION OF`` would lock the parent against every reader; a table made like it, and attached,
    keeps nobody waiting, and is as empty, so that nothing is read to prove that it fits.

    Args:
        layout: The tables.
        shape: Whose owner, privileges and comments it gets.
        parent: What it becomes a part of, in the same schema.
        span: What it holds.
        name: Its name.
        options: Its storage parameters.
        event: Tells of it.
    """
    table = sql.Identifier(shape.schema, name)
    whole = sql.Identifier(shape.schema, parent)
    made = sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(table, whole)
    if options:
        made += sql.SQL(" WITH ({})").format(parameters(options))
    if shape.tablespace is not None:
        made += sql.SQL(" TABLESPACE {}").format(sql.Identifier(shape.tablespace))
    attach = sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
        whole, table, literal(span.lower), literal(span.upper)
    )

    def probe(conn: Connection) -> Finding:
        there = picture.look(conn, layout)
        parts = there.partitions
        if not there.monthly:
            parts = tuple(
                each
                for shadow in there.shadows
                for each in picture.partitions_of(conn, layout.schema, shadow)
            )
        return DONE if any(each.span == span for each in parts) else ABSENT

    return Step(
        title=f"Make the partition {span}",
        do=together(
            [made, *dressing(shape, table), attach],
            effects.creates((shape.schema, name)),
            effects.attaches((shape.schema, parent)),
        ),
        lock=Lock.SHORT,
        probe=probe,
        event=event,
    )


def unique_index(
    table: tuple[str, str],
    name: str,
    columns: Sequence[str],
    *,
    needed: Callable[[Connection], bool],
) -> Step:
    """Build a unique index that is to become a primary key.

    Args:
        table: Its table: schema and name.
        name: The index; nobody else's.
        columns: Its columns.
        needed: Whether it still is: once it is a key it has served.
    """
    body = sql.SQL("USING btree ({})").format(sql.SQL(", ").join(map(sql.Identifier, columns)))
    do = Statement(
        sql.SQL("CREATE UNIQUE INDEX CONCURRENTLY {} ON {} {}").format(
            sql.Identifier(name), sql.Identifier(*table), body
        ),
        effects.builds_index(table),
    )
    drop = Statement(
        sql.SQL("DROP INDEX CONCURRENTLY {}").format(sql.Identifier(table[0], name)),
        effects.drops_index(table),
    )

    def probe(conn: Connection) -> Finding:
        if not needed(conn):
            return DONE
        found = catalogue.index(conn, table[0], name)
        if found is None:
            return ABSENT
        if found.building:
            words = f"the index {name} is being built by another session"
            return Finding(State.PARTIAL, words, building=True)
        if not found.valid:
            words = f"the index {name} is invalid: its build was cut short"
            return Finding(State.PARTIAL, words, instead=(drop, do))
        return DONE

    return Step(
        title=f"Build the key ({', '.join(columns)})", do=do, lock=Lock.LONG, probe=probe, undo=drop
    )


def drop_index(table: tuple[str, str], name: str) -> Step:
    """Drop an index that a conversion, or its undoing, has built on a table in vain."""
    schema = table[0]

    def probe(conn: Connection) -> Finding:
        found = catalogue.index(conn, schema, name)
        if found is None:
            return DONE
        return Finding(State.ABSENT, building=found.building)

    return Step(
        title=f"Drop the key {name}",
        do=Statement(
            sql.SQL("DROP INDEX CONCURRENTLY {}").format(sql.Identifier(schema, name)),
            effects.drops_index(table),
        ),
        lock=Lock.LONG,
        probe=probe,
    )


def release_cutoff(layout: Layout, event: Event | None = None) -> Step:
    """Let events of any date in again, where a conversion had set a cutoff."""

    def probe(conn: Connection) -> Finding:
        return DONE if picture.look(conn, layout).cutoff is None else ABSENT

    return Step(
        title="Give up the cutoff",
        do=Statement(
            sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(
                layout.events, sql.Identifier(CHECK)
            ),
            effects.alters((layout.schema, TABLE)),
        ),
        lock=Lock.SHORT,
        probe=probe,
        busy=layout.events,
        event=event,
    )


def analyze(layout: Layout, parts: Iterable[str]) -> Step:
    """Gather statistics of the whole: autovacuum does so for each partition, never for all together.

    Args:
        layout: The tables.
        parts: What the partitions are called then.
    """

    def probe(conn: Connection) -> Finding:
        row = conn.execute(
            """SELECT c.relkind = 'p' AND c.reltuples >= 0
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = %s AND c.relname = %s""",
            (layout.schema, TABLE),
        ).fetchone()
        return DONE if row == (True,) else ABSENT

    return Step(
        title=f"Gather statistics of {TABLE}",
        do=Statement(
            sql.SQL("ANALYZE {}").format(layout.events),
            *effects.analyzes((layout.schema, TABLE), ((layout.schema, part) for part in parts)),
        ),
        lock=Lock.LONG,
        probe=probe,
    )
