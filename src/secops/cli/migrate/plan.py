"""``secops migrate plan``: the exact SQL that would run."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated

import typer

from secops.cli import statements
from secops.cli.command import Run
from secops.cli.migrate.shown import (
    count,
    earlier_layer,
    refuse_differences,
    tell_of_earlier_layer,
)
from secops.output import Format, Output

if TYPE_CHECKING:
    from secops.cli.statements import Sizes
    from secops.schema.versions import Plan, Planned
    from secops.settings import Settings


class PlanFormat(enum.StrEnum):
    """How a plan is printed."""

    TABLE = "table"
    JSON = "json"
    SQL = "sql"


def plan(
    run: Run,
    *,
    how: Annotated[
        PlanFormat, typer.Option("--format", "-f", help="How to print.")
    ] = PlanFormat.TABLE,
) -> None:
    r"""Print the exact SQL that would run, given what is there, and what each statement does.

    Of each statement it says which lock it takes on each table, foreign keys' targets included, what it
    reads and rewrites, and about how long it takes without waiting for others' locks, from the tables'
    sizes: between all data in memory and a slow disk.

    A short lock is one that the app waits behind: its statement runs in a transaction under a lock
    timeout, and is retried. A long one keeps nobody waiting.

    \b
    Examples:
      secops migrate plan
      secops migrate plan --format sql > review.sql
      secops migrate plan --json | jq '.steps[].statements[].tables[] | select(.waits != "nothing")'
    """
    from secops.schema.migrate import opened

    with opened(run.settings, changing=False) as migration:
        found = migration.look()
        sizes = migration.sizes(found.steps)
        tell_of_earlier_layer(run, migration, found)
    if how is PlanFormat.JSON:
        run.output = Output(Format.JSON, quiet=run.output.quiet)
    if how is PlanFormat.SQL and run.output.format is not Format.JSON:
        run.output.document(None, _script(found, sizes, run.settings))
    elif run.output.format is Format.JSON:
        layer = earlier_layer(migration, found)
        run.output.document({"earlier_layer": layer, **_as_json(found, sizes)}, ())
    else:
        run.output.rows(
            ("revision", "step", "state", "locks", "does", "takes", "sql"),
            (
                (each.revision, each.step.title, str(each.finding.state), *facts)
                for each in found.open
                for facts in _one_line(each, sizes)
            ),
            empty="Nothing to do: everything is applied.",
        )
    refuse_differences(found)


def _one_line(each: Planned, sizes: Sizes) -> list[tuple[str, str, str, str]]:
    lines = [
        (
            statements.locks(statement),
            statements.work(statement, sizes),
            statements.takes(statement, sizes),
            " ".join(statement.as_string().split()),
        )
        for statement in each.statements
    ]
    return lines or [("", "", "", each.finding.difference)]


def _script(plan: Plan, sizes: Sizes, settings: Settings) -> list[str]:
    """Return the plan as a script that psql would run, one line each."""
    from secops.schema.messages import message

    timeout, budget = settings.span("lock_timeout"), settings.span("lock_budget")
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
            sent = message(each.step, statement, lock, timeout=timeout, budget=budget)
            lines += ["", *statements.comments(statement, sizes)]
            lines += f"{sent.as_string()};".split("\n")
        if each.finding.difference and not each.statements:
            lines += ["", *(f"-- {line}" for line in each.finding.difference.split("\n"))]
    record()
    return lines[1:] if lines else ["-- Nothing to do: everything is applied."]


def _as_json(plan: Plan, sizes: Sizes) -> dict[str, object]:
    return {
        "current": plan.current,
        "pending": [version.revision for version in plan.pending],
        "statements": count(plan),
        "steps": [
            {
                "revision": each.revision,
                "step": each.step.title,
                "state": str(each.finding.state),
                "difference": each.finding.difference,
                "mend": each.finding.mend,
                "statements": [
                    statements.as_json(statement, str(lock), sizes)
                    for statement, lock in zip(each.statements, each.locks, strict=True)
                ],
            }
            for each in plan.steps
        ],
    }
