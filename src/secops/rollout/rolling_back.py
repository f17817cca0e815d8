"""Putting back exactly what moves changed, and nothing else.

For each variable: where it is still as the move left it, what it was before comes back (or it goes, where it
was absent); where it is that already, nothing is done; where it is anything else, somebody else wrote it, and
it stays. It needs no database: what was before stands in the journal on this machine.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from secops.errors import NothingMatched
from secops.rollout.books import ROLLBACK, taken_back
from secops.rollout.desk import Desk
from secops.rollout.engine import drive
from secops.rollout.entries import Standing
from secops.rollout.journal import Closing
from secops.rollout.moves import Key, Kind, Move
from secops.rollout.overwritten import edits_before
from secops.rollout.recovery import value_of
from secops.rollout.states import State
from secops.rollout.telling import busy
from secops.targets.target import MARKER, Snapshot
from secops.variables.entry import Direction

if TYPE_CHECKING:
    from secops.variables.registry import Registry

RELAXED_FOR: Final = timedelta(hours=24)
"""How long what a rollback relaxed may stay, where nobody says otherwise."""

_WRITING: Final = frozenset({State.INTENT, State.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Kept:
    """A variable that stays as somebody else left it.

    Attributes:
        name: Which.
        left: How the move left it.
        live: How it is.
        before: What would have come back.
    """

    name: str
    left: str | None
    live: str | None
    before: str | None


@dataclass(frozen=True, slots=True)
class Undoing:
    """What a rollback will do.

    Attributes:
        undone: The moves that it takes back, the newest first.
        keys: What it changes: as it is, and as it comes back.
        already: What is as it was before already.
        kept: What somebody else changed since.
        snapshot: What the target held.
        writes: Whether anything is to be written at all.
        relaxes: The variables that become looser.
        notes: What is kept with the move.
    """

    undone: tuple[Standing, ...]
    keys: dict[str, Key]
    already: tuple[str, ...]
    kept: tuple[Kept, ...]
    snapshot: Snapshot
    writes: bool
    relaxes: tuple[str, ...]
    notes: dict[str, object]


def undoable(standings: Sequence[Standing]) -> list[Standing]:
    """Return the moves that may have changed something that was not taken back, the oldest first."""
    undone = taken_back(standings)
    return [
        each
        for each in standings
        if each.move.kind is not Kind.ROLLBACK
        and each.move.id not in undone
        and (each.applied or not each.over)
    ]


def choose(standings: Sequence[Standing], to: uuid.UUID | None = None) -> list[Standing]:
    """Return the moves that a rollback takes back, the newest first.

    Args:
        standings: The target's moves.
        to: The move whose outcome is wanted back; ``None`` takes back the newest one alone.

    Raises:
        NothingMatched: There is no such move, or none to take back.
    """
    left = undoable(standings)
    if to is not None:
        known = [each for each in standings if each.move.id == to]
        if not known:
            raise NothingMatched(
                f"There is no operation {to} on this target.",
                hint="`secops rollout history` lists them.",
            )
        left = [each for each in left if each.began > known[0].began]
    elif left:
        left = left[-1:]
    if not left:
        raise NothingMatched(
            "There is nothing to roll back here."
            if to is None
            else f"Nothing came after {to} that is not rolled back already.",
            hint="`secops rollout history` lists what was done, `secops rollback --profile relaxed` is "
            "the plan's quick way to looser settings.",
        )
    return left[::-1]


def plan(desk: Desk, undone: Sequence[Standing], registry: Registry | None = None) -> Undoing:
    """Look at the target and say what comes back: two requests at most.

    Args:
        desk: The target and the journals.
        undone: The moves to take back, the newest first.
        registry: What variables mean; ``None`` where that could not be read.
    """
    notes = edits_before(desk.target, desk.books.now())
    snapshot = desk.target.read()
    marker = value_of(snapshot, MARKER)
    marked = marker in {str(each.move.id) for each in undone}
    keys: dict[str, Key] = {}
    already: list[str] = []
    kept: list[Kept] = []
    for name, key in _composed(undone).items():
        found = snapshot.variables.get(name)
        live = None if found is None else found.value
        if key.hidden:
            if marked:
                keys[name] = key
            else:
                already.append(name)
        elif found is not None and found.value is None:
            kept.append(Kept(name, key.before, None, key.after))
        elif live == key.before:
            keys[name] = key
        elif live == key.after:
            already.append(name)
        else:
            kept.append(Kept(name, key.before, live, key.after))
    relaxes = tuple(
        name
        for name, key in keys.items()
        if registry is not None and registry.compare(name, key.before, key.after) is Direction.RELAX
    )
    if kept:
        notes = {**notes, "kept": [each.name for each in kept]}
    return Undoing(
        tuple(undone), keys, tuple(already), tuple(kept), snapshot,
        bool(keys) or (marked and bool(already)), relaxes, notes,
    )  # fmt: skip


def _composed(undone: Sequence[Standing]) -> dict[str, Key]:
    """Return how the newest of some moves left each variable, and what it was before the oldest."""
    found: dict[str, Key] = {}
    for each in undone:
        for name, key in each.move.keys.items():
            newer = found.get(name)
            left = key.after if newer is None else newer.before
            hidden = key.hidden or (newer is not None and newer.hidden)
            found[name] = Key(before=left, after=key.before, hidden=hidden)
    return {name: key for name, key in found.items() if key.before != key.after or key.hidden}


def begin(
    desk: Desk,
    undoing: Undoing,
    *,
    reason: str,
    ticket: str = "",
    relaxed_for: timedelta = RELAXED_FOR,
) -> Standing:
    """Record a rollback: from here on it is finished, whatever happens.

    Raises:
        Busy: Somebody is writing here right now; names them.
    """
    oldest = undoing.undone[-1].move
    newest = undoing.undone[0].move
    move = Move(
        id=uuid.uuid4(),
        kind=Kind.ROLLBACK,
        target=desk.target.name,
        fingerprint=desk.target.fingerprint,
        rollout=newest.rollout,
        stage=f"back from {newest.stage}" if newest is oldest else f"back to before {oldest.stage}",
        keys=undoing.keys,
        marker_before=value_of(undoing.snapshot, MARKER),
        actor=desk.books.owner.actor,
        host=desk.books.owner.host,
        reason=reason,
        ticket=ticket,
        command=ROLLBACK,
        undoes=tuple(each.move.id for each in undoing.undone),
        # What earlier moves deployed; another that is there carries what this one writes.
        deployments=tuple(_deployments(desk.books.standings())),
        relaxes=undoing.relaxes,
        relaxed_for=relaxed_for if undoing.relaxes else None,
        notes=undoing.notes,
    )
    return desk.books.begin(move, closing(desk, move))


def finish(desk: Desk, standing: Standing, undoing: Undoing, *, wait: bool = True) -> Standing:
    """Write what a rollback recorded, deploy it, and watch it come up."""
    if not undoing.writes:
        return desk.books.finish(standing, State.PASSED, why="nothing of it was left")
    return drive(desk, standing, fresh=True, snapshot=undoing.snapshot, wait=wait)


def closing(desk: Desk, move: Move) -> list[Closing]:
    """Return the moves that hold the target and give it up to this one.

    Raises:
        Busy: Somebody is writing here right now.
    """
    found: list[Closing] = []
    for each in desk.books.standings():
        if each.over:
            continue
        hold = desk.books.hold(each)
        if hold.alive and each.state in _WRITING and hold.owner != desk.books.owner:
            raise busy(each, hold)
        facts = {"why": each.text("why") or f"{move.title} took its place"}
        found.append(Closing(each, State.FAILED, facts, hold.epoch))
    return found


def _deployments(standings: Sequence[Standing]) -> list[str]:
    return [name for each in standings if (name := each.text("deployment"))]
