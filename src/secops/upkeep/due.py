"""What a run of pruning needs to know of that which it deletes: tokens, or events."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, LiteralString, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from psycopg import sql

    from secops.database.connection import Connection
    from secops.database.layout import Layout
    from secops.upkeep.walks import Piece


class Keeping(Protocol):
    """How to tell, of rows that are due, which stay all the same."""

    def condition(self, piece: Piece) -> sql.Composed:
        """Return the condition for a row ``t`` in a piece to stay."""


class Due(Protocol):
    """Which rows of one table are due, by the server's clock when the run began.

    Attributes:
        command: The command's words.
        event: The ``event_type`` that tells of a run.
        table: The table's name; it stands in the layout's schema and has a uuid called ``id``.
        moment: The column of time that the table is walked along.
        due: The condition for a row ``t`` to be due; binds what :meth:`as_parameters` returns.
        kept_at_once: The condition for a due row ``t`` to be one that stays, in the transaction that has
            just deleted all others that nobody holds.
    """

    command: ClassVar[str]
    event: ClassVar[str]
    table: ClassVar[str]
    moment: ClassVar[LiteralString]
    due: ClassVar[LiteralString]
    kept_at_once: ClassVar[LiteralString]

    @property
    def cutoff(self) -> datetime:
        """Nothing at or after it is due."""

    def as_parameters(self) -> Mapping[str, object]:
        """Return what the conditions bind, ``cutoff`` among it."""

    def keeping(self, conn: Connection, layout: Layout) -> Keeping:
        """Find out how to tell what stays; once, before the first batch."""

    def limits(self) -> Mapping[str, object]:
        """Return what was due, for the record; JSON-serialisable."""

    def facts(self, kept: int | None) -> Mapping[str, object]:
        """Return :meth:`limits` and how many stayed, if that is known."""

    @staticmethod
    def things(number: int) -> str:
        """Return the number with its noun."""

    @staticmethod
    def told(limits: Mapping[str, object]) -> str:
        """Return in words what :meth:`limits` says: ``that had expired before ...``."""
