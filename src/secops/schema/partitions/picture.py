"""What the catalogue shows of security_events: its partitions, and conversions that are under way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from secops.schema.partitions.months import Span, ahead

if TYPE_CHECKING:
    from secops.database.connection import Connection
    from secops.database.layout import Layout

TABLE: Final = "security_events"
LEGACY: Final = f"{TABLE}_legacy"
"""What the table that was plain is called once it is a partition."""
KEY: Final = "created_at"

CHECK: Final = "secops_cutoff"
"""The constraint of a conversion that is under way: nothing at or beyond the cutoff may come in."""
SHADOW: Final = f"{TABLE}_secops_new"
"""The partitioned table that is made ready beside the plain one."""
MARK: Final = "secops partition; "
"""How the comment on the primary key of a table partitioned by secops begins."""
EMPTYING: Final = "secops: an undone partition, being emptied into its table"
"""The comment of a partition whose rows `partition undo` moves."""

PRESSING: Final = timedelta(hours=12)
"""How near a forgotten cutoff may come before it is no longer waited with."""


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition.

    Attributes:
        schema: Its schema.
        name: Its name.
        bound: What it holds, as PostgreSQL writes it.
        span: The same, where it is a range of time.
        default: Whether it takes what no other does.
        detaching: Whether it is half detached: DETACH CONCURRENTLY was cut short.
        kind: As ``pg_class.relkind`` says.
        rows: About so many.
        bytes: Its size with indexes.
    """

    schema: str
    name: str
    bound: str
    span: Span | None
    default: bool
    detaching: bool
    kind: str
    rows: int
    bytes: int


class Cutoff(NamedTuple):
    """The constraint of a conversion that is under way."""

    name: str
    at: datetime
    proven: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """What is there.

    Attributes:
        kind: What security_events is, as ``pg_class.relkind`` says; ``None`` where it is not there.
        monthly: Whether it is partitioned by ranges of created_at.
        now: The server's clock.
        partitions: Its partitions, the oldest first.
        cutoff: The constraint of a conversion that was begun, and not ended.
        shadows: Tables made ready by it.
        emptying: What an undo that was begun has still to empty: schema and name.
        rows: About so many, all together.
        bytes: The size of all, with indexes.
    """

    kind: str | None
    monthly: bool
    now: datetime
    partitions: tuple[Partition, ...]
    cutoff: Cutoff | None
    shadows: tuple[str, ...]
    emptying: tuple[tuple[str, str], ...]
    rows: int
    bytes: int

    @property
    def spans(self) -> list[Span]:
        """What is covered; a half-detached partition takes nothing in."""
        return [each.span for each in self.partitions if each.span and not each.detaching]

    @property
    def months_ahead(self) -> int | None:
        """How many whole months ahead are covered; -1 where not even now is; ``None`` if not monthly."""
        if not self.monthly:
            return None
        return ahead(self.spans, self.now)

    @property
    def default(self) -> Partition | None:
        """The DEFAULT partition that somebody made; secops never makes one."""
        return next((each for each in self.partitions if each.default), None)

    @property
    def pressing(self) -> bool:
        """Whether a forgotten conversion will soon make INSERTs fail, or does already."""
        return self.cutoff is not None and self.cutoff.at - self.now < PRESSING


# Rows as the planner estimates them: per page when last analyzed, times the pages of now.
_SIZE: Final = """
    coalesce(sum(pg_total_relation_size(l.oid)), 0)::bigint AS bytes,
    coalesce(round(sum(CASE WHEN l.relpages > 0 AND l.reltuples >= 0
             THEN l.reltuples::numeric / l.relpages
                  * (pg_relation_size(l.oid) / current_setting('block_size')::numeric)
             ELSE pg_stat_get_live_tuples(l.oid) END)), 0)::bigint AS rows
"""

# The server reads the bound in the session that wrote it, so no DateStyle and no time zone matters, and
# brings what no datetime holds to the nearest that one does.
_TIME: Final = """
    to_char(least(greatest({}, timestamptz '0001-01-01 00:00:00+00'),
                  timestamptz '9999-12-31 23:59:59.999999+00') AT TIME ZONE 'UTC',
            'YYYY-MM-DD"T"HH24:MI:SS.US')
"""

_TABLE: Final = f"""
    SELECT c.oid::bigint, c.relkind::text,
           EXISTS (SELECT FROM pg_partitioned_table p
                   JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.partattrs[0]
                   WHERE p.partrelid = c.oid AND p.partstrat = 'r' AND p.partnatts = 1
                     AND a.attname = %(key)s AND a.atttypid = 'timestamptz'::regtype),
           {_TIME.format("clock_timestamp()")}, size.rows, size.bytes
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL (
        SELECT {_SIZE}
        FROM (SELECT relid FROM pg_partition_tree(c.oid) WHERE isleaf
              UNION SELECT c.oid WHERE c.relkind = 'r'
              UNION SELECT inhrelid FROM pg_inherits WHERE inhparent = c.oid AND c.relkind = 'r') t
        JOIN pg_class l ON l.oid = t.relid
    ) size
    WHERE n.nspname = %(schema)s AND c.relname = %(table)s
"""  # noqa: S608  pieces of our own

_PARTITIONS: Final = f"""
    SELECT n.nspname::text, c.relname::text, b.bound, b.bound = 'DEFAULT',
           {_TIME.format("b.lower::timestamptz")}, {_TIME.format("b.upper::timestamptz")},
           i.inhdetachpending, c.relkind::text, size.rows, size.bytes
    FROM pg_inherits i
    JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition
    JOIN pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL (SELECT pg_get_expr(c.relpartbound, c.oid)) AS e (bound)
    CROSS JOIN LATERAL (
        SELECT e.bound,
               replace((regexp_match(e.bound, 'FROM \\(''?([^'')]*)''?\\) TO'))[1], 'MINVALUE', '-infinity'),
               replace((regexp_match(e.bound, 'TO \\(''?([^'')]*)''?\\)$'))[1], 'MAXVALUE', 'infinity')
        WHERE %(monthly)s
        UNION ALL
        SELECT e.bound, NULL, NULL WHERE NOT %(monthly)s
    ) AS b (bound, lower, upper)
    CROSS JOIN LATERAL (
        SELECT {_SIZE}
        FROM (SELECT relid FROM pg_partition_tree(c.oid) WHERE isleaf) t
        JOIN pg_class l ON l.oid = t.relid
    ) size
    WHERE i.inhparent = %(oid)s::oid
    ORDER BY b.lower::timestamptz NULLS LAST, c.relname
"""  # noqa: S608  pieces of our own

_CUTOFF: Final = f"""
    SELECT k.conname::text, {_TIME.format("f.at[1]::timestamptz")}, k.convalidated
    FROM pg_constraint k
    CROSS JOIN LATERAL (
        SELECT regexp_match(pg_get_constraintdef(k.oid), ' < ''([^'']+)''::timestamp with time zone')
    ) AS f (at)
    WHERE k.conrelid = %(oid)s::oid AND k.contype = 'c' AND k.conname = %(check)s AND f.at IS NOT NULL
"""  # noqa: S608  pieces of our own

_SHADOWS: Final = """
    SELECT c.relname::text
    FROM pg_constraint k
    JOIN pg_class c ON c.oid = k.conrelid AND c.relkind = 'p'
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_description d ON d.objoid = k.oid AND d.classoid = 'pg_constraint'::regclass
    WHERE n.nspname = %(schema)s AND c.relname <> %(table)s AND d.description LIKE %(mark)s
    ORDER BY 1
"""

_EMPTYING: Final = """
    SELECT n.nspname::text, c.relname::text
    FROM pg_inherits i
    JOIN pg_class c ON c.oid = i.inhrelid AND NOT c.relispartition
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_description d ON d.objoid = c.oid AND d.classoid = 'pg_class'::regclass AND d.objsubid = 0
    WHERE i.inhparent = %(oid)s::oid AND d.description = %(emptying)s
    ORDER BY 1, 2
"""


def look(conn: Connection, layout: Layout) -> Picture:
    """Look at what is there; needs no privilege, and no lock that anybody waits behind."""
    names = {
        "schema": layout.schema,
        "table": TABLE,
        "key": KEY,
        "check": CHECK,
        "mark": f"{MARK}%",
        "emptying": EMPTYING,
    }
    row = conn.execute(_TABLE, names).fetchone()
    if row is None:
        clock = conn.execute(f"SELECT {_TIME.format('clock_timestamp()')}").fetchone()
        assert clock is not None
        return Picture(None, False, _time(clock[0]), (), None, (), (), 0, 0)
    oid, kind, monthly, now, rows, size = row
    names |= {"oid": oid}  # type: ignore[dict-item]  # what the catalogue gave
    cutoff = conn.execute(_CUTOFF, names).fetchone()
    return Picture(
        kind=str(kind),
        monthly=bool(monthly),
        now=_time(now),
        partitions=partitions_of(conn, layout.schema, TABLE),
        cutoff=None
        if cutoff is None
        else Cutoff(str(cutoff[0]), _time(cutoff[1]), bool(cutoff[2])),
        shadows=tuple(str(each[0]) for each in conn.execute(_SHADOWS, names)),
        emptying=tuple((str(a), str(b)) for a, b in conn.execute(_EMPTYING, names)),
        rows=int(str(rows)),
        bytes=int(str(size)),
    )


_MARK_OF: Final = """
    SELECT d.description
    FROM pg_constraint k
    JOIN pg_class c ON c.oid = k.conrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_description d ON d.objoid = k.oid AND d.classoid = 'pg_constraint'::regclass
    WHERE n.nspname = %s AND c.relname = %s AND k.contype = 'p' AND d.description LIKE %s
"""


def mark_of(conn: Connection, schema: str, table: str) -> str | None:
    """Return what a conversion noted on a partitioned table's primary key."""
    row = conn.execute(_MARK_OF, (schema, table, f"{MARK}%")).fetchone()
    return None if row is None else str(row[0])


def partitions_of(conn: Connection, schema: str, table: str) -> tuple[Partition, ...]:
    """Return the partitions of a table that is partitioned by ranges of time, the oldest first."""
    row = conn.execute(_TABLE, {"schema": schema, "table": table, "key": KEY}).fetchone()
    if row is None:
        return ()
    found = conn.execute(_PARTITIONS, {"oid": row[0], "monthly": row[2]})
    return tuple(_partition(each) for each in found)


def _partition(row: tuple[object, ...]) -> Partition:
    schema, name, bound, default, lower, upper, detaching, kind, rows, size = row
    return Partition(
        schema=str(schema),
        name=str(name),
        bound=str(bound),
        span=None if lower is None or upper is None else Span(_time(lower), _time(upper)),
        default=bool(default),
        detaching=bool(detaching),
        kind=str(kind),
        rows=int(str(rows)),
        bytes=int(str(size)),
    )


def _time(text: object) -> datetime:
    return datetime.fromisoformat(str(text)).replace(tzinfo=UTC)


def months_ahead(conn: Connection, layout: Layout) -> int | None:
    """Return how many whole months ahead have their partition.

    Args:
        conn: Any connection.
        layout: The tables.

    Returns:
        The months after the current one that are covered without a gap; 0 where the next is not
        wholly, -1 where INSERTs fail already, ``None`` where security_events is not partitioned by month.
    """
    return look(conn, layout).months_ahead
