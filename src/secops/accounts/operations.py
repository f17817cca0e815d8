"""One operator's command that changes something: who, where, why, and its row in the journal."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from psycopg import sql
from psycopg.types.json import Jsonb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from secops.database.connection import Connection
    from secops.database.layout import Layout


@dataclass(frozen=True, slots=True)
class Operation:
    """What ties every event of one command together. Made by :meth:`begin`.

    Attributes:
        id: Its number; ``metadata ->> 'operation_id'`` of each event that it records.
        actor: Who acts.
        host: The machine that the command ran on.
        reason: Why, or an empty string.
        ticket: The ticket it belongs to, or an empty string.
        command: The command's words, ``unlock user``.
    """

    id: UUID
    actor: str
    host: str
    reason: str
    ticket: str
    command: str

    @classmethod
    def begin(cls, *, actor: str, host: str, reason: str, ticket: str, command: str) -> Operation:
        """Make an operation with a number of its own; nothing is written yet."""
        return cls(
            id=uuid.uuid4(),
            actor=storable(actor),
            host=storable(host),
            reason=storable(reason),
            ticket=storable(ticket),
            command=storable(command),
        )

    def metadata(self) -> dict[str, object]:
        """Return what the ``metadata`` of each of its events holds; JSON-serialisable."""
        return {
            "actor": self.actor,
            "host": self.host,
            "reason": self.reason,
            "ticket": self.ticket,
            "operation_id": str(self.id),
            "command": self.command,
        }

    def start(
        self,
        conn: Connection,
        layout: Layout,
        *,
        matched: int | None = None,
        detail: Mapping[str, object] | None = None,
    ) -> None:
        """Write the operation's row, not finished.

        In the transaction of the change where there is one; before the first of many, so that a
        killed run leaves a row without ``finished_at`` and the events of what it did.

        Args:
            conn: Where to.
            layout: The tables.
            matched: How many rows the command is about, where known.
            detail: What else belongs to it (criteria, names); JSON-serialisable.
        """
        conn.execute(
            sql.SQL(
                """INSERT INTO {operations}
                       (id, action, actor, host, reason, ticket, matched, detail)
                   VALUES (%s, %s, %s, %s, nullif(%s, ''), nullif(%s, ''), %s, %s)"""
            ).format(operations=layout.operations),
            (
                self.id,
                self.command,
                self.actor,
                self.host,
                self.reason,
                self.ticket,
                matched,
                _jsonb(detail or {}),
            ),
        )

    def advance(self, conn: Connection, layout: Layout, *, changed: int) -> None:
        """Write how many rows were changed so far, in the transaction that changes some of them.

        Args:
            conn: Where to.
            layout: The tables.
            changed: How many, with those of this transaction.
        """
        conn.execute(
            sql.SQL("UPDATE {operations} SET changed = %s WHERE id = %s").format(
                operations=layout.operations
            ),
            (changed, self.id),
        )

    def finish(
        self,
        conn: Connection,
        layout: Layout,
        *,
        changed: int,
        matched: int | None = None,
        detail: Mapping[str, object] | None = None,
    ) -> None:
        """Mark the operation's row as finished.

        Args:
            conn: Where to.
            layout: The tables.
            changed: How many rows were changed.
            matched: How many it was about, where :meth:`start` did not say.
            detail: Added to what :meth:`start` wrote.
        """
        conn.execute(
            sql.SQL(
                """UPDATE {operations}
                   SET finished_at = clock_timestamp(), changed = %s,
                       matched = coalesce(%s, matched), detail = detail || %s
                   WHERE id = %s"""
            ).format(operations=layout.operations),
            (changed, matched, _jsonb(detail or {}), self.id),
        )


def storable(text: str) -> str:
    r"""Return the text as PostgreSQL can store it.

    Command lines may hold bytes that are no UTF-8 (Python reads them as lone surrogates), and no
    PostgreSQL text holds NUL; both become visible (``\udcff``, ``\x00``).
    """
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


def _jsonb(value: Mapping[str, object]) -> Jsonb:
    return Jsonb(dict(value))
