"""What is live against what the journal last recorded."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from secops.rollout.entries import Standing
from secops.rollout.plan import Recorded, recorded
from secops.rollout.recovery import value_of
from secops.targets.target import MARKER, Edit, Snapshot


class Way(enum.StrEnum):
    """How a variable came away from what was recorded."""

    CHANGED = "changed"
    """It has another value."""
    MISSING = "missing"
    """It is gone."""
    APPEARED = "appeared"
    """It was to be absent."""
    SEALED = "sealed"
    """Nobody can read it any more."""
    LITERAL = "reference replaced"
    """It referred to another, and is a text now."""
    WENT_BACK = "went back"
    """It is as it was before a move, and so are all others: the platform was rolled back."""


@dataclass(frozen=True, slots=True)
class Drift:
    """One variable that is not as it was recorded.

    Attributes:
        name: Which.
        way: How.
        recorded: What the journal left it as.
        live: What it is; ``None`` where it is absent or sealed.
        who: Who changed it, as far as the target knows.
        at: When, likewise.
        move: The move that left it as recorded.
    """

    name: str
    way: Way
    recorded: str | None
    live: str | None
    who: str
    at: datetime | None
    move: Standing


def find(
    standings: Sequence[Standing], snapshot: Snapshot, edits: Sequence[Edit] = ()
) -> list[Drift]:
    """Compare what is live with what was recorded.

    Args:
        standings: The target's moves.
        snapshot: What the target holds.
        edits: Its history, newest first, where it keeps one.
    """
    known = recorded(standings)
    back = _went_back(standings, snapshot, known)
    found: list[Drift] = []
    for name, expected in sorted(known.items()):
        way = _way(name, expected, snapshot)
        if way is None:
            continue
        who, at = _changed(name, snapshot, edits)
        found.append(
            Drift(
                name,
                Way.WENT_BACK if back else way,
                expected.value,
                value_of(snapshot, name),
                who,
                at,
                expected.standing,
            )
        )
    return found


def _way(name: str, expected: Recorded, snapshot: Snapshot) -> Way | None:
    variable = snapshot.variables.get(name)
    if variable is None:
        return None if expected.value is None else Way.MISSING
    if variable.value is None:
        return Way.SEALED
    if variable.value == expected.value:
        return None
    if expected.value is None:
        return Way.APPEARED
    if "${{" in expected.value and not variable.reference:
        return Way.LITERAL
    return Way.CHANGED


def _went_back(
    standings: Sequence[Standing], snapshot: Snapshot, known: dict[str, Recorded]
) -> bool:
    """Say whether everything, the marker included, is as it was when an older move ended."""
    marker = value_of(snapshot, MARKER)
    older = [
        index
        for index, each in enumerate(standings)
        if str(each.move.id) == marker and each.applied
    ]
    if not older or older[0] == len(standings) - 1:
        return False
    then = recorded(standings[: older[0] + 1])
    return bool(known) and all(
        value_of(snapshot, name) == each.value for name, each in then.items()
    )


def _changed(name: str, snapshot: Snapshot, edits: Sequence[Edit]) -> tuple[str, datetime | None]:
    for edit in edits:
        if name in edit.names:
            return edit.who, edit.at
    variable = snapshot.variables.get(name)
    return ("", None) if variable is None else (variable.changed_by, variable.changed_at)
