"""Writing an operator's deed into ``security_events``, in the transaction that does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from psycopg import ClientCursor, sql
from psycopg.types.json import Jsonb

import secops
from secops.accounts.operations import storable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from secops.accounts.operations import Operation
    from secops.database.connection import Connection
    from secops.database.layout import Layout

CATEGORY: Final = "operator"

USER_AGENT: Final = f"secops/{secops.__version__}"

# The app's column of e-mail addresses may be wider than the plan's, and an event that does not fit
# would undo the deed.
_INSERT: Final = sql.SQL(
    """
    INSERT INTO {events} (event_type, event_category, severity, user_id, email, user_agent, success,
                          message, metadata)
    SELECT %(event_type)s, %(event_category)s, %(severity)s, s.user_id, left(s.email, 255),
           %(event_agent)s, true, s.message, %(event_metadata)s || coalesce(s.extra, '{{}}')
    FROM ({subjects}) AS s (user_id, email, message, extra)
    """
)

_ONE: Final = sql.SQL(
    "SELECT %(user_id)s::{key}, %(email)s::text, %(message)s::text, %(extra)s::jsonb"
)


def record(
    conn: Connection,
    layout: Layout,
    operation: Operation,
    *,
    event_type: str,
    user_id: object | None,
    email: str | None,
    message: str,
    severity: str = "warning",
    extra: Mapping[str, object] | None = None,
) -> None:
    """Insert one event.

    Args:
        conn: In the transaction of the change that the event tells of.
        layout: The tables.
        operation: Who, where, why.
        event_type: ``account_locked``, ``account_unlocked``, ``session_revoked``,
            ``tokens_pruned``, ``events_imported`` or ``schema_migrated``.
        user_id: The account concerned, or ``None``.
        email: Its address, or ``None``.
        message: What happened, in words.
        severity: As the plan names them.
        extra: Joins the operation in ``metadata``; JSON-serialisable.
    """
    record_each(
        conn,
        layout,
        operation,
        event_type=event_type,
        subjects=_ONE.format(key=layout.users.key),
        parameters={
            "user_id": user_id,
            "email": None if email is None else storable(email),
            "message": storable(message),
            "extra": Jsonb(dict(extra)) if extra else None,
        },
        severity=severity,
    )


def record_each(
    conn: Connection,
    layout: Layout,
    operation: Operation,
    *,
    event_type: str,
    subjects: sql.Composable,
    parameters: Mapping[str, object] | None = None,
    severity: str = "warning",
) -> int:
    """Insert one event for each row of a query, in one statement.

    Args:
        conn: In the transaction of the change that the events tell of.
        layout: The tables.
        operation: Who, where, why.
        event_type: As for :func:`record`.
        subjects: A SELECT of four columns: account's key, e-mail address, message, and a jsonb that
            joins the operation in ``metadata`` (or NULL).
        parameters: What the query binds, by name; names that begin with ``event_`` are taken.
        severity: As the plan names them.

    Returns:
        How many events were inserted.
    """
    bound = _bound(operation, event_type, severity)
    cursor = conn.execute(
        _INSERT.format(events=layout.events, subjects=subjects), {**bound, **(parameters or {})}
    )
    return cursor.rowcount


def as_statement(
    conn: Connection,
    layout: Layout,
    operation: Operation,
    *,
    event_type: str,
    message: str,
    extra: Mapping[str, object] | None = None,
) -> sql.Composed:
    """Return the INSERT of one event that is about no account, with its values written out.

    A statement that binds values cannot be sent in one message with others.

    Args:
        conn: Where it will be run; nothing is run now.
        layout: The tables.
        operation: Who, where, why.
        event_type: As for :func:`record`.
        message: What happened, in words.
        extra: Joins the operation in ``metadata``; JSON-serialisable.
    """
    values = {
        "user_id": None,
        "email": None,
        "message": storable(message),
        "extra": Jsonb(dict(extra)) if extra else None,
    }
    query = _INSERT.format(events=layout.events, subjects=_ONE.format(key=layout.users.key))
    text = ClientCursor(conn).mogrify(query, {**_bound(operation, event_type, "warning"), **values})
    return sql.Composed([sql.SQL(text)])


def _bound(operation: Operation, event_type: str, severity: str) -> dict[str, object]:
    return {
        "event_type": event_type,
        "event_category": CATEGORY,
        "severity": severity,
        "event_agent": USER_AGENT,
        "event_metadata": Jsonb(operation.metadata()),
    }
