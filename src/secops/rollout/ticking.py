"""Going on with a move: from cron, again and again with ``--wait``, and by a person after a crash.

There is no daemon. A soak is a row in the journal; :func:`tick` looks whether there is something to do, does
it, and lets go.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from secops.errors import Conflict, OutcomeUnknown, Refused
from secops.rollout import rolling_back
from secops.rollout.books import ROLLBACK
from secops.rollout.desk import Desk
from secops.rollout.engine import drive, fail
from secops.rollout.entries import Standing
from secops.rollout.gatekeeping import Verdicts, ask
from secops.rollout.plan import Plan
from secops.rollout.recovery import Outcome, compare
from secops.rollout.starting import Order, begin, carry_out
from secops.rollout.states import State
from secops.targets.target import Progress

_UNWRITTEN = frozenset({State.INTENT, State.UNKNOWN})
_ON_ITS_WAY = frozenset({State.APPLIED, State.DEPLOYING, State.LIVE})


@dataclass(frozen=True, slots=True)
class Ticked:
    """What one tick found and did.

    Attributes:
        standing: The move as it is now.
        verdicts: What its gates said, where they were asked.
        rollback: The rollback that a failure began, if one did.
    """

    standing: Standing
    verdicts: Verdicts | None = None
    rollback: Standing | None = None


def tick(desk: Desk, *, wait: bool = False) -> Ticked | None:
    """Go on with the move that holds the target, as far as that goes without a person.

    Args:
        desk: The target and the journals.
        wait: Whether to wait for a deployment; otherwise one look is all.

    Returns:
        What was found; ``None`` where nothing is on its way.

    Raises:
        Busy: Somebody is at it.
        Conflict: Somebody else changed what it changed.
        OutcomeUnknown: It was cut off before it was written, and a person decides.
    """
    active = desk.books.active()
    if active is None:
        return None
    with owning(desk, active) as standing:
        return _advance(desk, standing, wait=wait)


def start(desk: Desk, plan: Plan, order: Order, *, wait: bool = True) -> Ticked:
    """Carry out a plan that somebody confirmed, until it is live or put back.

    Args:
        desk: The target and the journals.
        plan: The plan.
        order: Why and how.
        wait: Whether to wait for the deployment.

    Raises:
        Busy: Another move holds the target.
        Conflict: Somebody else wrote what it writes.
        OutcomeUnknown: It cannot be known how far it is.
        Unreachable: The target or the database was not reached, and nothing was written.
    """
    standing = begin(desk, plan, order)
    try:
        return _driven(desk, carry_out(desk, plan, standing, wait=wait))
    finally:
        desk.books.leave(standing)


@contextmanager
def owning(desk: Desk, standing: Standing, *, by_force: bool = False) -> Iterator[Standing]:
    """Own a move for the length of a block.

    Raises:
        Busy: Somebody else does.
    """
    taken = desk.books.take(standing, by_force=by_force)
    try:
        yield taken
    finally:
        desk.books.leave(taken)


def _advance(desk: Desk, standing: Standing, *, wait: bool) -> Ticked:
    state, urgent = standing.state, standing.move.command == ROLLBACK
    if state in _ON_ITS_WAY or (urgent and state in _UNWRITTEN):
        return _driven(desk, drive(desk, standing, wait=wait))
    if state in _UNWRITTEN:
        raise OutcomeUnknown(
            f"{standing.move.title} on {standing.move.target} was cut off, and it is not known whether "
            "it was written.",
            hint="`secops rollout resume` finds out and goes on, `secops rollout abort` undoes it.",
            details={"move": str(standing.move.id)},
        )
    if state is State.CONFLICT:
        raise _still_in_conflict(standing)
    if state is State.FAILED:
        return _give_up(desk, standing, None)
    if state is State.HELD and standing.text("held") == "deployment":
        return Ticked(_look_again(desk, standing))
    if state is State.HELD and standing.text("held") == "failed":
        return Ticked(standing)
    return _judge(desk, standing)


def _driven(desk: Desk, standing: Standing) -> Ticked:
    if standing.state is State.FAILED and not standing.over:
        return _give_up(desk, standing, None)
    return Ticked(standing)


def _judge(desk: Desk, standing: Standing) -> Ticked:
    """Ask the gates of a move that soaks, and do what they say."""
    verdicts = ask(desk, standing)
    if verdicts.failed:
        why = "; ".join(f"{each.gate}: {each.summary.rstrip('.')}" for each in verdicts.failed)
        standing = fail(desk, standing, why)
        if standing.state is State.FAILED:
            return _give_up(desk, standing, verdicts)
        return Ticked(standing, verdicts)
    if not verdicts.soaked:
        return Ticked(standing, verdicts)
    if not verdicts.passed:
        why = "; ".join(f"{each.gate}: {each.summary.rstrip('.')}" for each in verdicts.undecided)
        if standing.state is not State.HELD or standing.text("why") != why:
            standing = desk.books.record(standing, State.HELD, why=why, held="gates")
        return Ticked(standing, verdicts)
    return Ticked(_pass(desk, standing), verdicts)


def _pass(desk: Desk, standing: Standing, why: str = "") -> Standing:
    """End a move well, once it is sure that what was watched is what it wrote."""
    found = compare(standing.move, desk.target.read())
    if found.outcome is not Outcome.APPLIED:
        names = ", ".join(name for name, side in found.sides.items() if side.value != "after")
        why = f"{names or 'the marker'} changed during the soak: what was watched is not this stage"
        standing = desk.books.record(
            standing, State.CONFLICT, why=why, conflict=found.as_rows(), applied=True
        )
        raise _still_in_conflict(standing)
    return desk.books.record(standing, State.PASSED, over=True, why=why, held="")


def _still_in_conflict(standing: Standing) -> Conflict:
    return Conflict(
        f"{standing.move.title} on {standing.move.target} met a foreign change: "
        f"{standing.text('why')}.",
        hint="Their values stand. `secops rollback` puts back what is still as the rollout left it; "
        "`secops rollout resume` goes on once they are as recorded.",
        details={
            "move": str(standing.move.id),
            "variables": standing.facts.get("conflict", []),
        },
    )


def _give_up(desk: Desk, standing: Standing, verdicts: Verdicts | None) -> Ticked:
    """Put back what a failed move changed."""
    desk.told(f"{standing.move.title} failed: {standing.text('why')}. Rolling back.")
    undoing = rolling_back.plan(desk, [standing])
    back = rolling_back.begin(
        desk, undoing, reason=f"{standing.move.title} failed: {standing.text('why')}"
    )
    try:
        back = rolling_back.finish(desk, back, undoing)
    finally:
        desk.books.leave(back)
    failed = next(each for each in desk.books.standings() if each.move.id == standing.move.id)
    return Ticked(failed, verdicts, back)


def _look_again(desk: Desk, standing: Standing) -> Standing:
    """Look at a deployment that waited for a person."""
    found = desk.target.status(standing.text("deployment"))
    if found.progress is Progress.HELD or (
        found.progress is Progress.FAILED and standing.move.command == ROLLBACK
    ):
        return standing
    standing = desk.books.record(standing, State.DEPLOYING, why="", held="")
    return drive(desk, standing, wait=False)


def resume(desk: Desk, standing: Standing, *, by_force: bool = False) -> Ticked:
    """Go on with a move that was cut off, from wherever it was.

    Args:
        desk: The target and the journals.
        standing: The move.
        by_force: Whether to take it from an owner who still gives signs of life.

    Raises:
        Busy: Somebody is at it.
        Conflict: Somebody else changed what it changes.
        OutcomeUnknown: It still cannot be known how far it is.
    """
    with owning(desk, standing, by_force=by_force) as taken:
        now = taken
        if taken.state is State.CONFLICT:
            now = _reconsider(desk, taken)
        elif taken.state is State.HELD and taken.text("held") == "deployment":
            now = _deploy_again(desk, taken)
        if now.over:
            return Ticked(now)
        if now.state in _UNWRITTEN:
            return _driven(desk, drive(desk, now))
        return _advance(desk, now, wait=True)


def _reconsider(desk: Desk, standing: Standing) -> Standing:
    """Look whether a conflict was mended by hand."""
    found = compare(standing.move, desk.target.read())
    if found.outcome is Outcome.APPLIED:
        return desk.books.record(standing, State.APPLIED, why="", conflict=[])
    if found.outcome is Outcome.NOT_APPLIED:
        return desk.books.record(
            standing, State.ROLLED_BACK, why="everything is back as it was, by hand", over=True
        )
    raise _still_in_conflict(standing)


def _deploy_again(desk: Desk, standing: Standing) -> Standing:
    """Give a deployment that did not come up another try."""
    found = desk.target.status(standing.text("deployment"))
    if found.progress is not Progress.FAILED:
        return desk.books.record(standing, State.DEPLOYING, why="", held="")
    given_up = [*standing.facts.get("given_up", ()), found.id]
    return desk.books.record(
        standing, State.APPLIED, why="", held="", deployment="", written="", given_up=given_up
    )


def accept(desk: Desk, standing: Standing, reason: str) -> Standing:
    """Let a move pass that its gates could not judge, on a person's word.

    Raises:
        Refused: Nothing waits for a person's word.
    """
    with owning(desk, standing) as taken:
        if taken.state is not State.HELD or taken.text("held") != "gates":
            raise Refused(
                f"{taken.move.title} is {taken.state.value}: there is nothing to accept.",
                hint="Only a stage whose soak is over and whose gates could not tell can be accepted.",
            )
        return _pass(desk, taken, f"accepted by {desk.books.owner.actor}: {reason}")
