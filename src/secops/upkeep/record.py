"""The record of a run that deletes: written with each deletion, in its transaction.

Operators can add events and never change one, so each deletion is told in an event of its own: a batch
of some thousand rows, or a partition. What one run deleted in all is the sum over its events, and stands
in its row of ``secops.operations``, which each transaction brings up to date. So a run that dies leaves no
deletion without its record, and no record of what it did not delete.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psycopg import sql

from secops.accounts.events import record
from secops.database.connection import transaction

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from secops.accounts.operations import Operation
    from secops.database.connection import Connection
    from secops.database.layout import Layout
    from secops.upkeep.due import Due


@dataclass
class Record:
    """What one run has deleted so far.

    Attributes:
        layout: The tables.
        operation: Who, where, why.
        due: What was due.
        deleted: How many rows are gone, by transactions that were committed.
        batches: How many such transactions there were.
    """

    layout: Layout
    operation: Operation
    due: Due
    deleted: int = field(default=0, init=False)
    batches: int = field(default=0, init=False)

    def write(self, conn: Connection, deleted: int, what: str = "", **facts: object) -> None:
        """Write what a transaction has deleted, in that transaction.

        Args:
            conn: In the transaction.
            deleted: How many rows.
            what: More about it, in words that follow ``deleted``.
            facts: The same for machines; JSON-serialisable.
        """
        limits = self.due.limits()
        if not self.batches:
            self.operation.start(conn, self.layout, detail=limits)
        self.operation.advance(conn, self.layout, changed=self.deleted + deleted)
        record(
            conn,
            self.layout,
            self.operation,
            event_type=self.due.event,
            user_id=None,
            email=None,
            message=f"{self.due.things(deleted)} deleted {self.due.told(limits)}{what}",
            extra={"deleted": deleted, **limits, **facts},
        )

    def committed(self, deleted: int) -> None:
        """Count what :meth:`write` wrote, once its transaction is committed."""
        self.deleted += deleted
        self.batches += 1

    def finish(
        self,
        conn: Connection,
        *,
        matched: int,
        facts: Mapping[str, object],
        lock_timeout: timedelta,
    ) -> None:
        """Mark the operation as finished; a run that deleted nothing did nothing."""
        if not self.batches:
            return
        with transaction(conn, lock_timeout=lock_timeout):
            self.operation.finish(
                conn, self.layout, changed=self.deleted, matched=matched, detail=facts
            )

    def close_abandoned(self, conn: Connection, *, lock_timeout: timedelta) -> None:
        """Mark the operations of runs that died as ended. Nobody else runs now, so each open one did."""
        with transaction(conn, lock_timeout=lock_timeout):
            conn.execute(
                sql.SQL(
                    """UPDATE {operations}
                       SET finished_at = clock_timestamp(), detail = detail || '{{"complete": false}}'
                       WHERE action = %s AND finished_at IS NULL AND id <> %s"""
                ).format(operations=self.layout.operations),
                (self.operation.command, self.operation.id),
            )
