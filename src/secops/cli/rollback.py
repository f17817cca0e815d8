"""``secops rollback``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from secops.cli.command import Run
from secops.cli.command import command as declare
from secops.cli.profiles import complete_profile
from secops.cli.rollout.options import For, Target, at_one
from secops.cli.who import count
from secops.durations import parse_duration
from secops.errors import NothingMatched, SecopsError, UsageError

if TYPE_CHECKING:
    from datetime import timedelta

    from secops.rollout.desk import Desk
    from secops.rollout.entries import Standing
    from secops.rollout.rolling_back import Undoing
    from secops.variables.registry import Registry


@declare("rollback", changes=True, operator=True)
def command(
    run: Run,
    *,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="OPERATION", help="Take back everything after this one."),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            metavar="NAME",
            help="Write a profile at once instead, `relaxed` for one.",
            autocompletion=complete_profile,
        ),
    ] = None,
    now: Annotated[bool, typer.Option("--now", help="Ask nothing.")] = False,
    target: Target = None,
    span: For = None,
) -> None:
    r"""Put back exactly what a rollout changed: one write, one deployment.

    A variable that is still as the rollout left it gets back what it was, byte for byte, or goes where it
    was absent. What somebody else changed since stays as they left it, and is told. Nothing else is
    touched. Works while the database is down, from the journal on this machine.

    Killed at any moment, the same command finishes. What becomes looser gets a date until which it may
    stay (--for, 24h if not given); `secops rollout status` complains after it.

    \b
    Examples:
      secops rollback --now                       at 3 a.m.
      secops rollback --to 5c1e6f9a --dry-run
      secops rollback --profile relaxed --now     the plan's quick rollback
    """
    if to is not None and profile is not None:
        raise UsageError("--to and --profile are two ways back.", hint="Give one of them.")
    run.yes = run.yes or now
    relaxed = parse_duration(span) if span else None
    reason = (run.reason or "").strip() or ("rollback --now" if now else "rollback")
    with at_one(run, target, offline=True) as desk:
        if not desk.books.online:
            run.output.warn(
                f"The database is away ({desk.books.why}). Going on with the journal on this machine; "
                "the database gets what is recorded here later."
            )
        if profile is not None:
            _write_profile(run, desk, profile, reason, relaxed)
            return
        unfinished = desk.books.active()
        if unfinished is not None and unfinished.move.kind.value == "rollback" and not run.dry_run:
            _finish(run, desk, unfinished)
            if to is None:
                return
        undoing = _undoing(run, desk, to)
        run.guard(len(undoing.keys))
        if run.dry_run:
            shown(run, undoing, dry_run=True)
            return
        confirm(run, desk, undoing)
        carry_out(run, desk, undoing, reason, relaxed)


def _undoing(run: Run, desk: Desk, to: str | None) -> Undoing:
    from secops.cli.rollout.history import one
    from secops.rollout import rolling_back

    standings = desk.books.standings()
    wanted = one(standings, to).move.id if to is not None else None
    try:
        undone = rolling_back.choose(standings, wanted)
    except NothingMatched:
        if not desk.books.online and not standings:
            raise NothingMatched(
                "The database is away, and this machine's journal knows nothing of this target.",
                hint="Roll back from the machine that rolled out, or that runs `rollout tick`; or write "
                "known values: secops rollback --profile relaxed --now",
            ) from None
        raise
    return rolling_back.plan(desk, undone, _registry(run))


def _registry(run: Run) -> Registry | None:
    """Read the registry; a file that is broken must not keep anybody from rolling back."""
    from secops.rollout.profiles import load_profiles

    try:
        return load_profiles(run.settings).registry
    except SecopsError as error:
        run.output.warn(f"What becomes looser cannot be told: {error.message}")
        return None


def confirm(run: Run, desk: Desk, undoing: Undoing) -> None:
    """Show what a rollback will do, and ask."""
    from secops.cli.rollout.shown import undoing_rows

    if run.yes:
        return
    undoing_rows(run, undoing)
    run.confirm(
        f"Put back {count(len(undoing.keys), 'variable')} on {desk.target.name} ({desk.target.kind}) in one "
        "call, and deploy once?"
    )


def carry_out(
    run: Run, desk: Desk, undoing: Undoing, reason: str, relaxed: timedelta | None = None
) -> None:
    """Roll back, and say what came of it."""
    from secops.rollout import rolling_back

    back = rolling_back.begin(
        desk,
        undoing,
        reason=reason,
        ticket=run.ticket or "",
        relaxed_for=relaxed or rolling_back.RELAXED_FOR,
    )
    try:
        back = rolling_back.finish(desk, back, undoing)
    finally:
        desk.books.leave(back)
    shown(run, undoing, back=back)


def _finish(run: Run, desk: Desk, unfinished: Standing) -> None:
    """Go on with a rollback that was cut off."""
    from secops.cli.rollout.reporting import report
    from secops.rollout import ticking

    run.output.note("A rollback was cut off here; going on with it.")
    report(run, desk, ticking.resume(desk, unfinished))


def shown(
    run: Run, undoing: Undoing, *, back: Standing | None = None, dry_run: bool = False
) -> None:
    """Print what a rollback did, or would do."""
    from secops.cli.rollout.shown import as_dict, state_words, trouble, value
    from secops.output.outcome import Outcome
    from secops.rollout.ticking import Ticked

    titles = ", ".join(each.move.title for each in undoing.undone)
    late = list(back.facts.get("kept_late", ())) if back else []
    kept = [each.name for each in undoing.kept] + late
    items: list[dict[str, object]] = [
        {
            "variable": name,
            "was": value(key.before, hidden=key.hidden),
            "is": value(key.after),
            "what": "kept: somebody else's" if name in late else "restored",
        }
        for name, key in sorted(undoing.keys.items())
    ]
    items += [
        {
            "variable": each.name,
            "was": value(each.live),
            "is": value(each.live),
            "what": "kept: somebody else's",
        }
        for each in undoing.kept
    ]
    number = len(undoing.keys)
    if dry_run:
        summary = (
            f"Would put back {count(number, 'variable')} of {titles} in one call, and deploy once."
        )
    elif not undoing.writes:
        summary = f"Rolled back {titles}: nothing of it was left."
    else:
        state = state_words(back) if back else ""
        live = "and live" if state == "passed" else f"and {state}"
        are = f"{count(number, 'variable')} {'is' if number == 1 else 'are'}"
        summary = f"Rolled back {titles}: {are} as before, {live}."
    if kept:
        summary += f" Kept, for somebody else changed them since: {', '.join(kept)}."
    if undoing.relaxes:
        summary += f" Looser now: {', '.join(undoing.relaxes)}."
    run.finish(
        Outcome(
            action=run.name,
            dry_run=dry_run,
            matched=number + len(undoing.kept) + len(undoing.already),
            changed=number,
            items=items,
            summary=summary,
            operation_id=str(back.move.id) if back else "",
            extra={
                "undone": [str(each.move.id) for each in undoing.undone],
                "kept": kept,
                "move": as_dict(back) if back else None,
            },
        )
    )
    wrong = trouble(Ticked(back)) if back else None
    if wrong is not None:
        raise wrong


def _write_profile(run: Run, desk: Desk, name: str, reason: str, relaxed: timedelta | None) -> None:
    """Write a profile at once: the plan's quick rollback."""
    from datetime import timedelta

    from secops.cli.rollout.reporting import report
    from secops.cli.rollout.shown import after, plan_rows
    from secops.cli.rollout.stage import outcome
    from secops.output.formats import JSON_FORMATS
    from secops.rollout import plan as planning
    from secops.rollout import ticking
    from secops.rollout.moves import Kind
    from secops.rollout.profiles import load_profiles
    from secops.rollout.starting import Order

    profiles = load_profiles(run.settings)
    made = planning.make(
        name,
        profiles.resolve(name),
        snapshot=desk.target.read(),
        registry=profiles.registry,
        standings=desk.books.standings(),
        environ=run.settings.environ,
    )
    if not made.keys:
        run.finish(outcome(run, made, f"{desk.target.name} is as the profile {name} has it."))
        return
    if not run.yes and run.output.format not in JSON_FORMATS:
        plan_rows(run, made)
        for sentence in after(made):
            run.output.line(sentence)
    if run.dry_run:
        run.finish(
            outcome(run, made, f"Would write {count(len(made.keys), 'variable')}, and deploy once.")
        )
        return
    run.confirm(
        f"Write {count(len(made.keys), 'variable')} to {desk.target.name}, and deploy once?"
    )
    order = Order(
        Kind.PROFILE,
        "",
        name,
        reason=reason,
        ticket=run.ticket or "",
        command=run.name,
        on_fail="hold",
        relaxed_for=relaxed or profiles.max_age(name) or timedelta(hours=24),
    )
    report(run, desk, ticking.start(desk, made, order))
