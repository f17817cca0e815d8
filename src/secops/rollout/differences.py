"""What stands between two states of an environment, variable by variable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from secops.rollout.profiles import Assignment
from secops.targets.target import Variable
from secops.variables.entry import Direction
from secops.variables.registry import Broken, Registry


@dataclass(frozen=True, slots=True)
class Difference:
    """One variable in two states.

    Attributes:
        name: Which.
        before: Its value in the first state; ``None`` where it is absent, or the state does not say.
        after: Its value in the second, likewise.
        direction: What the way from the first to the second does to the security of the app; ``None``
            where one of the two does not speak of it.
        hidden: Whether the first state does not give its value out.
    """

    name: str
    before: str | None
    after: str | None
    direction: Direction | None
    hidden: bool = False

    @property
    def differs(self) -> bool:
        """Whether there is anything to change; two spellings of one value are none."""
        absent = (self.before is None) != (self.after is None)
        return self.hidden or absent or self.direction is not Direction.SAME


def from_live(
    known: Registry, live: Mapping[str, Variable], wanted: Assignment
) -> list[Difference]:
    """Say what an assignment would change in what a target holds; what it does not speak of stays."""
    found: list[Difference] = []
    for name in sorted(wanted.names):
        variable = live.get(name)
        hidden = variable is not None and variable.value is None
        before = None if variable is None else variable.value
        after = wanted.set.get(name)
        direction = Direction.NEUTRAL if hidden else known.compare(name, before, after)
        found.append(Difference(name, before, after, direction, hidden))
    return found


def between(known: Registry, one: Assignment, other: Assignment) -> list[Difference]:
    """Say how one assignment differs from another."""
    found: list[Difference] = []
    for name in sorted(one.names | other.names):
        before, after = one.set.get(name), other.set.get(name)
        both = name in one.names and name in other.names
        direction = known.compare(name, before, after) if both else None
        found.append(Difference(name, before, after, direction))
    return found


def rules_broken(
    known: Registry, live: Mapping[str, Variable], wanted: Assignment
) -> tuple[Broken, ...]:
    """Return the rules that a target's environment would break once an assignment is in it."""
    texts = wanted.after({name: each.value for name, each in live.items()})
    return known.check(texts, touched=wanted.names)
