"""What is sent to the server for a statement: the statement alone, or a transaction with its limits.

A plan prints this, and the runner sends it, so that what was read is what runs.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from psycopg import sql

from secops.schema.effects import Mode
from secops.schema.steps import Lock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from secops.schema.effects import Statement
    from secops.schema.steps import Loss, Step

# What takes a short lock changes the catalogue alone. Should one ever do more, the app is not to
# find out by waiting.
_STATEMENT_LIMIT: Final = timedelta(seconds=5)
_IDLE_LIMIT: Final = timedelta(seconds=10)
# Some hundred million rows.
_COUNT_LIMIT: Final = timedelta(seconds=60)


def message(
    step: Step,
    statement: Statement,
    lock: Lock,
    *,
    timeout: timedelta,
    budget: timedelta,
    first: Iterable[sql.Composable] = (),
    also: Iterable[sql.Composable] = (),
) -> sql.Composed:
    """Return what is sent: one message, so that no lock is held for a round trip of the network.

    Args:
        step: The step.
        statement: One of its statements.
        lock: How it may wait. A long one is sent alone: it must not be timed out, and CREATE INDEX
            CONCURRENTLY may not be in a transaction.
        timeout: How long to wait for a lock that the app waits behind.
        budget: How long to wait for one that it does not.
        first: What is to be done before it, in its transaction.
        also: What is to be done after it, in its transaction.
    """
    if lock is Lock.LONG:
        return statement
    parts: list[sql.Composable] = [sql.SQL("BEGIN")]
    if step.busy is not None:
        parts += _limits(max(budget, timeout))
        parts.append(sql.SQL("LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE").format(step.busy))
    parts += [*_limits(timeout), *first, statement, *also, sql.SQL("COMMIT")]
    return sql.SQL(";\n").join(parts)


MORE_IS_LOST: Final = "SE001"
"""The SQLSTATE of :func:`guard`: more would be destroyed than was accepted."""


def guard(loss: Loss, accepted: int) -> sql.Composed:
    """Return what ends a transaction that would destroy more than was accepted.

    Args:
        loss: What it would destroy.
        accepted: How many.
    """
    check = sql.SQL(
        "BEGIN IF ({count}) > {accepted} THEN RAISE EXCEPTION {words} USING ERRCODE = {code}; END IF; END"
    ).format(
        count=loss.count,
        accepted=sql.Literal(accepted),
        words=sql.Literal(f"more {loss.what} than were counted".replace("%", "%%")),
        code=sql.Literal(MORE_IS_LOST),
    )
    # A text in quotes, which no name in it can end.
    return sql.SQL("DO {}").format(sql.Literal(check.as_string()))


def guarded(statement: Statement, losses: Iterable[tuple[Loss, int]]) -> list[sql.Composable]:
    """Return what keeps others from writing while is counted what a statement destroys, and counts.

    Readers go on meanwhile. Who writes waits: for what is then gone.

    Args:
        statement: The statement.
        losses: What it destroys, and how many of it were accepted.
    """
    guards = [guard(loss, accepted) for loss, accepted in losses]
    if not guards:
        return []
    lock = sql.SQL("LOCK TABLE {} IN SHARE MODE")
    return [
        *(
            lock.format(sql.Identifier(*each.table))
            for each in statement.effects
            if each.mode is Mode.ACCESS_EXCLUSIVE
        ),
        sql.SQL("SET LOCAL statement_timeout = {}").format(
            sql.Literal(_COUNT_LIMIT // timedelta(milliseconds=1))
        ),
        *guards,
        sql.SQL("SET LOCAL statement_timeout = {}").format(
            sql.Literal(_STATEMENT_LIMIT // timedelta(milliseconds=1))
        ),
    ]


def _limits(timeout: timedelta) -> list[sql.Composable]:
    words = sql.SQL("SET LOCAL {} = {}")
    return [
        words.format(sql.SQL(name), sql.Literal(span // timedelta(milliseconds=1)))
        for name, span in (
            ("lock_timeout", timeout),
            ("statement_timeout", timeout + _STATEMENT_LIMIT),
            ("idle_in_transaction_session_timeout", _IDLE_LIMIT),
        )
    ]
