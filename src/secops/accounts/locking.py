"""Operator locks: keeping accounts from logging in, with a reason and an end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from psycopg import sql

from secops.accounts import revoking, sessions, states
from secops.accounts.criteria import Criteria
from secops.accounts.states import FOREVER, until_words
from secops.accounts.steps import Step, apply, record_steps
from secops.output.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from secops.accounts.operations import Operation
    from secops.accounts.patience import Patience
    from secops.accounts.states import State
    from secops.accounts.users import Account
    from secops.database.connection import Connection
    from secops.database.layout import Layout
    from secops.output.progress import Progress

_SAME: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Locking:
    """What locking accounts would do, or did.

    Attributes:
        steps: One for each account.
        sessions: How many live sessions each account has, by key; those that were ended where that
            was asked for.
        revokes: Whether the sessions end too.
    """

    steps: Sequence[Step]
    sessions: Mapping[object, int]
    revokes: bool

    @property
    def matched(self) -> int:
        """How many accounts it is about."""
        return len(self.steps)

    @property
    def changed(self) -> int:
        """How many accounts change."""
        return sum(step.changes for step in self.steps)


def decide(state: State, span: timedelta | None, reason: str = "") -> Step:
    """Decide what locking an account means.

    A lock that ends later than asked stays as it is; one that ends sooner is prolonged. A lock that
    the app forgot (it cleared ``locked_until``) is set again.

    Args:
        state: How the account is found.
        span: How long to lock it; ``None`` for until somebody unlocks it.
        reason: Why, for the message.
    """
    end = FOREVER if span is None else state.now + span
    # Run twice, a command means one lock, though the end that it asks for moves a little meanwhile.
    same = end - (_SAME if span is None else min(_SAME, span / 10))
    lock, seen = state.operator, state.locked_until
    if lock is not None and state.locked and seen is not None and min(lock.end, seen) >= same:
        return Step(
            state,
            "already locked",
            changes=False,
            message=f"{state.account.label} is already locked, {until_words(lock.until)}, by {lock.by}.",
            until=lock.end,
            facts={},
        )
    if lock is not None:
        end = max(end, lock.end)
    because = f": {reason}" if reason else ""
    return Step(
        state,
        "prolonged" if lock is not None and state.locked else "locked",
        changes=True,
        message=f"Locked by an operator {until_words(end)}{because}",
        until=end,
        facts={"locked_until": end.isoformat()},
    )


def plan(
    conn: Connection,
    layout: Layout,
    accounts: Sequence[Account],
    span: timedelta | None,
    *,
    revoke: bool,
) -> Locking:
    """Find out what locking accounts would do; changes nothing."""
    ids = [account.id for account in accounts]
    steps = [decide(state, span) for state in states.read(conn, layout, ids)]
    live = sessions.count(conn, layout, Criteria(users=tuple(ids))).counts
    return Locking(_ending(steps, live) if revoke else steps, live, revoke)


def _ending(steps: Sequence[Step], ended: Mapping[object, int]) -> list[Step]:
    """Mark those that are locked already, and change all the same, for their sessions end."""
    return [
        replace(step, changes=True, result="already locked, sessions ended")
        if not step.changes and ended.get(step.state.account.id)
        else step
        for step in steps
    ]


def lock(
    conn: Connection,
    layout: Layout,
    operation: Operation,
    planned: Locking,
    span: timedelta | None,
    *,
    patience: Patience,
    progress: Progress = SILENT,
) -> Locking:
    """Lock accounts.

    Args:
        conn: In autocommit mode.
        layout: The tables.
        operation: Who, where, why.
        planned: What :func:`plan` returned.
        span: How long; ``None`` for until somebody unlocks them.
        patience: How long to wait for rows in other hands.
        progress: Told of each account.

    Returns:
        What was done.

    Raises:
        Conflict: An account is gone.
        Busy: Rows were in other hands for too long.
    """
    ended: dict[object, int] = {}

    def work(ids: Sequence[object]) -> list[Step]:
        states.hold(conn, layout, ids, sessions=planned.revokes)
        steps = [decide(each, span, operation.reason) for each in states.read(conn, layout, ids)]
        _write(conn, layout, operation, [step for step in steps if step.changes])
        if planned.revokes:
            gone = revoking.end(conn, layout, operation, Criteria(users=tuple(ids)), ids)
            counts = {each.id: len(each.tokens) for each in gone}
            ended.update(counts)
            return _ending(steps, counts)
        return steps

    steps = apply(
        conn,
        layout,
        operation,
        work,
        [step.state.account.id for step in planned.steps],
        patience=patience,
        progress=progress,
        named=True,
    )
    return Locking(steps, ended if planned.revokes else planned.sessions, planned.revokes)


def _write(conn: Connection, layout: Layout, operation: Operation, steps: Sequence[Step]) -> None:
    if not steps:
        return
    values = {
        "ids": [step.state.account.id for step in steps],
        "ends": [step.until for step in steps],
        "forever": FOREVER,
        "reason": operation.reason or None,
        "ticket": operation.ticket or None,
        "actor": operation.actor,
        "operation": operation.id,
    }
    each = sql.SQL("unnest(%(ids)s::{}[], %(ends)s::timestamptz[]) AS w (id, until)").format(
        layout.users.key
    )
    conn.execute(
        sql.SQL(
            """UPDATE {users} u SET locked_until = greatest(u.locked_until, w.until)
               FROM {each} WHERE u.{id} = w.id"""
        ).format(users=layout.users.table, each=each, id=sql.Identifier(layout.users.id)),
        values,
    )
    conn.execute(
        sql.SQL(
            """INSERT INTO {accounts} AS a (user_id, locked_at, lock_expires_at, lock_reason,
                                            lock_ticket, locked_by, lock_operation)
               SELECT w.id, now(), nullif(w.until, %(forever)s), %(reason)s, %(ticket)s, %(actor)s,
                      %(operation)s
               FROM {each}
               ON CONFLICT (user_id) DO UPDATE
               SET locked_at = excluded.locked_at, lock_expires_at = excluded.lock_expires_at,
                   lock_reason = excluded.lock_reason, lock_ticket = excluded.lock_ticket,
                   locked_by = excluded.locked_by, lock_operation = excluded.lock_operation"""
        ).format(accounts=layout.accounts, each=each),
        values,
    )
    record_steps(conn, layout, operation, "account_locked", steps)
