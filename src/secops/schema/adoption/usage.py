"""Who still uses the clear token: rows, code in the database, and what sessions were seen to ask."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, cast

from psycopg import errors as pg
from psycopg import sql

from secops.schema.adoption.earlier import TOKENS
from secops.schema.adoption.following import TRIGGER
from secops.schema.adoption.reading import holders, indexes

if TYPE_CHECKING:
    from secops.database.connection import Connection
    from secops.database.layout import Layout
    from secops.schema.adoption.reading import Holder

COLUMN: Final = "token"
# As a word of its own: token_hash is another.
_WORDS: Final = (rf"\m{TOKENS}\M", rf"\m{COLUMN}\M")
_LAST_IDX_SCAN: Final = 16_00_00
"""The server that notes when an index was last used."""
_SHOWN: Final = 160


@dataclass(frozen=True, slots=True)
class Code:
    """Something that names the clear token.

    Attributes:
        kind: ``function``, ``index``, ``constraint``, ``view`` ..., ``session`` or ``statement``.
        what: Its name, or the beginning of its text.
        seen: When a session last ran it, where that is known.
        calls: How often, where that is known.
    """

    kind: str
    what: str
    seen: datetime | None = None
    calls: int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What the clear token is still used for.

    Attributes:
        rows: How many rows hold one.
        live: How many of them are live sessions.
        written: When the last of these rows was written, as its ``created_at`` says.
        looked_up: When a token was last looked up by the index on it, where the server notes that.
        lookups: How often one was, since the statistics were reset.
        code: What names the column.
        holders: What keeps the column from being dropped.
        now: The database's clock.
    """

    rows: int
    live: int
    written: datetime | None
    looked_up: datetime | None
    lookups: int
    code: tuple[Code, ...]
    holders: tuple[Holder, ...]
    now: datetime

    def within(self, grace: timedelta) -> list[str]:
        """Say what has used the clear token during the last so long."""
        found = []
        if self.written is not None and self.now - self.written < grace:
            found.append(f"a row with one was written at {_shown(self.written)}")
        if self.looked_up is not None and self.now - self.looked_up < grace:
            found.append(f"one was looked up at {_shown(self.looked_up)}")
        found += [
            f"a session ran `{each.what}` at {_shown(each.seen)}"
            for each in self.code
            if each.seen is not None and self.now - each.seen < grace
        ]
        return found


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"


def look(conn: Connection, layout: Layout, version: int) -> Usage:
    """Find out what the clear token is still used for; reads the whole table once.

    Args:
        conn: With its zone at UTC.
        layout: The tables.
        version: The server's ``server_version_num``.
    """
    row = conn.execute(
        sql.SQL(
            """SELECT count(*), count(*) FILTER (WHERE revoked IS NOT TRUE AND used IS NOT TRUE
                                                   AND expires_at > now()),
                      max(created_at), now()
               FROM {} WHERE token IS NOT NULL"""
        ).format(layout.tokens)
    ).fetchone()
    assert row is not None
    rows, live, written, now = cast("tuple[int, int, datetime | None, datetime]", row)
    looked_up, lookups = _lookups(conn, layout, version)
    table = (layout.schema, TOKENS)
    held = tuple(
        each
        for each in holders(conn, table, [COLUMN], dropped=False)
        # The table's own constraints go with the column.
        if not _is_own_constraint(conn, layout, each)
    )
    code = [
        *_functions(conn),
        *(Code("index", each.name) for each in indexes(conn, *table) if COLUMN in each.columns),
        *(Code("dependent", each.what) for each in held),
        *_sessions(conn),
        *_statements(conn),
    ]
    return Usage(rows, live, written, looked_up, lookups, tuple(code), held, now)


def _is_own_constraint(conn: Connection, layout: Layout, holder: Holder) -> bool:
    row = conn.execute(
        """SELECT EXISTS (SELECT FROM pg_constraint k
                          JOIN pg_class c ON c.oid = k.conrelid
                          JOIN pg_namespace n ON n.oid = c.relnamespace
                          WHERE n.nspname = %s AND c.relname = %s AND k.contype IN ('u', 'x', 'c')
                            AND pg_describe_object('pg_constraint'::regclass, k.oid, 0) = %s)""",
        (layout.schema, TOKENS, holder.what),
    ).fetchone()
    return row == (True,)


def _lookups(conn: Connection, layout: Layout, version: int) -> tuple[datetime | None, int]:
    last = "max(s.last_idx_scan)" if version >= _LAST_IDX_SCAN else "NULL::timestamptz"
    query = sql.SQL(
        """SELECT {}, coalesce(sum(s.idx_scan), 0)::bigint
           FROM pg_stat_user_indexes s
           JOIN pg_index i ON i.indexrelid = s.indexrelid
           JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
           WHERE s.schemaname = %s AND s.relname = %s AND a.attname = %s"""
    ).format(sql.SQL(last))
    row = conn.execute(query, (layout.schema, TOKENS, COLUMN)).fetchone()
    assert row is not None
    return cast("tuple[datetime | None, int]", row)


def _functions(conn: Connection) -> list[Code]:
    rows = conn.execute(
        """SELECT p.oid::regprocedure::text FROM pg_proc p
           JOIN pg_namespace n ON n.oid = p.pronamespace
           WHERE p.prosrc ~* %s AND p.prosrc ~* %s AND n.nspname <> 'secops'
           ORDER BY 1""",
        _WORDS,
    )
    found = [Code("function", str(row[0])) for row in rows]
    # A trigger's function names the column without the table.
    rows = conn.execute(
        """SELECT t.tgname::text FROM pg_trigger t
           JOIN pg_class c ON c.oid = t.tgrelid
           JOIN pg_proc p ON p.oid = t.tgfoid
           WHERE c.relname = %s AND NOT t.tgisinternal AND t.tgname <> %s AND p.prosrc ~* %s
           ORDER BY 1""",
        (TOKENS, TRIGGER, rf"(new|old)\.{COLUMN}\M"),
    )
    return found + [Code("trigger", str(row[0])) for row in rows]


def _sessions(conn: Connection) -> list[Code]:
    rows = conn.execute(
        """SELECT query, max(query_start), count(*) FROM pg_stat_activity
           WHERE datname = current_database() AND pid <> pg_backend_pid()
             AND application_name NOT LIKE 'secops/%%'
             AND query ~* %s AND query ~* %s
           GROUP BY query ORDER BY 2 DESC LIMIT 20""",
        _WORDS,
    )
    return [
        Code("session", _short(str(query)), cast("datetime", seen), int(str(count)))
        for query, seen, count in rows
    ]


def _statements(conn: Connection) -> list[Code]:
    place = conn.execute(
        """SELECT n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
           WHERE e.extname = 'pg_stat_statements'"""
    ).fetchone()
    if place is None:
        return []
    view = sql.Identifier(str(place[0]), "pg_stat_statements")
    query = sql.SQL(
        """SELECT query, sum(calls)::bigint FROM {}
           WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
             AND query ~* %s AND query ~* %s AND query !~* '^\\s*(ALTER|CREATE|DROP|DO|BEGIN)'
           GROUP BY query ORDER BY 2 DESC LIMIT 20"""
    ).format(view)
    # The extension may be made and not loaded, or not for this role to see.
    with suppress(pg.ObjectNotInPrerequisiteState, pg.InsufficientPrivilege), conn.transaction():
        rows = conn.execute(query, _WORDS).fetchall()
        return [Code("statement", _short(str(text)), calls=int(str(calls))) for text, calls in rows]
    return []


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"
