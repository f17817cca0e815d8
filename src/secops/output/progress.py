"""Progress, as domain code sees it: something to tell how far the work is."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class Progress(Protocol):
    """Told by whoever does the work; who shows it, and whether anybody does, is not their business."""

    def advance(self, count: int = 1) -> None:
        """Say that so many more are done."""

    def describe(self, text: str) -> None:
        """Say what is being done now."""


class _Silent:
    def advance(self, count: int = 1) -> None:
        """Show nothing."""

    def describe(self, text: str) -> None:
        """Show nothing."""


SILENT: Final[Progress] = _Silent()


@contextmanager
def silent() -> Iterator[Progress]:
    """Show no progress for the length of a block."""
    yield SILENT
