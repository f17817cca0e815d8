"""Run a report: read-only, one statement, in limited time, and rolled back in the end.

What keeps a report from changing anything, from the outside in: the reader's login, where
``report_database_url`` names one; a READ ONLY transaction that is always rolled back; and ``DECLARE CURSOR``
sent through the extended protocol. The first of these two words lets the server take nothing but a query,
the protocol nothing but one statement: without it, ``SELECT 1; COMMIT; DROP TABLE x`` in a file would end the
read-only transaction and drop the table.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import errors as pg

from secops.database.connection import transaction, translate
from secops.durations import format_duration
from secops.errors import SecopsError, Unreachable, UsageError
from secops.reports.fields import shown
from secops.reports.statement import Statement, search_path, statement

if TYPE_CHECKING:
    from secops.database.connection import Connection
    from secops.database.layout import Layout
    from secops.reports.header import Report
    from secops.reports.parameters import Value

Row = tuple[object, ...]

_BATCH: Final = 2_000
COUNTED: Final = 1_000
"""So many rows beyond the limit are counted, so that people know what they do not see."""

_DECLARE: Final = "DECLARE secops_report NO SCROLL CURSOR FOR "
# A report takes only ACCESS SHARE, so nobody but a migration's short DDL ever makes it wait.
_LOCK_TIMEOUT: Final = timedelta(seconds=5)

_PREPARE: Final = """
    SELECT set_config('TimeZone', 'UTC', true),
           set_config('standard_conforming_strings', 'on', true),
           -- Otherwise a cursor is planned to return its first rows soon, at the cost of the last.
           set_config('cursor_tuple_fraction', '1', true),
           -- Compiling takes longer than a report.
           set_config('jit', 'off', true),
           now(), %(as_of)s::timestamptz > now(),
           CASE WHEN pg_is_in_recovery() THEN now() - pg_last_xact_replay_timestamp() END,
           (SELECT n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
            WHERE e.extname = %(extension)s)
"""


class RequirementMissing(SecopsError):  # noqa: N818  no fault, but a state of the server
    """The extension that a report stands on is not there; the report has nothing to say."""

    code = "requirement-missing"


@dataclass
class Answer:
    """What a report answers.

    Attributes:
        columns: Their names.
        rows: Can be iterated once.
        as_of: The database's time that the report is about.
        replica_lag: How far behind the primary the data may be, on a replica.
        elapsed: How long the database has taken until now.
        more: How many rows beyond the limit are there; known when ``rows`` are read.
        many_more: Whether they are more than were counted.
    """

    columns: tuple[str, ...]
    rows: Iterator[Row]
    as_of: datetime
    replica_lag: timedelta | None
    elapsed: timedelta = field(default=timedelta(0))
    more: int = 0
    many_more: bool = False


@contextmanager
def running(
    conn: Connection,
    layout: Layout,
    report: Report,
    values: Mapping[str, Value | None],
    *,
    as_of: datetime | None = None,
    limit: int = 0,
    timeout: timedelta = timedelta(0),
) -> Iterator[Answer]:
    """Run a report for the length of a block.

    Args:
        conn: In autocommit mode.
        layout: What the tables are called.
        report: The report.
        values: What is bound, by the names of the report's parameters.
        as_of: The time that the report is about; the database's own where ``None``.
        limit: How many rows at most; 0 means all. Limited rows are there when the block begins;
            unlimited ones are fetched as they are read, so that they need little memory.
        timeout: The longest that the database may work on one request; zero means no limit.

    Raises:
        UsageError: ``as_of`` is in the database's future.
        RequirementMissing: The report stands on an extension that is not there.
        SecopsError: The SQL failed; the message names the file and, where known, the line.
    """
    with transaction(
        conn,
        read_only=True,
        lock_timeout=_LOCK_TIMEOUT,
        statement_timeout=timeout,
        search_path=search_path(layout),
    ):
        now, lag = prepare(conn, layout, report, as_of)
        answer = Answer((), iter(()), as_of or now, lag)
        most = limit + COUNTED + 1 if limit else 0
        ready = statement(report, layout, values, as_of=as_of, limit=most)
        portal = _Portal(conn, report, ready, answer, timeout)
        portal.declare()
        first = portal.fetch(min(most, _BATCH) if limit else _BATCH)
        answer.columns = _columns(report, portal.cursor)
        rows = portal.rows(first, limit, most)
        answer.rows = iter(list(rows)) if limit else rows
        yield answer
        raise psycopg.Rollback


def prepare(
    conn: Connection, layout: Layout, report: Report, as_of: datetime | None
) -> tuple[datetime, timedelta | None]:
    """Set up a report's transaction; return the database's time and how far a replica is behind.

    Raises:
        UsageError: ``as_of`` is in the database's future.
        RequirementMissing: The report stands on an extension that is not there.
    """
    needed = report.requires
    row = conn.execute(
        _PREPARE, {"as_of": as_of, "extension": needed.extension if needed else None}
    ).fetchone()
    assert row is not None
    now, future, lag, extension_schema = row[4:]
    assert isinstance(now, datetime)
    if future:
        raise UsageError(
            "--as-of is in the future.", hint=f"The database's clock says {now:%Y-%m-%dT%H:%M:%SZ}."
        )
    if needed and extension_schema is None:
        raise RequirementMissing(
            f"The extension {needed.extension} is not there.", hint=needed.hint
        )
    if extension_schema is not None:
        conn.execute(
            "SELECT set_config('search_path', %s, true)",
            (search_path(layout, str(extension_schema)),),
        )
    return now, lag if isinstance(lag, timedelta) else None


@dataclass(frozen=True, slots=True)
class _Portal:
    """The open cursor of a report on the server."""

    conn: Connection
    report: Report
    ready: Statement
    answer: Answer
    timeout: timedelta
    cursor: psycopg.RawCursor[Row] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cursor", psycopg.RawCursor(self.conn))

    def declare(self) -> None:
        # The one place where text of a file becomes SQL. `binary` is what makes psycopg use the
        # extended protocol even where no parameter is bound.
        text = (_DECLARE + self.ready.rendered.text).encode(self.conn.info.encoding)
        with self._timed():
            self.cursor.execute(text, self.ready.values, binary=True)

    def fetch(self, count: int) -> list[Row]:
        with self._timed():
            self.cursor.execute(b"FETCH FORWARD %d FROM secops_report" % count)
            return self.cursor.fetchall()

    def rows(self, batch: list[Row], limit: int, most: int) -> Iterator[Row]:
        """Give rows, the first batch first, up to the limit; count what is there beyond it."""
        seen = 0
        while batch:
            for row in batch:
                seen += 1
                if not limit or seen <= limit:
                    yield row
            if most and seen >= most:
                break
            batch = self.fetch(min(most - seen, _BATCH) if most else _BATCH)
        if limit and seen > limit:
            self.answer.more = min(seen - limit, COUNTED)
            self.answer.many_more = seen - limit > COUNTED

    @contextmanager
    def _timed(self) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        except psycopg.Error as error:
            took = timedelta(seconds=time.perf_counter() - begun)
            limit = self.timeout if took >= self.timeout * 0.9 else None
            raise _explain(self.report, error, self._where(error), limit) from error
        finally:
            self.answer.elapsed += timedelta(seconds=time.perf_counter() - begun)

    def _where(self, error: psycopg.Error) -> str:
        """Return the file, and the line where the server says which."""
        position = error.diag.statement_position
        offset = int(position) - 1 - len(_DECLARE) if position else -1
        if offset < 0:
            return shown(self.report.path)
        return f"{shown(self.report.path)}:{self.report.line(self.ready.rendered.origin(offset))}"


def _columns(report: Report, cursor: psycopg.RawCursor[Row]) -> tuple[str, ...]:
    columns = tuple(each.name for each in cursor.description or ())
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise SecopsError(
            f"{shown(report.path)}: the SQL returns two columns named {twice!r}.",
            hint="Name them apart with AS: formats such as JSON hold each name once.",
        )
    wanted = (*((report.severity,) if report.severity else ()), *report.sparkline)
    absent = next((name for name in wanted if name not in columns), None)
    if absent is not None:
        raise SecopsError(
            f"{shown(report.path)}: the header names a column {absent!r} that the SQL does not return.",
            hint=f"It returns {', '.join(columns) or 'none'}.",
        )
    return columns


def _explain(
    report: Report, error: psycopg.Error, where: str, exhausted: timedelta | None
) -> SecopsError:
    """Say what failed, where, and what to do; ``exhausted`` is the timeout where its time is up."""
    said = error.diag.message_primary or str(error).strip().split("\n")[0]
    known = translate(error)
    match error:
        case pg.QueryCanceled() if exhausted:
            return SecopsError(
                f"The report {report.name} took longer than {format_duration(exhausted)}.",
                hint="Ask for less (a shorter --since), or raise SECOPS_REPORT_TIMEOUT.",
            )
        case pg.ObjectNotInPrerequisiteState() if report.requires:
            return RequirementMissing(f"{said[:1].upper()}{said[1:]}.", hint=report.requires.hint)
        case pg.UndefinedTable() | pg.UndefinedFunction() | pg.InvalidSchemaName():
            hint = "Run `secops migrate`, unless the report's own SQL names what never was."
        case psycopg.DataError() if error.sqlstate is None:
            said = f"a value cannot be read: {said}"
            hint = "Cast the column to text in the SQL."
        case _ if error.sqlstate is None or isinstance(known, Unreachable):
            return known
        case _ if type(known) is SecopsError and not isinstance(error, pg.InsufficientPrivilege):
            hint = (
                error.diag.message_hint or "`--show-sql` prints the statement, to try it in psql."
            )
        case _:
            hint = known.hint
    return type(known)(f"{where}: {said}.", hint=hint)
