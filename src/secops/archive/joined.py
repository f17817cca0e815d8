"""The live table and the archive as one, for the length of a transaction in PostgreSQL.

A temporary view called ``security_events`` hides the table of that name: it is the table and, by month, the
archive's events, which are loaded into temporary tables. Only months that a query can read are loaded, and
PostgreSQL itself says which: it prunes what a query's conditions exclude, of partitions that are still empty.

The transaction is REPEATABLE READ, and the manifest is read after its snapshot was taken. An event that was
deleted before it is in the manifest by then; one that is in both is counted once, as the table has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from secops.archive.query import whole
from secops.archive.rows import columns_of, csv_of, decode, types_of
from secops.archive.store import EVENTS, content_of
from secops.errors import UsageError

if TYPE_CHECKING:
    from secops.archive.manifest import Entry
    from secops.database.connection import Connection
    from secops.database.layout import Layout

_TABLE: Final = "secops_archive"

Explain = Callable[[], object]
"""Returns what EXPLAIN (FORMAT JSON, VERBOSE) says of the query, as it would run now."""


@dataclass
class Joined:
    """The view, while its transaction lasts. Made by :meth:`begin`.

    Attributes:
        conn: In a REPEATABLE READ transaction that is rolled back in the end.
        layout: The tables.
        folder: The archive.
        entries: Its files.
        events: How many of its events were loaded.
        months: Of how many months.
    """

    conn: Connection
    layout: Layout
    folder: Path
    entries: list[Entry]
    events: int = 0
    months: int = 0
    _columns: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def begin(cls, conn: Connection, layout: Layout, folder: Path) -> Joined:
        """Make the view; none of the archive is loaded yet.

        Raises:
            UsageError: The connection leads to a replica, where nothing can be loaded.
            SecopsError: There is no archive.
        """
        row = conn.execute("SELECT pg_is_in_recovery()").fetchone()
        if row == (True,):
            raise UsageError(
                "Reports over an archive load it into temporary tables, which a replica refuses.",
                hint="Give --database-url with the primary (report_database_url leads to a replica).",
            )
        found = cls(conn, layout, folder, whole(folder).there)
        found._columns = columns_of(conn, layout.schema, EVENTS)
        found._make()
        return found

    def _make(self) -> None:
        table = sql.Identifier("pg_temp", _TABLE)
        run = self.conn.execute
        run(
            sql.SQL("CREATE TEMPORARY TABLE {} (LIKE {}) PARTITION BY RANGE (created_at)").format(
                sql.Identifier(_TABLE), self.layout.events
            )
        )
        for name in self._columns:
            if name != "created_at":
                # The table may have got it after events were archived.
                run(
                    sql.SQL("ALTER TABLE {} ALTER {} DROP NOT NULL").format(
                        table, sql.Identifier(name)
                    )
                )
        for month in sorted({each.month for each in self.entries}):
            lower = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
            upper = lower.replace(year=lower.year + lower.month // 12, month=lower.month % 12 + 1)
            run(
                sql.SQL(
                    "CREATE TEMPORARY TABLE {} PARTITION OF {} FOR VALUES FROM ({}) TO ({})"
                ).format(
                    sql.Identifier(_name(month)),
                    table,
                    sql.Literal(lower.isoformat()),
                    sql.Literal(upper.isoformat()),
                )
            )
        columns = sql.SQL(", ").join(map(sql.Identifier, self._columns))
        run(
            sql.SQL(
                "CREATE TEMPORARY VIEW {} AS SELECT {} FROM {} UNION ALL SELECT {} FROM {}"
            ).format(sql.Identifier(EVENTS), columns, self.layout.events, columns, table)
        )

    def load(self, explain: Explain) -> None:
        """Load the months that a query can read.

        Args:
            explain: Asks PostgreSQL for the query's plan.
        """
        loaded: set[str] = set()
        while wanted := self._read_by(explain()) - loaded:
            for month in sorted(wanted):
                self._load(month)
            self.conn.execute(sql.SQL("ANALYZE {}").format(sql.Identifier("pg_temp", _TABLE)))
            loaded |= wanted
        self.months = len(loaded)

    def _read_by(self, plan: object) -> set[str]:
        """Return the months whose tables stand in a plan."""
        known = {_name(each.month): each.month for each in self.entries}
        found: set[str] = set()
        waiting: list[Any] = [plan]
        while waiting:
            node = waiting.pop()
            if isinstance(node, list | tuple):
                waiting += node
            elif isinstance(node, dict):
                waiting += node.values()
                name = node.get("Relation Name")
                if name in known and str(node.get("Schema", "")).startswith("pg_temp"):
                    found.add(known[str(name)])
        return found

    def _load(self, month: str) -> None:
        table = sql.Identifier("pg_temp", _name(month))
        for entry in self.entries:
            if entry.month != month:
                continue
            rows = decode(content_of(self.folder, entry))
            # What the table has lost since is not asked for; what it got since is not known of them.
            names = [name for name in types_of(rows) if name in self._columns]
            query = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv, ENCODING 'UTF8')").format(
                table, sql.SQL(", ").join(map(sql.Identifier, names))
            )
            with self.conn.cursor() as cursor, cursor.copy(query) as copy:
                copy.write(csv_of(rows, names))
            self.events += entry.rows
        twice = self.conn.execute(
            sql.SQL(
                """DELETE FROM {} a USING {} t
                   WHERE t.created_at >= (SELECT min(created_at) FROM {})
                     AND t.created_at <= (SELECT max(created_at) FROM {})
                     AND t.created_at = a.created_at AND t.id = a.id"""
            ).format(table, self.layout.events, table, table)
        ).rowcount
        self.events -= twice


def _name(month: str) -> str:
    return f"{_TABLE}_{month.replace('-', '_')}"
