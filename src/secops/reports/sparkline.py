"""A row of numbers as a line of bars, to be seen at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

_BARS: Final = "▁▂▃▄▅▆▇█"


def draw(values: Sequence[float], width: int = 60) -> str:
    """Draw numbers as bars, the largest as the highest.

    Args:
        values: Not negative, in order.
        width: How many bars at most; where there are more values, each bar is the largest of several.

    Returns:
        One character a bar; nothing where there are no values. The lowest bar means zero or nearly so.
    """
    shown = _squeeze(values, width)
    highest = max(shown, default=0)
    if highest <= 0:
        return _BARS[0] * len(shown)
    return "".join(_BARS[round(value / highest * (len(_BARS) - 1))] for value in shown)


def _squeeze(values: Sequence[float], width: int) -> list[float]:
    if len(values) <= width:
        return list(values)
    edges = [number * len(values) // width for number in range(width + 1)]
    return [max(values[low:high]) for low, high in pairwise(edges)]
