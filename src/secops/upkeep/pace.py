"""How much to do at once, and how long to rest in between."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

TARGET: Final = timedelta(milliseconds=50)
"""How long a batch should take. An update of a row that is being deleted waits for the batch's end, so
this is half of what the app may ever wait for us."""

MOST: Final = 50_000
"""Rows that a batch has at most, however fast they go."""

# Below this the cost of a transaction is most of what a batch costs.
_LEAST: Final = 200
_FIRST: Final = 5_000
# One slow batch may be somebody else's doing; a batch twice as large as a fast one surprises nobody.
_SLOWER, _FASTER = 0.5, 2.0
_REST: Final = 0.01


@dataclass
class Pace:
    """The size of the next batch, from the time that the last one took.

    Attributes:
        most: Rows that a batch has at most.
        pause: How long to rest after each batch; ``None`` for a hundredth of the batch's own time.
        target: How long a batch should take.
        size: Rows of the next batch.
    """

    most: int = MOST
    pause: timedelta | None = None
    target: timedelta = TARGET
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = min(_FIRST, self.most)

    def took(self, seconds: float) -> None:
        """Learn from the batch that has just ended.

        Args:
            seconds: How long it took, from its first statement to its commit.
        """
        factor = self.target.total_seconds() / max(seconds, 1e-6)
        wished = round(self.size * min(max(factor, _SLOWER), _FASTER))
        self.size = max(min(wished, self.most), min(_LEAST, self.most))

    def rest(self, seconds: float) -> float:
        """Return for how many seconds to rest after a batch that took so many."""
        return self.pause.total_seconds() if self.pause is not None else seconds * _REST
