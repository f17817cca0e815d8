"""Bare ``secops migrate``: apply what is pending."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secops.cli import statements
from secops.cli.command import Run
from secops.cli.ddl import LockBudget, Told, budget, operation
from secops.cli.migrate.shown import count, refuse_differences

if TYPE_CHECKING:
    from secops.output.outcome import Outcome
    from secops.schema.versions import Plan


def apply(run: Run, *, lock_budget: LockBudget = None) -> None:
    r"""Bring the database to what the plan needs, without downtime.

    Adds refresh_tokens, security_events and two columns of your users table, then what rotation,
    theft detection and the reports need. What is there already, also by hand, is checked and kept.

    The app never waits long: short locks are tried for 100 ms, after two minutes for up to a second, with
    pauses ten times as long; indexes are built concurrently. Killed at any moment, the same command
    finishes. One runner at a time: others wait, then find nothing to do.

    \b
    Examples:
      secops migrate plan --format sql    read first what would run
      secops migrate                      shows the plan and asks
      secops migrate --yes                in a deployment
    """
    from secops.schema.migrate import opened

    with opened(run.settings, changing=True) as migration:
        statements_left: int | None = None
        # Who has said yes is shown nothing first: the run looks for itself, and waits if it must.
        if run.dry_run or not run.yes:
            plan = migration.look()
            statements_left = count(plan)
            refuse_differences(plan)
            if plan.nothing_to_do or run.dry_run:
                items = statements.items(plan.open, migration.sizes(plan.open))
                sql = statements.as_sql(plan.open)
                run.finish(_outcome(run, plan, items, sql))
                return
            for line in _summary(plan):
                run.output.note(line)
            run.confirm(f"Run {count(plan)} statements on this database?")
        patience = budget(run, lock_budget)
        plans: list[Plan] = []
        with run.output.progress("Migrating", statements_left, unit="statements") as progress:
            told = Told(run.output, progress)
            migration.apply(operation(run), told, budget=patience, planned=plans.append)
        run.finish(_outcome(run, plans[0], told.items, told.sql))


def _outcome(run: Run, plan: Plan, items: list[dict[str, object]], sql: list[str]) -> Outcome:
    from secops.output.outcome import Outcome
    from secops.schema.versions import versions

    head = versions()[-1].revision
    if plan.nothing_to_do:
        summary = f"Nothing to do: the database is at revision {head}."
    elif run.dry_run:
        summary = f"Would run {len(sql)} statements and bring the database to revision {head}."
    else:
        summary = f"The database is at revision {head} now; {len(sql)} statements were run."
    undo = ""
    if plan.pending:
        undo = (
            f"secops migrate down {plan.current or 'base'} --dry-run "
            "(says which --accept-loss the real one needs)"
        )
    return Outcome(
        action=run.name,
        dry_run=run.dry_run,
        matched=len(plan.open),
        changed=len(sql),
        items=items,
        summary=summary,
        undo=undo,
        extra={
            "revision": head,
            "applied": [version.revision for version in plan.pending],
            "mended": [each.step.title for each in plan.drifted],
            "sql": sql,
        },
    )


def _summary(plan: Plan) -> list[str]:
    lines = [
        f"{version.revision} {version.title}: "
        f"{sum(each.revision == version.revision for each in plan.open)} steps"
        for version in plan.pending
    ]
    lines += [f"mend: {each.step.title}" for each in plan.drifted]
    return [*lines, "`secops migrate plan --format sql` shows every statement."]
