"""Beginning a move: from a plan that somebody confirmed to the first entry of its journal."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from secops.errors import Conflict, NotYet, OutcomeUnknown, SecopsError
from secops.rollout.books import ROLLBACK
from secops.rollout.desk import Desk
from secops.rollout.engine import check_time, drive
from secops.rollout.entries import Standing
from secops.rollout.moves import Kind, Move
from secops.rollout.overwritten import SKEW, edits_before
from secops.rollout.plan import Plan
from secops.rollout.recovery import value_of
from secops.rollout.rolling_back import closing
from secops.rollout.states import State
from secops.rollout.telling import busy
from secops.targets.target import MARKER


@dataclass(frozen=True, slots=True)
class Order:
    """Why and how a plan is carried out.

    Attributes:
        kind: A stage or a profile.
        rollout: The rollout's name; empty for a profile.
        stage: The stage's id, or the profile's name.
        reason: Why.
        ticket: The ticket it belongs to.
        command: The command's words.
        on_fail: ``rollback`` or ``hold``.
        deadline: How long a deployment may take.
        relaxed_for: How long what becomes looser may stay.
        notes: What else was decided.
    """

    kind: Kind
    rollout: str
    stage: str
    reason: str = ""
    ticket: str = ""
    command: str = "rollout"
    on_fail: str = "rollback"
    deadline: timedelta = timedelta(minutes=15)
    relaxed_for: timedelta | None = None
    notes: Mapping[str, object] = field(default_factory=dict)


def begin(desk: Desk, plan: Plan, order: Order) -> Standing:
    """Record what will be written; nothing is written yet.

    Raises:
        Busy: Another move holds the target.
        Unreachable: The target or the database is not there.
    """
    now = desk.books.now()
    urgent = order.command == ROLLBACK
    notes = edits_before(desk.target, now)
    there: tuple[str, ...] = ()
    if desk.target.traits.deploys and not urgent:
        there = tuple(each.id for each in desk.target.deployments(now - SKEW))
    move = Move(
        id=uuid.uuid4(),
        kind=order.kind,
        target=desk.target.name,
        fingerprint=desk.target.fingerprint,
        rollout=order.rollout,
        stage=order.stage,
        keys=plan.keys,
        marker_before=value_of(plan.snapshot, MARKER),
        actor=desk.books.owner.actor,
        host=desk.books.owner.host,
        reason=order.reason,
        ticket=order.ticket,
        command=order.command,
        deployments=there,
        soak=plan.soaking.length if plan.soaking else None,
        pure_after=plan.soaking.pure_after if plan.soaking else timedelta(0),
        gates=plan.gates,
        on_fail=order.on_fail,
        deadline=order.deadline,
        relaxes=plan.relaxes,
        relaxed_for=order.relaxed_for if plan.relaxes else None,
        digest=plan.digest,
        notes={**order.notes, **notes},
    )
    return desk.books.begin(move, closing(desk, move) if urgent else ())


def carry_out(desk: Desk, plan: Plan, standing: Standing, *, wait: bool = True) -> Standing:
    """Write what was recorded, deploy it, and watch it come up.

    Raises:
        Conflict: Somebody else wrote what it writes.
        OutcomeUnknown: It cannot be known how far it is.
        Unreachable: The target was not reached, and nothing was written.
    """
    if not plan.keys:
        return desk.books.record(standing, State.PASSED, why="it is so already", over=True)
    # An urgent one does without a second look: what was read was read just now.
    snapshot = plan.snapshot if standing.move.command == ROLLBACK else None
    return drive(desk, standing, fresh=True, snapshot=snapshot, wait=wait)


def standing_in_the_way(desk: Desk) -> SecopsError | None:
    """Say why no other move can begin; ``None`` where the target is free."""
    active = desk.books.active()
    if active is None:
        return None
    hold = desk.books.hold(active)
    if hold.alive and hold.owner != desk.books.owner:
        return busy(active, hold)
    return _in_the_way(active, desk.books.now())


def _in_the_way(active: Standing, now: datetime) -> SecopsError:
    move = active.move
    details: dict[str, object] = {"move": str(move.id), "state": active.state.value}
    if active.state is State.CONFLICT:
        return Conflict(
            f"{move.title} on {move.target} met a foreign change: {active.text('why')}.",
            hint="`secops rollout status` shows it. `secops rollback` puts back the rest.",
            details=details,
        )
    if active.state in {State.SOAKING, State.HELD}:
        try:
            check_time(active, now)
        except NotYet as error:
            return error
        why = f": {active.text('why')}" if active.text("why") else ""
        return NotYet(
            f"{move.title} on {move.target} has not passed its gates{why}.",
            hint="`secops rollout tick` asks them; `secops rollout status` shows what they say.",
            details=details,
        )
    if active.state is State.DEPLOYING:
        return NotYet(
            f"The deployment of {move.title} on {move.target} is on its way.",
            hint="`secops rollout tick` looks at it.",
            details=details,
        )
    return OutcomeUnknown(
        f"{move.title} on {move.target} was begun by {move.actor}@{move.host} and not finished: it is "
        f"{active.state.value}.",
        hint="`secops rollout resume` finishes it, `secops rollback` undoes it.",
        details=details,
    )
