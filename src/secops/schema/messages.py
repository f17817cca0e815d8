"""What is sent to the server for a statement: the statement alone, or a transaction with its limits.

A plan prints this, and the runner sends it, so that what was read is what runs.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from psycopg import sql

from secops.schema.steps import Lock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from secops.schema.effects import Statement
    from secops.schema.steps import Step

# What takes a short lock changes the catalogue alone. Should one ever do more, the app is not to
# find out by waiting.
_STATEMENT_LIMIT: Final = timedelta(seconds=5)
_IDLE_LIMIT: Final = timedelta(seconds=10)


def message(
    step: Step,
    statement: Statement,
    lock: Lock,
    *,
    timeout: timedelta,
    budget: timedelta,
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
        also: What else is to be done in its transaction.
    """
    if lock is Lock.LONG:
        return statement
    parts: list[sql.Composable] = [sql.SQL("BEGIN")]
    if step.busy is not None:
        parts += _limits(max(budget, timeout))
        parts.append(sql.SQL("LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE").format(step.busy))
    parts += [*_limits(timeout), statement, *also, sql.SQL("COMMIT")]
    return sql.SQL(";\n").join(parts)


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
