"""Which refresh tokens may go, and which of the expired are evidence.

A used token that comes back is how theft is detected. So a used token stays as long as its family (all
tokens of one login; a token without ``family_id`` is a family of its own) has a live one, however long ago
it expired itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Final, LiteralString, cast

from psycopg import sql

from secops.database.connection import transaction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from secops.database.connection import Connection
    from secops.database.layout import Layout
    from secops.upkeep.due import Due
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

    command: ClassVar = "prune tokens"
    event: ClassVar = "tokens_pruned"
    table: ClassVar = "refresh_tokens"
    moment: ClassVar[LiteralString] = "expires_at"
    due: ClassVar[LiteralString] = "t.expires_at < %(cutoff)s"
    kept_at_once: ClassVar[LiteralString] = "t.used"

    cutoff: datetime
    live_after: datetime

    def as_parameters(self) -> dict[str, object]:
        """Return what the statements bind."""
        return {"cutoff": self.cutoff, "live_after": self.live_after}

    def keeping(self, conn: Connection, layout: Layout) -> Evidence:
        """Find out how to tell what is evidence."""
        return Evidence.choose(conn, layout, self)

    def limits(self) -> dict[str, object]:
        """Return what counts as expired, for the record."""
        return {"expired_before": self.cutoff.isoformat()}

    def facts(self, kept: int | None) -> dict[str, object]:
        """Return the same, and how many stayed as evidence."""
        return {**self.limits(), "kept_as_evidence": kept}

    @staticmethod
    def things(number: int) -> str:
        """Return the number with its noun."""
        return "1 refresh token" if number == 1 else f"{number:,} refresh tokens"

    @staticmethod
    def told(limits: Mapping[str, object]) -> str:
        """Return :meth:`limits` in words."""
        before = datetime.fromisoformat(str(limits["expired_before"])).astimezone(UTC)
        return f"that had expired before {before:%Y-%m-%d %H:%M:%SZ}"


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


def estimate(conn: Connection, layout: Layout, limits: Due) -> int:
    """Return about how many rows are as old as the cutoff, as the planner thinks; costs nothing."""
    query = sql.SQL("SELECT FROM {table} t WHERE t.{moment} < {cutoff}").format(
        table=sql.Identifier(layout.schema, limits.table),
        moment=sql.SQL(limits.moment),
        cutoff=sql.Literal(limits.cutoff),
    )
    return _planned(conn, query)


def _planned(conn: Connection, query: sql.Composed) -> int:
    with transaction(conn, read_only=True):
        row = conn.execute(sql.SQL("EXPLAIN (FORMAT JSON) {}").format(query)).fetchone()
    assert row is not None
    plans = cast("list[dict[str, dict[str, float]]]", row[0])
    return round(plans[0]["Plan"]["Plan Rows"])


# As many families as can be read for every piece of the table, in a small part of the piece's own time.
_FEW: Final = 20_000

_LIVE: Final = sql.SQL(
    """SELECT coalesce(l.family_id, l.id) AS id FROM {tokens} l
       WHERE l.used IS NOT TRUE AND l.revoked IS NOT TRUE
         AND l.expires_at + interval '0' > {live_after}"""
)
_IN_PIECE: Final = sql.SQL(
    """SELECT f.id
       FROM (SELECT DISTINCT coalesce(u.family_id, u.id) AS id FROM {tokens} u
             WHERE {piece} AND u.expires_at < %(cutoff)s OFFSET 0) f
       WHERE (SELECT true FROM ({live}) l WHERE l.id = f.id LIMIT 1)"""
)
_KEPT: Final = sql.SQL("(t.used AND coalesce(t.family_id, t.id) IN ({families}))")


@dataclass(frozen=True, slots=True)
class Evidence:
    """How to tell which used tokens are evidence, piece by piece of the table.

    Live families are always looked up anew, for they change while a run goes on: all of them where they
    are few, else those with a token in the piece, one by one (``idx_refresh_tokens_live``). Neither costs
    anything where no token in the piece is used.

    Attributes:
        layout: The tables.
        few: Whether few families are live.
    """

    layout: Layout
    few: bool

    @classmethod
    def choose(cls, conn: Connection, layout: Layout, limits: Bounds) -> Evidence:
        """Choose the cheaper way."""
        query = _live(layout, sql.Literal(limits.live_after))
        if _planned(conn, query) > _FEW:
            return cls(layout, few=False)
        counted = sql.SQL("SELECT count(*) FROM ({live} LIMIT {limit}) l").format(
            live=query, limit=sql.Literal(_FEW + 1)
        )
        with transaction(conn, read_only=True):
            row = conn.execute(counted).fetchone()
        assert row is not None
        return cls(layout, few=int(str(row[0])) <= _FEW)

    def condition(self, piece: Piece) -> sql.Composed:
        """Return the condition for a token ``t`` in a piece to be evidence."""
        families = _live(self.layout, sql.SQL("%(live_after)s"))
        if not self.few:
            families = _IN_PIECE.format(
                tokens=self.layout.tokens, piece=piece.on("u"), live=families
            )
        return _KEPT.format(families=families)


def _live(layout: Layout, live_after: sql.Composable) -> sql.Composed:
    """Return the families that are live.

    The sum with an interval keeps the planner off the index on expires_at, which it would read in full
    for each family where its statistics are old and it takes unexpired tokens to be few.
    """
    return _LIVE.format(tokens=layout.tokens, live_after=live_after)
