"""``secops prune events``."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from secops.cli.command import Run
from secops.cli.command import command as declare
from secops.cli.throttle import MaxLag, PauseFile, PauseQuery, throttle
from secops.durations import parse_duration

if TYPE_CHECKING:
    from secops.output.outcome import Outcome
    from secops.upkeep.prune import Pruned
    from secops.upkeep.retention import Count, Past

_NO_UNDO = "not possible; what was deleted is gone"


class Class(StrEnum):
    """A class of event; see :mod:`secops.upkeep.retention`."""

    INFORMATION = "information"
    SECURITY = "security"
    OPERATOR = "operator"


@declare("prune events", changes=True, operator=True)
def command(
    run: Run,
    *,
    only: Annotated[
        list[Class] | None,
        typer.Option(
            "--class", metavar="CLASS", help="Only information, security or operator; repeatable."
        ),
    ] = None,
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
    r"""Delete events past their retention, by class.

    How long each class stays is configured: retention.information (logins, refreshes),
    retention.security (warnings, lockouts, theft), retention.operator (the audit of what operators did,
    which stays the longest), or retention.preset for all three: soc2, hipaa, pci, gdpr. Presets are not
    legal advice. A class without a period stays for ever, and with none configured nothing is deleted
    (exit code 8).

    Events of the accounts named in retention.holds_file are never deleted, whatever their age.

    It deletes in small batches that the app does not notice, one run at a time (a second one ends with
    exit code 6); after an interruption, run it again. Its role needs DELETE on security_events, which
    the operator's role of `secops init --print-grants` does not have: run it as the owner.

    \b
    Examples:
      secops prune events --dry-run
      secops prune events --class information --yes --quiet
    """
    from secops.database.locks import one_runner
    from secops.upkeep import holds, retention
    from secops.upkeep.expired import estimate
    from secops.upkeep.pace import MOST, Pace
    from secops.upkeep.prune import Pruner

    spans = retention.required(run.settings, only or ())
    held = holds.read(run.settings.folder("retention.holds_file"))
    pace = Pace(most=batch or MOST, pause=None if pause is None else parse_duration(pause))
    limit = None if max_duration is None else parse_duration(max_duration)
    slowed = throttle(run, max_lag, pause_file, pause_query)
    operation = run.operation(upkeep=True)
    with run.connect() as conn:
        layout = run.layout(conn)
        slowed.check(conn)
        limits = retention.past(conn, layout, spans, held)
        for line in limits.holds.unknown:
            run.output.warn(f"The hold {line!r} names no account; events with that address stay.")
        counted: Count | None = None
        if run.dry_run or not run.yes or run.expect is not None:
            counted = retention.count(conn, layout, limits)
            run.guard(counted.matched)
            if run.dry_run or not counted.matched:
                run.finish(_planned(limits, counted, dry_run=run.dry_run))
                return
            run.confirm(
                f"Delete {limits.things(counted.matched)} {limits.told(limits.limits())}?"
                " That cannot be undone."
            )
        with (
            one_runner(run.open, run.name) as runner,
            run.output.progress(
                "Deleting old events", counted.matched if counted else None, "events"
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
            ).run(expired=estimate(conn, layout, limits), max_duration=limit)
    if not done.complete:
        run.output.note("Time is up; the next run goes on from here.")
    elif done.locked:
        run.output.note(
            f"Other sessions hold {limits.things(done.locked)}; the next run takes them."
        )
    run.finish(_result(limits, done, str(operation.id) if done.deleted else ""))


def _planned(limits: Past, counted: Count, *, dry_run: bool) -> Outcome:
    from secops.output.outcome import Outcome

    what = f"{limits.things(counted.matched)} {limits.told(limits.limits())}"
    return Outcome(
        action="prune events",
        dry_run=dry_run,
        matched=counted.matched,
        changed=counted.matched,
        summary=f"{'Would delete' if dry_run else 'Deleted'} {what}.{_held(counted.held)}",
        undo=_NO_UNDO if counted.matched else "",
        extra={
            **limits.facts(counted.held),
            "by_class": dict(counted.by_class),
            "locked": None if dry_run else 0,
            "batches": 0,
            "seconds": 0.0,
            "rows_per_second": 0,
            "complete": not dry_run,
        },
    )


def _result(limits: Past, done: Pruned, operation_id: str) -> Outcome:
    from secops.output.outcome import Outcome

    facts = done.facts()
    speed = ""
    if done.deleted:
        speed = (
            f" in {done.seconds:.1f} s ({facts['rows_per_second']:,} a second, "
            f"{done.batches:,} {'batch' if done.batches == 1 else 'batches'})"
        )
    return Outcome(
        action="prune events",
        dry_run=False,
        matched=done.deleted + done.locked,
        changed=done.deleted,
        summary=f"Deleted {limits.things(done.deleted)} {limits.told(limits.limits())}"
        f"{speed}.{_held(done.kept)}",
        undo=_NO_UNDO if done.deleted else "",
        operation_id=operation_id,
        extra=facts,
    )


def _held(number: int) -> str:
    return (
        f" {number:,} as old {'is' if number == 1 else 'are'} under a legal hold." if number else ""
    )
