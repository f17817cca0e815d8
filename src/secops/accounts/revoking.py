"""Ending sessions, with an event for each account in the transaction that does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from psycopg import sql

from secops.accounts import states
from secops.accounts.criteria import FAMILY, LIVE, where
from secops.accounts.events import record_each
from secops.accounts.patience import through, unfinished
from secops.accounts.sessions import UserSessions
from secops.accounts.users import by_id
from secops.errors import NothingMatched, Refused
from secops.output.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from uuid import UUID

    from secops.accounts.criteria import Criteria
    from secops.accounts.operations import Operation
    from secops.accounts.patience import Patience
    from secops.accounts.sessions import Found
    from secops.database.connection import Connection
    from secops.database.layout import Layout
    from secops.errors import Busy
    from secops.output.progress import Progress

REASON: Final = "admin"
"""What ``revoked_reason`` says of a session that an operator ended."""

ACCESS_TOKENS: Final = (
    "Access tokens that are already out work until they expire (15 minutes in the plan), unless the "
    "app compares secops.accounts.token_epoch, which rises when an account has no session left."
)
"""What an operator must know who ends sessions: no refresh token is needed for these."""

BATCH: Final = 200
"""Sessions that one transaction ends."""

LISTED: Final = 10_000
"""Accounts that a result lists, for a million of them would fill the memory and help nobody."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What one transaction ended of an account.

    Attributes:
        id: The account's key.
        sessions: The sessions' numbers.
        tokens: The rows of ``refresh_tokens``, in the same order.
    """

    id: object
    sessions: Sequence[UUID]
    tokens: Sequence[UUID]


def end(
    conn: Connection,
    layout: Layout,
    operation: Operation,
    criteria: Criteria,
    ids: Sequence[object],
    *,
    limit: int | None = None,
) -> list[Ended]:
    """End the matching sessions of some accounts, inside the caller's transaction.

    An account that has no live session left afterwards gets a new token epoch, so that an app which
    compares it refuses the access tokens that are still out.

    Args:
        conn: In a transaction that holds the accounts' rows and their sessions; see
            :func:`states.hold`.
        layout: The tables.
        operation: Who, where, why.
        criteria: Which.
        ids: Keys of the accounts.
        limit: At most so many sessions.

    Returns:
        What was ended, by account. One event each tells of it.
    """
    condition, bound = where(criteria, layout)
    # Arrays go in binary (%b): written as text, they took longer than all that the server does.
    rows = conn.execute(
        sql.SQL(
            """SELECT t.user_id, t.id, {family} FROM {tokens} t
               WHERE t.user_id = ANY (%(ids)b::{key}[]) AND {where}
               ORDER BY t.user_id, t.id LIMIT %(limit)s FOR NO KEY UPDATE OF t"""
        ).format(family=FAMILY, tokens=layout.tokens, key=layout.users.key, where=condition),
        {**bound, "ids": list(ids), "limit": limit},
    ).fetchall()
    if not rows:
        return []
    found: dict[object, tuple[list[UUID], list[UUID]]] = {}
    for key, token, family in rows:
        sessions, tokens = found.setdefault(key, ([], []))
        sessions.append(cast("UUID", family))
        tokens.append(cast("UUID", token))
    numbers = [row[1] for row in rows]
    conn.execute(
        sql.SQL(
            """UPDATE {tokens} SET revoked = true, revoked_at = now(), revoked_reason = %s
               WHERE id = ANY (%b::uuid[])"""
        ).format(tokens=layout.tokens),
        (REASON, numbers),
    )
    _raise_epochs(conn, layout, list(found))
    _record(conn, layout, operation, numbers)
    return [Ended(key, sessions, tokens) for key, (sessions, tokens) in found.items()]


def _raise_epochs(conn: Connection, layout: Layout, ids: Sequence[object]) -> None:
    """Raise the token epoch of those accounts that have no live session left."""
    conn.execute(
        sql.SQL(
            """INSERT INTO {accounts} AS a (user_id, token_epoch)
               SELECT w.id, 1 FROM unnest(%b::{key}[]) AS w (id)
               WHERE NOT EXISTS (SELECT FROM {tokens} t WHERE t.user_id = w.id AND {live})
               ORDER BY w.id
               ON CONFLICT (user_id) DO UPDATE SET token_epoch = a.token_epoch + 1"""
        ).format(accounts=layout.accounts, key=layout.users.key, tokens=layout.tokens, live=LIVE),
        (list(ids),),
    )


def _record(
    conn: Connection, layout: Layout, operation: Operation, tokens: Sequence[object]
) -> None:
    """Insert one event for each account whose tokens these are."""
    record_each(
        conn,
        layout,
        operation,
        event_type="session_revoked",
        subjects=sql.SQL(
            """
            SELECT m.user_id, u.{email},
                   CASE m.count WHEN 1 THEN '1 session' ELSE m.count || ' sessions' END
                   || ' ended by an operator',
                   jsonb_build_object('count', m.count, 'session_ids', m.sessions,
                                      'token_ids', m.tokens, 'token_epoch', a.token_epoch)
            FROM (SELECT t.user_id, count(*), jsonb_agg({family} ORDER BY t.id),
                         jsonb_agg(t.id ORDER BY t.id)
                  FROM {tokens} t WHERE t.id = ANY (%(tokens)b::uuid[])
                  GROUP BY t.user_id) AS m (user_id, count, sessions, tokens)
            LEFT JOIN {users} u ON u.{id} = m.user_id
            LEFT JOIN {accounts} a ON a.user_id = m.user_id
            """
        ).format(
            email=sql.Identifier(layout.users.email),
            id=sql.Identifier(layout.users.id),
            users=layout.users.table,
            family=FAMILY,
            tokens=layout.tokens,
            accounts=layout.accounts,
        ),
        parameters={"tokens": list(tokens)},
    )


@dataclass(frozen=True, slots=True)
class Revoked:
    """What was ended.

    Attributes:
        sessions: How many sessions.
        accounts: Of how many accounts.
        listed: By account, the first :data:`LISTED` of them; the events have all.
    """

    sessions: int
    accounts: int
    listed: Sequence[UserSessions]


def revoke(
    conn: Connection,
    layout: Layout,
    operation: Operation,
    criteria: Criteria,
    planned: Found,
    *,
    patience: Patience,
    progress: Progress = SILENT,
    expect: int | None = None,
) -> Revoked:
    """End sessions: in one transaction, or account by account in several where they are many.

    Each transaction ends what matches when its accounts' turn comes, so a session that was refreshed
    since the preview ends as well. Running it again ends what a killed run left.

    Args:
        conn: In autocommit mode.
        layout: The tables.
        operation: Who, where, why; its row is written with the change.
        criteria: Which.
        planned: What :func:`secops.accounts.sessions.count` returned.
        patience: How long to wait for rows in other hands.
        progress: Told of each session.
        expect: How many must match, where it can be held within one transaction.

    Raises:
        NothingMatched: They all ended meanwhile.
        Refused: ``expect`` does not hold any more.
        Busy: Rows were in other hands for too long; nothing was changed.
        OutcomeUnknown: Some of many were; the others have ended.
    """
    total = planned.matched
    detail: dict[str, object] = {"criteria": criteria.as_dict(), "accounts": len(planned.counts)}

    def whole() -> list[Ended]:
        ids = list(planned.counts)
        states.hold(conn, layout, ids, sessions=True)
        ended = end(conn, layout, operation, criteria, ids)
        changed = sum(len(each.tokens) for each in ended)
        if expect is not None and changed != expect:
            raise Refused(
                f"--expect {expect:,} does not hold any more: {changed:,} match by now.",
                hint="Nothing was changed. Look at --dry-run again.",
                details={"expected": expect, "matched": changed},
            )
        if not changed:
            raise NothingMatched(
                "These sessions have ended meanwhile.", hint="Nothing was changed."
            )
        operation.start(conn, layout, matched=total, detail=detail)
        operation.finish(conn, layout, changed=changed)
        return ended

    if total <= BATCH and len(planned.counts) <= states.BATCH:
        done = patience.run(conn, layout, whole, many=total > 1)
        progress.advance(total)
        return Revoked(
            sum(len(each.tokens) for each in done), len(done), _named(conn, layout, done)
        )
    return _in_parts(
        conn,
        layout,
        operation,
        criteria,
        planned,
        detail=detail,
        patience=patience,
        progress=progress,
    )


def _in_parts(
    conn: Connection,
    layout: Layout,
    operation: Operation,
    criteria: Criteria,
    planned: Found,
    *,
    detail: Mapping[str, object],
    patience: Patience,
    progress: Progress,
) -> Revoked:
    total = planned.matched
    patience.run(conn, layout, lambda: operation.start(conn, layout, matched=total, detail=detail))
    sessions, keys = 0, set[object]()
    listed: list[Ended] = []
    stuck: list[Busy] = []

    def step(ids: Sequence[object]) -> Iterator[list[Ended]]:
        def some() -> list[Ended]:
            states.hold(conn, layout, ids, sessions=True)
            return end(conn, layout, operation, criteria, ids, limit=BATCH)

        count = BATCH
        while count == BATCH:  # an account may have more sessions than one transaction takes
            ended = patience.run(conn, layout, some, many=len(ids) > 1)
            count = sum(len(each.tokens) for each in ended)
            yield ended

    for ended in through(_parts(planned.counts), step, stuck):
        count = sum(len(each.tokens) for each in ended)
        sessions += count
        keys.update(each.id for each in ended)
        listed += ended[: LISTED - len(listed)]
        progress.advance(count)
    patience.run(conn, layout, lambda: operation.finish(conn, layout, changed=sessions))
    if stuck:
        raise unfinished(stuck, sessions, total, "sessions")
    return Revoked(sessions, len(keys), _named(conn, layout, listed))


def _named(conn: Connection, layout: Layout, ended: Sequence[Ended]) -> list[UserSessions]:
    accounts = by_id(conn, layout, [each.id for each in ended])
    return [
        UserSessions(accounts[each.id], len(each.tokens), each.sessions, each.tokens)
        for each in ended
    ]


def _parts(counts: Mapping[object, int]) -> Iterator[list[object]]:
    """Cut the accounts into parts with about as many sessions as one transaction ends."""
    part: list[object] = []
    held = 0
    for key, count in counts.items():
        if part and (held + count > BATCH or len(part) == states.BATCH):
            yield part
            part, held = [], 0
        part.append(key)
        held += count
    if part:
        yield part
