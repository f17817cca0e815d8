"""When a long run must wait for others: replicas behind, a flag file, a query that says so.

All of it is asked anew while the run goes on, and any one of the reasons pauses it. What there is to ask
may change meanwhile: :mod:`secops.upkeep.controls`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final, cast

import psycopg

from secops.database.connection import transaction
from secops.durations import format_duration
from secops.errors import Refused, SecopsError, UsageError
from secops.upkeep.controls import Limits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from secops.database.connection import Connection
    from secops.output.progress import Progress

_EVERY: Final = 0.5
"""Seconds between two looks, while running and while waiting."""
_LONGEST_QUERY: Final = timedelta(seconds=5)


@dataclass
class Throttle:
    """What makes a run wait.

    Attributes:
        max_lag: How far behind the slowest replica may be.
        pause_file: While it is there, nothing is deleted.
        pause_query: One query; a first value that is true or more than zero means to wait.
        note: Is told why the run waits, once for each reason.
        changed: Returns what counts from now on, where that was changed; else ``None``.
    """

    max_lag: timedelta | None = None
    pause_file: Path | None = None
    pause_query: str | None = None
    note: Callable[[str], None] = lambda _: None
    changed: Callable[[], Limits | None] = lambda: None
    _looked: float = field(default=float("-inf"), init=False)

    def check(self, conn: Connection) -> None:
        """Make sure that it can tell, before anything is done.

        Raises:
            Refused: The role may not see how far behind replicas are.
            UsageError: The query gives no value that says anything.
        """
        if self.max_lag is not None:
            row = conn.execute(
                "SELECT pg_has_role('pg_read_all_stats', 'USAGE'), current_user::text"
            ).fetchone()
            assert row is not None
            if row[0] is not True:
                raise Refused(
                    f"The role {row[1]} may not see how far behind replicas are, so --max-lag would "
                    "not hold.",
                    hint=f'GRANT pg_read_all_stats TO "{row[1]}", or leave --max-lag away.',
                )
        self._asked(conn)

    def reason(self, conn: Connection) -> tuple[str, str] | None:
        """Return which limit says to wait, and that in words; or ``None``."""
        if self.pause_file is not None and self.pause_file.exists():
            return "pause file", f"{self.pause_file} is there"
        if self.max_lag is not None:
            row = conn.execute("SELECT max(replay_lag) FROM pg_stat_replication").fetchone()
            lag = None if row is None else cast("timedelta | None", row[0])
            if lag is not None and lag > self.max_lag:
                limit = format_duration(self.max_lag)
                seconds = f"{lag.total_seconds():.1f} s"
                return "replica", f"a replica is {seconds} behind (limit {limit})"
        if self._asked(conn):
            return "pause query", "the pause query says so"
        return None

    def hold(
        self,
        conn: Connection,
        *,
        deadline: float | None,
        alive: Callable[[], None],
        progress: Progress,
    ) -> bool:
        """Wait as long as there is a reason to.

        Args:
            conn: In autocommit mode, with no transaction open.
            deadline: By ``time.monotonic``, when to stop waiting.
            alive: Raises if the run must stop.
            progress: Told why it waits.

        Returns:
            Whether to go on; not, where time was up.
        """
        if time.monotonic() - self._looked < _EVERY:
            return True
        told: set[str] = set()
        while (found := self._reason_now(conn)) is not None:
            kind, why = found
            progress.describe(f"Waiting: {why}")
            if kind not in told:
                told.add(kind)
                self.note(f"Waiting: {why}.")
            if deadline is not None and time.monotonic() >= deadline:
                return False
            alive()
            time.sleep(_EVERY)
        if told:
            progress.describe("Going on")
        self._looked = time.monotonic()
        return True

    def _reason_now(self, conn: Connection) -> tuple[str, str] | None:
        """Follow what was changed meanwhile, and return :meth:`reason`."""
        if (new := self.changed()) is not None:
            before = Limits(self.max_lag, self.pause_file, self.pause_query)
            self._take(new)
            try:
                self.check(conn)
            except (SecopsError, psycopg.Error) as error:
                self._take(before)
                said = error.message if isinstance(error, SecopsError) else str(error).strip()
                self.note(f"What makes the run wait stays as it was: {said.splitlines()[0]}")
            else:
                if new != before:
                    self.note(f"What makes the run wait was changed: {_words(new)}.")
        return self.reason(conn)

    def _take(self, limits: Limits) -> None:
        self.max_lag, self.pause_file = limits.max_lag, limits.pause_file
        self.pause_query = limits.pause_query

    def _asked(self, conn: Connection) -> bool:
        if self.pause_query is None:
            return False
        with transaction(conn, read_only=True, statement_timeout=_LONGEST_QUERY):
            # In binary form it goes through the extended protocol, which takes one statement only.
            cursor = conn.execute(self.pause_query.encode(), binary=True)
            row = cursor.fetchone() if cursor.description else None
        value = row[0] if row else None
        if value is None:
            return False
        try:
            return float(cast("float", value)) > 0
        except (TypeError, ValueError):
            raise UsageError(
                "The pause query gives neither a number nor true or false.",
                hint="For instance: SELECT count(*) > 50 FROM pg_stat_activity WHERE state = 'active'",
            ) from None


def _words(limits: Limits) -> str:
    said = []
    if limits.max_lag is not None:
        said.append(f"a replica more than {format_duration(limits.max_lag)} behind")
    if limits.pause_file is not None:
        said.append(f"the file {limits.pause_file}")
    if limits.pause_query is not None:
        said.append("a query")
    return ", ".join(said) or "nothing"
