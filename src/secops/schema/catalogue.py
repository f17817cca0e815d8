"""Questions to the system catalogue, answered as small records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from secops.database.connection import Connection

KINDS = {
    "r": "a table",
    "p": "a partitioned table",
    "v": "a view",
    "m": "a materialized view",
    "i": "an index",
    "I": "a partitioned index",
    "S": "a sequence",
    "c": "a type",
    "f": "a foreign table",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column as it is."""

    type: str
    not_null: bool
    default: str | None
    filled: bool
    """Whether the server fills it where an INSERT leaves it away: a default, an identity, generated."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """A constraint as it is; ``kind`` as in ``pg_constraint.contype``."""

    name: str
    kind: str
    columns: tuple[str, ...]
    validated: bool
    definition: str
    target: tuple[str, str] | None
    target_columns: tuple[str, ...]
    on_delete: str


@dataclass(frozen=True, slots=True)
class Index:
    """An index as it is.

    Attributes:
        table: The schema and name of its table.
        definition: What stands after ``USING`` in its definition.
        building: Whether another session is building it.
    """

    table: tuple[str, str]
    unique: bool
    valid: bool
    definition: str
    building: bool


def kind_of(conn: Connection, schema: str, name: str) -> str | None:
    """Return the kind of the relation of that name as ``pg_class.relkind`` says, if there is one."""
    row = conn.execute(
        """SELECT c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = %s AND c.relname = %s""",
        (schema, name),
    ).fetchone()
    return None if row is None else str(row[0])


def columns(conn: Connection, schema: str, table: str) -> Mapping[str, Column]:
    """Return a table's columns by name; none where there is no such table."""
    rows = conn.execute(
        """SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                  pg_get_expr(d.adbin, d.adrelid), a.atthasdef OR a.attidentity <> ''
           FROM pg_class c
           JOIN pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
           LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
           WHERE n.nspname = %s AND c.relname = %s
           ORDER BY a.attnum""",
        (schema, table),
    )
    return {
        str(name): Column(
            str(kind), bool(not_null), None if default is None else str(default), bool(filled)
        )
        for name, kind, not_null, default, filled in rows
    }


def constraints(conn: Connection, schema: str, table: str) -> list[Constraint]:
    """Return a table's constraints, NOT NULL ones (PostgreSQL 18 lists them) left out."""
    rows = conn.execute(
        """SELECT k.conname::text, k.contype::text,
                  coalesce((SELECT array_agg(a.attname::text ORDER BY u.place)
                            FROM unnest(k.conkey) WITH ORDINALITY AS u(attnum, place)
                            JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attnum),
                           '{}'),
                  k.convalidated, pg_get_constraintdef(k.oid), tn.nspname::text, t.relname::text,
                  coalesce((SELECT array_agg(a.attname::text ORDER BY u.place)
                            FROM unnest(k.confkey) WITH ORDINALITY AS u(attnum, place)
                            JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.attnum),
                           '{}'),
                  k.confdeltype::text
           FROM pg_constraint k
           JOIN pg_class c ON c.oid = k.conrelid
           JOIN pg_namespace n ON n.oid = c.relnamespace
           LEFT JOIN pg_class t ON t.oid = k.confrelid
           LEFT JOIN pg_namespace tn ON tn.oid = t.relnamespace
           WHERE n.nspname = %s AND c.relname = %s AND k.contype <> 'n'
           ORDER BY k.conname""",
        (schema, table),
    )
    found = []
    for name, kind, cols, valid, text, to_schema, to_table, to_columns, on_delete in rows:
        found.append(
            Constraint(
                name=str(name),
                kind=str(kind),
                columns=tuple(cols),  # type: ignore[arg-type]  # text[]
                validated=bool(valid),
                definition=str(text),
                target=None if to_table is None else (str(to_schema), str(to_table)),
                target_columns=tuple(to_columns),  # type: ignore[arg-type]  # text[]
                on_delete=str(on_delete),
            )
        )
    return found


def index(conn: Connection, schema: str, name: str) -> Index | None:
    """Return the index of that name, if there is one."""
    row = conn.execute(
        """SELECT tn.nspname::text, t.relname::text, i.indisunique, i.indisvalid AND i.indisready,
                  pg_get_indexdef(i.indexrelid),
                  EXISTS (SELECT FROM pg_stat_progress_create_index p
                          WHERE p.index_relid = i.indexrelid AND p.pid <> pg_backend_pid())
           FROM pg_index i
           JOIN pg_class c ON c.oid = i.indexrelid
           JOIN pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_class t ON t.oid = i.indrelid
           JOIN pg_namespace tn ON tn.oid = t.relnamespace
           WHERE n.nspname = %s AND c.relname = %s""",
        (schema, name),
    ).fetchone()
    if row is None:
        return None
    table_schema, table, unique, valid, definition, building = row
    return Index(
        table=(str(table_schema), str(table)),
        unique=bool(unique),
        valid=bool(valid),
        definition=str(definition).partition(" USING ")[2],
        building=bool(building),
    )


def partitions(conn: Connection, schema: str, table: str) -> list[tuple[str, str]]:
    """Return the schema and name of each direct partition of a table, as they are named."""
    rows = conn.execute(
        """SELECT pn.nspname::text, p.relname::text
           FROM pg_inherits i
           JOIN pg_class c ON c.oid = i.inhparent AND c.relkind = 'p'
           JOIN pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_class p ON p.oid = i.inhrelid
           JOIN pg_namespace pn ON pn.oid = p.relnamespace
           WHERE n.nspname = %s AND c.relname = %s
           ORDER BY 1, 2""",
        (schema, table),
    )
    return [(str(found_schema), str(name)) for found_schema, name in rows]


def partition_key(conn: Connection, schema: str, table: str) -> tuple[str, ...]:
    """Return the columns that a table is partitioned by; none where it is plain, or by expressions."""
    rows = conn.execute(
        """SELECT a.attname::text
           FROM pg_partitioned_table p
           JOIN pg_class c ON c.oid = p.partrelid
           JOIN pg_namespace n ON n.oid = c.relnamespace
           CROSS JOIN unnest(p.partattrs::int2[]) WITH ORDINALITY AS k (attnum, place)
           JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
           WHERE n.nspname = %s AND c.relname = %s
           ORDER BY k.place""",
        (schema, table),
    )
    return tuple(str(name) for (name,) in rows)


def attached(conn: Connection, schema: str, index: str) -> set[tuple[str, str]]:
    """Return the partitions (schema, name) that have a part of a partitioned index."""
    rows = conn.execute(
        """SELECT tn.nspname::text, t.relname::text
           FROM pg_inherits i
           JOIN pg_class c ON c.oid = i.inhparent AND c.relkind = 'I'
           JOIN pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_index x ON x.indexrelid = i.inhrelid
           JOIN pg_class t ON t.oid = x.indrelid
           JOIN pg_namespace tn ON tn.oid = t.relnamespace
           WHERE n.nspname = %s AND c.relname = %s""",
        (schema, index),
    )
    return {(str(found_schema), str(name)) for found_schema, name in rows}


def unique_on(conn: Connection, schema: str, table: str, column: str) -> bool:
    """Say whether a valid, whole, immediate unique index keeps one column's values apart."""
    row = conn.execute(
        """SELECT EXISTS (
               SELECT FROM pg_index i
               JOIN pg_class c ON c.oid = i.indrelid
               JOIN pg_namespace n ON n.oid = c.relnamespace
               JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
               WHERE n.nspname = %s AND c.relname = %s AND a.attname = %s AND i.indisunique
                 AND i.indisvalid AND i.indimmediate AND i.indnkeyatts = 1 AND i.indpred IS NULL)""",
        (schema, table, column),
    ).fetchone()
    assert row is not None
    return bool(row[0])
