"""Contract: the clear token goes, and with it all that kept the old app and the new one in step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from secops.accounts.events import as_statement
from secops.database.connection import transaction
from secops.database.layout import INTERNAL
from secops.errors import Conflict, NotYet
from secops.schema import catalogue, effects, versions
from secops.schema.adoption import earlier as layer
from secops.schema.adoption import following, operators, usage
from secops.schema.adoption.earlier import EVENTS, TOKENS
from secops.schema.adoption.memory import TABLE, remembering
from secops.schema.adoption.taking import Taking
from secops.schema.adoption.ways import Way
from secops.schema.effects import Statement, together
from secops.schema.indexes import as_sql
from secops.schema.migrate import Lost, Migration, check_loss
from secops.schema.site import survey
from secops.schema.steps import ABSENT, DONE, Finding, Lock, Step
from secops.schema.versions import Planned

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from secops.accounts.operations import Operation
    from secops.database.connection import Connection
    from secops.schema.adoption.table import Taken
    from secops.schema.adoption.usage import Usage
    from secops.schema.runner import Observer


@dataclass(frozen=True, slots=True)
class Contraction:
    """What contracting would do.

    Attributes:
        steps: The steps that are not done; none where there is nothing to contract.
        usage: What the clear token is still used for; ``None`` once it is gone.
        kept: Statements that drop what the old app's tables hold besides; secops leaves that to a person.
    """

    steps: tuple[Planned, ...] = ()
    usage: Usage | None = None
    kept: tuple[str, ...] = ()

    @property
    def losses(self) -> list[Lost]:
        """What is lost: the tokens in clear, of which the hashes stay."""
        rows = self.usage.rows if self.usage else 0
        return [Lost(f"clear tokens of {TOKENS}", rows)] if rows else []


class Contracting(Migration):
    """A database whose earlier layer is given up, or looked at."""

    def prospect(self, operation: Operation) -> Contraction:
        """Return what contracting would do; changes nothing.

        Raises:
            Conflict: Migrations are pending, so that the new columns may not be filled yet.
        """
        with transaction(self._conn, read_only=True, search_path="pg_catalog"):
            self._conn.execute("SET LOCAL TimeZone = 'UTC'")
            return self._prospect(operation)

    def contract(
        self,
        operation: Operation,
        observer: Observer,
        *,
        budget: timedelta,
        grace: timedelta,
        accept_loss: int | None,
        planned: Callable[[Contraction], None],
    ) -> int:
        """Give the earlier layer up.

        Args:
            operation: Who does it.
            observer: Is told what happens.
            budget: How long to wait for another runner, and how long for locks in all.
            grace: For how long nobody must have used the clear token.
            accept_loss: How many clear tokens may go; must be exactly how many would.
            planned: Is told the plan, once nobody else can change it, before the first statement.

        Returns:
            How many statements were run.

        Raises:
            Busy: Another runner, or other sessions' locks, outlasted the budget.
            Conflict: Something holds on to the column, or migrations are pending; nothing was touched.
            NotYet: The clear token was used within the grace; nothing was touched.
            Refused: Another number of tokens would go than was accepted; nothing was touched.
        """
        with self._alone(observer, budget) as held:
            self.site = survey(self._conn, self.site.layout)
            found = self._prospect(operation)
            check(found, grace)
            if found.usage is not None:  # or a run that died has dropped them
                check_loss(found.losses, accept_loss)
            planned(found)
            if not found.steps:
                return 0
            self._check_privileges()
            runner = self._runner(held, observer, budget)
            for each in found.steps:
                runner.do(each.step)
            self._record_operation(operation, runner.ran, {"contracted": True})
            return runner.ran

    def _prospect(self, operation: Operation) -> Contraction:
        if not layer.is_remembered(self._conn) and self.site.earlier is None:
            return Contraction()
        begun = layer.is_contracting(self._conn)
        if not begun and not versions.plan(self._conn, self.site).nothing_to_do:
            raise Conflict(
                "Migrations are pending, and what replaces the clear token may not be complete.",
                hint="Run `secops migrate` first; `secops migrate plan` shows what is left.",
            )
        # Once begun, the site knows no earlier layer: what was there is remembered still, and nothing
        # of it is to be restored.
        tables = Taking(self.site, begun=layer.recalled(self._conn)).tables
        there = catalogue.columns(self._conn, self.site.layout.schema, TOKENS)
        seen = None
        if usage.COLUMN in there and not begun:
            seen = usage.look(self._conn, self.site.layout, self.site.version)
        steps = self._steps(tables, operation, seen.rows if seen else 0)
        opened = [Planned("", step, step.probe(self._conn)) for step in steps]
        left = tuple(each for each in opened if each.statements)
        return Contraction(left, seen, tuple(_kept(tables)))

    def _steps(self, tables: list[Taken], operation: Operation, rows: int) -> list[Step]:
        found = []
        for taken in tables:
            if taken.label == TOKENS:
                found.append(self._drop_tokens(taken, operation, rows))
            elif taken.label == EVENTS:
                found.append(_let_go(taken))
        return [*found, _without_operators(self.site.layout.schema), _forget()]

    def _drop_tokens(self, taken: Taken, operation: Operation, rows: int) -> Step:
        drop = sql.SQL("ALTER TABLE {} DROP COLUMN {}").format(
            taken.identifier, sql.Identifier(usage.COLUMN)
        )
        parts: list[sql.Composable] = [
            sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(taken.identifier),
            following.drop_trigger(taken),
            drop,
            *_defaults(taken),
            # From here on nothing of the earlier layer is restored any more.
            remembering([("contracting", "", "")]),
        ]

        def probe(conn: Connection) -> Finding:
            there = catalogue.columns(conn, *taken.table)
            return ABSENT if usage.COLUMN in there and not layer.is_contracting(conn) else DONE

        def event(conn: Connection) -> sql.Composed:
            return as_statement(
                conn,
                self.site.layout,
                operation,
                event_type="schema_migrated",
                message=f"Dropped {rows:,} clear tokens of {TOKENS}; their hashes stay.",
                extra={"direction": "contract", "tokens": rows},
            )

        return Step(
            title=f"Drop the clear tokens of {taken.name}",
            do=together(parts, effects.drops_columns(taken.table, [usage.COLUMN])),
            lock=Lock.SHORT,
            probe=probe,
            busy=taken.identifier,
            event=event,
        )


def check(found: Contraction, grace: timedelta) -> None:
    """Refuse where something holds on to the clear token, or used it lately.

    Raises:
        Conflict: A view or the like depends on the column.
        NotYet: It was used within the grace.
    """
    if found.usage is None:
        return
    if found.usage.holders:
        words = "; ".join(each.what for each in found.usage.holders)
        raise Conflict(
            f"The clear token cannot go, and nothing was touched: {words} depends on it.",
            hint="First:\n" + "\n".join(each.mend for each in found.usage.holders),
            details={"holders": [each.what for each in found.usage.holders]},
        )
    used = found.usage.within(grace)
    if used:
        raise NotYet(
            f"The clear token is still in use: {'; '.join(used)}.",
            hint="Nothing was touched. Let every instance of the old app end, and wait; a shorter "
            "--grace says how long it must have been quiet.",
            details={"used": used},
        )


def _defaults(taken: Taken) -> list[sql.Composable]:
    """Return what gives columns the defaults that they have elsewhere, and no other."""
    words = sql.SQL("ALTER COLUMN {} DROP DEFAULT")
    lines: list[sql.Composable] = [
        words.format(sql.Identifier(plan.column.name)) for plan in taken.going(Way.STAND_IN)
    ]
    lines += [
        sql.SQL("ALTER COLUMN {} SET DEFAULT {}").format(
            sql.Identifier(plan.column.name), as_sql(plan.column.default)
        )
        for plan in taken.going(Way.FILL)
        if plan.column.default is not None
    ]
    if not lines:
        return []
    return [sql.SQL("ALTER TABLE {} {}").format(taken.identifier, sql.SQL(", ").join(lines))]


def _let_go(taken: Taken) -> Step:
    """Take away what kept the columns of a table in step."""
    defaults = _defaults(taken)

    def statement(*, trigger: bool) -> Statement:
        parts: list[sql.Composable] = [
            sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(taken.identifier)
        ]
        parts += [following.drop_trigger(taken)] if trigger else []
        return together([*parts, *defaults], effects.locks(taken.table))

    def probe(conn: Connection) -> Finding:
        there = catalogue.columns(conn, *taken.table)
        trigger = following.has_trigger(conn, taken)
        standing = any(there[plan.column.name].default for plan in taken.going(Way.STAND_IN))
        if not trigger and not standing:
            return DONE
        return Finding(ABSENT.state, instead=(statement(trigger=trigger),))

    return Step(
        title=f"Let {taken.name} be as the new app writes it",
        do=statement(trigger=True),
        lock=Lock.SHORT,
        probe=probe,
        busy=taken.identifier,
    )


def _without_operators(schema: str) -> Step:
    def probe(conn: Connection) -> Finding:
        there = operators.present(conn, schema)
        if not there:
            return DONE
        return Finding(ABSENT.state, instead=(operators.dropping(schema, there),))

    return Step(
        title="Drop the operators that the old app needed",
        do=operators.dropping(schema, list(operators.NAMES)),
        lock=Lock.SHORT,
        probe=probe,
    )


def _forget() -> Step:
    def probe(conn: Connection) -> Finding:
        return ABSENT if layer.is_remembered(conn) else DONE

    return Step(
        title="Forget the earlier layer",
        do=Statement(
            sql.SQL("DROP TABLE {}").format(TABLE), effects.drops((INTERNAL, layer.MEMORY))
        ),
        lock=Lock.SHORT,
        probe=probe,
    )


def _kept(tables: list[Taken]) -> list[str]:
    """Return the statements that drop columns of the old app that the new one does not know."""
    found = []
    for taken in tables:
        known = {column.name for column in taken.wanted} | {usage.COLUMN}
        for name in taken.earlier.had(taken.label):
            if taken.whole and name not in known:
                words = sql.SQL("ALTER TABLE {} DROP COLUMN {};")
                found.append(words.format(taken.identifier, sql.Identifier(name)).as_string())
    return found
