"""Steps that build indexes beside a running app, and that recover from builds that were cut short."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, LiteralString

from psycopg import sql

from secops.schema import catalogue, effects
from secops.schema.effects import Statement
from secops.schema.naming import fitting
from secops.schema.steps import ABSENT, DONE, Finding, Lock, State, Step

if TYPE_CHECKING:
    from secops.database.connection import Connection

_CAST: Final = re.compile(r"::(?:text|character varying|varchar)(?:\(\d+\))?(?:\[\])?")
_STORAGE: Final = re.compile(r"\bwith \([^)]*\)")
_IN: Final = re.compile(r"\bin\s*\(([^)]*)\)")
_NOISE: Final = re.compile(r"[\s()\"]+")


def create_index(
    schema: str,
    table: str,
    name: str,
    definition: LiteralString,
    *,
    accept: tuple[LiteralString, ...] = (),
) -> Step:
    """Build an index, never unique, without keeping anybody from reading or writing.

    On a partitioned table, where PostgreSQL builds none concurrently, each partition's is built by itself
    and then made part of the whole.

    Args:
        schema: The schema of the table, and so of the index.
        table: The table.
        name: The index.
        definition: What stands after ``USING btree``: keys, INCLUDE, WHERE.
        accept: Definitions that serve as well under this name, for somebody made them before.
    """
    index = sql.Identifier(schema, name)
    do = Statement(
        sql.SQL("CREATE INDEX CONCURRENTLY {} ON {} USING btree {}").format(
            sql.Identifier(name), sql.Identifier(schema, table), sql.SQL(definition)
        ),
        effects.builds_index((schema, table)),
    )
    drop = Statement(
        sql.SQL("DROP INDEX CONCURRENTLY {}").format(index), effects.drops_index((schema, table))
    )
    served = {normal(f"btree {each}") for each in (definition, *accept)}

    def stranger(kind: str | None, found: catalogue.Index | None) -> Finding | None:
        if found is None:
            shown = catalogue.KINDS.get(kind or "", "something else")
            words = f"{schema}.{name} is {shown}, not an index"
            return Finding(State.DIFFERENT, words) if kind is not None else None
        if (
            found.table == (schema, table)
            and not found.unique
            and normal(found.definition) in served
        ):
            return None
        on = ".".join(found.table)
        unique = "UNIQUE " if found.unique else ""
        return Finding(
            State.DIFFERENT,
            f"the index {schema}.{name} is {unique}{found.definition} on {on}, not btree {definition}",
            mend=f"ALTER INDEX {index.as_string()} RENAME TO "
            f"{sql.Identifier(f'{name}_old'[-63:]).as_string()}",
        )

    def probe(conn: Connection) -> Finding:
        found = catalogue.index(conn, schema, name)
        different = stranger(catalogue.kind_of(conn, schema, name), found)
        if different is not None:
            return different
        if catalogue.kind_of(conn, schema, table) == "p":
            return _by_partition(conn, (schema, table), name, found, f"btree {definition}")
        if found is None:
            return ABSENT
        if found.building:
            words = f"the index {schema}.{name} is being built by another session"
            return Finding(State.PARTIAL, words, building=True)
        if not found.valid:
            # PostgreSQL keeps up an invalid index at every write, and uses it in no query.
            words = f"the index {schema}.{name} is invalid: its build was cut short"
            return Finding(State.PARTIAL, words, instead=(drop, do))
        return DONE

    return Step(title=f"Build index {name}", do=do, lock=Lock.LONG, probe=probe, undo=drop)


def _by_partition(
    conn: Connection,
    table: tuple[str, str],
    name: str,
    whole: catalogue.Index | None,
    definition: str,
) -> Finding:
    """Find what is missing of an index of a partitioned table, ``whole`` being what there is."""
    schema = table[0]
    index = sql.Identifier(schema, name)
    # Only what is defined as the whole becomes a part of it.
    shape = as_sql(definition if whole is None else whole.definition)
    todo: list[tuple[Statement, Lock]] = []
    if whole is None:
        words = sql.SQL("CREATE INDEX {} ON ONLY {} USING {}")
        declaring = words.format(sql.Identifier(name), sql.Identifier(*table), shape)
        todo.append((Statement(declaring, effects.declares_index(table)), Lock.SHORT))
    has = catalogue.attached(conn, schema, name)
    parts = catalogue.partitions(conn, *table)
    for part in parts:
        if part in has:
            continue
        own = fitting(f"{part[1]}_{name}")
        part_index = sql.Identifier(part[0], own)
        found = catalogue.index(conn, part[0], own)
        if found is not None and found.building:
            building = f"the index {part[0]}.{own} is being built by another session"
            return Finding(State.PARTIAL, building, building=True)
        if found is not None and not found.valid:
            drop = sql.SQL("DROP INDEX CONCURRENTLY {}").format(part_index)
            todo.append((Statement(drop, effects.drops_index(part)), Lock.LONG))
        if found is None or not found.valid:
            build = sql.SQL("CREATE INDEX CONCURRENTLY {} ON {} USING {}").format(
                sql.Identifier(own), sql.Identifier(*part), shape
            )
            todo.append((Statement(build, effects.builds_index(part)), Lock.LONG))
        attach = sql.SQL("ALTER INDEX {} ATTACH PARTITION {}").format(index, part_index)
        todo.append((Statement(attach, *effects.attaches_index(table, part)), Lock.SHORT))
    undo = Statement(
        sql.SQL("DROP INDEX {}").format(index), *effects.drops_whole_index(table, parts)
    )
    if not todo:
        return Finding(State.DONE, undo=undo, undo_lock=Lock.SHORT)
    return Finding(
        State.ABSENT if whole is None else State.PARTIAL,
        "" if whole is None else f"partitions lack their part of the index {schema}.{name}",
        instead=tuple(statement for statement, _ in todo),
        locks=tuple(lock for _, lock in todo),
        undo=undo,
        undo_lock=Lock.SHORT,
    )


def as_sql(text: str) -> sql.SQL:
    """Trust text that the server itself wrote: ``pg_get_indexdef`` and its kind."""
    return sql.SQL(text)


def normal(definition: str) -> str:
    """Return a definition in a form that is the same however it was written.

    ``event_type IN ('a')`` and PostgreSQL's own ``((event_type)::text = ANY (ARRAY['a'::text]))``
    become one. Parentheses and casts between kinds of text go, so it tells apart what differs in
    columns, order, expressions and literals, not in grouping: enough for definitions as plain as ours.
    """
    text = _CAST.sub("", definition.lower())
    # PostgreSQL wraps a column in parentheses to cast it, and the cast array once more.
    text = _IN.sub(r"= any array[\1]", text)
    text = _STORAGE.sub("", text)
    return _NOISE.sub("", text)
