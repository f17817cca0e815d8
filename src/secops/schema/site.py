"""What a migration must know of a database to write its statements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from secops.schema.adoption import earlier as earlier_layer

if TYPE_CHECKING:
    from secops.database.connection import Connection
    from secops.database.layout import Layout
    from secops.schema.adoption.earlier import Earlier


@dataclass(frozen=True, slots=True)
class Site:
    """One database, as far as migrations differ from one to another.

    Attributes:
        layout: What the tables are called.
        owner: The role that owns the users table, which is as a rule the one that the app logs in as.
        key: The type of its key as declared (``character varying(36)``).
        version: The server's ``server_version_num`` (``150004``).
        earlier: The earlier, home-grown layer, where there is one to take over.
    """

    layout: Layout
    owner: str
    key: str
    version: int
    earlier: Earlier | None = None


def survey(conn: Connection, layout: Layout) -> Site:
    """Look at a database."""
    row = conn.execute(
        """SELECT pg_get_userbyid(c.relowner)::text, format_type(a.atttypid, a.atttypmod),
                  current_setting('server_version_num')::int
           FROM pg_class c
           JOIN pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = %s
           WHERE n.nspname = %s AND c.relname = %s""",
        (layout.users.id, layout.users.schema, layout.users.name),
    ).fetchone()
    assert row is not None
    owner, key, version = row
    earlier = earlier_layer.look(conn, layout)
    return Site(layout, str(owner), str(key), int(str(version)), earlier)
