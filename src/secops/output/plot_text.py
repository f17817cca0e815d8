"""A plot in the terminal: dots, and the levels that they are held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from secops.output.plot import Dot, Plot, clock
from secops.output.safe import inert

_HEIGHT: Final = 11
_LOW: Final = 3
_NARROWEST, _WIDEST = 24, 100


@dataclass(frozen=True, slots=True)
class _Signs:
    full: str
    hollow: str
    usual: str
    strict: str
    side: str
    corner: str
    floor: str


_DRAWN: Final = _Signs("●", "○", "╌", "─", "┤", "└", "─")
_TYPED: Final = _Signs("*", "o", "-", "=", "|", "+", "-")


def draw(plot: Plot, width: int = 80, *, unicode: bool = True) -> list[str]:
    """Draw a plot as lines of text, inert.

    Args:
        plot: What to draw.
        width: How many columns there are.
        unicode: Whether more than ASCII can be shown.
    """
    signs = _DRAWN if unicode else _TYPED
    lines = [inert(plot.title)]
    found = plot.drawn
    if not found:
        return [*lines, "  Nothing was measured.", *_verdict(plot)]
    labels = _labels(plot)
    margin = max(map(len, labels)) + 1
    notes = _notes(plot)
    side = max((len(each) for each in notes.values()), default=0)
    columns = min(max(width - margin - 2 - side, _NARROWEST), _WIDEST)
    rows = [[" "] * columns for _ in labels]
    for level in sorted(plot.levels, key=lambda each: each.strict):
        rows[_row(plot, level.value)] = [signs.strict if level.strict else signs.usual] * columns
    first, last = plot.dots[0].at, plot.dots[-1].at
    for column, dot, value in _columns(found, first, last, columns):
        rows[_row(plot, value)][column] = signs.full if dot.full else signs.hollow
    for number, row in enumerate(rows):
        note = notes.get(number, "")
        lines.append(f"{labels[number]:>{margin}}{signs.side}{''.join(row)} {note}".rstrip())
    lines.append(" " * margin + signs.corner + signs.floor * columns)
    lines.append(" " * (margin + 1) + _times(first, last, columns))
    if any(not dot.full for dot, _ in found):
        lines.append(f"{' ' * margin} {signs.full} counts   {signs.hollow} {inert(plot.hollow)}")
    return [*lines, *_verdict(plot)]


def _height(plot: Plot) -> int:
    return _LOW if plot.unit == "yes" else _HEIGHT


def _row(plot: Plot, value: float) -> int:
    lowest = _height(plot) - 1
    return lowest - round(min(max(value / plot.top, 0.0), 1.0) * lowest)


def _labels(plot: Plot) -> list[str]:
    labels = [""] * _height(plot)
    for value in plot.ticks(5):
        labels[_row(plot, value)] = plot.written(value)
    return labels


def _notes(plot: Plot) -> dict[int, str]:
    """Return what stands at the right: the levels by their row, two of one row together."""
    notes: dict[int, str] = {}
    for level in plot.levels:
        row = _row(plot, level.value)
        note = f"{inert(level.label)} {plot.written(level.value)}"
        notes[row] = f"{notes[row]}, {note}" if row in notes else note
    return notes


def _columns(
    found: Sequence[tuple[Dot, float]], first: datetime, last: datetime, columns: int
) -> list[tuple[int, Dot, float]]:
    """Return one dot a column: several are drawn as one, at their weighted mean."""
    span = (last - first).total_seconds() or 1.0
    by_column: dict[tuple[int, bool], list[tuple[Dot, float]]] = {}
    for dot, value in found:
        column = round((dot.at - first).total_seconds() / span * (columns - 1))
        by_column.setdefault((column, dot.full), []).append((dot, value))
    drawn = []
    for (column, _), group in sorted(by_column.items()):
        weight = sum(dot.weight for dot, _ in group)
        mean = (
            sum(value * dot.weight for dot, value in group) / weight
            if weight
            else sum(value for _, value in group) / len(group)
        )
        drawn.append((column, group[0][0], mean))
    return drawn


def _times(first: datetime, last: datetime, columns: int) -> str:
    begin, middle, end = clock([first, first + (last - first) / 2, last])
    end += " UTC"
    if first == last or len(begin) + len(end) + 2 > columns:
        return f"{begin} UTC"
    line = begin + " " * (columns - len(begin) - len(end)) + end
    at = columns // 2 - len(middle) // 2
    if at > len(begin) + 2 and at + len(middle) + 2 < columns - len(end):
        line = line[:at] + middle + line[at + len(middle) :]
    return line


def _verdict(plot: Plot) -> list[str]:
    if not plot.verdict:
        return []
    return [f"{inert(plot.verdict).upper()}: {inert(plot.summary)}"]
