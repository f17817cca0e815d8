"""Whether an account is locked, by whom and until when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, cast

from psycopg import sql

from secops.accounts.users import Account, columns
from secops.output.values import for_people

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from uuid import UUID

    from secops.database.connection import Connection
    from secops.database.layout import Layout

FOREVER: Final = datetime(9999, 12, 31, tzinfo=UTC)
"""What ``locked_until`` holds where a lock has no end; drivers choke on PostgreSQL's ``infinity``."""

BATCH: Final = 100
"""Accounts that one transaction changes; the app waits for any of them no longer than it takes."""


@dataclass(frozen=True, slots=True)
class OperatorLock:
    """A lock that a person set, in force.

    Attributes:
        since: When.
        until: When it ends by itself; ``None`` for never.
        by: Who set it.
        reason: Why.
        ticket: The ticket it belongs to.
        operation: The operation that set it.
    """

    since: datetime
    until: datetime | None
    by: str
    reason: str
    ticket: str
    operation: UUID | None

    @property
    def end(self) -> datetime:
        """When it ends, :data:`FOREVER` for never."""
        return self.until or FOREVER


@dataclass(frozen=True, slots=True)
class State:
    """An account and what is in the way of a login.

    Attributes:
        account: Whose it is.
        now: The database's clock when this was read.
        failed: Failed logins as the app counts them.
        locked_until: ``users.locked_until``, also where that is past.
        operator: The operator's lock in force.
    """

    account: Account
    now: datetime
    failed: int
    locked_until: datetime | None
    operator: OperatorLock | None

    @property
    def locked(self) -> bool:
        """Whether ``users.locked_until`` is still to come, so that any app refuses the login."""
        return self.locked_until is not None and self.locked_until > self.now

    @property
    def automatic(self) -> bool:
        """Whether the app's own lock is what is in force, and no operator's."""
        return self.locked and self.operator is None


# An app may have written a time that Python has not (infinity, the year 20000); near enough.
_STATES: Final = sql.SQL(
    """
    SELECT {columns}, now(), coalesce(u.failed_login_attempts, 0), {locked_until},
           a.locked_at, a.lock_expires_at, a.locked_by, a.lock_reason, a.lock_ticket,
           a.lock_operation
    FROM {users} u
    LEFT JOIN {accounts} a ON a.user_id = u.{id} AND a.locked_at IS NOT NULL
         AND (a.lock_expires_at IS NULL OR a.lock_expires_at > now())
    WHERE u.{id} = ANY (%b::{key}[])
    ORDER BY u.{id}
    """
)


def until_words(until: datetime | None) -> str:
    """Say until when a lock lasts."""
    if until is None or until.year == FOREVER.year:
        return "until somebody unlocks it"
    return f"until {for_people(until)}"


def within_years(column: sql.Composable) -> sql.Composed:
    """Return a ``timestamptz`` as one that Python can hold: years 1 to 9999, no infinity."""
    # least() and greatest() leave NULL out instead of returning it.
    return sql.SQL(
        "CASE WHEN {0} IS NOT NULL THEN greatest(least({0}, timestamptz '9999-12-31 00:00:00+00'),"
        " timestamptz '0001-01-02 00:00:00+00') END"
    ).format(column)


def read(conn: Connection, layout: Layout, ids: Sequence[object]) -> list[State]:
    """Return the states of accounts, in the order of their keys; those that are gone are left out."""
    if not ids:
        return []
    query = _STATES.format(
        columns=columns(layout),
        users=layout.users.table,
        accounts=layout.accounts,
        id=sql.Identifier(layout.users.id),
        key=layout.users.key,
        locked_until=within_years(sql.SQL("u.locked_until")),
    )
    return [_state(row) for row in conn.execute(query, (list(ids),))]


def _state(row: tuple[object, ...]) -> State:
    key, email, name, active, now, failed, until, since, end, by, reason, ticket, operation = row
    lock = None
    if since is not None:
        lock = OperatorLock(
            since=cast("datetime", since),
            until=cast("datetime | None", end),
            by=str(by or "an operator"),
            reason=str(reason or ""),
            ticket=str(ticket or ""),
            operation=cast("UUID | None", operation),
        )
    return State(
        account=Account(
            key, cast("str | None", email), cast("str | None", name), cast("bool | None", active)
        ),
        now=cast("datetime", now),
        failed=cast("int", failed),
        locked_until=cast("datetime | None", until),
        operator=lock,
    )


def hold(
    conn: Connection, layout: Layout, ids: Sequence[object], *, sessions: bool = False
) -> None:
    """Lock the rows of accounts until the transaction ends, in the order of their keys.

    Everything that changes an account takes this lock first, and tokens after it: with one order
    for all nobody deadlocks. What is decided from is read after it, by a statement of its own that
    sees what others did meanwhile.

    Args:
        conn: In a transaction.
        layout: The tables.
        ids: Keys of the accounts.
        sessions: Whether no session may begin meanwhile either. An app that inserts a token holds
            the key of its user by the foreign key, whether or not it locks the row; only the
            strongest row lock waits for that, so a refresh under way is seen whole or not begun.

    Raises:
        psycopg.errors.LockNotAvailable: Somebody else has one of them in hand.
    """
    conn.execute(
        sql.SQL(
            "SELECT FROM {users} u WHERE u.{id} = ANY (%b::{key}[]) ORDER BY u.{id} FOR {strength}"
        ).format(
            users=layout.users.table,
            id=sql.Identifier(layout.users.id),
            key=layout.users.key,
            strength=sql.SQL("UPDATE" if sessions else "NO KEY UPDATE"),
        ),
        (list(ids),),
    )


def batches(ids: Sequence[object], size: int = BATCH) -> Iterator[list[object]]:
    """Cut a list into parts that one transaction each takes."""
    for start in range(0, len(ids), size):
        yield list(ids[start : start + size])
