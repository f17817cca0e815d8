"""Live sessions: whose they are, on what device, since when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from psycopg import sql

from secops.accounts import states
from secops.accounts.criteria import FAMILY, STARTED, Criteria, where
from secops.accounts.users import Account, by_id, columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
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
    """

    account: Account
    count: int
    sessions: Sequence[UUID] = ()
    tokens: Sequence[UUID] = ()


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


@dataclass(frozen=True, slots=True)
class Found:
    """Sessions that match, counted.

    Attributes:
        counts: How many each account has, by key, in the order of keys.
    """

    counts: Mapping[object, int]

    @property
    def matched(self) -> int:
        """How many sessions."""
        return sum(self.counts.values())


def count(conn: Connection, layout: Layout, criteria: Criteria) -> Found:
    """Count the sessions that match, by account."""
    condition, bound = where(criteria, layout)
    query = sql.SQL(
        "SELECT t.user_id, count(*) FROM {tokens} t WHERE {where} GROUP BY t.user_id ORDER BY 1"
    ).format(tokens=layout.tokens, where=condition)
    return Found(dict(cast("list[tuple[object, int]]", conn.execute(query, bound).fetchall())))


def largest(conn: Connection, layout: Layout, found: Found, most: int) -> list[UserSessions]:
    """Return the accounts with most of the sessions."""
    from heapq import nlargest  # noqa: PLC0415  only where many are previewed

    keys = nlargest(most, found.counts, key=found.counts.__getitem__)
    accounts = by_id(conn, layout, keys)
    return [UserSessions(accounts[key], found.counts[key]) for key in keys]


def numbered(conn: Connection, layout: Layout, criteria: Criteria) -> list[UserSessions]:
    """Return the sessions that match with their numbers, by account; those with most first."""
    condition, bound = where(criteria, layout)
    query = sql.SQL(
        """
        SELECT {columns}, m.user_id, m.count, m.sessions, m.tokens
        FROM (SELECT t.user_id, count(*), array_agg({family} ORDER BY t.id),
                     array_agg(t.id ORDER BY t.id)
              FROM {tokens} t WHERE {where}
              GROUP BY t.user_id) AS m (user_id, count, sessions, tokens)
        LEFT JOIN {users} u ON u.{id} = m.user_id
        ORDER BY m.count DESC, m.user_id
        """
    ).format(
        columns=columns(layout),
        family=FAMILY,
        tokens=layout.tokens,
        where=condition,
        users=layout.users.table,
        id=sql.Identifier(layout.users.id),
    )
    return [
        UserSessions(
            Account(key, cast("str | None", email), cast("str | None", name)),
            cast("int", number),
            cast("list[UUID]", found),
            cast("list[UUID]", tokens),
        )
        for _, email, name, _, key, number, found, tokens in conn.execute(query, bound)
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
