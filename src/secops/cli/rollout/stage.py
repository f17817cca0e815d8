"""Bare ``secops rollout --stage S``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from secops.cli.command import Run
from secops.cli.rollout.options import For, Force, RolloutName, Target, at_one
from secops.cli.who import count
from secops.durations import parse_duration
from secops.errors import Refused, UsageError

if TYPE_CHECKING:
    from datetime import timedelta

    from secops.output.outcome import Outcome
    from secops.rollout.desk import Desk
    from secops.rollout.plan import Plan
    from secops.rollout.rollouts import Rollout, Stage
    from secops.rollout.starting import Order
    from secops.rollout.ticking import Ticked

_RELAXED_HOURS = 24


def roll_out(
    run: Run,
    *,
    stage: Annotated[
        str | None, typer.Option("--stage", metavar="STAGE", help="The stage to move to.")
    ] = None,
    rollout: RolloutName = None,
    target: Target = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Stay until it has passed its soak, or was rolled back.")
    ] = False,
    every: Annotated[
        str, typer.Option("--every", metavar="DURATION", help="How often --wait asks the gates.")
    ] = "1m",
    force: Force = False,
    span: For = None,
) -> None:
    r"""Move a target to a stage of a rollout: plan, confirm, one write, one deployment, watch.

    Shows what would change, against what is live and what was recorded; asks; writes everything in
    one call and deploys once. Then the stage soaks: `secops rollout tick` (cron) asks its gates, and
    what fails is rolled back exactly. Stages go in order.

    Killed at any moment, the same command finishes. `secops rollback` undoes it at any time.

    \b
    Examples:
      secops rollout --stage 1h --reason "day 1 of SEC-12"
      secops rollout --stage 30m --target prod --yes --wait
      secops rollout --stage 15m --dry-run
    """
    from secops.rollout import starting, ticking

    if stage is None:
        raise UsageError(
            "Which stage? `secops rollout` takes --stage.",
            hint="`secops profile list` names the rollouts and their stages; `secops rollout status` "
            "shows how far they are.",
        )
    interval = parse_duration(every)
    with at_one(run, target) as desk:
        found, wanted = find(run, rollout, stage)
        cut_off = _cut_off(desk, found, wanted)
        if cut_off and not run.dry_run:
            active = desk.books.active()
            assert active is not None
            run.output.note(f"{active.move.title} was cut off as {active.state.value}; going on.")
            _report(run, desk, ticking.resume(desk, active), wait=wait, interval=interval)
            return
        in_the_way = starting.standing_in_the_way(desk)
        if in_the_way is not None:
            raise in_the_way
        plan = make(run, desk, found, wanted)
        _check(run, desk, plan, found, wanted, force=force)
        run.guard(len(plan.keys))
        if _done_already(desk, plan, found, wanted):
            run.finish(outcome(run, plan, f"{plan.title} is what {desk.target.name} has already."))
            return
        _confirm(run, desk, plan)
        if run.dry_run:
            words = f"Would write {count(len(plan.keys), 'variable')} in one call, and deploy once."
            run.finish(outcome(run, plan, words))
            return
        order = _order(run, found, wanted, forced=force, span=span)
        _report(run, desk, ticking.start(desk, plan, order), wait=wait, interval=interval)


def find(run: Run, rollout: str | None, stage: str) -> tuple[Rollout, Stage]:
    """Find a stage and its rollout."""
    from secops.rollout.rollouts import load_rollouts

    return load_rollouts(run.settings).find_stage(stage, rollout)


def make(run: Run, desk: Desk, rollout: Rollout, stage: Stage) -> Plan:
    """Read what is live, and say what the stage would change."""
    from secops.rollout import plan as planning
    from secops.rollout.gates.gate import build
    from secops.rollout.rollouts import load_rollouts

    gates = rollout.gates_of(stage)
    for gate in gates:
        build(gate, run.settings)  # what is wrong with one is said now, not when it is first asked
    snapshot = desk.target.read()
    standings = desk.books.standings()
    registry = load_rollouts(run.settings).profiles.registry
    made = planning.make(
        f"{rollout.name} {stage.id}",
        stage.assignment,
        snapshot=snapshot,
        registry=registry,
        standings=standings,
        edits=planning.history(desk.target, standings, snapshot, stage.assignment.names),
        environ=run.settings.environ,
        # A stage that asks for neither a soak nor gates is not watched at all.
        minimum=stage.soak.minimum if stage.soak.minimum or stage.gates else None,
        gates=gates,
    )
    for sentence in made.warnings:
        run.output.warn(sentence)
    return made


def _cut_off(desk: Desk, rollout: Rollout, stage: Stage) -> bool:
    """Say whether this very stage was begun and its process is gone."""
    active = desk.books.active()
    if active is None or (active.move.rollout, active.move.stage) != (rollout.name, stage.id):
        return False
    unfinished = {"intent", "unknown", "applied", "deploying", "live", "failed"}
    return active.state.value in unfinished and not desk.books.hold(active).alive


def _check(
    run: Run, desk: Desk, plan: Plan, rollout: Rollout, stage: Stage, *, force: bool
) -> None:
    from secops.rollout import plan as planning

    missing = planning.skipped(desk.books.standings(), rollout, stage)
    reason = (run.reason or "").strip()
    if force and not reason:
        raise UsageError(
            "--force needs a reason.", hint='Add --reason "why": the journal keeps it.'
        )
    if missing and not force:
        raise Refused(
            f"{plan.title} comes after {', '.join(missing)}, which {desk.target.name} has not passed.",
            hint=f"secops rollout --stage {missing[0]} first; --force with a --reason skips it.",
            details={"missing": missing},
        )
    if not force:
        try:
            planning.check_drift(plan)
        except Exception:
            _show(run, plan)
            raise
    if plan.relaxes and not reason:
        _show(run, plan)
        raise Refused(
            f"{plan.title} makes {', '.join(plan.relaxes)} looser, and that needs a reason.",
            hint='Add --reason "why"; it gets a date until which it may stay (--for 4h).',
            details={"relaxes": list(plan.relaxes)},
        )


def _done_already(desk: Desk, plan: Plan, rollout: Rollout, stage: Stage) -> bool:
    from secops.rollout import plan as planning

    return not plan.keys and stage.id in planning.passed(desk.books.standings(), rollout)


def _show(run: Run, plan: Plan) -> None:
    from secops.cli.rollout.shown import after, plan_rows
    from secops.output.formats import JSON_FORMATS

    if run.output.format in JSON_FORMATS:
        return
    plan_rows(run, plan)
    for sentence in after(plan):
        run.output.line(sentence)


def _confirm(run: Run, desk: Desk, plan: Plan) -> None:
    if (run.yes or not plan.keys) and not run.dry_run:
        return
    _show(run, plan)
    run.confirm(
        f"Write {count(len(plan.keys), 'variable')} to {desk.target.name} ({desk.target.kind}) in one call, "
        "and deploy once?"
    )


def _order(run: Run, rollout: Rollout, stage: Stage, *, forced: bool, span: str | None) -> Order:
    from datetime import timedelta

    from secops.rollout.moves import Kind
    from secops.rollout.starting import Order

    relaxed = parse_duration(span) if span else timedelta(hours=_RELAXED_HOURS)
    return Order(
        Kind.STAGE,
        rollout.name,
        stage.id,
        reason=(run.reason or "").strip(),
        ticket=run.ticket or "",
        command=run.name,
        on_fail=rollout.on_fail.value,
        relaxed_for=relaxed,
        notes={"forced": True} if forced else {},
    )


def _report(run: Run, desk: Desk, ticked: Ticked, *, wait: bool, interval: timedelta) -> None:
    from secops.cli.rollout.reporting import report
    from secops.cli.rollout.waiting import until_over

    if wait:
        ticked = until_over(run, desk, ticked, interval)
    report(run, desk, ticked)


def outcome(run: Run, plan: Plan, summary: str) -> Outcome:
    """Return what did not begin: a dry run, or nothing to do."""
    from secops.cli.rollout.shown import plan_as_dict
    from secops.output.outcome import Outcome

    shown = plan_as_dict(plan)
    return Outcome(
        action=run.name,
        dry_run=run.dry_run,
        matched=len(plan.lines),
        changed=len(plan.keys),
        summary=summary,
        extra={"plan": shown},
    )
