"""What the app's users table is called and where secops' own tables stand.

The app owns ``users``: its name, its columns' names and the type of its key are configured or detected
(:mod:`secops.schema.detect`), never assumed. Every statement of ours takes its identifiers from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from psycopg import sql

KeyType = Literal["uuid", "bigint", "integer", "text"]

KEY_TYPES: Final[tuple[KeyType, ...]] = ("uuid", "bigint", "integer", "text")

INTERNAL: Final = "secops"
"""The PostgreSQL schema that holds everything internal."""


@dataclass(frozen=True, slots=True)
class UsersTable:
    """The app's table of people, by its real names.

    Attributes:
        schema: PostgreSQL schema.
        name: Table.
        id: Primary key column.
        id_type: Its type, as foreign keys to it must have.
        email: Column with the e-mail address or login name.
        display_name: Column with a person's name, where there is one.
        active: Boolean column that says whether an account may log in, where there is one.
        password: Column with the password hash, where there is one. Never read; roles are kept from it.
    """

    schema: str
    name: str
    id: str
    id_type: KeyType
    email: str
    display_name: str | None = None
    active: str | None = None
    password: str | None = None

    @property
    def table(self) -> sql.Identifier:
        """The quoted, qualified name."""
        return sql.Identifier(self.schema, self.name)

    @property
    def key(self) -> sql.SQL:
        """The key's type, to cast to."""
        return _KEY_SQL[self.id_type]


_KEY_SQL: Final[dict[KeyType, sql.SQL]] = {
    "uuid": sql.SQL("uuid"),
    "bigint": sql.SQL("bigint"),
    "integer": sql.SQL("integer"),
    "text": sql.SQL("text"),
}


@dataclass(frozen=True, slots=True)
class Layout:
    """Every table that a statement of ours may name.

    Attributes:
        users: The app's table.
        schema: Where ``refresh_tokens`` and ``security_events`` stand.
    """

    users: UsersTable
    schema: str

    @property
    def tokens(self) -> sql.Identifier:
        """``refresh_tokens``."""
        return sql.Identifier(self.schema, "refresh_tokens")

    @property
    def events(self) -> sql.Identifier:
        """``security_events``."""
        return sql.Identifier(self.schema, "security_events")

    @property
    def accounts(self) -> sql.Identifier:
        """``secops.accounts``: operator locks and token epochs."""
        return sql.Identifier(INTERNAL, "accounts")

    @property
    def operations(self) -> sql.Identifier:
        """``secops.operations``: one row for each operator's command that changed something."""
        return sql.Identifier(INTERNAL, "operations")
