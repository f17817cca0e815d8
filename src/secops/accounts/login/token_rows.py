"""The rows that sessions are made of: locked in one order, the user's before the token's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from psycopg import sql

from secops.accounts.criteria import FAMILY, LIVE
from secops.accounts.login import tokens

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta
    from uuid import UUID

    from secops.database.connection import Connection
    from secops.database.layout import Layout


@dataclass(frozen=True, slots=True)
class Person:
    """Whose a token is."""

    id: object
    email: str | None
    active: bool
    locked_for: timedelta | None


@dataclass(frozen=True, slots=True)
class Token:
    """A token and what it belongs to, as the table has it at this moment."""

    id: UUID
    family: UUID
    used: bool
    revoked: bool
    reason: str | None
    expired: bool
    family_ended: bool
    used_for: timedelta | None
    sealed: bytes | None
    agent: str | None
    ip: str | None
    epoch: int
    operator_locked_for: timedelta | None
    expires_in: timedelta


@dataclass(frozen=True, slots=True)
class TokenRows:
    """Reads and writes them, in the caller's transaction.

    Attributes:
        layout: The tables.
    """

    layout: Layout

    def hold(self, conn: Connection, presented: str) -> Person | None:
        """Lock the row of the user whose token was presented."""
        whose = sql.SQL("(SELECT user_id FROM {} WHERE token_hash = %(hash)s)").format(
            self.layout.tokens
        )
        return self._locked(conn, whose, {"hash": tokens.digest(presented)})

    def hold_user(self, conn: Connection, user_id: object) -> Person | None:
        """Lock a user's row."""
        return self._locked(
            conn, sql.SQL("%(user)s::{}").format(self.layout.users.key), {"user": user_id}
        )

    def _locked(
        self, conn: Connection, whose: sql.Composable, bound: Mapping[str, object]
    ) -> Person | None:
        """Lock a user's row and read it; what is read of other tables comes after, by its own statement."""
        users = self.layout.users
        active = (
            sql.SQL("u.{} IS NOT FALSE").format(sql.Identifier(users.active))
            if users.active
            else sql.SQL("true")
        )
        row = conn.execute(
            sql.SQL(
                """SELECT u.{id}, u.{email}, {active},
                          CASE WHEN u.locked_until > clock_timestamp()
                               THEN least(u.locked_until - clock_timestamp(), interval '100 years') END
                   FROM {users} u WHERE u.{id} = {whose} FOR NO KEY UPDATE OF u"""
            ).format(
                id=sql.Identifier(users.id),
                email=sql.Identifier(users.email),
                active=active,
                users=users.table,
                whose=whose,
            ),
            bound,
        ).fetchone()
        return None if row is None else Person(*row)  # type: ignore[arg-type]  # the columns above

    def token(self, conn: Connection, presented: str) -> Token | None:
        """Lock and read a token; the user's row is held."""
        row = conn.execute(
            sql.SQL(
                """SELECT t.id, {family}, t.used IS TRUE, t.revoked IS TRUE, t.revoked_reason,
                          t.expires_at <= clock_timestamp(),
                          coalesce(t.family_expires_at <= clock_timestamp(), false),
                          clock_timestamp() - t.used_at, t.successor, t.device_info, t.ip_address,
                          coalesce(a.token_epoch, 0),
                          CASE WHEN a.locked_at IS NOT NULL
                                    AND coalesce(a.lock_expires_at > clock_timestamp(), true)
                               THEN coalesce(a.lock_expires_at - clock_timestamp(), interval '100 years')
                          END,
                          t.expires_at - clock_timestamp()
                   FROM {tokens} t LEFT JOIN {accounts} a ON a.user_id = t.user_id
                   WHERE t.token_hash = %(hash)s FOR UPDATE OF t"""
            ).format(family=FAMILY, tokens=self.layout.tokens, accounts=self.layout.accounts),
            {"hash": tokens.digest(presented)},
        ).fetchone()
        return None if row is None else Token(*row)  # type: ignore[arg-type]  # the columns above

    def leaf(
        self, conn: Connection, family: UUID
    ) -> tuple[UUID, UUID | None, str, timedelta] | None:
        """Return the live token of a family: number, parent, digest, how long it is good for."""
        row = conn.execute(
            sql.SQL(
                """SELECT t.id, t.parent_id, t.token_hash, t.expires_at - clock_timestamp()
                   FROM {tokens} t WHERE {family} = %s AND {live}"""
            ).format(tokens=self.layout.tokens, family=FAMILY, live=LIVE),
            (family,),
        ).fetchone()
        return cast("tuple[UUID, UUID | None, str, timedelta] | None", row)

    def distance(self, conn: Connection, token: Token, leaf: UUID) -> int | None:
        """Count the generations between a used token and the live one; ``None`` where a link is missing."""
        row = conn.execute(
            sql.SQL(
                """WITH RECURSIVE line AS (
                       SELECT id, parent_id, 0 AS depth FROM {tokens} WHERE id = %(leaf)s
                       UNION ALL
                       SELECT t.id, t.parent_id, l.depth + 1 FROM {tokens} t
                       JOIN line l ON t.id = l.parent_id WHERE l.id <> %(token)s AND l.depth < 10000)
                   SELECT depth FROM line WHERE id = %(token)s"""
            ).format(tokens=self.layout.tokens),
            {"leaf": leaf, "token": token.id},
        ).fetchone()
        return None if row is None else cast("int", row[0])

    def revoke(
        self,
        conn: Connection,
        user_id: object,
        reason: str,
        *,
        family: UUID | None = None,
        but: UUID | None = None,
    ) -> int:
        """End live sessions of a user whose row is held; returns how many."""
        return conn.execute(
            sql.SQL(
                """UPDATE {tokens} t
                   SET revoked = true, revoked_at = clock_timestamp(), revoked_reason = %(reason)s
                   WHERE t.user_id = %(user)s::{key} AND {live}
                     AND (%(family)s::uuid IS NULL OR {family} = %(family)s)
                     AND (%(but)s::uuid IS NULL OR {family} <> %(but)s)"""
            ).format(
                tokens=self.layout.tokens, key=self.layout.users.key, live=LIVE, family=FAMILY
            ),
            {"user": user_id, "reason": reason, "family": family, "but": but},
        ).rowcount

    def end_oldest(self, conn: Connection, user_id: object, most: int) -> None:
        """End the sessions of a user beyond so many, the oldest first."""
        conn.execute(
            sql.SQL(
                """UPDATE {tokens} SET revoked = true, revoked_at = clock_timestamp(),
                                       revoked_reason = 'limit'
                   WHERE id IN (SELECT t.id FROM {tokens} t
                                WHERE t.user_id = %(user)s::{key} AND {live}
                                ORDER BY t.created_at DESC, t.id OFFSET %(most)s)"""
            ).format(tokens=self.layout.tokens, key=self.layout.users.key, live=LIVE),
            {"user": user_id, "most": most},
        )
