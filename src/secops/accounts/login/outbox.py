"""Mails to people, written down with what they are about: sent if and only if it happened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg.types.json import Jsonb

from secops.accounts.operations import storable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from secops.database.connection import Connection


def post(
    conn: Connection, kind: str, user_id: object, address: str, facts: Mapping[str, object]
) -> None:
    """Write a mail down, to be sent by cron.

    Args:
        conn: In the transaction of what it tells of.
        kind: Which mail: the name of its template.
        user_id: Whom it is about.
        address: Where it goes.
        facts: What the template fills in; JSON-serialisable, and never a secret.
    """
    conn.execute(
        """INSERT INTO secops.outbox (kind, user_id, address, facts, created_at, due_at)
           VALUES (%s, %s, %s, %s, clock_timestamp(), clock_timestamp())""",
        (kind, user_id, storable(address), Jsonb(dict(facts))),
    )
