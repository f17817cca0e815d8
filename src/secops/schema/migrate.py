"""Migrating a database, and taking migrations back: one runner, a plan first, no half-done surprise."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from secops.accounts.events import record
from secops.database.connection import transaction
from secops.errors import Refused
from secops.schema import versions, workplace
from secops.schema.dependents import dependents, in_the_way
from secops.schema.runner import different
from secops.schema.site import survey
from secops.schema.versions import BASE, Plan
from secops.schema.workplace import Workplace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import timedelta

    from secops.accounts.operations import Operation
    from secops.schema.effects import Effect, Statement
    from secops.schema.runner import Observer
    from secops.schema.steps import Finding, Lock, Step
    from secops.settings import Settings


@dataclass(frozen=True, slots=True)
class Lost:
    """What taking migrations back would destroy: a kind of thing, and how many there are.

    Attributes:
        what: In words, in the plural.
        count: How many.
        within: Whether they are values of rows that go as well, and are counted as those.
    """

    what: str
    count: int
    within: bool = False


class Migration(Workplace):
    """A database that is being migrated, or looked at. Made by :func:`opened`."""

    def look(self) -> Plan:
        """Return what is there and what is left to do; changes nothing."""
        with transaction(self._conn, read_only=True, search_path="pg_catalog"):
            return versions.plan(self._conn, self.site)

    def losses(self, target: str | None) -> list[Lost]:
        """Count what taking the versions above ``target`` back would destroy; zeros left out."""
        return [each for each in self._losses(target) if each.count and not each.within]

    def _losses(self, target: str | None) -> list[Lost]:
        with transaction(self._conn, read_only=True, search_path="pg_catalog"):
            steps = list(self._backwards(target))
            gone = {each.table for each in _effects(steps) if each.gone}
            found = []
            for step, finding in steps:
                within = any(
                    each.table in gone and not each.gone for each in _effects([(step, finding)])
                )
                for loss in step.lost(finding):
                    row = self._conn.execute(loss.count).fetchone()
                    assert row is not None
                    found.append(Lost(loss.what, int(str(row[0])), within))
            return found

    def way_back(self, target: str | None) -> list[tuple[Statement, Lock]]:
        """Return the statements that take the versions above ``target`` back, and how each may wait."""
        with transaction(self._conn, read_only=True, search_path="pg_catalog"):
            return [
                (statement, finding.undo_lock or step.lock)
                for step, finding in self._backwards(target)
                if (statement := step.undoing(finding)) is not None
            ]

    def check_way_back(self, target: str | None) -> None:
        """Make sure that nothing of others stands on what taking versions back would drop.

        Raises:
            Conflict: A view or a foreign key does; nothing was touched.
        """
        with transaction(self._conn, read_only=True, search_path="pg_catalog"):
            found = dependents(self._conn, _effects(self._backwards(target)))
        if found:
            raise in_the_way(found)

    def _backwards(self, target: str | None) -> Iterator[tuple[Step, Finding]]:
        """Hand out the steps above a version, the last one first, with what the database has of each."""
        for version in versions.above(target, versions.current_revision(self._conn)):
            for step in reversed(version.steps(self.site)):
                yield step, step.probe(self._conn)

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
            plan = self._patiently(lambda: versions.plan(self._conn, self.site), observer, budget)
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
            Conflict: What is there is not what secops made, or others build on it; nothing was touched.
            Refused: Something would be lost that was not accepted: nothing was touched, or where it came
                in meanwhile, no more than was accepted is lost.
        """
        with self._alone(observer, budget) as held:
            # Another runner may have changed an earlier layer meanwhile.
            self.site = survey(self._conn, self.site.layout)
            plan = self._patiently(lambda: versions.plan(self._conn, self.site), observer, budget)
            if plan.different:
                raise different(plan.different)
            if not versions.above(target, plan.current):
                return 0
            self.check_way_back(target)
            losses = self._losses(target)
            check_loss([each for each in losses if each.count and not each.within], accept_loss)
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


def _effects(steps: Iterable[tuple[Step, Finding]]) -> list[Effect]:
    """Return what undoing steps does, all together."""
    statements = [step.undoing(finding) for step, finding in steps]
    return [effect for each in statements if each is not None for effect in each.effects]


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
