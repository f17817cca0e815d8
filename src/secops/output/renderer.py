"""What a format must be able to do; each format is one module that does it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# Rows that are written at once: enough for speed, few enough for any machine's memory.
BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class Rows:
    """A result to print.

    Attributes:
        columns: Their names.
        rows: The first row is already there, so what fails early fails before anything is printed.
        title: Above the table, or an empty string.
        severity: The position of the column that colours a row, or ``None``.
        empty: What to say where there are no rows.
    """

    columns: tuple[str, ...]
    rows: Iterator[Sequence[object]]
    title: str
    severity: int | None
    empty: str

    def batches(self, size: int = BATCH) -> Iterator[list[Sequence[object]]]:
        """Hand out the rows in lists of at most ``size``; none is empty.

        Raises:
            ValueError: A row has not as many values as there are columns.
        """
        while batch := list(islice(self.rows, size)):
            for row in batch:
                if len(row) != len(self.columns):
                    raise ValueError(f"{len(row)} values for {len(self.columns)} columns")
            yield batch


def gathered(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    title: str = "",
    severity: str | None = None,
    empty: str = "",
) -> Rows:
    """Make :class:`Rows` of what a caller has, fetching the first row."""
    names = tuple(columns)
    iterator = iter(rows)
    first = list(islice(iterator, 1))
    position = names.index(severity) if severity in names else None
    return Rows(names, chain(first, iterator), title, position, empty)


class Renderer(Protocol):
    """One format on one stream."""

    def rows(self, rows: Rows) -> int:
        """Print a result as it arrives and return how many rows it had."""

    def paragraph(self, text: str) -> None:
        """Print one line of text."""

    def document(self, value: object, lines: Iterable[str]) -> None:
        """Print a value, or the lines that say the same to a person."""
