"""What a move is made with."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from secops.rollout.books import Books
from secops.targets.target import Target

if TYPE_CHECKING:
    from secops.settings import Settings

WAITS: Final = (2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds between two looks at a deployment; the last one again and again."""
LOOKS: Final = 3
"""How often what was written is read back until it is there: some platforms take a moment."""


def _silent(_: str) -> None:
    pass


@dataclass
class Desk:
    """What a move is made with.

    Attributes:
        target: Where.
        books: The journals.
        settings: Of this run.
        told: Is told what happens, a sentence each.
        sleep: Waits for some seconds.
        waits: Seconds between two looks at a deployment; the last one again and again.
        probe: The service's own health page, if the target's description names one.
    """

    target: Target
    books: Books
    settings: Settings | None = None
    told: Callable[[str], None] = _silent
    sleep: Callable[[float], None] = time.sleep
    waits: Sequence[float] = WAITS
    probe: str = ""
    warnings: list[str] = field(default_factory=list)

    def warn(self, sentence: str) -> None:
        """Keep something that a person must know, and tell it."""
        self.warnings.append(sentence)
        self.told(sentence)
