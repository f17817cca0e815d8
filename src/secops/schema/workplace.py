"""A database on which DDL is to run: opened once, one runner at a time, privileges looked at first."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from psycopg import errors as pg

from secops.database.connection import connect, is_pooled, transaction
from secops.database.locks import one_runner
from secops.errors import ConfigurationError, Refused
from secops.schema import catalogue
from secops.schema.detect import detect
from secops.schema.estimate import sizes
from secops.schema.grants import missing
from secops.schema.runner import Runner, Watch, busy, limit_looking
from secops.schema.site import Site, survey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from secops.accounts.operations import Operation
    from secops.database.connection import Connection
    from secops.database.locks import Holder
    from secops.database.locks import Runner as Held
    from secops.schema.effects import Statement, Table
    from secops.schema.estimate import Size
    from secops.schema.runner import Observer
    from secops.schema.versions import Planned
    from secops.settings import Settings

TASK: Final = "migrate"
"""The lock that whoever changes the schema holds."""

_LOOKING: Final = "Look at what is there"
_LONG_WAIT: Final = timedelta(seconds=2)

Place = TypeVar("Place", bound="Workplace")
Looked = TypeVar("Looked")


@dataclass
class Workplace:
    """A database that is worked on, or looked at. Made by :func:`opened`.

    Attributes:
        settings: Where the database is, and the lock timeout.
        site: What it is like.
        command: What runs, as ``pg_stat_activity`` shows it.
        pooled: Whether a transaction pooler stands in between; then nothing may be changed.
    """

    settings: Settings
    site: Site
    command: str
    pooled: bool
    _conn: Connection = field(repr=False)

    @contextmanager
    def _alone(self, observer: Observer, budget: timedelta) -> Iterator[Held]:
        if self.pooled:
            # What is set below would stay with a connection that the pooler then gives to the app.
            raise pooler_in_between(self.settings)

        def waiting(holders: list[Holder]) -> None:
            observer.waiting("Another session changes the schema", holders)

        with one_runner(self._direct, TASK, wait=budget, waiting=waiting) as held:
            # A session of our own, straight to the server: what a role or a database sets by default
            # must not cut a build short or give names another meaning.
            self._conn.execute(limit_looking())
            self._conn.execute("SET statement_timeout = 0")
            self._conn.execute("SET search_path = pg_catalog")
            self._conn.execute("SET TimeZone = 'UTC'")
            yield held

    def _patiently(
        self, look: Callable[[], Looked], observer: Observer, budget: timedelta
    ) -> Looked:
        """Look at the catalogue, for as long as the budget lasts: somebody may hold a table against readers.

        Raises:
            Busy: Somebody still does.
        """
        seen: list[Holder] = []

        def tell(holders: list[Holder]) -> None:
            seen[:] = holders
            observer.waiting(_LOOKING, holders)

        deadline = time.monotonic() + budget.total_seconds()
        while True:
            try:
                with Watch(self._direct, self._conn.info.backend_pid, _LONG_WAIT, tell):
                    return look()
            except pg.LockNotAvailable:
                if time.monotonic() > deadline:
                    why = f"{_LOOKING}: another session holds a lock on a table"
                    raise busy(_LOOKING, why, seen) from None

    def sizes(self, planned: Iterable[Planned]) -> dict[Table, Size]:
        """Return how large the tables are that the statements of a plan touch."""
        return self.sizes_of(statement for each in planned for statement in each.statements)

    def sizes_of(self, statements: Iterable[Statement]) -> dict[Table, Size]:
        """Return how large the tables are that statements touch."""
        touched = {effect.table for each in statements for effect in each.effects}
        with transaction(self._conn, read_only=True, search_path="pg_catalog"):
            return sizes(self._conn, touched)

    def _runner(self, held: Held, observer: Observer, budget: timedelta) -> Runner:
        return Runner(
            site=self.site,
            work=self._conn,
            watch=self._direct,
            held=held,
            observer=observer,
            lock_timeout=self.settings.span("lock_timeout"),
            budget=budget,
        )

    def _direct(self) -> Connection:
        return connect(self.settings, self.command, use="direct_url")

    def _check_privileges(self) -> None:
        lacking = missing(self._conn, self.site.layout, "migrator")
        if lacking:
            row = self._conn.execute("SELECT current_user::text").fetchone()
            assert row is not None
            me = str(row[0])
            raise Refused(
                f"The role {me} may not migrate this database, and nothing was touched; it lacks: "
                f"{'; '.join(map(str, lacking))}.",
                hint="As a superuser or the owner:\n"
                + "\n".join(f"{each.grant(me).as_string()};" for each in lacking),
                details={"missing": [str(each) for each in lacking]},
            )

    def _record_operation(
        self, operation: Operation, ran: int, detail: Mapping[str, object]
    ) -> None:
        layout = self.site.layout
        if catalogue.kind_of(self._conn, "secops", "operations") is None:
            return  # taken back with the version that made it
        with transaction(self._conn):
            operation.start(self._conn, layout, matched=ran, detail=detail)
            operation.finish(self._conn, layout, changed=ran)


@contextmanager
def opened(kind: type[Place], settings: Settings, command: str) -> Iterator[Place]:
    """Open a database for the length of a block.

    Args:
        kind: What is to be done there.
        settings: Where it is. ``direct_url`` is used where it is set.
        command: What runs, as ``pg_stat_activity`` shows it.

    Raises:
        SecopsError: There is no users table that could serve; see :func:`secops.schema.detect.detect`.
    """
    with connect(settings, command, use="direct_url") as conn:
        yield kind(settings, survey(conn, detect(conn, settings)), command, is_pooled(conn), conn)


def pooler_in_between(settings: Settings) -> ConfigurationError:
    """Return the error for a transaction pooler between us and the server."""
    direct = settings.secret("direct_url") is not None
    return ConfigurationError(
        ("SECOPS_DIRECT_URL also leads" if direct else "The database URL leads")
        + " through a transaction pooler, where indexes cannot be built and timeouts would "
        "leak to other clients.",
        hint="Set SECOPS_DIRECT_URL to the server itself; nothing was touched.",
    )
