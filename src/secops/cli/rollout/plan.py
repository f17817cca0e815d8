"""``secops rollout plan``."""

from __future__ import annotations

from typing import Annotated

import typer

from secops.cli.command import Run
from secops.cli.rollout.options import RolloutName, Target, at_one


def plan(
    run: Run,
    *,
    stage: Annotated[str, typer.Option("--stage", metavar="STAGE", help="The stage.")],
    rollout: RolloutName = None,
    target: Target = None,
) -> None:
    r"""Show what a stage would change, and change nothing.

    Each variable as it is and as it would be, what that does (TIGHTEN, RELAX, SAME), and who changed it
    where it is not what was recorded. Exit 5 where something was changed since.

    \b
    Examples:
      secops rollout plan --stage 30m
      secops rollout plan --stage 15m --target prod --json
    """
    from secops.cli.rollout.shown import after, plan_as_dict, plan_rows
    from secops.cli.rollout.stage import find, make
    from secops.output.formats import JSON_FORMATS
    from secops.rollout import plan as planning

    with at_one(run, target) as desk:
        found, wanted = find(run, rollout, stage)
        made = make(run, desk, found, wanted)
        missing = planning.skipped(desk.books.standings(), found, wanted)
        if run.output.format in JSON_FORMATS:
            run.output.document({**plan_as_dict(made), "stages_before": missing}, ())
        else:
            plan_rows(run, made)
            for sentence in after(made):
                run.output.line(sentence)
            if missing:
                run.output.line(f"First: {', '.join(missing)}, in this order.")
        planning.check_drift(made)
