"""How long a statement may take, from what it does and from the size of the tables it does it to.

Between what was measured with all data in memory (10 million events, 1.8 GB with indexes, two shared cores:
VALIDATE 1.2 s, CREATE INDEX CONCURRENTLY 7.4 s) and a slow disk that reads 100 MB a second. Waiting for
others' locks comes on top, and is bounded by the lock budget.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from psycopg import errors as pg

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from secops.database.connection import Connection
    from secops.schema.effects import Effect, Table


@dataclass(frozen=True, slots=True)
class Size:
    """How large a table is, partitions included.

    Attributes:
        rows: About so many, as the planner estimates them.
        bytes: Of the rows alone, without indexes.
    """

    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a machine is: bytes read and written, rows put into an index, rows updated a second.

    Updates are those in batches, with a pause after each as long as the batch: 3,000 a second on two cores
    that had five times as much to do (a million rows of 120 bytes).
    """

    read: float
    write: float
    sort: float
    update: float


_FAST: Final = Pace(read=1.5e9, write=5e8, sort=1.5e6, update=2e4)
_SLOW: Final = Pace(read=1e8, write=5e7, sort=3e5, update=2e3)

MOMENT: Final = timedelta(milliseconds=100)
"""What a change of the catalogue alone takes at most, as a rule a tenth of it."""

Estimate = tuple[timedelta, timedelta]
"""At least and at most."""


def known(effects: Collection[Effect], sizes: Mapping[Table, Size]) -> list[Effect]:
    """Return what a statement does given what is there: a join with no rows reads the other side not at all."""

    def empty(table: Table) -> bool:
        return table not in sizes or not sizes[table].bytes

    return [
        replace(each, reads=0) if each.beside is not None and empty(each.beside) else each
        for each in effects
    ]


def estimate(effects: Collection[Effect], sizes: Mapping[Table, Size]) -> Estimate:
    """Return how long a statement may take, without waiting for locks.

    Args:
        effects: What it does.
        sizes: How large the tables are; one that is not there is empty.
    """
    fast, slow = (
        timedelta(
            seconds=sum(
                _seconds(each, sizes.get(each.table), pace) for each in known(effects, sizes)
            )
        )
        for pace in (_FAST, _SLOW)
    )
    return fast, max(slow, MOMENT)


def _seconds(effect: Effect, size: Size | None, pace: Pace) -> float:
    if size is None:
        return 0.0
    read = size.bytes / pace.read * (effect.reads + effect.rewrites)
    written = size.bytes / pace.write * effect.rewrites + size.rows / pace.update * effect.updates
    return read + size.rows / pace.sort * effect.sorts + written


# Rows as the planner estimates them: per page when last analyzed, times the pages of now. Partitions
# are looked up by hand, for pg_partition_tree locks them.
_SIZES: Final = """
    SELECT w.schema, w.name, coalesce(sum(s.bytes), 0)::bigint,
           coalesce(round(sum(CASE WHEN l.relpages > 0 AND l.reltuples >= 0
                    THEN l.reltuples::numeric / l.relpages
                         * (s.bytes / current_setting('block_size')::numeric)
                    ELSE pg_stat_get_live_tuples(l.oid) END)), 0)::bigint
    FROM unnest(%(schemas)s::text[], %(names)s::text[]) AS w (schema, name)
    JOIN pg_namespace n ON n.nspname = w.schema
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name AND c.relkind IN ('r', 'p')
    CROSS JOIN LATERAL (
        WITH RECURSIVE tree (oid) AS (
            SELECT c.oid
            UNION
            SELECT i.inhrelid FROM tree JOIN pg_inherits i ON i.inhparent = tree.oid
            WHERE c.relkind = 'p'
        )
        SELECT oid FROM tree
    ) AS t (oid)
    JOIN pg_class l ON l.oid = t.oid AND l.relkind = 'r'
    CROSS JOIN LATERAL (
        SELECT CASE WHEN %(exact)s THEN pg_relation_size(l.oid)
               ELSE l.relpages * current_setting('block_size')::bigint END
    ) AS s (bytes)
    GROUP BY w.schema, w.name
"""


def sizes(conn: Connection, tables: Collection[Table]) -> dict[Table, Size]:
    """Return the sizes of tables; those that are not there are left out.

    Args:
        conn: In a transaction with a lock timeout: whoever holds a table against readers is not waited
            for, and its size is then the one that the last vacuum found.
        tables: Schemas and names.
    """
    wanted = sorted(set(tables))
    names = {"schemas": [each[0] for each in wanted], "names": [each[1] for each in wanted]}
    try:
        with conn.transaction():
            rows = conn.execute(_SIZES, {**names, "exact": True}).fetchall()
    except pg.LockNotAvailable:
        rows = conn.execute(_SIZES, {**names, "exact": False}).fetchall()
    return {
        (str(schema), str(name)): Size(int(str(count)), int(str(size)))
        for schema, name, size, count in rows
    }
