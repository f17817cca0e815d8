"""The journal in PostgreSQL: who holds a target, every move's entries, and the events that tell of them.

Each entry is written in one transaction with its ``security_events`` row, so that neither is ever without
the other. A target is held by one move at a time, which a unique column sees to; no lock outlives its
transaction, so it works through a transaction pooler.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID

import psycopg
from psycopg import errors as pg
from psycopg import sql
from psycopg.types.json import Jsonb

from secops.database.connection import transaction
from secops.database.layout import INTERNAL
from secops.errors import Busy, OutcomeUnknown
from secops.rollout.entries import Entry, Standing, first, read, standings
from secops.rollout.moves import Move
from secops.rollout.owners import Hold, Owner, owner_of
from secops.rollout.recording import JOURNAL, ROLLOUTS, Recording
from secops.rollout.states import State
from secops.rollout.telling import busy

if TYPE_CHECKING:
    from secops.database.connection import Connection
    from secops.database.layout import Layout

_READINGS: Final = sql.Identifier(INTERNAL, "rollout_readings")
_STATEMENT_TIMEOUT: Final = timedelta(seconds=10)
_TRIES: Final = 4

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Closing:
    """A move that ends because another takes its target: what becomes of it.

    Attributes:
        standing: The move.
        state: What it comes to.
        facts: What is said of it.
        epoch: Its owner's epoch, as it was read; another one since means that somebody is at it.
    """

    standing: Standing
    state: State
    facts: Mapping[str, Any]
    epoch: int


class Journal:
    """The journal of one target in its database.

    Args:
        conn: In autocommit mode.
        layout: The tables.
        fingerprint: The target's.
        lock_timeout: The longest wait for one lock.
    """

    def __init__(
        self, conn: Connection, layout: Layout, fingerprint: str, lock_timeout: timedelta
    ) -> None:
        self.conn = conn
        self._fingerprint = fingerprint
        self._rows = Recording(conn, layout, fingerprint)
        self._lock_timeout = lock_timeout

    def now(self) -> datetime:
        """Return the database's time."""
        return _time(self.conn.execute("SELECT clock_timestamp()").fetchone())

    def entries(self) -> list[Entry]:
        """Return every entry of the target's moves, in the order in which they were recorded."""
        rows = self.conn.execute(
            sql.SQL(
                """SELECT j.entry FROM {} j JOIN {} r ON r.id = j.move
                   WHERE r.fingerprint = %s ORDER BY j.recorded_at, j.move, j.number"""
            ).format(JOURNAL, ROLLOUTS),
            (self._fingerprint,),
        ).fetchall()
        return [read(str(row[0])) for row in rows]

    def standings(self) -> list[Standing]:
        """Return the target's moves, the oldest first."""
        return standings(self.entries())

    def hold(self, move: UUID) -> Hold:
        """Return who is at a move right now."""
        row = self.conn.execute(
            sql.SQL(
                """SELECT owner, owner_since, heartbeat_at, clock_timestamp(), epoch
                   FROM {} WHERE id = %s"""
            ).format(ROLLOUTS),
            (move,),
        ).fetchone()
        assert row is not None
        return _hold(row)

    def begin(self, move: Move, owner: Owner, closing: Sequence[Closing] = ()) -> Standing:
        """Take the target for a move and record what it will write: INTENT.

        Args:
            move: What will be written.
            owner: Who writes it.
            closing: The moves that hold the target now and give it up.

        Raises:
            Busy: Another move holds the target, or somebody is at one that should give it up.
        """

        def work() -> Standing:
            at = _time(self.conn.execute("SELECT now()").fetchone())
            for each in closing:
                self._append(
                    each.standing.next(
                        each.state, {**each.facts, "over": True}, at=at, actor=owner.actor,
                        host=owner.host, epoch=each.epoch,
                    ),
                    each.epoch,
                    move.command,
                )  # fmt: skip
            standing = first(move, {}, at=at, previous=self._newest())
            self._rows.insert(standing, owner, holds=True)
            self._rows.say(standing, move.command)
            return standing

        try:
            return self._in_transaction(work)
        except pg.UniqueViolation:
            raise self._held() from None

    def append(self, standing: Standing, command: str) -> None:
        """Record a move's newest entry, fenced by its epoch.

        Raises:
            Busy: Somebody took the move over.
        """
        self._in_transaction(lambda: self._append(standing, standing.last.epoch, command))

    def finish(self, standing: Standing, also: Sequence[Standing], command: str) -> None:
        """Record the last entry of a rollback, and with it those of the moves that it took back.

        Raises:
            Busy: Somebody took the move over.
        """

        def work() -> None:
            self._append(standing, standing.last.epoch, command)
            for each in also:
                self._append(each, None, command)

        self._in_transaction(work)

    def take(self, move: UUID, owner: Owner, epoch: int) -> int:
        """Become the owner of a move whose owner is gone.

        Args:
            move: The move.
            owner: Who takes it.
            epoch: The epoch as it was read.

        Returns:
            The new epoch.

        Raises:
            Busy: Somebody else took it meanwhile.
        """
        row = self._in_transaction(
            lambda: self.conn.execute(
                sql.SQL(
                    """UPDATE {} SET epoch = epoch + 1, owner = %s, owner_since = now(),
                              heartbeat_at = now()
                       WHERE id = %s AND epoch = %s RETURNING epoch"""
                ).format(ROLLOUTS),
                (owner.as_text(), move, epoch),
            ).fetchone()
        )
        if row is None:
            raise self._fenced(move)
        return int(str(row[0]))

    def beat(self, move: UUID, epoch: int) -> None:
        """Give a sign of life.

        Raises:
            Busy: Somebody took the move over.
        """
        done = self._in_transaction(
            lambda: (
                self.conn.execute(
                    sql.SQL(
                        "UPDATE {} SET heartbeat_at = now() WHERE id = %s AND epoch = %s"
                    ).format(ROLLOUTS),
                    (move, epoch),
                ).rowcount
            )
        )
        if not done:
            raise self._fenced(move)

    def leave(self, move: UUID, epoch: int) -> None:
        """Let go of a move: nobody is at it until somebody takes it."""
        self._in_transaction(
            lambda: self.conn.execute(
                sql.SQL(
                    "UPDATE {} SET owner = NULL, owner_since = NULL WHERE id = %s AND epoch = %s"
                ).format(ROLLOUTS),
                (move, epoch),
            )
        )

    def gates(self, move: UUID) -> dict[str, dict[str, Any]]:
        """Return what each gate of a move left for its next reading."""
        row = self.conn.execute(
            sql.SQL("SELECT gates FROM {} WHERE id = %s").format(ROLLOUTS), (move,)
        ).fetchone()
        found: dict[str, dict[str, Any]] = row[0] if row else {}  # type: ignore[assignment]  # jsonb
        return found

    def save_readings(
        self,
        move: UUID,
        epoch: int,
        at: datetime,
        readings: Iterable[tuple[str, str, Mapping[str, Any], Mapping[str, Any]]],
    ) -> None:
        """Keep what gates said, and what they need next time.

        Args:
            move: The move.
            epoch: The owner's.
            at: When they were asked.
            readings: Gate, verdict, reading and state of each.

        Raises:
            Busy: Somebody took the move over.
        """

        def work() -> None:
            given = list(readings)
            done = self.conn.execute(
                sql.SQL(
                    """UPDATE {} SET gates = gates || %s, heartbeat_at = now()
                       WHERE id = %s AND epoch = %s"""
                ).format(ROLLOUTS),
                (Jsonb({name: dict(state) for name, _, _, state in given}), move, epoch),
            ).rowcount
            if not done:
                raise self._fenced(move)
            for name, verdict, reading, _ in given:
                self.conn.execute(
                    sql.SQL(
                        "INSERT INTO {} (move, gate, at, verdict, reading) VALUES (%s, %s, %s, %s, %s)"
                    ).format(_READINGS),
                    (move, name, at, verdict, Jsonb(dict(reading))),
                )

        self._in_transaction(work)

    def readings(self, move: UUID) -> list[dict[str, Any]]:
        """Return what the gates of a move said, the oldest first."""
        rows = self.conn.execute(
            sql.SQL("SELECT reading FROM {} WHERE move = %s ORDER BY at, gate").format(_READINGS),
            (move,),
        ).fetchall()
        return [row[0] for row in rows]  # type: ignore[misc]  # jsonb

    def replay(
        self, entries: Sequence[Entry], known: Sequence[Entry], undone: Sequence[Standing]
    ) -> None:
        """Take in entries of one move that a machine recorded while the database was away.

        Args:
            entries: Those that are missing here, in order.
            known: Those of the same move that are here.
            undone: The moves that it has taken back, by now, with their last entry.
        """

        def work() -> None:
            standing = standings([*known, *entries])[0]
            if not known:
                self._rows.insert(standing, None, holds=False)
            for entry in entries[0 if known else 1 :]:
                self._rows.write(entry)
            for entry in entries:
                until = [each for each in standing.entries if each.number <= entry.number]
                self._rows.say(standings(until)[0], "rollback", replayed=True)
            self.conn.execute(
                sql.SQL(
                    """UPDATE {} SET state = %s, number = %s, epoch = %s, updated_at = now(),
                              expires_at = %s, over_at = CASE WHEN %s THEN now() END
                       WHERE id = %s"""
                ).format(ROLLOUTS),
                (
                    standing.state.value, standing.last.number, standing.last.epoch,
                    standing.moment("expires_at"), standing.over, standing.move.id,
                ),
            )  # fmt: skip
            for each in undone:
                self._append(each, None, "rollback")
            self.conn.execute(
                sql.SQL(
                    """UPDATE {r} SET holds = CASE WHEN %s THEN NULL ELSE fingerprint END
                       WHERE id = %s AND (%s OR NOT EXISTS (SELECT FROM {r} o WHERE o.holds = %s))"""
                ).format(r=ROLLOUTS),
                (standing.over, standing.move.id, standing.over, self._fingerprint),
            )

        self._in_transaction(work)

    def _in_transaction(self, work: Callable[[], T]) -> T:
        """Do work in one transaction, again from its start where it met another's lock."""
        for left in reversed(range(_TRIES)):
            try:
                with transaction(
                    self.conn,
                    lock_timeout=self._lock_timeout,
                    statement_timeout=_STATEMENT_TIMEOUT,
                ):
                    return work()
            except (pg.LockNotAvailable, pg.DeadlockDetected):
                if not left:
                    raise self._held() from None
            except OutcomeUnknown as error:
                # A COMMIT without an answer. Who reads the journal next finds out; here the connection
                # is gone, whatever became of it.
                raise psycopg.OperationalError(error.message) from None
            time.sleep(random.uniform(0.02, 0.2))  # noqa: S311  jitter, not a secret
        raise AssertionError(_TRIES)

    def _append(self, standing: Standing, epoch: int | None, command: str) -> None:
        if not self._rows.append(standing, epoch, command):
            raise self._fenced(standing.move.id)

    def _newest(self) -> str:
        row = self.conn.execute(
            sql.SQL(
                """SELECT j.hash FROM {} j JOIN {} r ON r.id = j.move WHERE r.fingerprint = %s
                   ORDER BY j.recorded_at DESC, j.number DESC LIMIT 1"""
            ).format(JOURNAL, ROLLOUTS),
            (self._fingerprint,),
        ).fetchone()
        return "" if row is None else str(row[0])

    def _held(self) -> Busy:
        """Say who holds the target."""
        row = self.conn.execute(
            sql.SQL(
                """SELECT owner, owner_since, heartbeat_at, clock_timestamp(), epoch, id
                   FROM {} WHERE holds = %s"""
            ).format(ROLLOUTS),
            (self._fingerprint,),
        ).fetchone()
        if row is None:
            return Busy(
                "Another rollout has just ended here.", hint="Look at `secops rollout status`."
            )
        return self._busy(UUID(str(row[5])), _hold(row))

    def _fenced(self, move: UUID) -> Busy:
        return self._busy(move, self.hold(move))

    def _busy(self, move: UUID, hold: Hold) -> Busy:
        standing = next(each for each in self.standings() if each.move.id == move)
        return busy(standing, hold)


def _hold(row: tuple[object, ...]) -> Hold:
    owner, since, heartbeat, now, epoch = row[:5]
    assert isinstance(now, datetime)
    return Hold(
        owner_of(None if owner is None else str(owner)),
        since if isinstance(since, datetime) else None,
        heartbeat if isinstance(heartbeat, datetime) else None,
        now,
        int(str(epoch)),
    )


def _time(row: tuple[object, ...] | None) -> datetime:
    assert row is not None
    found = row[0]
    assert isinstance(found, datetime)
    return found.astimezone(UTC)
