"""``secops partition``: convert, undo, status, ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from secops.cli import statements
from secops.cli.command import Run
from secops.cli.command import command as as_run
from secops.cli.ddl import LockBudget, Told, budget, operation
from secops.cli.tree import LazyGroup, as_command, make_group
from secops.errors import Findings
from secops.output import Format

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from secops.output.outcome import Outcome
    from secops.schema.partitions.picture import Partition, Picture
    from secops.schema.partitions.place import Partitioned, Work

_AHEAD: Final = 3
_LONGEST: Final = 120
_TOO_LONG: Final = 10240

Months = Annotated[
    int,
    typer.Option(
        "--months",
        metavar="N",
        min=1,
        max=_LONGEST,
        help="How many whole months ahead are to have their partition.",
    ),
]


def _convert(run: Run, *, months: Months = _AHEAD, lock_budget: LockBudget = None) -> None:
    r"""Turn security_events into one partition a month, while the app goes on.

    No row is copied: the table as it is becomes the partition of everything before the beginning of a
    month in the near future. The key (id, created_at) is built and the rows are read once beside the
    running app; then, under one lock of some milliseconds, names are swapped. Whatever stands in the way
    is named first, all of it, each with what removes it.

    Killed at any moment, the same command finishes; `secops partition undo` takes it back.

    \b
    Examples:
      secops partition convert --dry-run    what stands in the way, what would run
      secops partition convert --yes
    """
    from secops.schema.partitions.converting import Converting
    from secops.schema.partitions.obstacles import refusal
    from secops.schema.workplace import opened

    done = operation(run)
    with opened(Converting, run.settings, run.name) as place:
        work = place.plan(done, months)
        if work.obstacles:
            raise refusal("Partitioning security_events", work.obstacles)
        for warning in work.warnings:
            run.output.note(warning)
        if work.nothing_to_do or run.dry_run:
            items, sql = _planned(place, work)
            run.finish(_converted(run, work, items, sql))
            return
        run.confirm(
            f"Partition security_events (about {work.picture.rows:,} rows) by month, in "
            f"{len(work.open)} steps?"
        )
        works: list[Work] = []
        with run.output.progress("Partitioning", unit="steps") as progress:
            told = Told(run.output, progress)
            place.convert(
                done, told, budget=budget(run, lock_budget), months=months, planned=works.append
            )
        run.finish(_converted(run, works[0], told.items, told.sql))


def _planned(place: Partitioned, work: Work) -> tuple[list[dict[str, object]], list[str]]:
    return statements.items(work.open, place.sizes(work.open)), statements.as_sql(work.open)


def _converted(run: Run, work: Work, items: list[dict[str, object]], sql: list[str]) -> Outcome:
    from secops.output.outcome import Outcome

    at = "" if work.cutoff is None else f"{work.cutoff:%Y-%m-%d}"
    if work.cutoff is None:
        summary = "security_events is partitioned by month already."
        if sql:
            summary += f" {len(sql)} statements {'would finish' if run.dry_run else 'finished'} it."
    elif run.dry_run:
        summary = (
            f"Would run {len(sql)} statements and partition security_events by month; what is there "
            f"now would be the partition of everything before {at}."
        )
    else:
        summary = (
            f"security_events is partitioned by month; what was there is the partition of everything "
            f"before {at}. {len(sql)} statements were run, and no row was copied."
        )
    return Outcome(
        action=run.name,
        dry_run=run.dry_run,
        matched=len(work.open),
        changed=len(sql),
        items=items,
        summary=summary,
        undo="secops partition undo" if sql else "",
        extra={"cutoff": work.cutoff, "sql": sql, "warnings": list(work.warnings)},
    )


def _undo(run: Run, *, lock_budget: LockBudget = None) -> None:
    r"""Make security_events one plain table again, while the app goes on.

    The largest partition becomes the table. Rows of the others are moved into it in small batches, and
    each can be read at every moment; how many that are is said first. Where a conversion was cut short,
    what it left is taken away.

    Killed at any moment, the same command finishes.

    \b
    Examples:
      secops partition undo --dry-run    how many rows would move
      secops partition undo --yes
    """
    from secops.schema.partitions.obstacles import refusal
    from secops.schema.partitions.undoing import Undoing
    from secops.schema.workplace import opened
    from secops.upkeep.pace import Pace

    done = operation(run)
    with opened(Undoing, run.settings, run.name) as place:
        work = place.plan(done)
        if work.obstacles:
            raise refusal("Undoing the partitions of security_events", work.obstacles)
        if work.nothing_to_do or run.dry_run:
            items, sql = _planned(place, work)
            run.finish(_undone(run, work, items, sql, work.rows))
            return
        moving = f", moving {work.rows:,} rows out of {len(work.partitions)} partitions"
        run.confirm(
            "Make security_events one plain table again"
            + (moving if work.partitions else ", dropping what an unfinished conversion left")
            + "?"
        )
        works: list[Work] = []
        with run.output.progress("Undoing partitions", work.rows or None) as progress:
            told = Told(run.output, _Silently())
            _, moved = place.undo(
                done,
                told,
                budget=budget(run, lock_budget),
                pace=Pace(),
                progress=progress,
                planned=works.append,
            )
        run.finish(_undone(run, works[0], told.items, told.sql, moved))


class _Silently:
    """A progress that another one, of rows, stands for."""

    def advance(self, count: int = 1) -> None:
        """Show nothing."""

    def describe(self, text: str) -> None:
        """Show nothing."""


def _undone(
    run: Run, work: Work, items: list[dict[str, object]], sql: list[str], rows: int
) -> Outcome:
    from secops.output.outcome import Outcome

    would = "Would make" if run.dry_run else "Made"
    if work.nothing_to_do:
        summary = "security_events is one plain table already."
    elif work.partitions or work.picture.kind == "p":
        moved = f"{rows:,} rows of {len(work.partitions)} partitions {'to move' if run.dry_run else 'moved'}"
        summary = f"{would} security_events one plain table again; {moved}."
    else:
        verb = "Would take" if run.dry_run else "Took"
        summary = f"{verb} away what an unfinished conversion had left; no row was touched."
    return Outcome(
        action=run.name,
        dry_run=run.dry_run,
        matched=len(work.open),
        changed=len(sql),
        items=items,
        summary=summary,
        undo="" if work.nothing_to_do else "secops partition convert",
        extra={"rows_moved": rows, "sql": sql},
    )


def _ahead(run: Run, *, months: Months = _AHEAD, lock_budget: LockBudget = None) -> None:
    r"""Make the partitions of the months to come; for cron, and safe to run at any time.

    An event that no partition takes fails, and with it what the app was doing. So there must always be
    some months ahead. Each partition is made beside the table and attached, for which nobody waits; there
    is never a DEFAULT partition, which would have to be read and locked for that.

    \b
    Examples:
      secops partition ahead
      secops partition ahead --months 12
    """
    from secops.output.outcome import Outcome
    from secops.schema.partitions.ahead import Ahead
    from secops.schema.workplace import opened

    done = operation(run)
    with opened(Ahead, run.settings, run.name) as place:
        work = place.plan(done, months)
        made = [each.step.title for each in work.open]
        if made and not run.dry_run:
            with run.output.progress("Making partitions", unit="steps") as progress:
                told = Told(run.output, progress)
                made = place.make_ahead(done, told, budget=budget(run, lock_budget), months=months)
    if not work.picture.monthly:
        summary = "security_events is one plain table, which needs no partitions ahead."
    elif not made:
        summary = f"Nothing to do: {work.picture.months_ahead} months ahead have their partition."
    else:
        verb = "Would make" if run.dry_run else "Made"
        summary = f"{verb} partitions up to {months} months ahead: {len(made)} steps."
    run.finish(
        Outcome(
            action=run.name,
            dry_run=run.dry_run,
            matched=len(made),
            changed=len(made),
            items=[{"step": title} for title in made],
            summary=summary,
            undo="DROP TABLE of a partition that is empty" if made and not run.dry_run else "",
            extra={"sql": statements.as_sql(work.open)},
        )
    )


def _status(run: Run) -> None:
    r"""Show the partitions, and exit 3 where the months ahead are too few or something is unfinished.

    Rows are estimated from sizes and statistics.

    \b
    Examples:
      secops partition status
      secops partition status --json | jq .months_ahead
    """
    from secops.schema.partitions.place import Partitioned
    from secops.schema.workplace import opened

    with opened(Partitioned, run.settings, run.name) as place:
        there = place.picture()
    findings = list(_findings(there))
    if run.output.format is Format.JSON:
        run.output.document(_as_json(there, findings), ())
    else:
        run.output.rows(
            ("partition", "from", "to", "rows", "size", "state", "bytes"),
            list(map(_row, there.partitions)) or [_plain(there)],
        )
        if there.monthly:
            run.output.note(f"Whole months ahead that have their partition: {there.months_ahead}.")
        elif there.kind == "r":
            run.output.note(
                "It is one plain table; `secops partition convert --dry-run` looks ahead."
            )
    if findings:
        raise Findings(
            " ".join(words for words, _ in findings),
            hint=" ".join(dict.fromkeys(mend for _, mend in findings)),
        )


def _row(each: Partition) -> tuple[object, ...]:
    state = "half detached" if each.detaching else "default" if each.default else "attached"
    if each.span is None:
        return each.name, each.bound, "", each.rows, _size(each.bytes), state, each.bytes
    from secops.schema.partitions.months import shown

    return (
        each.name,
        shown(each.span.lower),
        shown(each.span.upper),
        each.rows,
        _size(each.bytes),
        state,
        each.bytes,
    )


def _size(size: int) -> str:
    """Write a size as PostgreSQL does."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < _TOO_LONG:
            return f"{size} {unit}"
        size = round(size / 1024)
    return f"{size} TB"


def _plain(there: Picture) -> tuple[object, ...]:
    kind = "one plain table" if there.kind == "r" else "not there"
    return "security_events", "", "", there.rows, _size(there.bytes), kind, there.bytes


def _findings(there: Picture) -> Iterator[tuple[str, str]]:
    """Give what should not stay as it is, and what to do about it."""
    from secops.schema.partitions.findings import findings

    for each in findings(there):
        yield f"{each.what}.", each.mend


def _as_json(there: Picture, findings: list[tuple[str, str]]) -> dict[str, object]:
    return {
        "partitioned": there.monthly,
        "months_ahead": there.months_ahead,
        "rows": there.rows,
        "bytes": there.bytes,
        "cutoff": None if there.cutoff is None else there.cutoff.at,
        "findings": [words for words, _ in findings],
        "partitions": [
            {
                "partition": each.name,
                "bound": each.bound,
                "from": None if each.span is None else each.span.lower,
                "to": None if each.span is None else each.span.upper,
                "rows": each.rows,
                "bytes": each.bytes,
                "default": each.default,
                "half_detached": each.detaching,
            }
            for each in there.partitions
        ],
    }


def _group(context: typer.Context) -> None:
    r"""Keep security_events in monthly partitions, and take that back.

    One partition a month lets an event table grow for years: `secops prune events` drops a month in a
    moment once nothing in it must stay, where deleting its rows takes hours, and the reports of today
    read today's.

    \b
    Examples:
      secops partition convert --dry-run
      secops partition status
    """
    if context.invoked_subcommand is None:
        print(context.get_help())


_SUBCOMMANDS: Final[dict[str, Callable[..., None]]] = {
    "convert": as_run("partition convert", changes=True)(_convert),
    "status": as_run("partition status", rows=True)(_status),
    "ahead": as_run("partition ahead", changes=True)(_ahead),
    "undo": as_run("partition undo", changes=True)(_undo),
}


def _make() -> LazyGroup:
    _group.__doc__ = (_group.__doc__ or "").replace("\\b\n", "\b\n")
    group = make_group("partition", _group)
    for name, function in _SUBCOMMANDS.items():
        group.add_command(as_command(function, name))
    return group


command = _make()
