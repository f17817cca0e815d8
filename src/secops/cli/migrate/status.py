"""``secops migrate status`` and ``secops migrate check``: what is applied, and whether it still is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secops.cli.command import Run
from secops.cli.migrate.shown import tell_of_earlier_layer
from secops.errors import Findings

if TYPE_CHECKING:
    from secops.schema.versions import Plan


def status(run: Run) -> None:
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
        # What waits for another step has nothing to do, and has done nothing.
        done = [each for each in steps if each not in missing and not each.finding.waits]
        applied = "drifted" if missing else "applied"
        state = "pending" if version.revision in pending else applied
        rows.append((version.revision, version.title, state, len(done), len(steps)))
    run.output.rows(("revision", "title", "state", "steps_done", "steps"), rows)
    tell_of_earlier_layer(run, migration, plan)


def check(run: Run) -> None:
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
        mends = [finding.mend for _, finding in plan.different if finding.mend]
        raise Findings(
            f"{' and '.join(_found(plan))}.",
            hint="What secops would not make, `secops migrate` leaves to you: " + "; ".join(mends)
            if mends
            else "`secops migrate plan` shows what would run, `secops migrate` runs it.",
        )


def _found(plan: Plan) -> list[str]:
    found = []
    if count := len(plan.pending):
        found.append(f"{count} migration{'s are' if count > 1 else ' is'} pending")
    if count := len(plan.drifted):
        found.append(f"{count} step{'s have' if count > 1 else ' has'} drifted")
    return found or ["something is missing"]
