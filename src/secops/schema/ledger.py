"""What alembic does here: it walks the versions and records each, together with an event that tells of it.

alembic's connection is in no transaction while steps run; the record of a version and its row in
``security_events`` are one transaction after them. A run that dies in between has done its steps and not
recorded them; the next one finds them done and records them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import psycopg
import sqlalchemy
import sqlalchemy.exc
from alembic import command
from alembic.config import Config
from sqlalchemy.pool import NullPool

from secops.accounts.events import record
from secops.database.connection import commit_unknown, is_lost
from secops.database.layout import INTERNAL
from secops.resources import shipped
from secops.schema import catalogue
from secops.schema.versions import BASE, VERSION_TABLE, versions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Any

    from alembic.runtime.migration import MigrationContext, MigrationInfo
    from psycopg import Connection as Psycopg

    from secops.accounts.operations import Operation
    from secops.database.connection import Connection
    from secops.schema.runner import Runner

# Writing the record waits behind nobody whom the app waits for, so a long wait harms nobody.
_RECORD_LIMIT: Final = timedelta(seconds=30)


class Ledger:
    """alembic's side of one run.

    Attributes:
        runner: Runs the steps.
        connection: alembic's connection, while :meth:`upgrade` or :meth:`downgrade` runs.
        table: The version table.
        schema: Its schema.
    """

    table = VERSION_TABLE
    schema = INTERNAL

    def __init__(
        self, runner: Runner, operation: Operation, connect: Callable[[], Connection]
    ) -> None:
        self.runner = runner
        self.connection: sqlalchemy.Connection
        self._operation = operation
        self._connect = connect

    def upgrade(self) -> None:
        """Apply every version that is not recorded."""
        self._run(lambda config: command.upgrade(config, "head"))

    def downgrade(self, target: str | None) -> None:
        """Undo every version above one; ``None`` is the state before the first."""
        self._run(lambda config: command.downgrade(config, target or BASE))

    def _run(self, what: Callable[[Config], None]) -> None:
        config = Config()
        config.set_main_option("script_location", str(shipped("migrations")).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        config.attributes["ledger"] = self
        engine = sqlalchemy.create_engine(
            "postgresql+psycopg://", creator=self._transactional, poolclass=NullPool
        )
        try:
            with engine.connect() as self.connection:
                what(config)
        except sqlalchemy.exc.DBAPIError as error:
            # The driver's own error is what everybody else here understands.
            known = error.orig or error
            if isinstance(known, psycopg.Error) and is_lost(known):
                raise commit_unknown("a version was recorded") from error
            raise known from None

    def _transactional(self) -> Connection:
        conn = self._connect()
        conn.autocommit = False  # SQLAlchemy begins and commits
        return conn

    def applied(
        self,
        ctx: MigrationContext,
        step: MigrationInfo,
        heads: Collection[Any],  # noqa: ARG002  alembic passes it by name
        run_args: Mapping[str, Any],  # noqa: ARG002
    ) -> None:
        """Tell ``security_events`` of a version, in the transaction that records it."""
        assert ctx.connection is not None
        raw: Psycopg[tuple[object, ...]] = ctx.connection.connection.dbapi_connection  # type: ignore[assignment]  # the driver's
        raw.execute(f"SET LOCAL lock_timeout = {_RECORD_LIMIT // timedelta(milliseconds=1)}")
        layout = self.runner.site.layout
        there = catalogue.columns(raw, layout.schema, "security_events")
        if not {"event_category", "success", "metadata"} <= there.keys():
            return  # undoing the first version took the table away, or an earlier layer's new columns
        revision = step.up_revision_id
        title = next(each.title for each in versions() if each.revision == revision)
        verb = "Applied" if step.is_upgrade else "Undid"
        record(
            raw,
            layout,
            self._operation,
            event_type="schema_migrated",
            user_id=None,
            email=None,
            message=f"{verb} migration {revision}: {title}.",
            extra={"revision": revision, "direction": "up" if step.is_upgrade else "down"},
        )
        # Should the table itself go in this run, or columns of it, this row was not there to be counted.
        for what in {"rows of security_events", *self.runner.accepted}:
            if " of security_events" in what:
                self.runner.accepted[what] += 1
