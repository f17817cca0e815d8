"""``sql_ratio``: the share of failures in the app's own ``security_events``, as a query counts it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg

from secops.database.connection import translate
from secops.errors import ConfigurationError, SecopsError
from secops.reports.header import Report, parse
from secops.reports.run import running
from secops.resources import shipped
from secops.rollout.gates.counts import WatchOptions, Window
from secops.rollout.gates.options import read
from secops.rollout.gates.watch import Watch
from secops.schema.detect import detect

if TYPE_CHECKING:
    from secops.reports.parameters import Value
    from secops.rollout.gates.gate import GateSpec, Surroundings
    from secops.settings import Settings

FOLDER: Final = "gates"
"""Below the folder of queries, the shipped ones and the user's own."""

_COLUMNS: Final = ("at", "bad", "total")
_PARAMETERS: Final = {"since": "timestamp", "until": "timestamp", "window": "duration"}


class SqlRatioOptions(WatchOptions):
    """What may be said of it.

    Attributes:
        query: The name of the query that counts, such as ``login-failures``.
    """

    query: str


def build(spec: GateSpec, settings: Settings | None = None) -> Watch:
    """Make the gate of its description.

    Raises:
        ConfigurationError: There is no such query, or it is not one that counts for a gate.
    """
    options = read(SqlRatioOptions, spec)
    return Watch(
        spec.name, spec.kind, options, SqlCounts(find(options.query, settings), options.timeout)
    )


def queries(settings: Settings | None = None) -> dict[str, Path]:
    """Return the queries that count for gates, by name; the user's own come before those that ship."""
    found = {path.stem: path for path in sorted((shipped("queries") / FOLDER).glob("*.sql"))}
    own = settings.folder("queries") if settings is not None else None
    if own is not None and (own / FOLDER).is_dir():
        for path in sorted((own / FOLDER).glob("*.sql")):
            if path.stem in found and not parse(path).overrides:
                raise ConfigurationError(
                    f"{path}:1: secops has a gate's query {path.stem!r} already.",
                    hint="Give the file another name, or write `overrides: true` into its header.",
                )
            found[path.stem] = path
    return found


def find(name: str, settings: Settings | None = None) -> Report:
    """Read a query that counts for a gate.

    Args:
        name: Its file's name; ``.sql`` may be left out, and ``_`` stands for ``-``.
        settings: Name the folder of the user's own queries.

    Raises:
        ConfigurationError: There is none, or it is not one that counts for a gate.
    """
    known = queries(settings)
    wanted = name.removesuffix(".sql").replace("_", "-")
    if wanted not in known:
        near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise ConfigurationError(
            f"There is no gate's query {name!r}.",
            hint=f"{hint}There are {', '.join(known)}; your own stand in gates/ in your folder of queries.",
        )
    report = parse(known[wanted])
    declared = {each.name: each.type for each in report.parameters}
    if declared != _PARAMETERS:
        raise ConfigurationError(
            f"{report.path}:1: a gate's query declares exactly the parameters since and until (timestamp) "
            "and window (duration), and counts between them.",
            hint="docs/gates.md shows one.",
        )
    return report


@dataclass(frozen=True, slots=True)
class SqlCounts:
    """Counts that a query brings.

    Attributes:
        report: The query, in a report's form.
        timeout: How long it may run.
    """

    report: Report
    timeout: timedelta

    needs_database = True

    @property
    def what(self) -> str:
        """What is counted: the query's title, as it stands in a sentence."""
        title = self.report.title
        return title[:1].lower() + title[1:]

    def windows(
        self, since: datetime, until: datetime, length: timedelta, around: Surroundings
    ) -> Sequence[Window]:
        """Run the query; read-only, its values bound, in limited time."""
        conn = around.conn
        if conn is None:
            raise SecopsError("there is no database to ask.")
        values: dict[str, Value | None] = {"since": since, "until": until, "window": length}
        try:
            layout = detect(conn, around.settings)
            with running(conn, layout, self.report, values, timeout=self.timeout) as answer:
                columns, rows = answer.columns, list(answer.rows)
        except psycopg.Error as error:  # the connection itself is gone
            raise translate(error) from error
        missing = [name for name in _COLUMNS if name not in columns]
        if missing:
            raise SecopsError(
                f"{self.report.path.name} returns no column {missing[0]!r}; a gate's query returns "
                "at, bad and total."
            )
        places = [columns.index(name) for name in _COLUMNS]
        return [self._window([row[place] for place in places]) for row in rows]

    def _window(self, row: Sequence[object]) -> Window:
        at, bad, total = row
        if (
            not isinstance(at, datetime)
            or at.tzinfo is None
            or not isinstance(bad, int)
            or not isinstance(total, int)
        ):
            raise SecopsError(
                f"{self.report.path.name} returns a row that is no time with two whole numbers."
            )
        return Window(at, bad, total)
