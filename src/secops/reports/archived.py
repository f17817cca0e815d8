"""A report over the live table and an archive as one: the same SQL, on the same server."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg

from secops.archive.joined import Joined
from secops.database.connection import transaction
from secops.errors import UsageError
from secops.reports.fields import shown
from secops.reports.run import Answer, prepare, running
from secops.reports.statement import search_path, statement

if TYPE_CHECKING:
    from secops.database.connection import Connection
    from secops.database.layout import Layout
    from secops.reports.header import Report
    from secops.reports.parameters import Value

# The view that holds both is found where no schema is named.
_QUALIFIED: Final = re.compile(r"""\.\s*"?security_events\b""", re.IGNORECASE)


@contextmanager
def running_over(
    conn: Connection,
    layout: Layout,
    report: Report,
    values: Mapping[str, Value | None],
    archive: Path,
    *,
    as_of: datetime | None = None,
    limit: int = 0,
    timeout: timedelta = timedelta(0),
) -> Iterator[tuple[Answer, Joined]]:
    """Run a report over both for the length of a block; see :func:`secops.reports.run.running`.

    Args:
        conn: In autocommit mode; its role may make temporary tables.
        layout: What the tables are called.
        report: The report.
        values: What is bound.
        archive: The archive's folder.
        as_of: The time that the report is about.
        limit: How many rows at most; 0 means all.
        timeout: The longest that the database may work on one request of the report.

    Raises:
        UsageError: The report names the table with its schema, and so would see the live one alone.
    """
    if _QUALIFIED.search(report.sql):
        raise UsageError(
            f"{shown(report.path)} names security_events with its schema, so the archive cannot join it.",
            hint="Write security_events alone; its schema is looked up.",
        )
    conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    with transaction(conn, search_path=search_path(layout)):
        joined = Joined.begin(conn, layout, archive)
        ready = statement(report, layout, values, as_of=as_of, limit=limit)

        def explain() -> object:
            with (
                conn.transaction(force_rollback=True),
                transaction(conn, read_only=True, search_path=search_path(layout)),
            ):
                prepare(conn, layout, report, as_of)
                cursor = psycopg.RawCursor(conn)
                text = f"EXPLAIN (FORMAT JSON, VERBOSE) {ready.rendered.text.rstrip().rstrip(';')}"
                cursor.execute(text.encode(conn.info.encoding), ready.values)
                return cursor.fetchall()

        joined.load(explain)
        with running(
            conn, layout, report, values, as_of=as_of, limit=limit, timeout=timeout
        ) as answer:
            yield answer, joined
        raise psycopg.Rollback
