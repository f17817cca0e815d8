"""What a statement did, as the server saw it: ``pg_locks`` from another session, files, scans, its log."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from secops.schema.effects import Mode, Statement, Table
from secops.schema.estimate import known, sizes
from support.databases import Database
from support.servers import Connection

_TABLES = """
    SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.relfilenode::bigint,
           coalesce(pg_stat_get_numscans(c.oid), 0)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_|^information_schema'
"""

_LOCKS = """
    SELECT l.relation::bigint, l.mode::text, n.nspname::text, c.relname::text
    FROM pg_locks l
    LEFT JOIN pg_class c ON c.oid = l.relation
    LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE l.pid = %s AND l.locktype = 'relation' AND l.granted
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@dataclass(frozen=True)
class Known:
    """A table before or after a statement."""

    table: Table
    file: int
    scans: int


@dataclass(frozen=True)
class Seen:
    """What a statement did to the tables that were there before it, and which it made."""

    locks: dict[Table, Mode]
    scanned: dict[Table, int]
    rewritten: set[Table]
    made: set[Table]


def declared(database: Database, statement: Statement) -> Seen:
    """Return what a statement says of itself before it is run, in the same form."""
    with database.connect() as conn:
        there = sizes(conn, {each.table for each in statement.effects})
    old = [each for each in known(statement.effects, there) if not each.new]
    return Seen(
        {each.table: each.mode for each in old},
        {each.table: each.reads for each in old if each.reads},
        {each.table for each in old if each.rewrites},
        {each.table for each in statement.effects if each.new},
    )


def _tables(conn: Connection) -> dict[int, Known]:
    conn.execute("SELECT pg_stat_clear_snapshot()")
    return {
        int(str(oid)): Known((str(schema), str(name)), int(str(file)), int(str(scans)))
        for oid, schema, name, file, scans in conn.execute(_TABLES)
    }


class Watch:
    """Runs statements one after another and tells what each did."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._work = database.connect()
        self._side = database.connect()
        self._work.execute("SET search_path = pg_catalog")

    def run(self, statement: Statement) -> Seen:
        """Run a statement for good."""
        before = _tables(self._side)
        alone = "CONCURRENTLY" in statement.as_string()
        found = self._held(statement) if alone else self._in_a_transaction(statement)
        # What a session counts it otherwise tells at its leisure.
        self._work.execute("SELECT pg_stat_force_next_flush()")
        after = _tables(self._side)
        locks: dict[Table, Mode] = {}
        for oid, mode in found:
            if oid in before:
                name = before[oid].table
                both = (mode, locks.get(name, Mode.ACCESS_SHARE))
                locks[name] = max(both, key=lambda each: each.strength)
        return Seen(
            locks,
            {
                was.table: after[oid].scans - was.scans
                for oid, was in before.items()
                if oid in after and after[oid].scans != was.scans
            },
            {
                was.table
                for oid, was in before.items()
                if oid in after and after[oid].file != was.file
            },
            {made.table for oid, made in after.items() if oid not in before},
        )

    def _locks(self) -> list[tuple[int, Mode]]:
        rows = self._side.execute(_LOCKS, (self._work.info.backend_pid,)).fetchall()
        return [(int(str(oid)), _mode(str(mode))) for oid, mode, *_ in rows]

    def _in_a_transaction(self, statement: Statement) -> list[tuple[int, Mode]]:
        with self._work.transaction():
            self._work.execute(statement)
            return self._locks()

    def _held(self, statement: Statement) -> list[tuple[int, Mode]]:
        """Run what may not be in a transaction beside one that it must wait for, and look meanwhile."""
        (table, *_) = [each.table for each in statement.effects]
        with ThreadPoolExecutor(1) as pool, _reader(self._database, table):
            running = pool.submit(self._work.execute, statement)
            deadline = time.monotonic() + 30
            waits = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s"
            while self._side.execute(waits, (self._work.info.backend_pid,)).fetchone() != (True,):
                assert not running.done(), running.exception()
                assert time.monotonic() < deadline
                time.sleep(0.005)
            found = self._locks()
        running.result()
        return found

    def close(self) -> None:
        """Close the connections."""
        self._work.close()
        self._side.close()


@contextmanager
def _reader(database: Database, table: Table) -> Iterator[None]:
    """Hold an old snapshot and a reader's lock on a table, without a scan that would be counted."""
    with database.connect() as conn, conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        conn.execute("SELECT 1")
        conn.execute('LOCK TABLE "{}"."{}" IN ACCESS SHARE MODE'.format(*table).encode())
        yield


def _mode(name: str) -> Mode:
    """``ShareRowExclusiveLock`` as the manual writes it."""
    words = re.findall("[A-Z][a-z]+", name.removesuffix("Lock"))
    return Mode(" ".join(words).upper())


_ENTRY = re.compile(r"^\d{4}-\d\d-\d\d [^\n]*? \[(\d+)\] [A-Z]+:  ", re.MULTILINE)
_LOOKING = re.compile(
    r"(?:\s*--[^\n]*\n)*\s*(?:SELECT|SET|SHOW|BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE)\b(?!;)[^;]*\Z",
    re.DOTALL | re.IGNORECASE,
)


class Log:
    """The server's own log of every statement in one database, from when it is made."""

    def __init__(self, database: Database) -> None:
        database.execute(f"ALTER DATABASE \"{database.name}\" SET log_statement = 'all'")
        self._file = database.server.log
        self._from = self._file.stat().st_size

    def said(self) -> list[str]:
        """Return every message with statements, byte for byte, in order."""
        with self._file.open("rb") as file:
            file.seek(self._from)
            text = file.read().decode()
        found = []
        entries = list(_ENTRY.finditer(text))
        for entry, after in zip(entries, [*entries[1:], None], strict=True):
            body = text[entry.end() : after.start() if after else len(text)].removesuffix("\n")
            kind, colon, words = body.partition(": ")
            if colon and (kind == "statement" or kind.startswith("execute ")):
                found.append(words.replace("\n\t", "\n"))
        return found

    def changes(self) -> list[str]:
        """Return those that are not questions, settings or the ends of transactions by themselves."""
        return [each for each in self.said() if not _LOOKING.match(each)]


def plain(rows: list[dict[str, Any]]) -> list[str]:
    """Return the SQL of the statements of ``plan --json``'s steps."""
    return [each["sql"] for step in rows for each in step["statements"]]
