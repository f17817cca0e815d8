"""Writing what happens at the login layer into ``security_events``, in the transaction that does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from psycopg import sql
from psycopg.types.json import Jsonb

from secops.accounts.operations import storable
from secops.accounts.vocabulary import KINDS, Happening

if TYPE_CHECKING:
    from collections.abc import Mapping

    from secops.accounts.login.rules import EventRules
    from secops.database.connection import Connection
    from secops.database.layout import Layout


_LONGEST_AGENT: Final = 512
_LONGEST_PATH: Final = 500


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from; all of it is written by strangers.

    Attributes:
        ip: The client's address, or ``None`` where it is not known.
        agent: Its user agent.
        path: What it asked for.
        method: How.
    """

    ip: str | None = None
    agent: str | None = None
    path: str | None = None
    method: str | None = None


def wanted(happening: Happening, rules: EventRules) -> bool:
    """Say whether the rules want an event of this type written."""
    if not rules.enabled:
        return False
    match happening:
        case Happening.LOGIN_FAILED | Happening.ATTEMPT_WHILE_LOCKED:
            return rules.failed_logins
        case Happening.LOGIN_SUCCESS:
            return rules.logins
        case Happening.TOKEN_REFRESH | Happening.TOKEN_REFRESH_REPLAYED:
            return rules.refreshes
        case Happening.ACCOUNT_LOCKED:
            return rules.lockouts
        case _:
            return True


_INSERT: Final = sql.SQL(
    """INSERT INTO {events} (event_type, event_category, severity, user_id, email, ip_address,
                             user_agent, request_path, request_method, success, message, metadata,
                             created_at)
       VALUES (%(e_type)s, %(e_category)s, %(e_severity)s, %(e_user)s::{key}, left(%(e_email)s, 255),
               left(%(e_ip)s, 45), %(e_agent)s, %(e_path)s, %(e_method)s, %(e_success)s,
               %(e_message)s, %(e_metadata)s, clock_timestamp())"""
)
# The statement's time and not the transaction's: what locked an account stands before the lock.


def insertion(layout: Layout) -> sql.Composed:
    """Return the INSERT of one event; :func:`bound` has its parameters, whose names begin with ``e_``."""
    return _INSERT.format(events=layout.events, key=layout.users.key)


def bound(
    happening: Happening,
    origin: Origin,
    *,
    user_id: object | None,
    email: str | None,
    message: str,
    facts: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """Return what :func:`insertion` binds.

    Args:
        happening: What happened.
        origin: Where it came from.
        user_id: The account concerned, where there is one.
        email: Its address, or the one that was tried.
        message: What happened, in words; never a token or a password.
        facts: What else joins ``metadata``; JSON-serialisable.
    """
    kind = KINDS[happening]
    agent = None if origin.agent is None else storable(origin.agent)[:_LONGEST_AGENT]
    path = None if origin.path is None else storable(origin.path)[:_LONGEST_PATH]
    return {
        "e_type": happening.value,
        "e_category": kind.category,
        "e_severity": kind.severity,
        "e_user": user_id,
        "e_email": None if email is None else storable(email),
        "e_ip": origin.ip,
        "e_agent": agent,
        "e_path": path,
        "e_method": None if origin.method is None else storable(origin.method)[:10],
        "e_success": kind.success,
        "e_message": storable(message),
        "e_metadata": Jsonb({"owasp": kind.owasp, **(facts or {})}),
    }


def record(
    conn: Connection,
    layout: Layout,
    rules: EventRules,
    happening: Happening,
    origin: Origin,
    *,
    user_id: object | None = None,
    email: str | None = None,
    message: str,
    facts: Mapping[str, object] | None = None,
) -> None:
    """Write one event, unless the rules leave its type out.

    Args:
        conn: In the transaction of the change that it tells of.
        layout: The tables.
        rules: Which are written.
        happening: What happened.
        origin: Where it came from.
        user_id: As for :func:`bound`; so are the others.
        email: The address.
        message: In words.
        facts: What else.
    """
    if wanted(happening, rules):
        conn.execute(
            insertion(layout),
            bound(happening, origin, user_id=user_id, email=email, message=message, facts=facts),
        )
