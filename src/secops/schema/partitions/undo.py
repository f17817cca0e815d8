"""The steps that make security_events one plain table again.

One partition, the largest, becomes the table; that is what a conversion's first one was. The others are
let go of and become its heirs in PostgreSQL's older sense: whoever reads the table reads them too, and
whatever is written goes to the table alone. So no reader misses a row while rows move, in small batches,
and each is in one place at every moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from psycopg import sql

from secops.database.connection import transaction
from secops.errors import Conflict
from secops.schema import catalogue, effects, naming
from secops.schema.effects import Statement, together
from secops.schema.partitions import picture as pictures
from secops.schema.partitions.convert import NULLABLE, SURPRISE, own_sequences
from secops.schema.partitions.convert import key_of_an_earlier_run as new_key
from secops.schema.partitions.making import drop_index, release_cutoff, unique_index
from secops.schema.partitions.picture import EMPTYING, LEGACY, MARK, TABLE
from secops.schema.partitions.shape import granting, read
from secops.schema.steps import ABSENT, DONE, Finding, Lock, Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from secops.database.connection import Connection
    from secops.database.layout import Layout
    from secops.schema.partitions.making import Event
    from secops.schema.partitions.picture import Partition, Picture
    from secops.schema.partitions.shape import Index, Shape

_OLD_KEY: Final = f"{TABLE}_secops_id"
_ID: Final = "USING btree (id)"


class Pace(Protocol):
    """How many rows to move at once, and how long to rest."""

    size: int

    def took(self, seconds: float) -> None:
        """Learn from a batch that took so many seconds."""

    def rest(self, seconds: float) -> float:
        """Return for how many seconds to rest after it."""


def key_of_an_earlier_run(shape: Shape) -> Index | None:
    """Return the key of (id) alone that an undo has built, or begun to build."""
    for each in shape.others:
        ours = each.unique and each.body == _ID and not each.constraint
        if ours and each.name.startswith(_OLD_KEY):
            return each
    return None


def choose(conn: Connection, picture: Picture) -> Partition | None:
    """Choose the partition that becomes the table: where a run has begun, or the largest."""
    able = [each for each in picture.partitions if each.kind == "r" and not each.detaching]
    for each in able:
        if key_of_an_earlier_run(read(conn, each.schema, each.name)) is not None:
            return each
    return max(able, key=lambda each: (each.bytes, each.name == LEGACY), default=None)


def unconversion(
    conn: Connection, layout: Layout, picture: Picture, base: Partition, event: Event
) -> list[Step]:
    """Return the steps up to where security_events is a plain table.

    Args:
        conn: To see what there is.
        layout: The tables.
        picture: What is there.
        base: The partition that becomes the table.
        event: Tells of the swap.
    """
    parent = read(conn, layout.schema, TABLE)
    shape = read(conn, base.schema, base.name)
    begun = key_of_an_earlier_run(shape)
    key = begun.name if begun is not None else naming.free(conn, base.schema, _OLD_KEY)
    halves = [each for each in picture.partitions if each.detaching]
    others = [each for each in picture.partitions if each.name != base.name and not each.detaching]

    def partitioned(conn: Connection) -> bool:
        return catalogue.kind_of(conn, layout.schema, TABLE) == "p"

    return [
        *(finish_detaching(layout, each) for each in halves),
        unique_index((base.schema, base.name), key, ("id",), needed=partitioned),
        _carry(layout, parent, shape),
        _swap(layout, conn, parent=parent, base=shape, others=others, key=key, event=event),
    ]


def finish_detaching(layout: Layout, partition: Partition) -> Step:
    """Finish a DETACH CONCURRENTLY that was cut short."""
    name = sql.Identifier(partition.schema, partition.name)

    def probe(conn: Connection) -> Finding:
        there = pictures.look(conn, layout)
        pending = any(each.detaching and each.name == partition.name for each in there.partitions)
        return ABSENT if pending else DONE

    return Step(
        title=f"Finish detaching {partition.name}",
        do=Statement(
            sql.SQL("ALTER TABLE {} DETACH PARTITION {} FINALIZE").format(layout.events, name),
            *effects.finishes_detaching((layout.schema, TABLE), (partition.schema, partition.name)),
        ),
        lock=Lock.LONG,
        probe=probe,
    )


def _carry(layout: Layout, parent: Shape, shape: Shape) -> Step:
    """Give the table to be what the whole has been given since: owner, privileges, comment."""

    def giving(parent: Shape, shape: Shape) -> Statement:
        table = shape.identifier
        found = []
        if parent.owner != shape.owner:
            words = sql.SQL("ALTER TABLE {} OWNER TO {}")
            found.append(words.format(table, sql.Identifier(parent.owner)))
        found += granting(table, was=shape.grants, wanted=parent.grants)
        if parent.comment != shape.comment:
            comment = sql.SQL("COMMENT ON TABLE {} IS {}")
            found.append(comment.format(table, sql.Literal(parent.comment)))
        return together(found, effects.alters((shape.schema, shape.name)))

    def probe(conn: Connection) -> Finding:
        if catalogue.kind_of(conn, layout.schema, TABLE) != "p":
            return DONE
        left = giving(read(conn, parent.schema, parent.name), read(conn, shape.schema, shape.name))
        return Finding(ABSENT.state, instead=(left,)) if left.as_string() else DONE

    return Step(
        title=f"Give {shape.name} the privileges of the whole",
        do=giving(parent, shape),
        lock=Lock.SHORT,
        probe=probe,
    )


def _swap(
    layout: Layout,
    conn: Connection,
    *,
    parent: Shape,
    base: Shape,
    others: Sequence[Partition],
    key: str,
    event: Event,
) -> Step:
    """Put one partition in the place of the whole, with the others as its heirs, at one stroke."""
    schema = base.schema
    events = layout.events
    table = base.identifier
    alter = sql.SQL("ALTER TABLE {} {}")
    own, theirs = base.key, parent.key
    assert own is not None
    assert theirs is not None
    heirs = [sql.Identifier(each.schema, each.name) for each in others]
    detach = sql.SQL("DETACH PARTITION {}")
    parts: list[sql.Composable] = [
        sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(events),
        SURPRISE,
        *(alter.format(events, detach.format(name)) for name in (*heirs, table)),
        *own_sequences(parent, base.name),
        sql.SQL("DROP TABLE {}").format(events),
        alter.format(table, sql.SQL("DROP CONSTRAINT {}").format(sql.Identifier(own.name))),
        alter.format(
            table,
            sql.SQL("ADD CONSTRAINT {} PRIMARY KEY USING INDEX {}").format(
                sql.Identifier(theirs.name), sql.Identifier(key)
            ),
        ),
    ]
    if (pictures.mark_of(conn, parent.schema, TABLE) or MARK).startswith(NULLABLE):
        parts.append(alter.format(table, sql.SQL("ALTER COLUMN created_at DROP NOT NULL")))
    parts += [
        sql.SQL("ALTER INDEX {} RENAME TO {}").format(
            sql.Identifier(schema, part), sql.Identifier(whole)
        )
        for whole, part in _pairs(conn, parent, base).items()
        if whole != theirs.name
    ]
    parts.append(alter.format(table, sql.SQL("RENAME TO {}").format(sql.Identifier(TABLE))))
    comment = sql.SQL("COMMENT ON TABLE {} IS {}")
    for name in heirs:
        parts += [
            alter.format(name, sql.SQL("INHERIT {}").format(events)),
            comment.format(name, sql.Literal(EMPTYING)),
        ]

    def probe(conn: Connection) -> Finding:
        return ABSENT if catalogue.kind_of(conn, layout.schema, TABLE) == "p" else DONE

    return Step(
        title=f"Put {base.name} in the place of the whole",
        do=together(
            parts,
            effects.locks((layout.schema, TABLE)),
            effects.alters((base.schema, base.name)),
            *(effects.alters((each.schema, each.name)) for each in others),
        ),
        lock=Lock.SHORT,
        probe=probe,
        busy=events,
        event=event,
    )


def _pairs(conn: Connection, parent: Shape, base: Shape) -> dict[str, str]:
    """Return each index of the whole, and its part on one partition."""
    rows = conn.execute(
        """SELECT w.relname::text, p.relname::text
           FROM pg_inherits i
           JOIN pg_class w ON w.oid = i.inhparent
           JOIN pg_class p ON p.oid = i.inhrelid
           JOIN pg_index wx ON wx.indexrelid = w.oid AND wx.indrelid = %s::oid
           JOIN pg_index px ON px.indexrelid = p.oid AND px.indrelid = %s::oid
           ORDER BY 1""",
        (parent.oid, base.oid),
    )
    return {str(whole): str(part) for whole, part in rows}


def drop_emptied(layout: Layout, partition: tuple[str, str], columns: Sequence[str]) -> Step:
    """Drop a partition that was emptied; whatever is in it all the same is moved first."""
    name = sql.Identifier(*partition)
    listed = sql.SQL(", ").join(map(sql.Identifier, columns))
    rest = sql.SQL(
        "WITH gone AS (DELETE FROM ONLY {} RETURNING {})\nINSERT INTO {} ({}) SELECT {} FROM gone"
    ).format(name, listed, layout.events, listed, listed)

    def probe(conn: Connection) -> Finding:
        there = pictures.look(conn, layout)
        parts = ((each.schema, each.name) for each in there.partitions)
        return ABSENT if partition in {*parts, *there.emptying} else DONE

    return Step(
        title=f"Drop {partition[1]}, which is empty",
        do=together(
            [
                sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(name),
                rest,
                sql.SQL("DROP TABLE {}").format(name),
            ],
            effects.locks(partition),
            effects.writes((layout.schema, TABLE)),
        ),
        lock=Lock.SHORT,
        probe=probe,
        busy=name,
    )


_MOVE: Final = sql.SQL(
    """
    WITH batch AS MATERIALIZED (
        SELECT ctid FROM ONLY {old} WHERE created_at >= %(after)s::timestamptz
        ORDER BY created_at LIMIT %(size)s FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM ONLY {old} AS o USING batch AS b WHERE o.ctid = b.ctid RETURNING {returned}
    ), come AS (
        INSERT INTO {new} ({columns}) SELECT {columns} FROM gone RETURNING created_at
    )
    SELECT count(*), max(created_at)::text FROM come
    """
)


def move_batch(
    conn: Connection,
    layout: Layout,
    partition: tuple[str, str],
    columns: Sequence[str],
    *,
    after: str,
    size: int,
) -> tuple[int, str]:
    """Move some rows of a partition into the table, in one transaction.

    Args:
        conn: In autocommit mode.
        layout: The tables.
        partition: Where from: schema and name.
        columns: What the table's INSERTs name.
        after: Where the last batch ended, as text; rows behind it are not looked at again.
        size: How many rows at most.

    Returns:
        How many were moved, and where this batch ended.

    Raises:
        Conflict: A row with the same id is in the table, so that one of them would be lost.
    """
    names = list(map(sql.Identifier, columns))
    query = _MOVE.format(
        old=sql.Identifier(*partition),
        new=layout.events,
        columns=sql.SQL(", ").join(names),
        returned=sql.SQL(", ").join(sql.SQL("o.{}").format(name) for name in names),
    )
    with transaction(conn):
        row = conn.execute(query, {"after": after, "size": size}).fetchone()
    assert row is not None
    count, last = row
    return int(str(count)), after if last is None else str(last)


def doubles(
    conn: Connection, base: Partition, others: Sequence[Partition]
) -> tuple[int, str | None]:
    """Count the ids that more than one event outside ``base``, or one there and one in it, has.

    Returns:
        How many, and one of them.
    """
    if not others:
        return 0, None
    union = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT id FROM ONLY {}").format(sql.Identifier(each.schema, each.name))
        for each in others
    )
    row = conn.execute(
        sql.SQL(
            """WITH o AS MATERIALIZED ({union})
               SELECT count(*), min(id::text) FROM (
                   SELECT id FROM o GROUP BY id HAVING count(*) > 1
                   UNION
                   SELECT o.id FROM o JOIN {base} AS b ON b.id = o.id
               ) AS d"""
        ).format(union=union, base=sql.Identifier(base.schema, base.name))
    ).fetchone()
    assert row is not None
    return int(str(row[0])), None if row[1] is None else str(row[1])


def doubled(count: int, example: str) -> Conflict:
    """Return the error for ids that are not unique, as (id) alone need not be on partitions."""
    return Conflict(
        f"{count:,} ids belong to several events ({example} is one), and a plain table's key is id "
        "alone; nothing was moved.",
        hint=f"Look at the rows with such an id, {example} first: keep one of each, give the others a "
        "new id or delete them, then run it again.",
        details={"ids": count, "example": example},
    )


def leftovers(layout: Layout, conn: Connection, picture: Picture, event: Event) -> list[Step]:
    """Return the steps that take away what a conversion left that did not come to its swap."""
    steps = []
    if picture.cutoff is not None:
        steps.append(release_cutoff(layout, event))
    for name in picture.shadows:
        parts = pictures.partitions_of(conn, layout.schema, name)
        steps.append(_drop_shadow(layout, name, [(each.schema, each.name) for each in parts]))
    key = new_key(read(conn, layout.schema, TABLE))
    if key is not None:
        steps.append(drop_index((layout.schema, TABLE), key.name))
    return steps


def _drop_shadow(layout: Layout, name: str, parts: Sequence[effects.Table]) -> Step:
    def probe(conn: Connection) -> Finding:
        return ABSENT if name in pictures.look(conn, layout).shadows else DONE

    return Step(
        title=f"Drop the empty table {name}",
        do=Statement(
            sql.SQL("DROP TABLE {}").format(sql.Identifier(layout.schema, name)),
            *(effects.drops(each) for each in ((layout.schema, name), *parts)),
        ),
        lock=Lock.SHORT,
        probe=probe,
    )
