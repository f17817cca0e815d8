"""``secops migrate down``: take migrations back."""

from __future__ import annotations

from typing import Annotated

import typer

from secops.cli import statements
from secops.cli.command import Run
from secops.cli.ddl import LockBudget, Told, budget, operation


def down(
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

    Counts what would be destroyed and refuses unless --accept-loss says that very number. What comes in
    after that is not destroyed: the command ends with exit code 8 then, and what it took back until
    then can be had again with `secops migrate`. Views and foreign keys of others on what would go are
    named first (exit code 5).

    While rows are counted for the last time, who writes to that table waits: about a second for ten
    million rows. With --dry-run --json every statement is listed with its locks.

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
        migration.check_way_back(target)
        losses = migration.losses(target)
        items = [{"lost": loss.what, "count": loss.count} for loss in losses]
        total = sum(loss.count for loss in losses)
        shown = target or BASE
        extra: dict[str, object] = {
            "revision": shown,
            "undone": [each.revision for each in undone],
        }
        changed = 0
        if not undone:
            summary = f"Nothing to take back: the database is at {plan.current or BASE}."
        elif run.dry_run:
            way_back = migration.way_back(target)
            sizes = migration.sizes_of([statement for statement, _ in way_back])
            extra["statements"] = [
                statements.as_json(statement, str(lock), sizes) for statement, lock in way_back
            ]
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
                undo=_way_back(total) if undone else "",
                extra=extra,
            )
        )


def _way_back(lost: int) -> str:
    return "secops migrate" + (" (what was destroyed does not come back)" if lost else "")
