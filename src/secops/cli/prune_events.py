"""``secops prune events``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secops.cli.command import Run
from secops.cli.command import command as declare
from secops.cli.throttle import MaxLag, PauseFile, PauseQuery, throttle
from secops.durations import parse_duration
from secops.output.outcome import NoUndo, Outcome

if TYPE_CHECKING:
    from secops.upkeep.events import PrunedEvents
    from secops.upkeep.retention import Count, Past
    from secops.upkeep.whole import Candidates

_NO_UNDO = NoUndo("what was deleted is gone")
_ARCHIVED = NoUndo("what was deleted is in the archive, where `secops archive query` finds it")


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
    archive: Annotated[
        Path | None,
        typer.Option(
            "--archive",
            metavar="DIR",
            help="Write events there as Parquet before they are deleted (the setting archive.dir).",
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

    A partition that holds nothing else is detached beside the running app and dropped as a whole. Other
    rows go in small batches that the app does not notice, one run at a time (a second one ends with exit
    code 6); after an interruption, run it again. Its role needs DELETE on security_events, and to own it
    where partitions are to go, which the operator's role of `secops init --print-grants` does not: run
    it as the owner.

    With --archive each event is written to a Parquet file first, and deleted only when that is on the
    disk, was read back and is what the event is at that moment. `secops archive` looks at such files.

    \b
    Examples:
      secops prune events --dry-run
      secops prune events --yes --archive /var/lib/secops/archive
      secops prune events --class information --yes --quiet
    """
    from secops.cli.ddl import Told
    from secops.database.locks import one_runner
    from secops.output.progress import SILENT
    from secops.upkeep import holds, retention
    from secops.upkeep.events import EventPruner
    from secops.upkeep.pace import MOST, Pace

    spans = retention.required(run.settings, only or ())
    held = holds.read(run.settings.folder("retention.holds_file"))
    pace = Pace(most=batch or MOST, pause=None if pause is None else parse_duration(pause))
    limit = None if max_duration is None else parse_duration(max_duration)
    slowed = throttle(run, max_lag, pause_file, pause_query)
    folder = archive or run.settings.folder("archive.dir")
    if folder is not None:
        from secops.archive.libraries import arrow

        arrow("parquet")
    operation = run.operation(upkeep=True)
    with run.connect() as conn:
        layout = run.layout(conn)
        slowed.check(conn)
        limits = retention.past(conn, layout, spans, held)
        for line in limits.holds.unknown:
            run.output.warn(f"The hold {line!r} names no account; events with that address stay.")
        pruner = EventPruner(
            conn,
            layout,
            run.settings,
            operation,
            limits,
            pace,
            Told(run.output, SILENT),
            archive=folder,
            throttle=slowed,
        )
        counted: Count | None = None
        if run.dry_run or not run.yes or run.expect is not None:
            counted = retention.count(conn, layout, limits)
            run.guard(counted.matched)
            whole = pruner.candidates()
            # What a run that died has left half gone is ended even where nothing else is to do.
            if run.dry_run or not (counted.matched or whole.unfinished):
                for note in whole.notes:
                    run.output.note(note)
                run.finish(_planned(limits, counted, whole, folder, dry_run=run.dry_run))
                return
            run.confirm(
                f"Delete {limits.things(counted.matched)} {limits.told(limits.limits())}"
                f"{_as_whole(whole)}? {_warning(folder)}"
            )
        with (
            one_runner(run.open, run.name) as runner,
            run.output.progress(
                "Deleting old events", counted.matched if counted else None, "events"
            ) as progress,
        ):
            pruner.alive, pruner.progress = runner.check, progress
            done = pruner.run(max_duration=limit)
    for note in done.notes:
        run.output.note(note)
    if not done.complete:
        run.output.note("Time is up; the next run goes on from here.")
    elif done.locked:
        run.output.note(
            f"Other sessions hold {limits.things(done.locked)}; the next run takes them."
        )
    run.finish(_result(limits, done, str(operation.id) if done.deleted or done.partitions else ""))


def _warning(archive: Path | None) -> str:
    return (
        "That cannot be undone." if archive is None else f"They go to the archive {archive} first."
    )


def _as_whole(whole: Candidates) -> str:
    found = whole.partitions
    if not found:
        return ""
    names = ", ".join(each.name for each in found)
    rows = sum(each.rows for each in found)
    return f", {rows:,} of them with the {'partition' if len(found) == 1 else 'partitions'} {names}"


def _planned(
    limits: Past, counted: Count, whole: Candidates, archive: Path | None, *, dry_run: bool
) -> Outcome:

    what = f"{limits.things(counted.matched)} {limits.told(limits.limits())}"
    unfinished = ""
    if whole.unfinished:
        unfinished = (
            f" An earlier run left {', '.join(whole.unfinished)} half gone; that would be ended."
        )
    return Outcome(
        action="prune events",
        dry_run=dry_run,
        matched=counted.matched,
        changed=counted.matched,
        items=[each.as_dict() for each in whole.partitions],
        summary=f"{'Would delete' if dry_run else 'Deleted'} {what}{_as_whole(whole)}."
        f"{unfinished}{_held(counted.held)}",
        undo=_undo(archive) if counted.matched else "",
        extra={
            **limits.facts(counted.held),
            "by_class": dict(counted.by_class),
            "locked": None if dry_run else 0,
            "batches": 0,
            "seconds": 0.0,
            "rows_per_second": 0,
            "complete": not dry_run,
            "partitions": [each.as_dict() for each in whole.partitions],
            "unfinished": list(whole.unfinished),
            "archive": None if archive is None else {"folder": str(archive)},
        },
    )


def _undo(archive: Path | None) -> str:
    return _NO_UNDO if archive is None else _ARCHIVED


def _result(limits: Past, done: PrunedEvents, operation_id: str) -> Outcome:

    facts = done.facts()
    speed = ""
    if done.deleted:
        batches = len(done.partitions)
        words = (
            f"{done.batches - batches:,} {'batch' if done.batches - batches == 1 else 'batches'}"
        )
        if batches:
            words = f"{batches:,} {'partition' if batches == 1 else 'partitions'}, {words}"
        speed = f" in {done.seconds:.1f} s ({facts['rows_per_second']:,} a second, {words})"
    kept = ""
    if done.archive is not None and done.archived:
        files = "file" if done.files == 1 else "files"
        kept = f" They are in {done.files:,} {files} of {done.archive}."
    return Outcome(
        action="prune events",
        dry_run=False,
        matched=done.deleted + done.locked,
        changed=done.deleted,
        items=[each.as_dict() for each in done.partitions],
        summary=f"Deleted {limits.things(done.deleted)} {limits.told(limits.limits())}"
        f"{speed}.{kept}{_held(done.kept)}",
        undo=_undo(done.archive) if done.deleted else "",
        operation_id=operation_id,
        extra=facts,
    )


def _held(number: int) -> str:
    return (
        f" {number:,} as old {'is' if number == 1 else 'are'} under a legal hold." if number else ""
    )
