"""``secops migrate``: apply what is pending; plan, status, check, down."""

from __future__ import annotations

import enum
import inspect
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from secops.cli.command import Run
from secops.cli.command import command as as_run
from secops.cli.ddl import LockBudget, Told, budget, operation
from secops.cli.tree import CONTEXT, LazyGroup, as_command
from secops.errors import Findings, UsageError
from secops.output import Format, Output

if TYPE_CHECKING:
    from collections.abc import Callable

    from secops.output.outcome import Outcome
    from secops.schema.versions import Plan, Planned


class PlanFormat(enum.StrEnum):
    """How a plan is printed."""

    TABLE = "table"
    JSON = "json"
    SQL = "sql"


def _apply(run: Run, *, lock_budget: LockBudget = None) -> None:
    r"""Bring the database to what the plan needs, without downtime.

    Adds refresh_tokens, security_events and two columns of your users table, then what rotation,
    theft detection and the reports need. What is there already, also by hand, is checked and kept.

    The app never waits long: short locks are tried for 100 ms, then again for up to a second, with
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
        plan = migration.look()
        if run.dry_run or not run.yes:
            _refuse_differences(plan)
            if plan.nothing_to_do or run.dry_run:
                items, sql = _planned_items(plan)
                run.finish(_outcome(run, plan, items, sql))
                return
            for line in _summary(plan):
                run.output.note(line)
            run.confirm(f"Run {_count(plan)} statements on this database?")
        patience = budget(run, lock_budget)
        plans: list[Plan] = []
        with run.output.progress("Migrating", _count(plan), unit="statements") as progress:
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


def _refuse_differences(plan: Plan) -> None:
    from secops.schema.runner import different

    if plan.different:
        raise different(plan.different)


def _count(plan: Plan) -> int:
    return sum(len(each.statements) for each in plan.steps)


def _planned_items(plan: Plan) -> tuple[list[dict[str, object]], list[str]]:
    items: list[dict[str, object]] = [
        {"step": each.step.title, "lock": str(lock)} for each in plan.open for lock in each.locks
    ]
    return items, [sql.as_string() for each in plan.open for sql in each.statements]


def _summary(plan: Plan) -> list[str]:
    lines = [
        f"{version.revision} {version.title}: "
        f"{sum(each.revision == version.revision for each in plan.open)} steps"
        for version in plan.pending
    ]
    lines += [f"mend: {each.step.title}" for each in plan.drifted]
    return [*lines, "`secops migrate plan --format sql` shows every statement."]


def _plan(
    run: Run,
    *,
    how: Annotated[
        PlanFormat, typer.Option("--format", "-f", help="How to print.")
    ] = PlanFormat.TABLE,
) -> None:
    r"""Print the exact SQL that would run, given what is there.

    A short lock is one that the app waits behind: its statement runs in a transaction under a lock
    timeout, and is retried. A long one keeps nobody waiting.

    \b
    Examples:
      secops migrate plan
      secops migrate plan --format sql > review.sql
    """
    from secops.schema.migrate import opened

    with opened(run.settings, changing=False) as migration:
        plan = migration.look()
    if how is PlanFormat.JSON:
        run.output = Output(Format.JSON, quiet=run.output.quiet)
    if how is PlanFormat.SQL and run.output.format is not Format.JSON:
        run.output.document(None, _script(plan, run.settings.span("lock_timeout")))
    elif run.output.format is Format.JSON:
        run.output.document(_as_json(plan), ())
    else:
        run.output.rows(
            ("revision", "step", "state", "lock", "sql"),
            (
                (each.revision, each.step.title, str(each.finding.state), lock, sql)
                for each in plan.open
                for sql, lock in _one_line(each)
            ),
            empty="Nothing to do: everything is applied.",
        )
    _refuse_differences(plan)


def _one_line(each: Planned) -> list[tuple[str, str]]:
    lines = [" ".join(statement.as_string().split()) for statement in each.statements]
    pairs = [(line, str(lock)) for line, lock in zip(lines, each.locks, strict=True)]
    return pairs or [(each.finding.difference, "")]


def _script(plan: Plan, lock_timeout: timedelta) -> list[str]:
    """Return the plan as a script that psql would run, one line each."""
    milliseconds = lock_timeout // timedelta(milliseconds=1)
    lines: list[str] = []
    titles = {version.revision: version.title for version in plan.pending}
    revision: str | None = None

    def record() -> None:
        if revision in titles:
            lines.extend(
                (
                    "",
                    f"-- Then, in one transaction: {revision} is recorded in secops.alembic_version,",
                    "-- with an event schema_migrated in security_events.",
                )
            )

    for each in plan.steps:
        if each.revision != revision:
            record()
            revision = each.revision
            if revision in titles:
                lines += ["", f"-- {revision} {titles[revision]}"]
        for statement, lock in zip(each.statements, each.locks, strict=True):
            text = f"{statement.as_string()};"
            if lock == "short":
                lines += ["", "BEGIN;", f"SET LOCAL lock_timeout = {milliseconds};"]
                lines += [*text.split("\n"), "COMMIT;"]
            else:
                lines += ["", *text.split("\n")]
        if each.finding.difference and not each.statements:
            lines += ["", *(f"-- {line}" for line in each.finding.difference.split("\n"))]
    record()
    return lines[1:] if lines else ["-- Nothing to do: everything is applied."]


def _as_json(plan: Plan) -> dict[str, object]:
    return {
        "current": plan.current,
        "pending": [version.revision for version in plan.pending],
        "statements": _count(plan),
        "steps": [
            {
                "revision": each.revision,
                "step": each.step.title,
                "state": str(each.finding.state),
                "difference": each.finding.difference,
                "mend": each.finding.mend,
                "lock": str(each.step.lock),
                "locks": [str(lock) for lock in each.locks],
                "sql": [statement.as_string() for statement in each.statements],
            }
            for each in plan.steps
        ],
    }


def _status(run: Run) -> None:
    r"""Say which versions are applied and which are pending.

    \b
    Example:
      secops migrate status
    """
    from secops.schema.migrate import opened
    from secops.schema.versions import versions

    with opened(run.settings, changing=False) as migration:
        plan = migration.look()
    pending = {version.revision for version in plan.pending}
    rows = []
    for version in versions():
        steps = [each for each in plan.steps if each.revision == version.revision]
        missing = [each for each in steps if each.finding.state != "done"]
        applied = "drifted" if missing else "applied"
        state = "pending" if version.revision in pending else applied
        rows.append((version.revision, version.title, state, len(steps) - len(missing), len(steps)))
    run.output.rows(("revision", "title", "state", "steps_done", "steps"), rows)


def _check(run: Run) -> None:
    r"""Exit 3 when something is pending, or when the schema was changed since (drift).

    \b
    Example:
      secops migrate check || echo "run secops migrate"
    """
    from secops.schema.migrate import opened

    with opened(run.settings, changing=False) as migration:
        plan = migration.look()
    run.output.rows(
        ("revision", "step", "state", "difference"),
        (
            (each.revision, each.step.title, str(each.finding.state), each.finding.difference)
            for each in plan.open
        ),
        empty="Everything is applied, and nothing has changed since.",
    )
    if not plan.nothing_to_do:
        drifted = f", {len(plan.drifted)} steps drifted" if plan.drifted else ""
        raise Findings(
            f"{len(plan.pending)} migrations are pending{drifted}.",
            hint="`secops migrate plan` shows what would run, `secops migrate` runs it.",
        )


def _down(
    run: Run,
    revision: Annotated[
        str | None,
        typer.Argument(
            metavar="[REVISION]",
            help="The revision to end at, or `base`; one step back, if not given.",
            show_default=False,
        ),
    ] = None,
    *,
    accept_loss: Annotated[
        int | None,
        typer.Option(
            "--accept-loss",
            metavar="N",
            min=0,
            help="How many rows and values may be destroyed: exactly as many as would be.",
        ),
    ] = None,
    lock_budget: LockBudget = None,
) -> None:
    r"""Take migrations back, last one first.

    Counts what would be destroyed and refuses unless --accept-loss says that very number.

    \b
    Examples:
      secops migrate down --dry-run
      secops migrate down 0001 --accept-loss 0
      secops migrate down base --accept-loss 5120
    """
    from secops.output.outcome import Outcome
    from secops.schema.migrate import check_loss, opened
    from secops.schema.versions import BASE, above, target_of

    with opened(run.settings, changing=True) as migration:
        plan = migration.look()
        target = target_of(plan.current, revision)
        undone = above(target, plan.current)
        losses = migration.losses(target)
        items = [{"lost": loss.what, "count": loss.count} for loss in losses]
        total = sum(loss.count for loss in losses)
        shown = target or BASE
        changed = 0
        if not undone:
            summary = f"Nothing to take back: the database is at {plan.current or BASE}."
        elif run.dry_run:
            summary = (
                f"Would take back {', '.join(each.revision for each in undone)} and destroy {total:,} "
                f"rows and values: --accept-loss {total}."
            )
        else:
            check_loss(losses, accept_loss)
            run.confirm(
                f"Take back {', '.join(each.revision for each in undone)}, destroying "
                f"{f'{total:,} rows and values' if total else 'nothing'}?"
            )
            with run.output.progress("Taking back", unit="statements") as progress:
                told = Told(run.output, progress)
                changed = migration.undo(
                    target,
                    operation(run),
                    told,
                    budget=budget(run, lock_budget),
                    accept_loss=accept_loss,
                )
            summary = f"The database is at {shown} now; {changed} statements were run."
        run.finish(
            Outcome(
                action=run.name,
                dry_run=run.dry_run,
                matched=len(undone),
                changed=changed,
                items=items,
                summary=summary,
                undo="secops migrate (what was destroyed does not come back)" if undone else "",
                extra={"revision": shown, "undone": [each.revision for each in undone]},
            )
        )


_SUBCOMMANDS: Final[dict[str, Callable[..., None]]] = {
    "plan": as_run("migrate plan")(_plan),
    "status": as_run("migrate status", rows=True)(_status),
    "check": as_run("migrate check", rows=True)(_check),
    "down": as_run("migrate down", changes=True)(_down),
}


def _make() -> LazyGroup:
    apply = as_run("migrate", changes=True)(_apply)

    def bare(**given: Any) -> None:  # noqa: ANN401  what typer parsed
        context: typer.Context = given.pop("context")
        if context.invoked_subcommand is None:
            apply(**given)
            return
        for name, value in given.items():
            # `secops migrate --dry-run down` must not quietly be no dry run.
            if value not in (None, False):
                option = name.replace("_", "-")
                raise UsageError(
                    f"--{option} stands before `{context.invoked_subcommand}`, where it is "
                    "an option of bare `migrate`.",
                    hint=f"Put it behind: secops migrate {context.invoked_subcommand} --{option}",
                )

    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    signature = inspect.signature(apply)
    bare.__signature__ = signature.replace(  # type: ignore[attr-defined]  # what typer reads
        parameters=[*signature.parameters.values(), context]
    )
    bare.__annotations__ = {**apply.__annotations__, "context": typer.Context}
    bare.__doc__ = apply.__doc__
    app = typer.Typer(
        name="migrate",
        cls=LazyGroup,
        rich_markup_mode=None,
        add_completion=False,
        pretty_exceptions_enable=False,
        invoke_without_command=True,
        context_settings=CONTEXT,
    )
    app.callback()(bare)
    group = typer.main.get_command(app)
    assert isinstance(group, LazyGroup)
    for name, function in _SUBCOMMANDS.items():
        group.add_command(as_command(function, name))
    return group


command = _make()
