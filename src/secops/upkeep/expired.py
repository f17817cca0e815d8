"""Which refresh tokens may go, and which of the expired are evidence.

A used token that comes back is how theft is detected. So a used token stays as long as its family (all
tokens of one login; a token without ``family_id`` is a family of its own) has a live one, however long ago
it expired itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, cast

from psycopg import sql

from secops.database.connection import transaction

if TYPE_CHECKING:
    from secops.database.connection import Connection
    from secops.database.layout import Layout
    from secops.upkeep.walks import Piece

_GRACE: Final = timedelta(minutes=5)
"""For how long after its expiry a token counts as live here. A refresh that began a moment before may
still be under way, its successor not to be seen yet; and the clock of an app that compares times itself
may be slow. Never longer than what ``--older-than`` gives: an expired token is not live and gone at once."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one run counts as expired and as live, by the server's clock when it began.

    Attributes:
        cutoff: Tokens that expired before it go.
        live_after: An unused, unrevoked token that expires after it keeps its family's evidence.
    """

    cutoff: datetime
    live_after: datetime

    def as_parameters(self) -> dict[str, object]:
        """Return what the statements bind."""
        return {"cutoff": self.cutoff, "live_after": self.live_after}


@dataclass(frozen=True, slots=True)
class Count:
    """What there is to do.

    Attributes:
        matched: Tokens that may go.
        evidence: Tokens that expired as long ago and stay.
    """

    matched: int
    evidence: int


def bounds(conn: Connection, older_than: timedelta) -> Bounds:
    """Fix what counts as expired.

    Args:
        conn: Any; its server's clock counts.
        older_than: For how long a token must have been expired.
    """
    row = conn.execute(
        "SELECT now() - %(age)s, now() - least(%(age)s, %(grace)s)",
        {"age": older_than, "grace": _GRACE},
    ).fetchone()
    assert row is not None
    return Bounds(cast("datetime", row[0]), cast("datetime", row[1]))


def count(conn: Connection, layout: Layout, limits: Bounds) -> Count:
    """Count exactly; reads the whole table where there is no better way."""
    with transaction(conn, read_only=True):
        row = conn.execute(
            sql.SQL(
                """SELECT count(*), count(*) FILTER (WHERE t.used AND l.family IS NOT NULL)
                   FROM {tokens} t
                   LEFT JOIN (SELECT DISTINCT coalesce(family_id, id) AS family FROM {tokens}
                              WHERE used IS NOT TRUE AND revoked IS NOT TRUE
                                AND expires_at > %(live_after)s) l
                     ON l.family = coalesce(t.family_id, t.id)
                   WHERE t.expires_at < %(cutoff)s"""
            ).format(tokens=layout.tokens),
            limits.as_parameters(),
        ).fetchone()
    assert row is not None
    expired, evidence = (int(str(value)) for value in row)
    return Count(expired - evidence, evidence)


def estimate(conn: Connection, layout: Layout, limits: Bounds) -> int:
    """Return about how many tokens are expired, as the planner thinks; costs nothing."""
    row = conn.execute(
        sql.SQL(
            "EXPLAIN (FORMAT JSON) SELECT FROM {tokens} t WHERE t.expires_at < {cutoff}"
        ).format(tokens=layout.tokens, cutoff=sql.Literal(limits.cutoff))
    ).fetchone()
    assert row is not None
    plans = cast("list[dict[str, dict[str, float]]]", row[0])
    return round(plans[0]["Plan"]["Plan Rows"])


_KEPT: Final = sql.SQL(
    """(t.used AND coalesce(t.family_id, t.id) IN (
        SELECT f.id
        FROM (SELECT DISTINCT coalesce(u.family_id, u.id) AS id FROM {tokens} u
              WHERE {piece} AND u.expires_at < %(cutoff)s OFFSET 0) f
        WHERE (SELECT true FROM {tokens} l
               WHERE coalesce(l.family_id, l.id) = f.id
                 AND l.used IS NOT TRUE AND l.revoked IS NOT TRUE
                 AND l.expires_at + interval '0' > %(live_after)s
               LIMIT 1)))"""
)


def evidence(layout: Layout, piece: Piece) -> sql.Composed:
    """Return the condition for a token ``t`` in a piece of the table to be evidence.

    Each family in the piece is looked up once (``idx_refresh_tokens_live``; a family has one live token
    at most), and only if there is a used token in it at all. The sum with an interval keeps the planner
    from reading all live tokens for each family, which it would where it takes them to be few.
    """
    return _KEPT.format(tokens=layout.tokens, piece=piece.on("u"))
