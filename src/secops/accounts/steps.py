"""What one account's part in an operator's change is: the dry run shows it, the real run does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql
from psycopg.types.json import Jsonb

from secops.accounts.events import record_each
from secops.accounts.patience import through, unfinished
from secops.accounts.states import BATCH, batches
from secops.errors import Conflict, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from secops.accounts.operations import Operation
    from secops.accounts.patience import Patience
    from secops.accounts.states import State
    from secops.database.connection import Connection
    from secops.database.layout import Layout
    from secops.errors import Busy
    from secops.output.progress import Progress


@dataclass(frozen=True, slots=True)
class Step:
    """One account's part.

    Attributes:
        state: How it was found.
        result: ``locked``, ``prolonged``, ``already locked``, ``unlocked``, ``attempts cleared``,
            ``not locked``.
        changes: Whether anything is to change.
        message: The same in words, for the event and for people.
        until: The end of the lock that it gets, where it gets one.
        facts: What joins the event's metadata.
    """

    state: State
    result: str
    changes: bool
    message: str
    until: datetime | None
    facts: Mapping[str, object]


def record_steps(
    conn: Connection,
    layout: Layout,
    operation: Operation,
    event_type: str,
    steps: Sequence[Step],
) -> None:
    """Insert the event of each step that changes something."""
    told = [step for step in steps if step.changes]
    record_each(
        conn,
        layout,
        operation,
        event_type=event_type,
        subjects=sql.SQL(
            "SELECT * FROM unnest(%(ids)s::{}[], %(emails)s::text[], %(messages)s::text[],"
            " %(facts)s::jsonb[])"
        ).format(layout.users.key),
        parameters={
            "ids": [step.state.account.id for step in told],
            "emails": [step.state.account.email for step in told],
            "messages": [step.message for step in told],
            "facts": [Jsonb(dict(step.facts)) for step in told],
        },
    )


def apply(
    conn: Connection,
    layout: Layout,
    operation: Operation,
    work: Callable[[Sequence[object]], list[Step]],
    ids: Sequence[object],
    *,
    patience: Patience,
    progress: Progress,
    named: bool,
    expect: int | None = None,
) -> list[Step]:
    """Change accounts: all in one transaction, or in several where they are too many for one.

    Args:
        conn: In autocommit mode.
        layout: The tables.
        operation: Who, where, why; its row is written with the change.
        work: Changes the accounts with these keys, in a transaction, and says what it did.
        ids: The keys.
        patience: How long to wait for rows in other hands.
        progress: Told of each account.
        named: Whether somebody named each account, so that each must still be there.
        expect: How many must be changed, where it can be held within one transaction.

    Returns:
        What was done.

    Raises:
        Conflict: A named account is gone.
        Refused: ``expect`` does not hold any more.
        Busy: Rows were in other hands for too long; nothing was changed.
        OutcomeUnknown: Some of many were; the others are changed.
    """
    detail: dict[str, object] = {"accounts": len(ids)}

    def whole() -> list[Step]:
        steps = work(ids)
        if named and len(steps) < len(ids):
            raise Conflict(
                "An account was deleted meanwhile.", hint="Nothing was changed; run it again."
            )
        changed = sum(step.changes for step in steps)
        if expect is not None and changed != expect:
            raise Refused(
                f"--expect {expect:,} does not hold any more: {changed:,} match by now.",
                hint="Nothing was changed. Look at --dry-run again.",
                details={"expected": expect, "matched": changed},
            )
        if changed:
            operation.start(conn, layout, matched=len(ids), detail=detail)
            operation.finish(conn, layout, changed=changed)
        return steps

    if len(ids) <= BATCH:
        steps = patience.run(conn, layout, whole, many=len(ids) > 1)
        progress.advance(len(steps))
        return steps
    patience.run(
        conn, layout, lambda: operation.start(conn, layout, matched=len(ids), detail=detail)
    )
    done: list[Step] = []
    stuck: list[Busy] = []

    def step(part: Sequence[object]) -> Iterator[list[Step]]:
        yield patience.run(conn, layout, lambda: work(part), many=len(part) > 1)

    for steps in through(batches(ids), step, stuck):
        done += steps
        progress.advance(len(steps))
    changed = sum(each.changes for each in done)
    patience.run(conn, layout, lambda: operation.finish(conn, layout, changed=changed))
    if stuck:
        raise unfinished(stuck, len(done), len(ids), "accounts")
    return done
