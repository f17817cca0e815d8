"""Rules across variables: what one demands of another."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from secops.variables.kinds import Value


class Level(enum.StrEnum):
    """How bad a broken rule is."""

    ERROR = "error"
    """Such an environment does not work; it is refused."""
    WARNING = "warning"
    """It works, and hardly as somebody means it."""


class Order(enum.StrEnum):
    """How the values of two variables stand to one another."""

    LARGER = "larger than"
    NO_SMALLER = "no smaller than"


_NOTHING: Final[Mapping[str, Value]] = {}


@dataclass(frozen=True, slots=True)
class Rule:
    """What variables demand of one another: ``when`` needs ``need``, or ``first`` is ``order`` ``second``.

    Attributes:
        because: What happens otherwise, in a sentence.
        level: How bad it is to break it.
        when: Values that bring the rule about; all of them.
        need: Values that are then needed.
        first: A variable that is compared.
        order: How it must stand to the second.
        second: The other.
    """

    because: str
    level: Level = Level.ERROR
    when: Mapping[str, Value] = field(default_factory=dict)
    need: Mapping[str, Value] = field(default_factory=dict)
    first: str = ""
    order: Order = Order.LARGER
    second: str = ""

    @property
    def names(self) -> frozenset[str]:
        """The variables that it speaks of."""
        return frozenset({*self.when, *self.need, self.first, self.second} - {""})

    def holds(self, values: Mapping[str, Value]) -> bool:
        """Say whether an environment keeps it; a variable whose value is not known breaks nothing."""
        if self.first:
            if self.first not in values or self.second not in values:
                return True
            one, other = values[self.first], values[self.second]
            if self.order is Order.LARGER:
                return bool(one > other)  # type: ignore[operator]  # of one kind: checked when read
            return bool(one >= other)  # type: ignore[operator]  # likewise
        if any(values.get(name) != value for name, value in self.when.items()):
            return True
        return all(values.get(name, value) == value for name, value in self.need.items())
