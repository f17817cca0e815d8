"""Live sessions: whose they are, on what device, since when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from psycopg import sql

from secops.accounts import states
from secops.accounts.criteria import FAMILY, STARTED, Criteria, where
from secops.accounts.users import Account, columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime, timedelta
    from uuid import UUID

    from secops.database.connection import Connection
    from secops.database.layout import Layout


@dataclass(frozen=True, slots=True)
class UserSessions:
    """Sessions of one account.

    Attributes:
        account: Whose they are.
        count: How many.
        sessions: Their numbers, where they were asked for.
        tokens: The rows of ``refresh_tokens``, in the same order.
        epoch: The account's token epoch, where it was raised.
    """

    account: Account
    count: int
    sessions: Sequence[UUID] = ()
    tokens: Sequence[UUID] = ()
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """One live session.

    Attributes:
        id: Its number, which stays while its tokens change.
        token: The row of its live token.
        account: Whose it is.
        agent: The user agent of its last login or refresh, as the app stored it.
        ip: Where that came from.
        started: The login.
        last_used: The last refresh, or the login.
        expires: When the live token expires.
        now: The database's clock when this was read.
    """

    id: UUID
    token: UUID
    account: Account
    agent: str | None
    ip: str | None
    started: datetime
    last_used: datetime
    expires: datetime
    now: datetime

    @property
    def age(self) -> timedelta:
        """Since the login."""
        return self.now - self.started

    @property
    def idle(self) -> timedelta:
        """Since the last refresh, or the login."""
        return self.now - self.last_used


def count_by_user(conn: Connection, layout: Layout, ids: Sequence[object]) -> dict[object, int]:
    """Return how many live sessions each account has, by key; those with none are left out."""
    if not ids:
        return {}
    found = find(conn, layout, Criteria(users=tuple(ids)))
    return {each.account.id: each.count for each in found}


def find(
    conn: Connection, layout: Layout, criteria: Criteria, *, numbers: bool = False
) -> list[UserSessions]:
    """Return the sessions that match, counted by account; accounts with most of them first.

    Args:
        conn: Where to look.
        layout: The tables.
        criteria: Which.
        numbers: Whether the sessions' and tokens' numbers are wanted too.
    """
    condition, bound = where(criteria, layout)
    wanted = (
        sql.SQL("array_agg({} ORDER BY t.id), array_agg(t.id ORDER BY t.id)").format(FAMILY)
        if numbers
        else sql.SQL("NULL, NULL")
    )
    query = sql.SQL(
        """
        SELECT {columns}, m.user_id, m.count, m.sessions, m.tokens
        FROM (SELECT t.user_id, count(*), {wanted} FROM {tokens} t WHERE {where}
              GROUP BY t.user_id) AS m (user_id, count, sessions, tokens)
        LEFT JOIN {users} u ON u.{id} = m.user_id
        ORDER BY m.count DESC, m.user_id
        """
    ).format(
        columns=columns(layout),
        wanted=wanted,
        tokens=layout.tokens,
        where=condition,
        users=layout.users.table,
        id=sql.Identifier(layout.users.id),
    )
    return [
        UserSessions(
            Account(key, cast("str | None", email), cast("str | None", name)),
            cast("int", count),
            cast("list[UUID] | None", found) or (),
            cast("list[UUID] | None", tokens) or (),
        )
        for _, email, name, _, key, count, found, tokens in conn.execute(query, bound)
    ]


def listing(
    conn: Connection, layout: Layout, criteria: Criteria, *, rotating: bool = True
) -> Iterator[Session]:
    """Hand out the sessions that match, one after another, an account's together.

    Args:
        conn: Where to look; it does nothing else meanwhile.
        layout: The tables.
        criteria: Which.
        rotating: Whether tokens know their family; see :func:`where`.
    """
    condition, bound = where(criteria, layout, rotating=rotating)
    query = sql.SQL(
        """
        SELECT {columns}, t.user_id, {family}, t.id, t.device_info, t.ip_address,
               coalesce({started}, t.created_at, now()), coalesce(t.created_at, now()),
               {expires}, now()
        FROM {tokens} t LEFT JOIN {users} u ON u.{id} = t.user_id
        WHERE {where}
        ORDER BY t.user_id, t.created_at DESC, t.id
        """
    ).format(
        columns=columns(layout),
        family=FAMILY if rotating else sql.SQL("t.id"),
        started=STARTED.format(tokens=layout.tokens) if rotating else sql.SQL("t.created_at"),
        expires=states.within_years(sql.SQL("t.expires_at")),
        tokens=layout.tokens,
        users=layout.users.table,
        id=sql.Identifier(layout.users.id),
        where=condition,
    )
    with conn.cursor() as cursor:
        for _, email, name, active, key, *rest in cursor.stream(query, bound):
            account = Account(
                key,
                cast("str | None", email),
                cast("str | None", name),
                cast("bool | None", active),
            )
            number, token, *facts = rest
            yield Session(cast("UUID", number), cast("UUID", token), account, *facts)  # type: ignore[arg-type]  # the columns above
