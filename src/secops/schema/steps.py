"""A step: one statement that brings the database nearer, how to undo it, and how to see its state.

A version pointer says what was done once; the catalogue says what is so. Every step therefore has a probe,
and whether it runs is decided by what the probe finds, never by ``IF NOT EXISTS``: that accepts an invalid
index, a column of another type, an unvalidated constraint.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from secops.database.connection import Connection

if TYPE_CHECKING:
    from psycopg import sql

    from secops.schema.effects import Statement


class State(enum.StrEnum):
    """What a probe found."""

    ABSENT = "absent"
    PARTIAL = "partial"
    DONE = "done"
    DIFFERENT = "different"


class Lock(enum.StrEnum):
    """How a statement may wait.

    ``SHORT`` takes a lock that the app waits behind: it runs in a transaction under a lock timeout,
    which is retried. ``LONG`` takes one that no reader or writer waits behind, and must not be timed
    out, for that leaves an invalid index: it runs by itself, without a limit.
    """

    SHORT = "short"
    LONG = "long"


@dataclass(frozen=True, slots=True)
class Loss:
    """What undoing a step destroys.

    Attributes:
        what: In words, in the plural: ``rows of refresh_tokens``.
        count: A query that returns how many, run only where the step is not absent.
    """

    what: str
    count: sql.Composed


@dataclass(frozen=True, slots=True)
class Finding:
    """What a probe found, and what that changes.

    Attributes:
        state: The state.
        difference: In words: what is there and what should be, for ``PARTIAL`` and ``DIFFERENT``.
        mend: SQL that a person could run where secops will not, for ``DIFFERENT``.
        instead: Statements that finish a partial step, in place of the step's own.
        locks: How each of ``instead`` may wait; empty: each as the step says.
        undo: The statement that undoes what is there, in place of the step's own.
        undo_lock: How that may wait, where not as the step says.
        losses: What undoing would destroy, in place of the step's own.
        building: Whether another session is at it right now.
        waits: Whether it is done only because what it is about is not there yet.
    """

    state: State
    difference: str = ""
    mend: str = ""
    instead: tuple[Statement, ...] = ()
    locks: tuple[Lock, ...] = ()
    undo: Statement | None = None
    undo_lock: Lock | None = None
    losses: tuple[Loss, ...] | None = None
    building: bool = False
    waits: bool = False


ABSENT = Finding(State.ABSENT)
DONE = Finding(State.DONE)
NOTHING_YET = Finding(State.DONE, waits=True)

Probe = Callable[[Connection], Finding]


@dataclass(frozen=True, slots=True)
class Step:
    """One change of the schema.

    Attributes:
        title: What it does, in a few words that begin with a verb.
        do: The statement.
        lock: How it may wait.
        probe: Looks at its state.
        undo: The statement that takes it back; ``None`` where there is nothing to take back.
        losses: What that would destroy.
        busy: A table under load that a short lock is taken on. Whoever maintains it (an autovacuum, a
            build of an index) is waited for first, in a way that keeps no reader or writer waiting:
            autovacuum gives way, but only to whoever waits for deadlock_timeout, which a lock timeout
            cuts short.
        event: Returns an INSERT that tells of the step, made in its transaction; for short locks.
    """

    title: str
    do: Statement
    lock: Lock
    probe: Probe
    undo: Statement | None = None
    losses: tuple[Loss, ...] = ()
    busy: sql.Identifier | None = None
    event: Callable[[Connection], sql.Composed] | None = None

    def statements(self, finding: Finding) -> tuple[Statement, ...]:
        """Return the statements that are left to run after what the probe found."""
        if finding.state in {State.DONE, State.DIFFERENT}:
            return ()
        return finding.instead or (self.do,)

    def locks(self, finding: Finding) -> tuple[Lock, ...]:
        """Return how each of :meth:`statements` may wait."""
        return finding.locks or (self.lock,) * len(self.statements(finding))

    def undoing(self, finding: Finding) -> Statement | None:
        """Return the statement that undoes what the probe found, if anything is there to undo."""
        if finding.state is State.ABSENT:
            return None
        return finding.undo or self.undo

    def lost(self, finding: Finding) -> tuple[Loss, ...]:
        """Return what undoing what the probe found would destroy."""
        if self.undoing(finding) is None:
            return ()
        return self.losses if finding.losses is None else finding.losses
