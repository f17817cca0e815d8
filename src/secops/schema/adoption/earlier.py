"""What an earlier, home-grown layer is like, and how one is told from a table that merely differs.

Recognised is a ``refresh_tokens`` that keeps the token itself (``token``) and no hash of it, together with
another mark of such layers: times without a zone, ``revoked_at`` in place of ``revoked``, a jsonb
``device_info``. What its tables were like when they were first seen is remembered in the database
(``secops.adoption``), so that a later run, and `migrate contract`, know it still when half is changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from psycopg import sql

from secops.database.layout import INTERNAL
from secops.schema import catalogue

if TYPE_CHECKING:
    from secops.database.connection import Connection
    from secops.database.layout import Layout

MEMORY: Final = "adoption"
"""The table in the schema ``secops`` that remembers; there between expand and contract alone."""

TOKENS: Final = "refresh_tokens"
EVENTS: Final = "security_events"
USERS: Final = "users"
"""How the users table is remembered, whatever it is called."""

NAIVE: Final = "timestamp without time zone"
AWARE: Final = "timestamp with time zone"
ENUM: Final = "enum"
"""How a column of an enumeration is remembered, whatever that is called."""

_JSON: Final = ("json", "jsonb")
_NOT_NULL: Final = " NOT NULL"
_CLEAR: Final = ("text", "character varying", "uuid")


@dataclass(frozen=True, slots=True)
class Was:
    """A column as the earlier layer made it."""

    type: str
    not_null: bool


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier layer.

    Attributes:
        tables: Its columns, by table (``refresh_tokens``, ``security_events``, ``users``) and name. A
            table that it did not have is missing; of ``users``, only what secops would add is told.
        remembered: Whether the database remembers it, which is so from the first statement on.
    """

    tables: Mapping[str, Mapping[str, Was]]
    remembered: bool

    def had(self, table: str) -> Mapping[str, Was]:
        """Return the columns of one table; none where it was not there."""
        return self.tables.get(table, {})

    def times(self, table: str, wanted: Mapping[str, str]) -> list[str]:
        """Return the columns of a table that had times without a zone where one is wanted."""
        had = self.had(table)
        return [
            name
            for name, kind in wanted.items()
            if kind == AWARE and name in had and had[name].type == NAIVE
        ]


def look(conn: Connection, layout: Layout) -> Earlier | None:
    """Return the earlier layer of a database, if it has one, or had one that is not yet given up."""
    remembered = recalled(conn)
    if remembered is not None:
        # Once the clear token has gone, nothing of the layer is kept in step or restored.
        return None if is_contracting(conn) else remembered
    tokens = _columns(conn, layout.schema, TOKENS)
    if not _recognised(tokens):
        return None
    tables = {TOKENS: tokens}
    if catalogue.kind_of(conn, layout.schema, EVENTS) == "r":
        tables[EVENTS] = _columns(conn, layout.schema, EVENTS)
    users = _columns(conn, layout.users.schema, layout.users.name)
    ours = ("failed_login_attempts", "locked_until")
    tables[USERS] = {name: users[name] for name in ours if name in users}
    return Earlier(tables, remembered=False)


def _recognised(tokens: Mapping[str, Was]) -> bool:
    clear = tokens.get("token")
    if clear is None or "token_hash" in tokens or not clear.type.startswith(_CLEAR):
        return False
    expires, device = tokens.get("expires_at"), tokens.get("device_info")
    return (
        "revoked_at" in tokens
        or (expires is not None and expires.type == NAIVE)
        or (device is not None and device.type in _JSON)
    )


def _columns(conn: Connection, schema: str, table: str) -> dict[str, Was]:
    rows = conn.execute(
        """SELECT a.attname::text,
                  CASE WHEN t.typtype = 'e' THEN %s ELSE format_type(a.atttypid, a.atttypmod) END,
                  a.attnotnull
           FROM pg_attribute a
           JOIN pg_class c ON c.oid = a.attrelid
           JOIN pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_type t ON t.oid = a.atttypid
           WHERE n.nspname = %s AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped
           ORDER BY a.attnum""",
        (ENUM, schema, table),
    )
    return {str(name): Was(str(kind), bool(not_null)) for name, kind, not_null in rows}


def recalled(conn: Connection) -> Earlier | None:
    """Return the earlier layer that the database remembers, if it does."""
    if not is_remembered(conn):
        return None
    tables: dict[str, dict[str, Was]] = {}
    for name, definition in recall(conn, "column"):
        table, _, column = name.partition(".")
        kind = definition.removesuffix(_NOT_NULL)
        tables.setdefault(table, {})[column] = Was(kind, kind != definition)
    return Earlier(tables, remembered=True)


def is_contracting(conn: Connection) -> bool:
    """Say whether `migrate contract` has begun, and dropped the clear token."""
    return bool(recall(conn, "contracting"))


def is_remembered(conn: Connection) -> bool:
    """Say whether the database remembers an earlier layer, for this role to read."""
    row = conn.execute(
        """SELECT has_table_privilege(c.oid, 'SELECT') FROM pg_class c
           JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = %s AND c.relname = %s""",
        (INTERNAL, MEMORY),
    ).fetchone()
    return row == (True,)


def recall(conn: Connection, kind: str) -> list[tuple[str, str]]:
    """Return what the database remembers of a kind: names and definitions; nothing without a memory."""
    if not is_remembered(conn):
        return []
    query = sql.SQL("SELECT name, definition FROM {} WHERE kind = %s ORDER BY name").format(
        sql.Identifier(INTERNAL, MEMORY)
    )
    return [(str(name), str(definition)) for name, definition in conn.execute(query, (kind,))]


def columns_to_remember(earlier: Earlier) -> list[tuple[str, str]]:
    """Return names and definitions, as :func:`recall` reads them."""
    return [
        (f"{table}.{name}", was.type + (_NOT_NULL if was.not_null else ""))
        for table, columns in earlier.tables.items()
        for name, was in columns.items()
    ]
