"""``secops prune tokens``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from secops.cli.command import Run
from secops.cli.command import command as declare
from secops.cli.throttle import MaxLag, PauseFile, PauseQuery, throttle
from secops.durations import parse_duration
from secops.output.outcome import NoUndo, Outcome

if TYPE_CHECKING:
    from secops.upkeep.due import Due
    from secops.upkeep.expired import Bounds, Count
    from secops.upkeep.prune import Pruned

_NO_UNDO = NoUndo("what was deleted had expired, and let nobody in")


@declare("prune tokens", changes=True, operator=True)
def command(
    run: Run,
    *,
    older_than: Annotated[
        str,
        typer.Option(
            "--older-than", metavar="DURATION", help="Only what expired at least that long ago."
        ),
    ] = "7d",
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch", metavar="N", min=1, help="Rows that one transaction deletes, at most."
        ),
    ] = None,
    pause: Annotated[
        str | None,
        typer.Option(
            "--pause",
            metavar="DURATION",
            help="Rest after each batch. [default: a hundredth of the time that it took]",
        ),
    ] = None,
    max_duration: Annotated[
        str | None,
        typer.Option(
            "--max-duration", metavar="DURATION", help="Stop after that long; the next run goes on."
        ),
    ] = None,
    max_lag: MaxLag = None,
    pause_file: PauseFile = None,
    pause_query: PauseQuery = None,
) -> None:
    r"""Delete expired refresh tokens in small batches.

    A batch takes about 50 ms, and its size follows from that, so that the app beside it does not notice.
    Rows that another session has locked are skipped and tried again at the end. After an interruption, run
    it again: what was deleted stays deleted, and the rest is found.

    A used token of a session that is still alive is never deleted, however old: should it come back, that
    is how theft is detected.

    Nobody has to give a --reason: this is upkeep, for cron. One run at a time; a second one ends with exit
    code 6.

    \b
    Examples:
      secops prune tokens --dry-run
      secops prune tokens --older-than 30d --max-duration 10m --yes --quiet
    """
    from secops.database.locks import one_runner
    from secops.upkeep.expired import bounds, count, estimate
    from secops.upkeep.pace import MOST, Pace
    from secops.upkeep.prune import Pruner

    age = parse_duration(older_than)
    pace = Pace(most=batch or MOST, pause=None if pause is None else parse_duration(pause))
    limit = None if max_duration is None else parse_duration(max_duration)
    slowed = throttle(run, max_lag, pause_file, pause_query)
    operation = run.operation(upkeep=True)
    with run.connect() as conn:
        layout = run.layout(conn)
        slowed.check(conn)
        limits = bounds(conn, age)
        counted: Count | None = None
        # Counting takes about as long as deleting: only where somebody wants to know.
        if run.dry_run or not run.yes or run.expect is not None:
            counted = count(conn, layout, limits)
            run.guard(counted.matched)
            if run.dry_run or not counted.matched:
                run.finish(_planned(limits, counted, dry_run=run.dry_run))
                return
            run.confirm(f"Delete {_tokens(counted.matched)} that expired before {_cutoff(limits)}?")
        expired = estimate(conn, layout, limits)
        with (
            one_runner(run.open, run.name) as runner,
            run.output.progress(
                "Deleting expired tokens", counted.matched if counted else expired or None, "tokens"
            ) as progress,
        ):
            done = Pruner(
                conn,
                layout,
                operation,
                limits,
                pace,
                lock_timeout=run.settings.span("lock_timeout"),
                progress=progress,
                alive=runner.check,
                throttle=slowed,
            ).run(expired=expired, max_duration=limit)
    if not done.complete:
        run.output.note("Time is up; the next run goes on from here.")
    elif done.locked:
        run.output.note(f"Other sessions hold {_tokens(done.locked)}; the next run takes them.")
    run.finish(_result(done, str(operation.id) if done.deleted else ""))


def _planned(limits: Bounds, counted: Count, *, dry_run: bool) -> Outcome:

    what = f"{_tokens(counted.matched)} that expired before {_cutoff(limits)}"
    return Outcome(
        action="prune tokens",
        dry_run=dry_run,
        matched=counted.matched,
        changed=counted.matched,
        summary=f"{'Would delete' if dry_run else 'Deleted'} {what}.{_evidence(counted.evidence)}",
        undo=_NO_UNDO if counted.matched else "",
        extra={
            "expired_before": limits.cutoff.isoformat(),
            "kept_as_evidence": counted.evidence,
            "locked": None if dry_run else 0,
            "batches": 0,
            "seconds": 0.0,
            "rows_per_second": 0,
            "complete": not dry_run,
        },
    )


def _result(done: Pruned, operation_id: str) -> Outcome:

    facts = done.facts()
    speed = ""
    if done.deleted:
        speed = (
            f" in {done.seconds:.1f} s ({facts['rows_per_second']:,} a second, "
            f"{done.batches:,} {'batch' if done.batches == 1 else 'batches'})"
        )
    return Outcome(
        action="prune tokens",
        dry_run=False,
        matched=done.deleted + done.locked,
        changed=done.deleted,
        summary=f"Deleted {_tokens(done.deleted)} that expired before {_cutoff(done.bounds)}"
        f"{speed}.{_evidence(done.kept)}",
        undo=_NO_UNDO if done.deleted else "",
        operation_id=operation_id,
        extra=facts,
    )


def _evidence(number: int) -> str:
    if not number:
        return ""
    return (
        f" Kept {number:,} used {'one' if number == 1 else 'ones'} of live sessions, as evidence."
    )


def _tokens(number: int) -> str:
    return "1 refresh token" if number == 1 else f"{number:,} refresh tokens"


def _cutoff(limits: Due) -> str:
    from datetime import UTC

    return f"{limits.cutoff.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"
