"""What statements do to the tables they name: the one place that knows locks, reads and rewrites.

Whoever writes a statement says with a function of this module which kind it is, so that a plan can tell
what it will do before it does it. The modes are those of PostgreSQL's manual ("Explicit Locking", "ALTER
TABLE"); where it is silent, on the targets of foreign keys above all, they were read from ``pg_locks``.
``tests/integration/test_plan_truth.py`` holds all of them against a running server.

What a statement takes of indexes, sequences and the system's own catalogue is left out: the app waits for
tables.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterable

Table = tuple[str, str]
"""A table's schema and name, as they are when the statement begins."""


class Mode(enum.StrEnum):
    """A lock on a table, the weakest first."""

    ACCESS_SHARE = "ACCESS SHARE"
    ROW_SHARE = "ROW SHARE"
    ROW_EXCLUSIVE = "ROW EXCLUSIVE"
    SHARE_UPDATE_EXCLUSIVE = "SHARE UPDATE EXCLUSIVE"
    SHARE = "SHARE"
    SHARE_ROW_EXCLUSIVE = "SHARE ROW EXCLUSIVE"
    EXCLUSIVE = "EXCLUSIVE"
    ACCESS_EXCLUSIVE = "ACCESS EXCLUSIVE"

    @property
    def strength(self) -> int:
        """Its place among all, the weakest being 0."""
        return list(Mode).index(self)

    @property
    def keeps_waiting(self) -> str:
        """Which statements of the app wait behind it: reads and writes, writes, or nothing."""
        if self is Mode.ACCESS_EXCLUSIVE:
            return "reads and writes"
        return "writes" if self.strength >= Mode.SHARE.strength else "nothing"


@dataclass(frozen=True, slots=True)
class Effect:
    """What one statement does to one table.

    Attributes:
        table: The table.
        mode: The strongest lock that it takes on it.
        new: Whether it makes the table, so that nobody can wait for it.
        reads: How many times it reads all rows.
        sorts: How many indexes it builds of all rows.
        rewrites: Whether it writes all rows anew.
        updates: Whether it updates rows, some at a time, and all of them in the end.
        beside: Another table; while that is empty, this one is not read.
        gone: Whether it drops the table.
        columns: The columns that it drops.
    """

    table: Table
    mode: Mode
    new: bool = False
    reads: int = 0
    sorts: int = 0
    rewrites: bool = False
    beside: Table | None = None
    gone: bool = False
    columns: tuple[str, ...] = ()
    updates: bool = False

    def with_(self, other: Effect) -> Effect:
        """Return what both together do to the table."""
        return Effect(
            self.table,
            max(self.mode, other.mode, key=lambda mode: mode.strength),
            self.new or other.new,
            self.reads + other.reads,
            self.sorts + other.sorts,
            self.rewrites or other.rewrites,
            self.beside or other.beside,
            self.gone or other.gone,
            (*self.columns, *other.columns),
            self.updates or other.updates,
        )


Effects = tuple[Effect, ...]


class Statement(sql.Composed):
    """SQL that knows what it does.

    Attributes:
        effects: One for each table that it touches.
    """

    def __init__(self, text: sql.Composable, *effects: Effect) -> None:
        super().__init__([text])
        found: dict[Table, Effect] = {}
        for each in effects:
            known = found.get(each.table)
            found[each.table] = each if known is None else known.with_(each)
        self.effects: Effects = tuple(found.values())


def together(statements: Iterable[sql.Composable], *effects: Effect) -> Statement:
    """Join statements to one message, which does what all of them do, and ``effects``."""
    parts = list(statements)
    known = (effect for part in parts if isinstance(part, Statement) for effect in part.effects)
    return Statement(sql.SQL(";\n").join(parts), *known, *effects)


def reads(table: Table) -> Effect:
    """CREATE TABLE ... (LIKE it), SELECT: its rows or its shape are looked at."""
    return Effect(table, Mode.ACCESS_SHARE)


def writes(table: Table) -> Effect:
    """INSERT, UPDATE, DELETE."""
    return Effect(table, Mode.ROW_EXCLUSIVE)


def fills(table: Table) -> Effect:
    """UPDATE of all rows in batches, each in its own transaction; then a look whether one is left."""
    return Effect(table, Mode.ROW_EXCLUSIVE, reads=2, updates=True)


def locks(table: Table) -> Effect:
    """LOCK TABLE ... IN ACCESS EXCLUSIVE MODE."""
    return Effect(table, Mode.ACCESS_EXCLUSIVE)


def creates(table: Table) -> Effect:
    """CREATE TABLE without a foreign key, which would lock what it refers to."""
    return Effect(table, Mode.ACCESS_EXCLUSIVE, new=True)


def drops(table: Table) -> Effect:
    """DROP TABLE; foreign keys must be gone, for they lock what they refer to against all readers."""
    return Effect(table, Mode.ACCESS_EXCLUSIVE, gone=True)


def drops_columns(table: Table, columns: Iterable[str]) -> Effect:
    """DROP COLUMN, which leaves the values where they are and rewrites nothing."""
    return Effect(table, Mode.ACCESS_EXCLUSIVE, columns=tuple(columns))


def alters(table: Table) -> Effect:
    """ALTER TABLE that changes the catalogue alone.

    ADD COLUMN with no default or a constant one, SET DEFAULT, ADD CHECK ... NOT VALID,
    DROP CONSTRAINT (of one that is no foreign key), ADD PRIMARY KEY USING INDEX where NOT NULL is proven,
    RENAME, OWNER TO, DETACH.
    """
    return Effect(table, Mode.ACCESS_EXCLUSIVE)


def adds_foreign_key(table: Table, target: Table) -> Effects:
    """ADD FOREIGN KEY ... NOT VALID: both are given triggers."""
    mode = Mode.SHARE_ROW_EXCLUSIVE
    return Effect(table, mode), Effect(target, mode)


def drops_foreign_key(table: Table, target: Table) -> Effects:
    """DROP CONSTRAINT of a foreign key: both lose triggers."""
    mode = Mode.ACCESS_EXCLUSIVE
    return Effect(table, mode), Effect(target, mode)


def validates_foreign_key(table: Table, target: Table) -> Effects:
    """VALIDATE CONSTRAINT of a foreign key: one query joins both."""
    return (
        Effect(table, Mode.SHARE_UPDATE_EXCLUSIVE, reads=1),
        Effect(target, Mode.ROW_SHARE, reads=1, beside=table),
    )


def validates_check(table: Table) -> Effect:
    """VALIDATE CONSTRAINT of a CHECK."""
    return Effect(table, Mode.SHARE_UPDATE_EXCLUSIVE, reads=1)


def builds_index(table: Table) -> Effect:
    """CREATE INDEX CONCURRENTLY: it reads the table to build, and once more for what came meanwhile."""
    return Effect(table, Mode.SHARE_UPDATE_EXCLUSIVE, reads=2, sorts=1)


def drops_index(table: Table) -> Effect:
    """DROP INDEX CONCURRENTLY."""
    return Effect(table, Mode.SHARE_UPDATE_EXCLUSIVE)


def declares_index(table: Table) -> Effect:
    """CREATE INDEX ON ONLY a partitioned table, which has no rows of its own."""
    return Effect(table, Mode.SHARE)


def drops_whole_index(table: Table, parts: Iterable[Table]) -> Effects:
    """DROP INDEX of a partitioned table, and with it of all its partitions."""
    return tuple(Effect(each, Mode.ACCESS_EXCLUSIVE) for each in (table, *parts))


def attaches_index(table: Table, part: Table) -> Effects:
    """ALTER INDEX ... ATTACH PARTITION."""
    return Effect(table, Mode.ACCESS_SHARE), Effect(part, Mode.ACCESS_SHARE)


def tunes(table: Table) -> Effect:
    """ALTER TABLE ... SET or RESET of storage parameters of vacuum."""
    return Effect(table, Mode.SHARE_UPDATE_EXCLUSIVE)


def attaches(parent: Table) -> Effect:
    """ALTER TABLE ... ATTACH PARTITION, for the whole; the part is an effect of its own."""
    return Effect(parent, Mode.SHARE_UPDATE_EXCLUSIVE)


def finishes_detaching(parent: Table, part: Table) -> Effects:
    """ALTER TABLE ... DETACH PARTITION ... FINALIZE."""
    return Effect(parent, Mode.SHARE_UPDATE_EXCLUSIVE), Effect(part, Mode.ACCESS_EXCLUSIVE)


def analyzes(table: Table, parts: Iterable[Table]) -> Effects:
    """ANALYZE of a partitioned table: it looks at a sample of each partition."""
    return tuple(Effect(each, Mode.SHARE_UPDATE_EXCLUSIVE) for each in (table, *parts))
