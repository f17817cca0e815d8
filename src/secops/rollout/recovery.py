"""What became of a write: each variable as it is now against what it was and what it was to be.

This settles what no reply tells: after a crash, a lost reply, a write that was applied by half. The marker
goes with the write, so where it is, the write was; where it is not, the values speak.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from secops.rollout.moves import Key, Kind, Move
from secops.targets.target import MARKER, Change, Snapshot


class Side(enum.Enum):
    """Where a variable stands."""

    BEFORE = "before"
    AFTER = "after"
    FOREIGN = "foreign"


class Outcome(enum.Enum):
    """What became of a write."""

    NOT_APPLIED = "not applied"
    APPLIED = "applied"
    TORN = "torn"
    """Some of it was written, the rest is as it was before: it can be finished or undone."""
    CONFLICT = "conflict"
    """Something is neither as it was nor as it was to be: somebody else wrote."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A move against what its target holds.

    Attributes:
        move: The move.
        sides: Where each of its variables stands.
        live: What each is now; ``None`` where it is absent or hidden.
        marked: Whether the marker is this move's.
        marker: The marker that is there.
    """

    move: Move
    sides: Mapping[str, Side]
    live: Mapping[str, str | None]
    marked: bool
    marker: str | None

    @property
    def foreign(self) -> tuple[str, ...]:
        """The variables that somebody else changed."""
        return tuple(name for name, side in self.sides.items() if side is Side.FOREIGN)

    @property
    def anything(self) -> bool:
        """Whether anything of the move is there."""
        return self.marked or Side.AFTER in self.sides.values()

    @property
    def outcome(self) -> Outcome:
        """What became of the write."""
        sides = set(self.sides.values())
        if Side.FOREIGN in sides or self._other_marker:
            return Outcome.CONFLICT
        if sides <= {Side.AFTER} and self.marked:
            return Outcome.APPLIED
        if sides <= {Side.BEFORE} and not self.marked:
            return Outcome.NOT_APPLIED
        return Outcome.TORN

    @property
    def _other_marker(self) -> bool:
        """Whether another secops wrote here: one whose journal is not ours."""
        known = {None, self.move.marker_before, str(self.move.id)}
        return self.move.kind is not Kind.ROLLBACK and self.marker not in known

    def as_rows(self) -> list[dict[str, object]]:
        """Return the three-way table: what each variable was, was to be, and is."""
        return [
            {
                "variable": name,
                "before": key.before,
                "after": key.after,
                "live": self.live[name],
                "is": self.sides[name].value,
            }
            for name, key in sorted(self.move.keys.items())
        ]

    def remaining(self) -> Change:
        """Return the write that makes the move complete and overwrites nobody: foreign values stay."""
        names = [name for name, side in self.sides.items() if side is Side.BEFORE]
        keys = {name: self.move.keys[name] for name in names}
        return Change(
            set={
                **{name: key.after for name, key in keys.items() if key.after is not None},
                MARKER: str(self.move.id),
            },
            unset=frozenset(name for name, key in keys.items() if key.after is None),
            note=self.move.change.note,
        )


def compare(move: Move, snapshot: Snapshot) -> Comparison:
    """Hold a move against what its target holds."""
    marker = value_of(snapshot, MARKER)
    marked = marker == str(move.id)
    sides = {name: _side(snapshot, name, key, marked=marked) for name, key in move.keys.items()}
    live = {name: value_of(snapshot, name) for name in move.keys}
    return Comparison(move, sides, live, marked, marker)


def value_of(snapshot: Snapshot, name: str) -> str | None:
    """Return a variable's value; ``None`` where it is absent, or not given out."""
    found = snapshot.variables.get(name)
    return None if found is None else found.value


def _side(snapshot: Snapshot, name: str, key: Key, *, marked: bool) -> Side:
    found = snapshot.variables.get(name)
    if key.hidden:
        return Side.AFTER if marked else Side.BEFORE
    if found is not None and found.value is None:  # sealed since
        return Side.FOREIGN
    value = None if found is None else found.value
    if value == key.after:
        return Side.AFTER
    return Side.BEFORE if value == key.before else Side.FOREIGN
