"""``secops rollout resume`` and ``secops rollout abort``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from secops.cli.command import Run
from secops.cli.rollout.options import Target, at_one
from secops.errors import NothingMatched, UsageError

if TYPE_CHECKING:
    from secops.rollout.desk import Desk
    from secops.rollout.entries import Standing


def resume(
    run: Run,
    *,
    target: Target = None,
    take_over: Annotated[
        bool,
        typer.Option("--take-over", help="Also from an owner who still gives signs of life."),
    ] = False,
    accept: Annotated[
        bool,
        typer.Option(
            "--accept", help="Let a stage pass whose gates could not tell; needs --reason."
        ),
    ] = False,
) -> None:
    r"""Go on with a rollout or rollback that was cut off, from wherever it was.

    Looks at what is live: what was not written is written, what was is deployed, what is half there is
    finished; what somebody else changed is left alone and told (exit 5). An owner who is gone (its process
    ended, or three minutes without a sign) is taken over.

    \b
    Examples:
      secops rollout resume
      secops rollout resume --accept --reason "no logins at night; looked at the logs"
    """
    from secops.cli.rollout.reporting import report
    from secops.rollout import ticking

    with at_one(run, target) as desk:
        active = active_of(desk)
        if accept:
            reason = (run.reason or "").strip()
            if not reason:
                raise UsageError(
                    "--accept needs a reason.", hint='Add --reason "what you looked at".'
                )
            done = ticking.Ticked(ticking.accept(desk, active, reason))
        else:
            done = ticking.resume(desk, active, by_force=take_over)
        report(run, desk, done)


def abort(run: Run, *, target: Target = None) -> None:
    r"""Stop the rollout that is on its way, and put back what it changed.

    As `secops rollback`, and only where something is on its way.

    \b
    Examples:
      secops rollout abort --reason "marketing mail goes out today"
    """
    from secops.cli.rollback import carry_out, confirm, shown
    from secops.rollout import rolling_back

    with at_one(run, target) as desk:
        active = active_of(desk)
        undoing = rolling_back.plan(desk, [active])
        if run.dry_run:
            shown(run, undoing, dry_run=True)
            return
        confirm(run, desk, undoing)
        carry_out(run, desk, undoing, (run.reason or "").strip() or "aborted")


def active_of(desk: Desk) -> Standing:
    """Return what is on its way.

    Raises:
        NothingMatched: Nothing is.
    """
    active = desk.books.active()
    if active is None:
        raise NothingMatched(
            f"Nothing is on its way on {desk.target.name}.",
            hint="`secops rollout history` lists what was.",
        )
    return active
