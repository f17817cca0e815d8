"""Two ways through the rows that are due, a piece at a time, neither of which looks at a piece twice.

Through the table as it lies on disk, by block: the fastest where much of it goes, for no page is visited
twice (two of three million rows in no order: 1.3 s, by the index 9.5 s, one plain DELETE 1.3 s; PostgreSQL 18,
two cores). By time and ``id`` along the index: the fastest where little of it goes, for the rest of the
table is not read at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, LiteralString, Protocol

from psycopg import sql

from secops.database.connection import transaction

if TYPE_CHECKING:
    from secops.database.connection import Connection
    from secops.database.layout import Layout
    from secops.upkeep.due import Due

# A page read in order costs about a quarter of one read at random (PostgreSQL's random_page_cost).
_RANDOM: Final = 4
# A block is the smallest piece of the table; batches of fewer than so many would be uneven.
_BLOCKS: Final = 8
# Rows in a block, at least, where the table was never analysed: too many blocks would be too many rows.
_ROWS: Final = 20


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rows of the table, by where they are.

    Attributes:
        where: The condition, on a table called ``{}``.
        bound: Its parameters.
    """

    where: LiteralString
    bound: Mapping[str, object]

    def on(self, alias: LiteralString) -> sql.SQL:
        """Return the condition for a table of that name."""
        return sql.SQL(self.where.replace("{}", alias))


class Walk(Protocol):
    """A way through what is due."""

    def step(self, conn: Connection, size: int) -> Piece | None:
        """Return the next piece, of about ``size`` rows, or ``None`` at the end."""


_BLOCK: Final[LiteralString] = "{}.ctid >= %(first)s::tid AND {}.ctid < %(end)s::tid"


@dataclass
class ByBlock:
    """Through the table as it lies on disk.

    Attributes:
        blocks: How many there are; rows in later ones are new.
        rows_per_block: About.
    """

    blocks: int
    rows_per_block: float
    _next: int = field(default=0, init=False)

    def step(self, _conn: Connection, size: int) -> Piece | None:
        """Return the next piece."""
        if self._next >= self.blocks:
            return None
        first, self._next = self._next, self._next + max(1, int(size / self.rows_per_block))
        return Piece(_BLOCK, {"first": f"({first},0)", "end": f"({self._next},0)"})


# The first two lines are what the index can use; a comparison of rows alone is not, for it ends with id.
_KEY: Final[
    LiteralString
] = """{}.moment >= %(from_time)s::timestamptz AND {}.moment <= %(to_time)s::timestamptz
    AND ({}.moment, {}.id) >= (%(from_time)s::timestamptz, %(from_id)s::uuid)
    AND ({}.moment, {}.id) < (%(to_time)s::timestamptz, %(to_id)s::uuid)"""
_LOWEST: Final = "00000000-0000-0000-0000-000000000000"


@dataclass
class ByKey:
    """In the order of time and ``id``; never back, so that what was deleted is not read again.

    Attributes:
        layout: The tables.
        bounds: What is due.
    """

    layout: Layout
    bounds: Due
    # As text, for -infinity is a moment to PostgreSQL and none to Python.
    _from: tuple[str, str] | None = field(default=("-infinity", _LOWEST), init=False)

    def step(self, conn: Connection, size: int) -> Piece | None:
        """Return the next piece."""
        if self._from is None:
            return None
        bound = {"from_time": self._from[0], "from_id": self._from[1]}
        with transaction(conn, read_only=True):
            row = conn.execute(
                sql.SQL(
                    """SELECT t.{moment}::text, t.id::text FROM {table} t
                       WHERE t.{moment} >= %(from_time)s::timestamptz AND t.{moment} < %(cutoff)s
                         AND (t.{moment}, t.id) >= (%(from_time)s::timestamptz, %(from_id)s::uuid)
                       ORDER BY t.{moment}, t.id OFFSET %(size)s LIMIT 1"""
                ).format(
                    moment=sql.SQL(self.bounds.moment),
                    table=sql.Identifier(self.layout.schema, self.bounds.table),
                ),
                {**bound, "cutoff": self.bounds.cutoff, "size": size},
            ).fetchone()
        self._from = None if row is None else (str(row[0]), str(row[1]))
        time, number = self._from or (self.bounds.cutoff, _LOWEST)
        return Piece(
            _KEY.replace("moment", self.bounds.moment), {**bound, "to_time": time, "to_id": number}
        )


def choose(conn: Connection, layout: Layout, bounds: Due, *, expired: int, batch: int) -> Walk:
    """Choose the way that reads the fewest pages.

    Args:
        conn: Any.
        layout: The tables.
        bounds: What is due.
        expired: About how many rows are due.
        batch: How many rows a batch has at most.
    """
    row = conn.execute(
        """SELECT pg_relation_size(c.oid) / current_setting('block_size')::int,
                  greatest(c.reltuples / nullif(c.relpages, 0), %s)
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = %s AND c.relname = %s AND c.relkind = 'r'""",
        (_ROWS, layout.schema, bounds.table),
    ).fetchone()
    if row is None:  # a partitioned table has no blocks of its own
        return ByKey(layout, bounds)
    blocks, density = int(str(row[0])), float(str(row[1]))
    if expired * _RANDOM < blocks or batch < density * _BLOCKS:
        return ByKey(layout, bounds)
    return ByBlock(blocks, density)
