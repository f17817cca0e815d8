"""Tables for people: columns set apart by two blanks, folded to the width of a terminal if they must be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from secops.output.safe import inert
from secops.output.severity import style
from secops.output.values import are_numbers, for_people

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from secops.output.renderer import Rows
    from secops.output.terminal import Stream

# The rows that decide how wide the columns are; later ones stream past and may be wider.
_SAMPLE: Final = 1000
GAP: Final = "  "


def width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from wcwidth import wcswidth

    found: int = wcswidth(text)
    return found if found >= 0 else len(text)


class Table:
    """``table``.

    On a terminal too narrow for the columns rich folds them; anywhere else nothing is drawn, folded or cut
    off, and rich, which takes longer to import than most results to print, is not imported.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._started = False

    def rows(self, rows: Rows) -> int:
        """Print a table, or the sentence where there are no rows."""
        if self._started:
            self._stream.write("\n")
        self._started = True
        if rows.title:
            self._stream.write(self._stream.headed(inert(rows.title)) + "\n")
        count = 0
        plain: _Plain | None = None
        folds = False
        for batch in rows.batches(_SAMPLE):
            shown = [[inert(for_people(value)) for value in row] for row in batch]
            if plain is None:
                plain = _Plain(self._stream, rows, batch, shown)
                folds = self._stream.drawn and plain.width > self._stream.width
                if not folds:
                    plain.header()
            if folds:
                from secops.output.drawn_table import draw

                draw(self._stream, rows, batch, shown)
            else:
                plain.lines(batch, shown)
            count += len(batch)
        if not count:
            self._stream.write(f"{inert(rows.empty)}\n")
        return count

    def paragraph(self, text: str) -> None:
        """Print one line."""
        self._started = True
        self._stream.write(f"{inert(text)}\n")

    def document(self, value: object, lines: Iterable[str]) -> None:  # noqa: ARG002  the interface's
        """Print the lines."""
        self._started = True
        self._stream.write("".join(f"{inert(line)}\n" for line in lines))


class _Plain:
    """Columns as wide as the widest of the first rows; nothing is folded or cut off."""

    def __init__(
        self,
        stream: Stream,
        rows: Rows,
        sample: Sequence[Sequence[object]],
        shown: Sequence[Sequence[str]],
    ) -> None:
        self._stream = stream
        self._severity = rows.severity
        self._names = [inert(name) for name in rows.columns]
        self._numbers = [are_numbers(column) for column in zip(*sample, strict=True)]
        self._widths = [
            max(map(width, (name, *column)))
            for name, column in zip(self._names, zip(*shown, strict=True), strict=True)
        ]

    @property
    def width(self) -> int:
        """How wide a line is."""
        return sum(self._widths) + len(GAP) * (len(self._widths) - 1)

    def header(self) -> None:
        """Print the columns' names and the rule below."""
        dash = "─" if self._stream.drawn and self._stream.unicode else "-"
        self._stream.write(self._stream.headed(self._line(self._names)) + "\n")
        self._stream.write(GAP.join(dash * size for size in self._widths) + "\n")

    def lines(self, batch: Sequence[Sequence[object]], shown: Sequence[Sequence[str]]) -> None:
        """Print rows."""
        lines = map(self._line, shown)
        if self._severity is not None and self._stream.colour:
            marks = (style(row[self._severity]) for row in batch)
            lines = map(self._stream.styled, lines, marks)
        self._stream.write("".join(f"{line}\n" for line in lines))

    def _line(self, cells: Sequence[str]) -> str:
        padded = [
            " " * (size - width(cell)) + cell if number else cell + " " * (size - width(cell))
            for cell, size, number in zip(cells, self._widths, self._numbers, strict=True)
        ]
        return GAP.join(padded).rstrip(" ")
