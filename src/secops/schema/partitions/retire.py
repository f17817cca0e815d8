"""The steps that let go of a partition, to drop it: beside a running app, and with a way back.

A partition is marked first, in its comment, with what it held. Then it is detached concurrently, which
keeps nobody waiting, and stands alone: nobody finds its rows any more, and nobody waits for a lock on it.
Whoever finds a marked table drops it, or attaches it again, so that a run which dies leaves nothing behind
that the next one does not end.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from psycopg import sql

from secops.schema import effects
from secops.schema.effects import Statement, together
from secops.schema.partitions import picture as pictures
from secops.schema.partitions.making import literal
from secops.schema.partitions.months import Span
from secops.schema.partitions.picture import TABLE
from secops.schema.steps import ABSENT, DONE, Finding, Lock, State, Step

if TYPE_CHECKING:
    from secops.database.connection import Connection
    from secops.database.layout import Layout
    from secops.schema.partitions.making import Event
    from secops.schema.partitions.picture import Partition

_MARK: Final = "secops: past its retention, being dropped; "


@dataclass(frozen=True, slots=True)
class Marked:
    """A partition, or what was one, that is being dropped.

    Attributes:
        schema: Its schema.
        name: Its name.
        oid: Its number.
        attached: Whether it is a partition still.
        span: What it held, or holds.
        comment: The comment that it had.
        checks: The names of the CHECK constraints that it had; detaching adds one.
    """

    schema: str
    name: str
    oid: int
    attached: bool
    span: Span
    comment: str | None
    checks: tuple[str, ...]

    @property
    def identifier(self) -> sql.Identifier:
        """Its quoted, qualified name."""
        return sql.Identifier(self.schema, self.name)


_MARKED: Final = """
    SELECT n.nspname::text, c.relname::text, c.oid::bigint, c.relispartition, d.description
    FROM pg_description d
    JOIN pg_class c ON c.oid = d.objoid AND c.relkind = 'r'
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE d.classoid = 'pg_class'::regclass AND d.objsubid = 0 AND d.description LIKE %s
    ORDER BY 1, 2
"""


def marked(conn: Connection) -> list[Marked]:
    """Return what runs that died have marked and not ended."""
    found = []
    for schema, name, oid, attached, text in conn.execute(_MARKED, (f"{_MARK}%",)):
        try:
            known = json.loads(str(text).removeprefix(_MARK))
            span = Span(*(datetime.fromisoformat(each) for each in known["span"]))
            checks = tuple(map(str, known["checks"]))
            comment = known["comment"]
        except (ValueError, KeyError, TypeError):
            continue  # somebody else's words, however they begin
        found.append(
            Marked(str(schema), str(name), int(str(oid)), bool(attached), span, comment, checks)
        )
    return found


def mark(conn: Connection, partition: Partition) -> Step:
    """Mark a partition that is about to be detached."""
    assert partition.span is not None
    name = sql.Identifier(partition.schema, partition.name)
    row = conn.execute(
        """SELECT obj_description(c.oid, 'pg_class'),
                  ARRAY(SELECT k.conname::text FROM pg_constraint k
                        WHERE k.conrelid = c.oid AND k.contype = 'c' ORDER BY 1)
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = %s AND c.relname = %s""",
        (partition.schema, partition.name),
    ).fetchone()
    assert row is not None
    known = {
        "span": [partition.span.lower.isoformat(), partition.span.upper.isoformat()],
        "comment": row[0],
        "checks": row[1],
    }

    def probe(conn: Connection) -> Finding:
        ours = (partition.schema, partition.name)
        return DONE if any((each.schema, each.name) == ours for each in marked(conn)) else ABSENT

    return Step(
        title=f"Mark {partition.name}, which is past its retention",
        do=Statement(
            sql.SQL("COMMENT ON TABLE {} IS {}").format(
                name, sql.Literal(_MARK + json.dumps(known))
            ),
            effects.tunes((partition.schema, partition.name)),
        ),
        lock=Lock.SHORT,
        probe=probe,
    )


def unmark(each: Marked) -> Step:
    """Give a marked table the comment that it had."""

    def probe(conn: Connection) -> Finding:
        return ABSENT if any(one.oid == each.oid for one in marked(conn)) else DONE

    return Step(
        title=f"Keep {each.name} after all",
        do=Statement(_comment(each), effects.tunes((each.schema, each.name))),
        lock=Lock.SHORT,
        probe=probe,
    )


def detach(layout: Layout, schema: str, name: str) -> Step:
    """Detach a partition concurrently, or finish doing so."""
    table = sql.Identifier(schema, name)
    words = sql.SQL("ALTER TABLE {} DETACH PARTITION {} {}")
    does = effects.finishes_detaching((layout.schema, TABLE), (schema, name))

    def probe(conn: Connection) -> Finding:
        for each in pictures.look(conn, layout).partitions:
            if (each.schema, each.name) == (schema, name):
                if not each.detaching:
                    return ABSENT
                finish = words.format(layout.events, table, sql.SQL("FINALIZE"))
                said = f"{name} is half detached"
                return Finding(State.PARTIAL, said, instead=(Statement(finish, *does),))
        return DONE

    return Step(
        title=f"Detach {name}",
        do=Statement(words.format(layout.events, table, sql.SQL("CONCURRENTLY")), *does),
        lock=Lock.LONG,
        probe=probe,
    )


def attach_again(conn: Connection, layout: Layout, each: Marked, event: Event) -> Step:
    """Attach a table that was detached to be dropped, and must stay.

    The CHECK that detaching left proves that its rows fit, so that none is read.
    """
    table = (each.schema, each.name)
    rows = conn.execute(
        """SELECT conname::text FROM pg_constraint
           WHERE conrelid = %s::oid AND contype = 'c' AND NOT conname = ANY (%s) ORDER BY 1""",
        (each.oid, list(each.checks)),
    )
    left = [str(row[0]) for row in rows]
    parts = [
        Statement(
            sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
                layout.events, each.identifier, literal(each.span.lower), literal(each.span.upper)
            ),
            effects.attaches((layout.schema, TABLE)),
            effects.alters(table),
        ),
        *(
            Statement(
                sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(
                    each.identifier, sql.Identifier(name)
                ),
                effects.alters(table),
            )
            for name in left
        ),
        Statement(_comment(each), effects.tunes(table)),
    ]

    def probe(conn: Connection) -> Finding:
        there = pictures.look(conn, layout).partitions
        return DONE if any((one.schema, one.name) == table for one in there) else ABSENT

    return Step(
        title=f"Attach {each.name} again",
        do=together(parts),
        lock=Lock.SHORT,
        probe=probe,
        event=event,
    )


def _comment(each: Marked) -> sql.Composed:
    return sql.SQL("COMMENT ON TABLE {} IS {}").format(each.identifier, sql.Literal(each.comment))
