"""``secops migrate plan``: the exact SQL that would run."""

from __future__ import annotations

import enum
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from secops.cli.command import Run
from secops.cli.migrate.shown import count, refuse_differences
from secops.output import Format, Output

if TYPE_CHECKING:
    from secops.schema.versions import Plan, Planned


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
        found = migration.look()
    if how is PlanFormat.JSON:
        run.output = Output(Format.JSON, quiet=run.output.quiet)
    if how is PlanFormat.SQL and run.output.format is not Format.JSON:
        run.output.document(None, _script(found, run.settings.span("lock_timeout")))
    elif run.output.format is Format.JSON:
        run.output.document(_as_json(found), ())
    else:
        run.output.rows(
            ("revision", "step", "state", "lock", "sql"),
            (
                (each.revision, each.step.title, str(each.finding.state), lock, sql)
                for each in found.open
                for sql, lock in _one_line(each)
            ),
            empty="Nothing to do: everything is applied.",
        )
    refuse_differences(found)


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
        "statements": count(plan),
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
