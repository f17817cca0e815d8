"""Tables for people: drawn on a terminal, plain columns anywhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from secops.output.safe import inert
from secops.output.severity import style
from secops.output.values import for_people, is_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from secops.output.renderer import Rows
    from secops.output.terminal import Stream

# The rows that decide how wide the columns are; later ones stream past and may be wider.
_SAMPLE: Final = 1000
_GAP: Final = "  "


def width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from wcwidth import wcswidth

    found: int = wcswidth(text)
    return found if found >= 0 else len(text)


class Table:
    """``table``."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._started = False

    def rows(self, rows: Rows) -> int:
        """Print a table, or the sentence where there are no rows."""
        if self._started:
            self._stream.write("\n")
        self._started = True
        count = 0
        plain: _Plain | None = None
        for batch in rows.batches(_SAMPLE):
            if self._stream.drawn:
                from secops.output.drawn_table import draw

                draw(self._stream, rows, batch, rows.title if not count else "")
            else:
                if plain is None:
                    plain = _Plain(self._stream, rows, batch)
                plain.lines(batch)
            count += len(batch)
        if not count:
            if rows.title:
                self._stream.write(f"{inert(rows.title)}\n")
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
    """Columns set apart by two blanks: no box, nothing cut off, whatever the width of anything."""

    def __init__(self, stream: Stream, rows: Rows, sample: Sequence[Sequence[object]]) -> None:
        self._stream = stream
        self._severity = rows.severity
        names = [inert(name) for name in rows.columns]
        self._numbers = [numeric(sample, place) for place in range(len(names))]
        self._widths = [
            max(width(name), *(width(inert(for_people(row[place]))) for row in sample))
            for place, name in enumerate(names)
        ]
        if rows.title:
            stream.write(f"{inert(rows.title)}\n")
        stream.write(self._line(names))
        stream.write(_GAP.join("-" * size for size in self._widths) + "\n")

    def lines(self, batch: Sequence[Sequence[object]]) -> None:
        """Print rows."""
        lines = []
        for row in batch:
            line = self._line([inert(for_people(value)) for value in row])
            if self._severity is not None:
                line = self._stream.styled(line[:-1], style(row[self._severity])) + "\n"
            lines.append(line)
        self._stream.write("".join(lines))

    def _line(self, cells: Sequence[str]) -> str:
        padded = []
        for cell, size, number in zip(cells, self._widths, self._numbers, strict=True):
            blanks = " " * (size - width(cell))
            padded.append(blanks + cell if number else cell + blanks)
        return _GAP.join(padded).rstrip(" ") + "\n"


def numeric(sample: Sequence[Sequence[object]], place: int) -> bool:
    """Say whether a column holds numbers and nothing else, and so is aligned to the right."""
    values = [row[place] for row in sample if row[place] is not None]
    return bool(values) and all(is_number(value) for value in values)
