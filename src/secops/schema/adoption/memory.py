"""The step that remembers an earlier layer before the first change, and refuses what cannot be taken over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from secops.database.layout import INTERNAL
from secops.schema import effects
from secops.schema.adoption.earlier import MEMORY, columns_to_remember, is_remembered
from secops.schema.effects import Statement, together
from secops.schema.steps import ABSENT, DONE, Finding, Lock, State, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from secops.database.connection import Connection
    from secops.schema.adoption.earlier import Earlier

TABLE = sql.Identifier(INTERNAL, MEMORY)

Difference = tuple[str, str]
"""What is in the way, in words, and SQL that a person could run."""


def remembering(rows: Iterable[tuple[str, str, str]]) -> Statement:
    """Return the INSERT of what is to be remembered: kind, name, definition."""
    values = sql.SQL(",\n    ").join(
        sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Literal, row))) for row in rows
    )
    return Statement(
        sql.SQL("INSERT INTO {} (kind, name, definition) VALUES\n    {}\n    ON CONFLICT DO NOTHING")
        .format(TABLE, values),
        effects.writes((INTERNAL, MEMORY)),
    )  # fmt: skip


def forgetting(kinds: Iterable[str], table: str) -> Statement:
    """Return the DELETE of what is remembered of a table, of some kinds."""
    return Statement(
        sql.SQL("DELETE FROM {} WHERE kind IN ({}) AND name LIKE {}").format(
            TABLE, sql.SQL(", ").join(map(sql.Literal, kinds)), sql.Literal(f"{table}.%")
        ),
        effects.writes((INTERNAL, MEMORY)),
    )


def remember(earlier: Earlier, refused: Callable[[Connection], list[Difference]]) -> Step:
    """Write down what the earlier layer was like, where nothing stands in the way of taking it over.

    Args:
        earlier: The earlier layer.
        refused: Returns what stands in the way.
    """
    create = Statement(
        sql.SQL(
            "CREATE TABLE {} (\n"
            "    kind text NOT NULL,\n"
            "    name text NOT NULL,\n"
            "    definition text NOT NULL,\n"
            "    CONSTRAINT {} PRIMARY KEY (kind, name)\n"
            ")"
        ).format(TABLE, sql.Identifier(f"{MEMORY}_pkey")),
        effects.creates((INTERNAL, MEMORY)),
    )
    rows = [("column", name, definition) for name, definition in columns_to_remember(earlier)]

    def probe(conn: Connection) -> Finding:
        found = refused(conn)
        if found:
            return Finding(
                State.DIFFERENT,
                "; ".join(words for words, _ in found),
                mend="; ".join(mend for _, mend in found),
            )
        return DONE if is_remembered(conn) else ABSENT

    return Step(
        title="Remember the earlier layer",
        do=together([create, remembering(rows)]),
        lock=Lock.SHORT,
        probe=probe,
        undo=Statement(sql.SQL("DROP TABLE {}").format(TABLE), effects.drops((INTERNAL, MEMORY))),
    )
