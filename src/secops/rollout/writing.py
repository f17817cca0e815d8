"""The write of a move: once, and never over what somebody else wrote where that can be known."""

from __future__ import annotations

import itertools
from typing import Final

from secops.errors import Conflict, OutcomeUnknown, SecopsError
from secops.rollout.desk import LOOKS, Desk
from secops.rollout.entries import Standing
from secops.rollout.moves import Kind
from secops.rollout.overwritten import as_list, overwritten
from secops.rollout.recovery import Comparison, Outcome, compare
from secops.rollout.states import State
from secops.targets.target import Snapshot

WRITES: Final = 3
"""How often one write is tried whose reply was lost or of which half arrived."""
_CONFLICTS: Final = 6
"""How often one looks again because somebody wrote in the same moment."""


def write(desk: Desk, standing: Standing, snapshot: Snapshot | None, *, fresh: bool) -> Standing:
    """Write what is not written yet, once it is sure that nobody is overwritten."""
    move = standing.move
    for tries in itertools.count(1):
        desk.books.beat(standing)
        if snapshot is None:
            snapshot = _reread(desk, standing, fresh=fresh and tries == 1)
        found = compare(move, snapshot)
        if found.outcome is Outcome.APPLIED:
            return _applied(desk, standing, "")
        if found.outcome is Outcome.CONFLICT and move.kind is not Kind.ROLLBACK:
            if found.marked:
                standing = tell_overwritten(desk, _applied(desk, standing, ""))
            raise conflict(desk, standing, found)
        # The last look at who owns the move stands right before the write, and fences off who does not.
        desk.books.beat(standing)
        standing, done = _attempt(desk, standing, snapshot, found, tries)
        if done:
            return standing
        snapshot = None
    raise AssertionError


def _reread(desk: Desk, standing: Standing, *, fresh: bool) -> Snapshot:
    if not fresh:
        return read_back(desk, standing)
    try:
        return desk.target.read()
    except SecopsError as error:
        if standing.move.kind is not Kind.ROLLBACK:
            desk.books.record(standing, State.FAILED, why=error.message, over=True, applied=False)
        raise


def _attempt(
    desk: Desk, standing: Standing, snapshot: Snapshot, found: Comparison, tries: int
) -> tuple[Standing, bool]:
    """Write once; the flag says whether it is there now, and without it one looks again."""
    move = standing.move
    change = found.remaining()
    try:
        written = desk.target.write(change, snapshot)
    except Conflict:
        if tries > _CONFLICTS:
            raise
        desk.told("Somebody wrote in the same moment; looking again.")
        return standing, False
    except OutcomeUnknown as error:
        standing = desk.books.record(standing, State.UNKNOWN, why=error.message)
        found = _settle(desk, standing)
        if found.outcome is Outcome.APPLIED:
            return _applied(desk, standing, ""), True
        if tries >= WRITES:
            raise OutcomeUnknown(
                f"The reply to the write of {move.title} was lost {tries} times: {error.message}",
                hint=f"It is {found.outcome.value} as far as can be read. "
                "`secops rollout resume` goes on.",
                details={"move": str(move.id), "variables": found.as_rows()},
            ) from None
        return standing, False
    except SecopsError as error:
        raise _not_written(desk, standing, found, error) from None
    desk.told(_words(len(change.set) - 1, len(change.unset)))
    return _applied(desk, standing, written), True


def _applied(desk: Desk, standing: Standing, written: str) -> Standing:
    return desk.books.record(
        standing, State.APPLIED, applied=True, written=written, deployment=written, why=""
    )


def _settle(desk: Desk, standing: Standing) -> Comparison:
    """Find out what became of a write whose reply was lost; it may still be on its way."""
    found = compare(standing.move, read_back(desk, standing))
    for seconds in desk.waits[:LOOKS]:
        if found.outcome is not Outcome.NOT_APPLIED:
            break
        desk.sleep(seconds)
        desk.books.beat(standing)
        found = compare(standing.move, read_back(desk, standing))
    if found.outcome is Outcome.CONFLICT and standing.move.kind is not Kind.ROLLBACK:
        raise conflict(desk, standing, found)
    return found


def read_back(desk: Desk, standing: Standing) -> Snapshot:
    """Read what is there after a write.

    Raises:
        OutcomeUnknown: The target did not answer.
    """
    try:
        return desk.target.read()
    except SecopsError as error:
        raise OutcomeUnknown(
            f"It cannot be known whether {standing.move.title} was written: {error.message}",
            hint="`secops rollout resume` finds out once the target answers.",
            details={"move": str(standing.move.id)},
        ) from None


def _not_written(
    desk: Desk, standing: Standing, found: Comparison, error: SecopsError
) -> SecopsError:
    """Say that the target took nothing, and end the move where nothing of it is there."""
    move = standing.move
    if found.anything:
        return OutcomeUnknown(
            f"Part of {move.title} is on {move.target}, and the rest could not be written: "
            f"{error.message}",
            hint="`secops rollout resume` finishes it, `secops rollback` undoes it.",
            details={"move": str(move.id), "variables": found.as_rows()},
        )
    if move.kind is not Kind.ROLLBACK:
        desk.books.record(standing, State.FAILED, why=error.message, over=True, applied=False)
    return error


def conflict(desk: Desk, standing: Standing, found: Comparison) -> Conflict:
    """Record a conflict; it ends the move where nothing of it is there."""
    move = standing.move
    mine = found.anything
    names = ", ".join(found.foreign) or "the marker"
    why = f"{names} changed on {move.target} while {move.title} was on its way"
    if mine:
        desk.books.record(standing, State.CONFLICT, why=why, conflict=found.as_rows(), applied=True)
    else:
        desk.books.record(
            standing, State.FAILED, why=why, conflict=found.as_rows(), over=True, applied=False
        )
    return Conflict(
        f"Somebody else changed {names} on {move.target}, and nothing of theirs was overwritten.",
        hint="The rest of the move stands. `secops rollback` puts back what is still as it left it "
        "and keeps their values; `secops rollout resume` goes on once they are as recorded."
        if mine
        else "Nothing was written. Look at `secops rollout plan`, then run it again.",
        details={"move": str(move.id), "variables": found.as_rows(), "written": mine},
    )


def _words(given: int, taken: int) -> str:
    parts = []
    if given:
        parts.append(f"{given} set")
    if taken:
        parts.append(f"{taken} removed")
    return f"Written in one call: {', '.join(parts) or 'the marker alone'}."


def tell_overwritten(desk: Desk, standing: Standing) -> Standing:
    """Tell of edits that were overwritten in the moment of the write."""
    if "overwritten" in standing.facts:
        return standing
    try:
        lost = overwritten(desk.target, standing)
    except SecopsError as error:
        desk.warn(f"Whether somebody wrote in the same moment could not be seen: {error.message}")
        return desk.books.record(standing, State.APPLIED, unseen=error.message)
    if not lost:
        return standing
    mine = set(standing.move.keys)
    who = ", ".join(sorted({edit.who or "somebody" for edit in lost}))
    names = ", ".join(sorted({name for edit in lost for name in edit.names & mine}))
    desk.warn(
        f"{who} wrote {names or 'something'} in the same moment, and this target cannot refuse the "
        "later of two writes: what they wrote was overwritten. Ask them what it was."
    )
    return desk.books.record(standing, State.APPLIED, overwritten=[as_list(each) for each in lost])
