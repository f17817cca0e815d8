"""Legal holds: the accounts whose events are never deleted, whatever their age."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, LiteralString

from psycopg import sql

from secops.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from secops.database.connection import Connection
    from secops.database.layout import Layout

# What an event can hold of an address; see secops.accounts.events.
_WIDTH: Final = 255


def read(path: Path | None) -> list[str]:
    """Read a holds file: an e-mail address or a user id a line; ``#`` begins a comment line.

    Args:
        path: The file, or ``None`` where no hold is configured.

    Raises:
        ConfigurationError: It cannot be read. Without it nobody knows what must stay.
    """
    if path is None:
        return []
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigurationError(
            f"retention.holds_file {path} cannot be read: {error.strerror}.",
            hint="Nothing is deleted without it. Put it back, or empty the setting if no hold is left.",
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError(
            f"retention.holds_file {path} is not UTF-8.", hint="Save it as UTF-8."
        ) from None
    lines = (line.strip() for line in text.replace("\x00", "").splitlines())
    return list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))


@dataclass(frozen=True, slots=True)
class Holds:
    """Who is held: the file's lines, and what the accounts that they name are otherwise known by.

    Attributes:
        condition: For an event ``t`` to be held; never NULL.
        ids: User ids, as text in lower case.
        emails: Addresses in lower case, cut to what an event can hold.
        unknown: Lines that name no account; its user may be gone, or the line mistyped.
    """

    condition: ClassVar[LiteralString] = (
        "coalesce(lower(t.user_id::text) = ANY (%(held_ids)s::text[])"
        " OR lower(t.email) = ANY (%(held_emails)s::text[]), false)"
    )

    ids: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @classmethod
    def find(cls, conn: Connection, layout: Layout, lines: Sequence[str]) -> Holds:
        """Look the accounts up.

        An account that is named by its address is held by its id too, and the other way round: a failed
        login has the address alone. Lower case is what the server says it is.
        """
        if not lines:
            return cls()
        users = layout.users
        rows = conn.execute(
            sql.SQL(
                """SELECT h.line, lower(h.line), left(lower(h.line), {width}),
                          lower(u.{id}::text), left(lower(u.{email}::text), {width})
                   FROM unnest(%s::text[]) AS h (line)
                   LEFT JOIN {users} u
                     ON lower(u.{email}::text) = lower(h.line) OR lower(u.{id}::text) = lower(h.line)"""
            ).format(
                width=sql.Literal(_WIDTH),
                id=sql.Identifier(users.id),
                email=sql.Identifier(users.email),
                users=users.table,
            ),
            (list(lines),),
        ).fetchall()
        ids = {str(value) for row in rows for value in (row[1], row[3]) if value is not None}
        emails = {str(value) for row in rows for value in (row[2], row[4]) if value is not None}
        unknown = [str(row[0]) for row in rows if row[3] is None]
        return cls(tuple(sorted(ids)), tuple(sorted(emails)), tuple(unknown))

    def as_parameters(self) -> dict[str, object]:
        """Return what :attr:`condition` binds."""
        return {"held_ids": list(self.ids), "held_emails": list(self.emails)}
