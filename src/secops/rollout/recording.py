"""The rows of the journal: a move's, its entries', and the events that tell of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from psycopg import sql

from secops.accounts import events
from secops.accounts.operations import Operation, storable
from secops.database.layout import INTERNAL
from secops.rollout.entries import Entry, Standing
from secops.rollout.moves import Kind
from secops.rollout.owners import Owner
from secops.rollout.states import State
from secops.rollout.telling import sentence

if TYPE_CHECKING:
    from secops.database.connection import Connection
    from secops.database.layout import Layout

ROLLOUTS: Final = sql.Identifier(INTERNAL, "rollouts")
JOURNAL: Final = sql.Identifier(INTERNAL, "rollout_journal")


class Recording:
    """Writes rows, in the transaction that its caller holds.

    Args:
        conn: In a transaction.
        layout: The tables.
        fingerprint: The target's.
    """

    def __init__(self, conn: Connection, layout: Layout, fingerprint: str) -> None:
        self._conn = conn
        self._layout = layout
        self._fingerprint = fingerprint

    def insert(self, standing: Standing, owner: Owner | None, *, holds: bool) -> None:
        """Write a move's row, its first entry, and the operation that it is."""
        move = standing.move
        self._conn.execute(
            sql.SQL(
                """INSERT INTO {} (id, target, fingerprint, kind, rollout, stage, state, holds, owner,
                                   owner_since, heartbeat_at, started_at)
                   VALUES (%(id)s, %(target)s, %(fingerprint)s, %(kind)s, %(rollout)s, %(stage)s,
                           %(state)s, %(holds)s, %(owner)s, now(), now(), %(at)s)"""
            ).format(ROLLOUTS),
            {
                "id": move.id,
                "target": storable(move.target),
                "fingerprint": self._fingerprint,
                "kind": move.kind.value,
                "rollout": storable(move.rollout),
                "stage": storable(move.stage),
                "state": State.INTENT.value,
                "holds": self._fingerprint if holds else None,
                "owner": owner.as_text() if owner else None,
                "at": standing.began,
            },
        )
        self.write(standing.entries[0])
        _operation(standing, move.command).start(
            self._conn,
            self._layout,
            matched=len(move.keys),
            detail={"target": move.target, "rollout": move.rollout, "stage": move.stage},
        )

    def write(self, entry: Entry) -> None:
        """Write an entry, and nothing else."""
        self._conn.execute(
            sql.SQL(
                "INSERT INTO {} (place, move, number, state, at, entry, hash)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s)"
            ).format(JOURNAL),
            (
                entry.place, entry.move, entry.number, entry.state.value, entry.at,
                entry.as_text(), entry.hash,
            ),
        )  # fmt: skip

    def append(self, standing: Standing, epoch: int | None, command: str) -> bool:
        """Write a move's newest entry, its event, and what the move now is.

        Args:
            standing: The move with that entry.
            epoch: The owner's, which fences; ``None`` where nobody need own it.
            command: The words of the command that does it.

        Returns:
            Whether it was the owner's to write: ``False``, and nothing is written, where somebody else is.
        """
        entry = standing.last
        done = self._conn.execute(
            sql.SQL(
                """UPDATE {} SET state = %(state)s, number = %(number)s, updated_at = now(),
                          heartbeat_at = now(), expires_at = %(expires)s,
                          over_at = CASE WHEN %(over)s THEN coalesce(over_at, now()) END,
                          holds = CASE WHEN %(over)s THEN NULL ELSE holds END,
                          owner = CASE WHEN %(over)s THEN NULL ELSE owner END,
                          epoch = CASE WHEN %(over)s THEN epoch + 1 ELSE epoch END
                   WHERE id = %(id)s AND number = %(number)s - 1
                     AND (%(epoch)s::integer IS NULL OR epoch = %(epoch)s)"""
            ).format(ROLLOUTS),
            {
                "state": entry.state.value,
                "number": entry.number,
                "expires": standing.moment("expires_at"),
                "over": standing.over,
                "id": entry.move,
                "epoch": epoch,
            },
        ).rowcount
        if not done:
            return False
        self.write(entry)
        self.say(standing, command)
        if standing.over:
            _operation(standing, command).finish(
                self._conn,
                self._layout,
                changed=len(standing.move.keys) if standing.applied else 0,
                detail={"state": entry.state.value},
            )
        return True

    def say(self, standing: Standing, command: str, *, replayed: bool = False) -> None:
        """Write the event of a move's newest entry."""
        move, entry = standing.move, standing.last
        word = "rollback" if move.kind is Kind.ROLLBACK else "rollout"
        events.record(
            self._conn,
            self._layout,
            _operation(standing, command),
            event_type=f"{word}_{entry.state.value}",
            user_id=None,
            email=None,
            message=sentence(standing),
            extra={
                "target": storable(move.target),
                "rollout": storable(move.rollout),
                "stage": storable(move.stage),
                "entry": entry.place,
                "variables": {
                    storable(name): [_storable(key.before), _storable(key.after)]
                    for name, key in move.keys.items()
                },
                **({"recorded_at": entry.at.isoformat()} if replayed else {}),
            },
        )


def _operation(standing: Standing, command: str) -> Operation:
    move, entry = standing.move, standing.last
    return Operation(
        id=move.id,
        actor=storable(entry.actor),
        host=storable(entry.host),
        reason=storable(move.reason),
        ticket=storable(move.ticket),
        command=storable(command),
    )


def _storable(value: str | None) -> str | None:
    return None if value is None else storable(value)
