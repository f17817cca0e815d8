"""Migrating a database, and taking migrations back: one runner, a plan first, no half-done surprise."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from secops.accounts.events import record
from secops.database.connection import transaction
from secops.errors import Refused
from secops.schema import versions, workplace
from secops.schema.runner import different
from secops.schema.site import survey
from secops.schema.versions import BASE, Plan
from secops.schema.workplace import Workplace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import timedelta

    from secops.accounts.operations import Operation
    from secops.schema.runner import Observer
    from secops.settings import Settings


@dataclass(frozen=True, slots=True)
class Lost:
    """What taking migrations back would destroy: a kind of thing, and how many there are."""

    what: str
    count: int


class Migration(Workplace):
    """A database that is being migrated, or looked at. Made by :func:`opened`."""

    def look(self) -> Plan:
        """Return what is there and what is left to do; changes nothing."""
        with transaction(self._conn, read_only=True, search_path="pg_catalog"):
            return versions.plan(self._conn, self.site)

    def losses(self, target: str | None) -> list[Lost]:
        """Count what taking the versions above ``target`` back would destroy; zeros left out."""
        with transaction(self._conn, read_only=True, search_path="pg_catalog"):
            current = versions.current_revision(self._conn)
            found = []
            for version in versions.above(target, current):
                for step in reversed(version.steps(self.site)):
                    for loss in step.lost(step.probe(self._conn)):
                        row = self._conn.execute(loss.count).fetchone()
                        assert row is not None
                        found.append(Lost(loss.what, int(str(row[0]))))
        return [loss for loss in found if loss.count]

    def apply(
        self,
        operation: Operation,
        observer: Observer,
        *,
        budget: timedelta,
        planned: Callable[[Plan], None],
    ) -> int:
        """Do what is left to do.

        Args:
            operation: Who does it.
            observer: Is told what happens.
            budget: How long to wait for another runner, and how long for locks in all.
            planned: Is told the plan, once nobody else can change it, before the first statement.

        Returns:
            How many statements were run.

        Raises:
            Busy: Another runner, or other sessions' locks, outlasted the budget.
            Conflict: Something is there that secops would not make; nothing was touched.
            Refused: The role lacks privileges; nothing was touched.
        """
        with self._alone(observer, budget) as held:
            # Another runner may have changed an earlier layer meanwhile.
            self.site = survey(self._conn, self.site.layout)
            plan = versions.plan(self._conn, self.site)
            if plan.different:
                raise different(plan.different)
            planned(plan)
            if plan.nothing_to_do:
                return 0
            self._check_privileges()
            runner = self._runner(held, observer, budget)
            for step in versions.preamble():
                runner.do(step)
            if plan.drifted:
                for each in plan.drifted:
                    runner.do(each.step)
                self._record_mends(plan, operation)
            if plan.pending:
                # alembic and SQLAlchemy are imported where they are needed only.
                from secops.schema.ledger import Ledger  # noqa: PLC0415

                Ledger(runner, operation, self._direct).upgrade()
            self._record_operation(
                operation, runner.ran, {"revision": versions.versions()[-1].revision}
            )
            return runner.ran

    def undo(
        self,
        target: str | None,
        operation: Operation,
        observer: Observer,
        *,
        budget: timedelta,
        accept_loss: int | None,
    ) -> int:
        """Take the versions above ``target`` back.

        Args:
            target: The revision to end at; ``None`` is the state before the first.
            operation: Who does it.
            observer: Is told what happens.
            budget: As for :meth:`apply`.
            accept_loss: How many rows and values may be destroyed; must be exactly what would be.

        Returns:
            How many statements were run.

        Raises:
            Busy: Another runner, or other sessions' locks, outlasted the budget.
            Conflict: What is there is not what secops made; nothing was touched.
            Refused: Something would be lost that was not accepted: nothing was touched, or where it came
                in meanwhile, no more than was accepted is lost.
        """
        with self._alone(observer, budget) as held:
            # Another runner may have changed an earlier layer meanwhile.
            self.site = survey(self._conn, self.site.layout)
            plan = versions.plan(self._conn, self.site)
            if plan.different:
                raise different(plan.different)
            if not versions.above(target, plan.current):
                return 0
            losses = self.losses(target)
            check_loss(losses, accept_loss)
            self._check_privileges()
            runner = self._runner(held, observer, budget)
            runner.accepted.update({loss.what: loss.count for loss in losses})
            from secops.schema.ledger import Ledger  # noqa: PLC0415

            Ledger(runner, operation, self._direct).downgrade(target)
            self._record_operation(operation, runner.ran, {"revision": target or BASE})
            return runner.ran

    def _record_mends(self, plan: Plan, operation: Operation) -> None:
        with transaction(self._conn):
            record(
                self._conn,
                self.site.layout,
                operation,
                event_type="schema_migrated",
                user_id=None,
                email=None,
                message="Mended what had changed since: "
                + "; ".join(each.step.title for each in plan.drifted)
                + ".",
                extra={"revision": plan.current, "direction": "mend"},
            )


def check_loss(found: list[Lost], accepted: int | None) -> None:
    """Refuse to destroy what was not accepted, to the number.

    Raises:
        Refused: The number is not given, or another.
    """
    total = sum(loss.count for loss in found)
    if accepted == total or (accepted is None and total == 0):
        return
    shown = ", ".join(f"{loss.what}: {loss.count:,}" for loss in found) or "nothing"
    raise Refused(
        f"This would destroy {shown}."
        if accepted is None
        else f"--accept-loss {accepted} does not hold: this would destroy {shown}.",
        hint=f"Nothing was changed. Give --accept-loss {total} if that is what you want.",
        details={"total": total, "losses": {loss.what: loss.count for loss in found}},
    )


@contextmanager
def opened(settings: Settings, *, changing: bool) -> Iterator[Migration]:
    """Open a database for the length of a block.

    Args:
        settings: Where it is. ``direct_url`` is used where it is set.
        changing: Whether DDL is to run, for which a transaction pooler will not do.

    Raises:
        ConfigurationError: A transaction pooler stands in between; nothing was touched.
        SecopsError: There is no users table that could serve; see :func:`secops.schema.detect.detect`.
    """
    with workplace.opened(Migration, settings, "migrate") as migration:
        if changing and migration.pooled:
            raise workplace.pooler_in_between(settings)
        yield migration
