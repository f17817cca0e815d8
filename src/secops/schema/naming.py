"""Names for what secops makes beside what others made: never longer than PostgreSQL keeps, never taken."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

    from secops.database.connection import Connection

LONGEST: Final = 63
"""Bytes of a name; PostgreSQL cuts off what is longer, without an error."""


def fitting(name: str, ending: str = "") -> str:
    """Return ``name + ending``, or where that is too long, a shorter one that is as much its own.

    Args:
        name: What may be cut.
        ending: What must stay.
    """
    if len((name + ending).encode()) <= LONGEST:
        return name + ending
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    room = LONGEST - len(digest) - 1 - len(ending.encode())
    # A character that the cut would halve goes as a whole.
    kept = name.encode()[:room].decode(errors="ignore")
    return f"{kept}_{digest}{ending}"


def free(
    conn: Connection,
    schema: str,
    name: str,
    *,
    also: Collection[str] = (),
    mine: Collection[str] = (),
) -> str:
    """Return the name, or the first of ``name_2``, ``name_3`` ... that nothing in the schema has.

    Args:
        conn: Any connection.
        schema: The schema.
        name: The name wished for, no longer than :data:`LONGEST`.
        also: Names that are spoken for.
        mine: Names that are not, whatever has them: an earlier run of ours.
    """
    rows = conn.execute(
        # A table brings a type of its name.
        """SELECT c.relname::text FROM pg_class c
           JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %(schema)s
           UNION ALL
           SELECT t.typname::text FROM pg_type t
           JOIN pg_namespace n ON n.oid = t.typnamespace WHERE n.nspname = %(schema)s""",
        {"schema": schema},
    )
    taken = ({str(row[0]) for row in rows} - set(mine)) | set(also)
    number = 1
    candidate = name
    while candidate in taken:
        number += 1
        candidate = fitting(name, f"_{number}")
    return candidate
