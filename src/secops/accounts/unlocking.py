"""Unlocking: the app's own locks, and operators' where that is meant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from secops.accounts import states
from secops.accounts.states import until_words
from secops.accounts.steps import Step, apply, record_steps
from secops.output.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from secops.accounts.operations import Operation
    from secops.accounts.patience import Patience
    from secops.accounts.states import State
    from secops.accounts.users import Account
    from secops.database.connection import Connection
    from secops.database.layout import Layout
    from secops.output.progress import Progress


@dataclass(frozen=True, slots=True)
class Filter:
    """Which locked accounts to unlock.

    Attributes:
        networks: Only those that failed logins from one of these locked; none means all.
        window: How far back those failed logins may lie.
        operators: Whether locks that operators set are meant too.
    """

    networks: Sequence[str]
    window: timedelta
    operators: bool = False


@dataclass(frozen=True, slots=True)
class Unlocking:
    """What unlocking accounts would do, or did.

    Attributes:
        steps: One for each account.
        named: Whether somebody named each account.
        operators: Whether operators' locks are lifted too.
    """

    steps: Sequence[Step]
    named: bool
    operators: bool

    @property
    def matched(self) -> int:
        """How many accounts it is about."""
        return len(self.steps)

    @property
    def changed(self) -> int:
        """How many accounts change."""
        return sum(step.changes for step in self.steps)


def decide(state: State, *, named: bool = True, operators: bool = True) -> Step:
    """Decide what unlocking an account means.

    Args:
        state: How it is found.
        named: Whether somebody named it: then a counter of failed logins is cleared even where it
            locked nothing yet.
        operators: Whether an operator's lock is lifted too.
    """
    lock = state.operator
    if lock is not None and not operators:
        return Step(
            state, "kept", changes=False, message=f"Locked by {lock.by}.", until=lock.end, facts={}
        )
    facts: dict[str, object] = {
        "failed_login_attempts": state.failed,
        "locked_until": state.locked_until.isoformat() if state.locked_until else None,
    }
    if lock is not None:
        because = f" ({lock.reason})" if lock.reason else ""
        facts |= {
            "locked_by": lock.by,
            "lock_reason": lock.reason,
            "lock_operation_id": str(lock.operation) if lock.operation else None,
        }
        message = (
            f"Unlocked by an operator; {lock.by} had locked it {until_words(lock.until)}{because}"
        )
        return Step(state, "unlocked", changes=True, message=message, until=lock.end, facts=facts)
    if state.locked:
        message = (
            f"Unlocked by an operator; it was locked automatically {until_words(state.locked_until)}"
            f" after {state.failed:,} failed logins"
        )
        return Step(
            state, "unlocked", changes=True, message=message, until=state.locked_until, facts=facts
        )
    if named and state.failed:
        message = f"Failed logins set from {state.failed:,} to 0 by an operator; it was not locked"
        return Step(
            state, "attempts cleared", changes=True, message=message, until=None, facts=facts
        )
    message = f"{state.account.label} is not locked."
    return Step(state, "not locked", changes=False, message=message, until=None, facts={})


def plan_named(conn: Connection, layout: Layout, accounts: Sequence[Account]) -> Unlocking:
    """Find out what unlocking named accounts would do; changes nothing."""
    ids = [account.id for account in accounts]
    steps = [decide(state) for state in states.read(conn, layout, ids)]
    return Unlocking(steps, named=True, operators=True)


def plan_locked(conn: Connection, layout: Layout, wanted: Filter) -> Unlocking:
    """Find the locked accounts that a filter is about, and what unlocking them would do."""
    steps = [
        decide(state, named=False, operators=wanted.operators)
        for part in states.batches(_matching(conn, layout, wanted), 10_000)
        for state in states.read(conn, layout, part)
    ]
    chosen = [step for step in steps if step.changes]
    return Unlocking(chosen, named=False, operators=wanted.operators)


# Each half uses an index: users by locked_until, accounts by key, events by user or address.
_LOCKED = sql.SQL(
    """
    SELECT u.{id} FROM {users} u
    WHERE u.{id} IN (
        SELECT l.{id} FROM {users} l WHERE l.locked_until > now()
        UNION
        SELECT a.user_id FROM {accounts} a
        WHERE %(operators)s AND a.locked_at IS NOT NULL
          AND (a.lock_expires_at IS NULL OR a.lock_expires_at > now())
    )
    AND (%(everywhere)s OR EXISTS (
        SELECT FROM {events} e
        WHERE e.user_id = u.{id} AND e.created_at > now() - %(window)s
          AND e.event_type IN ('login_failed', 'account_locked')
          AND secops.try_inet(e.ip_address) <<= ANY (%(networks)s::text[]::inet[])
    ) OR EXISTS (
        SELECT FROM {events} e
        WHERE e.user_id IS NULL AND lower(e.email) = lower(u.{email})
          AND e.created_at > now() - %(window)s AND e.event_type = 'login_failed'
          AND secops.try_inet(e.ip_address) <<= ANY (%(networks)s::text[]::inet[])
    ))
    ORDER BY u.{id}
    """
)


def _matching(conn: Connection, layout: Layout, wanted: Filter) -> list[object]:
    query = _LOCKED.format(
        id=sql.Identifier(layout.users.id),
        email=sql.Identifier(layout.users.email),
        users=layout.users.table,
        accounts=layout.accounts,
        events=layout.events,
    )
    rows = conn.execute(
        query,
        {
            "operators": wanted.operators,
            "everywhere": not wanted.networks,
            "window": wanted.window,
            "networks": list(wanted.networks),
        },
    )
    return [row[0] for row in rows]


def unlock(
    conn: Connection,
    layout: Layout,
    operation: Operation,
    planned: Unlocking,
    *,
    patience: Patience,
    progress: Progress = SILENT,
    expect: int | None = None,
) -> Unlocking:
    """Unlock accounts.

    Args:
        conn: In autocommit mode.
        layout: The tables.
        operation: Who, where, why.
        planned: What :func:`plan_named` or :func:`plan_locked` returned.
        patience: How long to wait for rows in other hands.
        progress: Told of each account.
        expect: How many locked accounts must still be locked, where a filter found them.

    Returns:
        What was done.

    Raises:
        Conflict: A named account is gone.
        Refused: ``expect`` does not hold any more.
        Busy: Rows were in other hands for too long.
    """

    def work(ids: Sequence[object]) -> list[Step]:
        states.hold(conn, layout, ids)
        steps = [
            decide(state, named=planned.named, operators=planned.operators)
            for state in states.read(conn, layout, ids)
        ]
        _write(conn, layout, operation, [step for step in steps if step.changes])
        return steps

    steps = apply(
        conn,
        layout,
        operation,
        work,
        [step.state.account.id for step in planned.steps],
        patience=patience,
        progress=progress,
        named=planned.named,
        expect=None if planned.named else expect,
    )
    return Unlocking(steps, planned.named, planned.operators)


def _write(conn: Connection, layout: Layout, operation: Operation, steps: Sequence[Step]) -> None:
    if not steps:
        return
    ids = [step.state.account.id for step in steps]
    conn.execute(
        sql.SQL(
            """UPDATE {users} u SET failed_login_attempts = 0, locked_until = NULL
               WHERE u.{id} = ANY (%s::{key}[])"""
        ).format(
            users=layout.users.table, id=sql.Identifier(layout.users.id), key=layout.users.key
        ),
        (ids,),
    )
    # The epoch stays: access tokens that it ended stay ended.
    conn.execute(
        sql.SQL(
            """UPDATE {accounts} SET locked_at = NULL, lock_expires_at = NULL, lock_reason = NULL,
                                     lock_ticket = NULL, locked_by = NULL, lock_operation = NULL
               WHERE user_id = ANY (%s::{key}[]) AND locked_at IS NOT NULL"""
        ).format(accounts=layout.accounts, key=layout.users.key),
        (ids,),
    )
    record_steps(conn, layout, operation, "account_unlocked", steps)
