"""Which sessions an operator means, and the SQL that says so.

A session is a family of refresh tokens, of which at most one is live: each refresh replaces it. Its
number is the family's, which stays while the tokens change.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, cast

from psycopg import sql

from secops.errors import UsageError

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from secops.database.connection import Connection
    from secops.database.layout import Layout

LIVE: Final = sql.SQL("t.revoked IS NOT TRUE AND t.used IS NOT TRUE AND t.expires_at > now()")
"""What makes a token ``t`` of ``refresh_tokens`` a live session."""

_NOT_REVOKED: Final = sql.SQL("t.revoked IS NOT TRUE AND t.expires_at > now()")

FAMILY: Final = sql.SQL("coalesce(t.family_id, t.id)")
"""The number of the session that a token ``t`` belongs to."""

# A session begins with the first token of its family. Pruning keeps the used tokens of a family
# that still has a live one, so the first is there.
STARTED: Final = sql.SQL(
    """(SELECT min(f.created_at) FROM {tokens} f
        WHERE coalesce(f.family_id, f.id) = coalesce(t.family_id, t.id))"""
)


@dataclass(frozen=True, slots=True)
class Criteria:
    """What an operator knows of the sessions; all that is given must hold, any of each suffices.

    Attributes:
        users: Keys of accounts.
        sessions: Numbers of sessions, or of any token that was ever theirs.
        families: Numbers of families.
        networks: Where the live token was issued to, as ``inet``.
        agents: Patterns of user agents, with ``*`` and ``?``, in any case.
        issued_before: The login was before this moment.
        idle_for: No refresh (nor login) for this long.
        everyone: All sessions are meant; nothing else is given then.
    """

    users: tuple[object, ...] = ()
    sessions: tuple[UUID, ...] = ()
    families: tuple[UUID, ...] = ()
    networks: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    issued_before: datetime | None = None
    idle_for: timedelta | None = None
    everyone: bool = False

    @property
    def names_each(self) -> bool:
        """Whether somebody named the accounts or the sessions, so that no filter can reach further."""
        return bool(self.users or self.sessions or self.families)

    def as_dict(self) -> dict[str, object]:
        """Return what was given, for the operation's row; JSON-serialisable."""
        given: dict[str, object] = {
            "users": [str(each) for each in self.users],
            "sessions": [str(each) for each in self.sessions],
            "families": [str(each) for each in self.families],
            "networks": list(self.networks),
            "agents": list(self.agents),
            "issued_before": self.issued_before.isoformat() if self.issued_before else None,
            "idle_for_seconds": self.idle_for.total_seconds() if self.idle_for else None,
            "everyone": self.everyone,
        }
        return {name: value for name, value in given.items() if value}


def where(
    criteria: Criteria, layout: Layout, *, rotating: bool = True
) -> tuple[sql.Composable, dict[str, object]]:
    """Return the condition on ``t`` and what it binds.

    Args:
        criteria: What must hold.
        layout: The tables.
        rotating: Whether tokens know their family and whether they were used. Before that is
            migrated, only sessions of ``users`` can be told.
    """
    parts: list[sql.Composable] = [LIVE if rotating else _NOT_REVOKED]
    bound: dict[str, object] = {}
    if criteria.users:
        parts.append(sql.SQL("t.user_id = ANY (%(c_users)s::{}[])").format(layout.users.key))
        bound["c_users"] = list(criteria.users)
    if criteria.sessions:
        parts.append(
            sql.SQL(
                """{family} = ANY (%(c_sessions)s::uuid[] || ARRAY(
                       SELECT coalesce(s.family_id, s.id) FROM {tokens} s
                       WHERE s.id = ANY (%(c_sessions)s::uuid[])))"""
            ).format(family=FAMILY, tokens=layout.tokens)
        )
        bound["c_sessions"] = list(criteria.sessions)
    if criteria.families:
        parts.append(sql.SQL("{} = ANY (%(c_families)s::uuid[])").format(FAMILY))
        bound["c_families"] = list(criteria.families)
    if criteria.networks:
        parts.append(
            sql.SQL("secops.try_inet(t.ip_address) <<= ANY (%(c_networks)s::text[]::inet[])")
        )
        bound["c_networks"] = list(criteria.networks)
    if criteria.agents:
        parts.append(sql.SQL("t.device_info ILIKE ANY (%(c_agents)s::text[])"))
        bound["c_agents"] = [_like(each) for each in criteria.agents]
    if criteria.issued_before is not None:
        # The same as STARTED < moment, in a form that is one scan for all sessions where they are many.
        parts.append(
            sql.SQL(
                """{family} IN (SELECT coalesce(f.family_id, f.id) FROM {tokens} f
                                WHERE f.created_at < %(c_before)s::timestamptz)"""
            ).format(family=FAMILY, tokens=layout.tokens)
        )
        bound["c_before"] = criteria.issued_before
    if criteria.idle_for is not None:
        parts.append(sql.SQL("t.created_at < now() - %(c_idle)s::interval"))
        bound["c_idle"] = criteria.idle_for
    if len(parts) == 1 and not criteria.everyone:
        raise AssertionError("no criteria would mean everyone")
    return sql.SQL(" AND ").join(parts), bound


def _like(glob: str) -> str:
    """Return a pattern of ``*`` and ``?`` as LIKE reads it; all else stands for itself."""
    for special in ("\\", "%", "_"):
        glob = glob.replace(special, "\\" + special)
    return glob.replace("*", "%").replace("?", "_")


def moment(conn: Connection, given: datetime | timedelta) -> datetime:
    """Return a moment of the past by the database's clock.

    Args:
        conn: Whose clock.
        given: The moment, or how long ago it was.

    Raises:
        UsageError: It lies in the future.
    """
    ago, at = (given, None) if isinstance(given, timedelta) else (None, given)
    row = conn.execute(
        "SELECT coalesce(%s::timestamptz, now() - %s::interval), now()", (at, ago)
    ).fetchone()
    assert row is not None
    found, now = cast("tuple[datetime, datetime]", row)
    if found > now:
        raise UsageError(
            f"{found.isoformat()} is in the future: by the database's clock it is "
            f"{now.isoformat(timespec='seconds')}.",
            hint="Sessions that begin later cannot be ended now.",
        )
    return found
