"""One account explained: why can't they log in?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from psycopg import sql

from secops.accounts import presence, states
from secops.accounts.criteria import Criteria
from secops.accounts.diagnosis import Event, Facts, Reason, notes, reasons
from secops.accounts.operations import storable
from secops.accounts.sessions import Session, listing
from secops.accounts.states import State
from secops.accounts.users import Account, find
from secops.errors import NothingMatched
from secops.output.values import for_people

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from secops.accounts.presence import Presence
    from secops.database.connection import Connection
    from secops.database.layout import Layout

EVENTS: Final = 20


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that answers the question.

    Attributes:
        state: The account and its locks.
        allowed: Failed logins that lock it, as the app counts them.
        reasons: What is in the way; none means that the right password would do.
        notes: What else somebody should know.
        sessions: The live ones, last used first.
        events: The last ones, newest first.
        missing: What the database lacks before it is migrated.
    """

    state: State
    allowed: int
    reasons: Sequence[Reason]
    notes: Sequence[Reason]
    sessions: Sequence[Session]
    events: Sequence[Event]
    missing: Sequence[str]

    @property
    def left(self) -> int:
        """How many failed logins are left before the app locks the account."""
        return max(0, self.allowed - self.state.failed)

    @property
    def verdict(self) -> str:
        """The answer in one sentence."""
        if self.reasons:
            return (
                "A login would fail now: " + "; and ".join(each.text for each in self.reasons) + "."
            )
        return "A login with the right password would succeed."


def explain(conn: Connection, layout: Layout, who: str, *, allowed: int) -> Explanation:
    """Explain an account.

    Args:
        conn: Where to look.
        layout: The tables.
        who: An e-mail address in any case, or an id.
        allowed: Failed logins that lock an account in the app.

    Raises:
        NothingMatched: There is no such account; says whether logins were tried with the address.
        Conflict: It matches several.
    """
    there = presence.look(conn, layout)
    try:
        account = find(conn, layout, who)
    except NothingMatched as error:
        raise _never_was(conn, layout, who, there, error) from None
    state = _state(conn, layout, account, there)
    sessions = _sessions(conn, layout, account, there)
    events = last_events(conn, layout, account, EVENTS) if there.events else []
    facts = Facts(who, state, allowed, sessions, events, _last_end(conn, layout, account, there))
    return Explanation(
        state=state,
        allowed=allowed,
        reasons=reasons(facts, layout),
        notes=notes(facts),
        sessions=sessions,
        events=events,
        missing=there.missing(layout),
    )


def _state(conn: Connection, layout: Layout, account: Account, there: Presence) -> State:
    if there.counts and there.accounts:
        found = states.read(conn, layout, [account.id])
        if found:
            return found[0]
    row = conn.execute("SELECT now()").fetchone()
    assert row is not None
    now = cast("datetime", row[0])
    if not there.counts:
        return State(account, now, 0, None, None)
    query = sql.SQL(
        "SELECT coalesce(u.failed_login_attempts, 0), {} FROM {} u WHERE u.{} = %s"
    ).format(
        states.within_years(sql.SQL("u.locked_until")),
        layout.users.table,
        sql.Identifier(layout.users.id),
    )
    counted = conn.execute(query, (account.id,)).fetchone()
    failed, until = cast("tuple[int, datetime | None]", counted or (0, None))
    return State(account, now, failed, until, None)


def _sessions(conn: Connection, layout: Layout, account: Account, there: Presence) -> list[Session]:
    if not there.tokens:
        return []
    return list(listing(conn, layout, Criteria(users=(account.id,)), rotating=there.rotates))


_EVENT_COLUMNS: Final = sql.SQL(
    "e.created_at, e.event_type, e.event_category, e.severity, e.success, e.ip_address,"
    " e.user_agent, e.message, e.metadata"
)


def last_events(conn: Connection, layout: Layout, account: Account, limit: int) -> list[Event]:
    """Return the account's last events, also those that the app could not tie to it (the address).

    Args:
        conn: Any.
        layout: The tables; ``security_events`` must be there.
        account: Whose.
        limit: How many at most.
    """
    query = sql.SQL(
        """
        SELECT {columns} FROM (
            (SELECT * FROM {events} e WHERE e.user_id = %(id)s
             ORDER BY e.created_at DESC LIMIT {limit})
            UNION ALL
            (SELECT * FROM {events} e WHERE e.user_id IS NULL AND lower(e.email) = lower(%(email)s)
             ORDER BY e.created_at DESC LIMIT {limit})
        ) AS e
        ORDER BY e.created_at DESC LIMIT {limit}
        """
    ).format(columns=_EVENT_COLUMNS, events=layout.events, limit=sql.Literal(limit))
    rows = conn.execute(query, {"id": account.id, "email": account.email})
    return [Event(*row) for row in rows]  # type: ignore[arg-type]  # the columns above


def _last_end(
    conn: Connection, layout: Layout, account: Account, there: Presence
) -> tuple[datetime, str] | None:
    """Return when the account's last session was ended, and why."""
    if not there.rotates:
        return None
    row = conn.execute(
        sql.SQL(
            """SELECT t.revoked_at, coalesce(t.revoked_reason, '') FROM {} t
               WHERE t.user_id = %s AND t.revoked AND t.revoked_at IS NOT NULL
               ORDER BY t.revoked_at DESC LIMIT 1"""
        ).format(layout.tokens),
        (account.id,),
    ).fetchone()
    return cast("tuple[datetime, str] | None", row)


def _never_was(
    conn: Connection, layout: Layout, who: str, there: Presence, error: NothingMatched
) -> NothingMatched:
    """Add what was tried with an address that nobody has: the answer may be a typing error of theirs."""
    if not there.events:
        return error
    row = conn.execute(
        sql.SQL(
            """SELECT count(*), max(tried.created_at) FROM (
                   SELECT e.created_at FROM {} e
                   WHERE e.user_id IS NULL AND lower(e.email) = lower(%s)
                   ORDER BY e.created_at DESC LIMIT 1000) AS tried"""
        ).format(layout.events),
        (storable(who.strip()),),
    ).fetchone()
    count, last = cast("tuple[int, datetime | None]", row or (0, None))
    if not count:
        return error
    return NothingMatched(
        error.message,
        hint=f"Yet it occurs in {count:,} events, the last at {for_people(last)}: somebody tries to log in "
        f"with it. {error.hint}".strip(),
        details={**error.details, "events_with_this_address": count},
    )
