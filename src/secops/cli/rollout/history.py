"""``secops rollout history``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final
from uuid import UUID

import typer

from secops.cli.command import Run
from secops.cli.rollout.options import Target, at_one
from secops.errors import Conflict, NothingMatched, UsageError
from secops.output import Format

if TYPE_CHECKING:
    from collections.abc import Mapping

    from secops.rollout.desk import Desk
    from secops.rollout.entries import Standing


def history(
    run: Run,
    operation: Annotated[
        str | None, typer.Argument(metavar="[OPERATION]", help="One of them, entry by entry.")
    ] = None,
    *,
    target: Target = None,
    plot: Annotated[
        bool, typer.Option("--plot", help="Draw what the operation's gates saw.")
    ] = False,
) -> None:
    r"""List what was rolled out and back, or one operation entry by entry.

    The journal is a chain: each entry holds the hash of the one before it. Where an entry was changed or
    taken out, that is told and the exit code is 5.

    \b
    Examples:
      secops rollout history
      secops rollout history 5c1e6f9a
      secops rollout history 5c1e6f9a --plot
      secops rollout history 5c1e6f9a --plot --format html > gates.html
    """
    from secops.rollout.entries import faults

    if plot and operation is None:
        raise UsageError(
            "--plot draws the gates of one operation.",
            hint="`secops rollout history` lists them: name one.",
        )
    with at_one(run, target, offline=True) as desk:
        if not desk.books.online:
            run.output.warn(f"The database is away ({desk.books.why}); this is what is known here.")
        found = desk.books.standings()
        if operation is None:
            _list(run, found)
        elif plot:
            _plot(run, desk, one(found, operation))
        else:
            _entries(run, one(found, operation))
        wrong = faults(entry for each in found for entry in each.entries)
    if wrong:
        raise Conflict(
            f"The journal is not as it was written: {'; '.join(wrong)}.",
            hint="Compare with the copies on the machines that rolled out (state_dir).",
            details={"faults": wrong},
        )


def one(found: list[Standing], operation: str) -> Standing:
    """Return the operation that a person means: its id, or how it begins.

    Raises:
        NothingMatched: There is none.
        UsageError: Several begin like that.
    """
    wanted = operation.strip().lower()
    matching = [each for each in found if wanted and str(each.move.id).startswith(wanted)]
    if not matching:
        raise NothingMatched(
            f"There is no operation {operation!r} on this target.",
            hint="`secops rollout history` lists them.",
        )
    if len(matching) > 1:
        raise UsageError(
            f"{len(matching)} operations begin with {operation!r}.", hint="Give more of it."
        )
    return matching[0]


def _list(run: Run, found: list[Standing]) -> None:
    from secops.cli.rollout.shown import state_words

    run.output.rows(
        ("began", "operation", "what", "state", "by", "reason", "variables"),
        [
            (
                each.began,
                _short(each.move.id) if run.output.format is Format.TABLE else each.move.id,
                each.move.title,
                state_words(each),
                f"{each.move.actor}@{each.move.host}",
                each.move.reason,
                ", ".join(sorted(each.move.keys)),
            )
            for each in reversed(found)
        ],
        empty="Nothing was rolled out here yet.",
    )


def _short(number: UUID) -> str:
    return str(number)[:8]


def _entries(run: Run, standing: Standing) -> None:
    run.output.rows(
        ("at", "state", "by", "why", "facts"),
        [
            (
                entry.at,
                entry.state.value,
                f"{entry.actor}@{entry.host}",
                str(entry.facts.get("why") or ""),
                _facts(entry.facts),
            )
            for entry in standing.entries
        ],
        title=f"{standing.move.title} on {standing.move.target}, {standing.move.id}",
    )


_TOLD: Final = (
    "deployment", "soak_ends", "expires_at", "undone_by", "overwritten", "kept_late", "held",
)  # fmt: skip


def _facts(facts: Mapping[str, object]) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {facts[name]}"
        for name in _TOLD
        if facts.get(name) not in (None, "", [])
    )


def _plot(run: Run, desk: Desk, standing: Standing) -> None:
    from secops.rollout.gates.gate import restored
    from secops.rollout.gates.picture import pictures

    kept = desk.books.journal.readings(standing.move.id) if desk.books.journal else []
    if not kept:
        raise NothingMatched(
            f"No gate of {standing.move.title} was asked yet.",
            hint="`secops rollout tick` asks them.",
        )
    run.output.plots(pictures([restored(each) for each in kept]))
