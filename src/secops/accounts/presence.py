"""What of secops' tables and columns is there: one account can be explained before any migration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from secops.database.layout import INTERNAL

if TYPE_CHECKING:
    from secops.database.connection import Connection
    from secops.database.layout import Layout


@dataclass(frozen=True, slots=True)
class Presence:
    """Which columns each table has; none where there is no such table.

    Attributes:
        users: The app's table.
        tokens: ``refresh_tokens``.
        events: ``security_events``.
        accounts: ``secops.accounts``.
    """

    users: frozenset[str]
    tokens: frozenset[str]
    events: frozenset[str]
    accounts: frozenset[str]

    @property
    def counts(self) -> bool:
        """Whether failed logins are counted and lock accounts."""
        return {"failed_login_attempts", "locked_until"} <= self.users

    @property
    def rotates(self) -> bool:
        """Whether tokens know their family, so that sessions outlive a refresh."""
        return {"used", "family_id", "revoked_at", "revoked_reason"} <= self.tokens

    def missing(self, layout: Layout) -> list[str]:
        """Name what is not there, in words that ``secops migrate`` will make untrue."""
        users, schema = layout.users, layout.schema
        lacks = {
            f"{users.schema}.{users.name}.failed_login_attempts": not self.counts,
            f"{users.schema}.{users.name}.locked_until": not self.counts,
            f"{schema}.refresh_tokens": not self.tokens,
            f"{schema}.refresh_tokens.family_id": bool(self.tokens) and not self.rotates,
            f"{schema}.security_events": not self.events,
            f"{INTERNAL}.accounts": not self.accounts,
        }
        return [name for name, lacking in lacks.items() if lacking]


def look(conn: Connection, layout: Layout) -> Presence:
    """Ask the catalogue; it needs no privilege."""
    tables = {
        "users": (layout.users.schema, layout.users.name),
        "tokens": (layout.schema, "refresh_tokens"),
        "events": (layout.schema, "security_events"),
        "accounts": (INTERNAL, "accounts"),
    }
    rows = conn.execute(
        """
        SELECT w.role, a.attname::text
        FROM unnest(%s::text[], %s::text[], %s::text[]) AS w (role, schema, name)
        JOIN pg_namespace n ON n.nspname = w.schema
        JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name AND c.relkind IN ('r', 'p')
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        """,
        (
            list(tables),
            [schema for schema, _ in tables.values()],
            [name for _, name in tables.values()],
        ),
    )
    found: dict[str, set[str]] = {role: set() for role in tables}
    for role, column in rows:
        found[str(role)].add(str(column))
    return Presence(**{role: frozenset(columns) for role, columns in found.items()})
