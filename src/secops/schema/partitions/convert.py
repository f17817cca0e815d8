"""The steps that make security_events a partitioned table, with the plain one as its first partition.

No row is copied or moved: the table, rows and all, becomes the partition of everything before a cutoff,
which is a month's beginning in the near future. Two things make that quick. PostgreSQL takes a partition
without reading it where a proven CHECK says what the partition's bound says; and a key that holds
created_at, as any key on partitions must, is built beside the running app. What then happens under the
one lock that the app waits behind is names and pointers.

The CHECK is what could hurt: from when it is there until the swap, an event dated beyond the cutoff is
refused. So it comes last, when everything that takes long is done.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from psycopg import sql

from secops.schema import catalogue, effects, naming
from secops.schema.effects import Statement, together
from secops.schema.indexes import as_sql
from secops.schema.partitions import picture as pictures
from secops.schema.partitions.making import (
    analyze,
    literal,
    make_partition,
    names_for,
    unique_index,
)
from secops.schema.partitions.months import FIRST, Span, missing, wanted
from secops.schema.partitions.picture import CHECK, LEGACY, MARK, SHADOW, TABLE
from secops.schema.partitions.shape import dressing
from secops.schema.steps import ABSENT, DONE, Finding, Lock, State, Step

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from secops.database.connection import Connection
    from secops.database.layout import Layout
    from secops.schema.partitions.making import Event
    from secops.schema.partitions.picture import Picture
    from secops.schema.partitions.shape import Index, Shape

_LEGACY_KEY: Final = f"{LEGACY}_pkey"
_NEW_KEY: Final = "USING btree (id, created_at)"
NULLABLE: Final = f"{MARK}created_at may be NULL without it"
"""The mark where undoing has to allow NULL again."""

SURPRISE: Final = sql.SQL("SET LOCAL statement_timeout = 1000")
"""Under the lock that the app waits behind, names and pointers change; a statement that takes longer
does something else, and all is rolled back."""


def key_of_an_earlier_run(shape: Shape) -> Index | None:
    """Return the key for partitions that a conversion has built, or begun to build."""
    for each in shape.others:
        ours = each.unique and each.body == _NEW_KEY and not each.constraint
        if ours and each.name.startswith(_LEGACY_KEY):
            return each
    return None


class Names:
    """What everything is called: as wished where nobody has the name, the same on every run.

    Attributes:
        key: The key of the plain table for its time as a partition.
        legacy: What it is called then.
        shadow: The partitioned table, before it takes its place.
        shadow_key: Its primary key, before.
        shadow_indexes: Its indexes, before, by the name of the plain table's.
        legacy_indexes: What those are called then.
        partitions: The partitions ahead.
    """

    def __init__(self, conn: Connection, shape: Shape, picture: Picture, spans: list[Span]) -> None:
        schema = shape.schema
        taken: set[str] = set()
        # What an earlier run has made is not in the way: it is what the name is for.
        ours = {name for shadow in picture.shadows for name in _belongings(conn, schema, shadow)}

        def free(name: str) -> str:
            chosen = naming.free(conn, schema, name, also=taken, mine=ours)
            taken.add(chosen)
            return chosen

        key = key_of_an_earlier_run(shape)
        self.key = key.name if key is not None else free(_LEGACY_KEY)
        self.legacy = free(LEGACY)
        self.shadow = picture.shadows[0] if picture.shadows else free(SHADOW)
        self.shadow_key = free(f"{SHADOW}_pkey")
        others = [each.name for each in shape.others if each.name != self.key]
        self.shadow_indexes = {name: free(naming.fitting(name, "_secops_new")) for name in others}
        self.legacy_indexes = {name: free(naming.fitting(name, "_legacy")) for name in others}
        self.partitions = names_for(conn, schema, spans, taken)


def _belongings(conn: Connection, schema: str, table: str) -> list[str]:
    """Return the names of a table's indexes."""
    rows = conn.execute(
        """SELECT c.relname::text FROM pg_index i
           JOIN pg_class c ON c.oid = i.indexrelid
           JOIN pg_class t ON t.oid = i.indrelid
           JOIN pg_namespace n ON n.oid = t.relnamespace
           WHERE n.nspname = %s AND t.relname = %s""",
        (schema, table),
    )
    return [str(row[0]) for row in rows]


def ahead_of(cutoff: datetime, picture: Picture, months: int) -> list[Span]:
    """Return the partitions that are made beside the one of everything before the cutoff."""
    return missing([Span(FIRST, cutoff)], wanted(picture.now, months))


def conversion(
    conn: Connection,
    layout: Layout,
    shape: Shape,
    picture: Picture,
    *,
    cutoff: datetime,
    months: int,
    event: Event,
) -> list[Step]:
    """Return the steps, in order.

    Args:
        conn: To see which names are free.
        layout: The tables.
        shape: The plain table.
        picture: What is there.
        cutoff: Where old and new part.
        months: How many whole months ahead get their partition.
        event: Tells of the swap.
    """
    spans = ahead_of(cutoff, picture, months)
    names = Names(conn, shape, picture, spans)

    def plain(conn: Connection) -> bool:
        return catalogue.kind_of(conn, layout.schema, TABLE) == "r"

    table = (layout.schema, TABLE)
    return [
        unique_index(table, names.key, ("id", "created_at"), needed=plain),
        _make_shadow(layout, shape, names, spans),
        *(
            make_partition(
                layout, shape, names.shadow, span, names.partitions[span], options=shape.options
            )
            for span in spans
        ),
        _forbid(layout, cutoff),
        _prove(layout),
        _swap(layout, shape, names, cutoff, event),
        analyze(layout, [names.legacy, *names.partitions.values()]),
    ]


def _likeness(shape: Shape, names: Names) -> list[sql.Composable]:
    """Return what makes an empty partitioned table that is like the plain one in everything."""
    schema = shape.schema
    shadow = sql.Identifier(schema, names.shadow)
    # Not all: keys and indexes are others here, and the cutoff's CHECK is to stay behind.
    made = sql.SQL(
        "CREATE TABLE {} (LIKE {} INCLUDING COMMENTS INCLUDING COMPRESSION INCLUDING DEFAULTS\n"
        "    INCLUDING GENERATED INCLUDING STATISTICS INCLUDING STORAGE)\n"
        "    PARTITION BY RANGE (created_at)"
    ).format(shadow, shape.identifier)
    if shape.tablespace is not None:
        made += sql.SQL(" TABLESPACE {}").format(sql.Identifier(shape.tablespace))
    add = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}")
    key = sql.Identifier(names.shadow_key)
    parts: list[sql.Composable] = [
        made,
        add.format(shadow, key, sql.SQL("PRIMARY KEY (id, created_at)")),
    ]
    parts += [
        add.format(shadow, sql.Identifier(each.name), as_sql(each.definition))
        for each in shape.checks
        if each.name != CHECK
    ]
    for each in shape.others:
        if each.name == names.key:
            continue
        name = names.shadow_indexes[each.name]
        if each.constraint:
            unique = as_sql("UNIQUE " + each.body.removeprefix("USING btree "))
            parts.append(add.format(shadow, sql.Identifier(name), unique))
        else:
            words = sql.SQL("CREATE {}INDEX {} ON {} {}")
            kind = sql.SQL("UNIQUE " if each.unique else "")
            parts.append(words.format(kind, sql.Identifier(name), shadow, as_sql(each.body)))
        if each.comment is not None:
            comment = sql.SQL("COMMENT ON INDEX {} IS {}")
            parts.append(comment.format(sql.Identifier(schema, name), sql.Literal(each.comment)))
    return [*parts, *dressing(shape, shadow)]


def _make_shadow(layout: Layout, shape: Shape, names: Names, spans: list[Span]) -> Step:
    schema = shape.schema
    shadow = sql.Identifier(schema, names.shadow)
    parts = _likeness(shape, names)
    # What it was made from, so that a later run knows whether it is still the same.
    likeness = repr((together(parts).as_string(), shape.columns))
    digest = hashlib.sha256(likeness.encode()).hexdigest()[:16]
    mark = f"{NULLABLE if shape.nullable else MARK}; made from {digest}"
    comment = sql.SQL("COMMENT ON CONSTRAINT {} ON {} IS {}")
    key = sql.Identifier(names.shadow_key)
    do = together(
        [*parts, comment.format(key, shadow, sql.Literal(mark))],
        effects.reads((schema, shape.name)),
        effects.creates((schema, names.shadow)),
    )

    def anew(parts: Iterable[effects.Table]) -> Statement:
        return together(
            [sql.SQL("DROP TABLE {}").format(shadow), do],
            *(effects.drops(each) for each in parts),
        )

    def probe(conn: Connection) -> Finding:
        there = pictures.look(conn, layout)
        if there.kind != "r":
            return DONE
        if names.shadow not in there.shadows:
            return ABSENT
        already = pictures.partitions_of(conn, schema, names.shadow)
        same = pictures.mark_of(conn, schema, names.shadow) == mark
        if same and all(each.span in spans for each in already):
            return DONE
        row = conn.execute(sql.SQL("SELECT EXISTS (SELECT FROM {})").format(shadow)).fetchone()
        if row == (True,):
            return Finding(
                State.DIFFERENT,
                f"{schema}.{names.shadow}, which secops made for a conversion, holds rows",
                mend=sql.SQL("INSERT INTO {0} SELECT * FROM {1}; DROP TABLE {1}")
                .format(layout.events, shadow)
                .as_string(),
            )
        return Finding(
            State.PARTIAL,
            f"{schema}.{names.shadow} was made from what {TABLE} was before",
            instead=(anew((each.schema, each.name) for each in already),),
        )

    return Step(title=f"Make a partitioned table like {TABLE}", do=do, lock=Lock.SHORT, probe=probe)


def _forbid(layout: Layout, cutoff: datetime) -> Step:
    """Let no event beyond the cutoff in; what is there is looked at later."""
    name = sql.Identifier(CHECK)
    adding = sql.SQL(
        "ADD CONSTRAINT {} CHECK (created_at IS NOT NULL AND created_at < {}) NOT VALID"
    ).format(name, literal(cutoff))
    dropping = sql.SQL("DROP CONSTRAINT {}").format(name)

    def alter(what: sql.Composed) -> Statement:
        words = sql.SQL("ALTER TABLE {} {}").format(layout.events, what)
        return Statement(words, effects.alters((layout.schema, TABLE)))

    def probe(conn: Connection) -> Finding:
        there = pictures.look(conn, layout)
        if there.kind != "r" or (there.cutoff is not None and there.cutoff.at == cutoff):
            return DONE
        if there.cutoff is None:
            return ABSENT
        again = together([alter(dropping), alter(adding)])
        words = f"the cutoff is {there.cutoff.at:%Y-%m-%d}, set by a run that did not end"
        return Finding(State.PARTIAL, words, instead=(again,))

    return Step(
        title=f"Let nothing in that is dated {cutoff:%Y-%m-%d} or later",
        do=alter(adding),
        lock=Lock.SHORT,
        probe=probe,
        busy=layout.events,
    )


def _prove(layout: Layout) -> Step:
    """Read all rows once, beside the app, so that nobody must while the app waits."""

    def probe(conn: Connection) -> Finding:
        there = pictures.look(conn, layout)
        done = there.kind != "r" or (there.cutoff is not None and there.cutoff.proven)
        return DONE if done else ABSENT

    return Step(
        title="Prove that nothing is",
        do=Statement(
            sql.SQL("ALTER TABLE {} VALIDATE CONSTRAINT {}").format(
                layout.events, sql.Identifier(CHECK)
            ),
            effects.validates_check((layout.schema, TABLE)),
        ),
        lock=Lock.LONG,
        probe=probe,
    )


def _swap(layout: Layout, shape: Shape, names: Names, cutoff: datetime, event: Event) -> Step:
    """Put the partitioned table in the plain one's place, and that into it, at one stroke."""
    schema = shape.schema
    events = layout.events
    shadow, legacy = (sql.Identifier(schema, name) for name in (names.shadow, names.legacy))
    key = shape.key
    assert key is not None  # a migrated table has one
    own = sql.Identifier(key.name)
    table = sql.SQL("ALTER TABLE {} {}")

    def rename(kind: str, what: sql.Identifier, name: str) -> sql.Composed:
        return sql.SQL("ALTER {} {} RENAME TO {}").format(as_sql(kind), what, sql.Identifier(name))

    parts: list[sql.Composable] = [
        sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(events),
        SURPRISE,
        table.format(events, sql.SQL("DROP CONSTRAINT {}").format(own)),
        table.format(
            events,
            sql.SQL("ADD CONSTRAINT {0} PRIMARY KEY USING INDEX {0}").format(
                sql.Identifier(names.key)
            ),
        ),
    ]
    for name, between in names.shadow_indexes.items():
        parts += [
            rename("INDEX", sql.Identifier(schema, name), names.legacy_indexes[name]),
            rename("INDEX", sql.Identifier(schema, between), name),
        ]
    bound = sql.SQL("ATTACH PARTITION {} FOR VALUES FROM (MINVALUE) TO ({})")
    parts += [
        rename("TABLE", events, names.legacy),
        rename("TABLE", shadow, TABLE),
        rename("INDEX", sql.Identifier(schema, names.shadow_key), key.name),
        table.format(events, bound.format(legacy, literal(cutoff))),
        *own_sequences(shape, TABLE),
        table.format(legacy, sql.SQL("DROP CONSTRAINT {}").format(sql.Identifier(CHECK))),
    ]

    def probe(conn: Connection) -> Finding:
        return DONE if pictures.look(conn, layout).monthly else ABSENT

    return Step(
        title="Put the partitioned table in its place",
        do=together(
            parts,
            effects.locks((schema, TABLE)),
            effects.alters((schema, TABLE)),
            effects.alters((schema, names.shadow)),
        ),
        lock=Lock.SHORT,
        probe=probe,
        busy=events,
        event=event,
    )


def own_sequences(shape: Shape, table: str) -> list[sql.Composed]:
    """Return what gives a table's sequences to another, so that they go with it and not before."""
    words = sql.SQL("ALTER SEQUENCE {} OWNED BY {}")
    return [
        words.format(sql.Identifier(schema, name), sql.Identifier(shape.schema, table, column))
        for schema, name, column in shape.sequences
    ]
