"""A series over time with the levels that it is held against: one model, drawn as text or as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

UNITS: Final = ("share", "s", "yes")
"""``share`` is shown in percent, ``s`` in seconds, ``yes`` as yes or no."""

_ROUND: Final = (1, 1.2, 1.6, 2, 2.5, 3, 4, 5, 6, 8, 10)


@dataclass(frozen=True, slots=True)
class Dot:
    """One measurement.

    Attributes:
        at: When.
        value: What; ``None`` where there was nothing to measure.
        full: Whether it counts; one that does not is drawn hollow.
        weight: How much it is based on, for those that are drawn as one.
    """

    at: datetime
    value: float | None
    full: bool = True
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Level:
    """A horizontal line: something usual, or a limit.

    Attributes:
        label: What it is, in a word or two.
        value: Where it lies.
        strict: Whether it is a limit, which is drawn through; what is merely usual is drawn dashed.
    """

    label: str
    value: float
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing. Its texts may come from outside; whoever draws makes them inert.

    Attributes:
        title: Above it.
        unit: One of :data:`UNITS`.
        dots: In the order of time.
        levels: What they are held against.
        verdict: One word below it, such as ``pass``; empty for none.
        summary: The sentence behind the word.
        severity: How bad that is, as :mod:`secops.output.severity` has it.
        hollow: What a hollow dot means.
    """

    title: str
    unit: str
    dots: Sequence[Dot]
    levels: Sequence[Level] = ()
    verdict: str = ""
    summary: str = ""
    severity: str = ""
    hollow: str = "early, does not count"

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return {
            "title": self.title,
            "unit": self.unit,
            "verdict": self.verdict,
            "summary": self.summary,
            "levels": [
                {"label": each.label, "value": each.value, "strict": each.strict}
                for each in self.levels
            ],
            "dots": [
                {
                    "at": each.at,
                    "value": each.value,
                    "counted": each.full,
                    "weight": each.weight,
                }
                for each in self.dots
            ],
        }

    @property
    def drawn(self) -> list[tuple[Dot, float]]:
        """The dots that have a value, and it."""
        return [(dot, dot.value) for dot in self.dots if dot.value is not None]

    @property
    def top(self) -> float:
        """The end of its axis: a round number that is not below anything."""
        if self.unit == "yes":
            return 1.0
        highest = max(
            [0.0, *(value for _, value in self.drawn), *(each.value for each in self.levels)]
        )
        if highest <= 0:
            return 0.01 if self.unit == "share" else 1.0
        highest *= 1.05
        size = 10.0 ** math.floor(math.log10(highest))
        found = next(step * size for step in _ROUND if step * size >= highest)
        return min(found, 1.0) if self.unit == "share" and highest <= 1 else found

    def ticks(self, count: int) -> list[float]:
        """Return values to write at the axis, from 0 to its end."""
        if self.unit == "yes":
            return [0.0, 1.0]
        return [self.top * number / count for number in range(count + 1)]

    def written(self, value: float) -> str:
        """Write a value in its unit."""
        match self.unit:
            case "yes":
                return "yes" if value >= 1 else "no" if value <= 0 else "partly"
            case "share":
                return f"{_short(100 * value)} %"
            case _:
                return f"{_short(value)} s"


def _short(value: float) -> str:
    digits = 0 if value >= 100 else 1 if value >= 1 else 3  # noqa: PLR2004  three that tell something
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def clock(moments: Sequence[datetime]) -> list[str]:
    """Write moments as short as they stay apart, in UTC."""
    inside = [each.astimezone(UTC) for each in moments]
    if not inside:
        return []
    span = (inside[-1] - inside[0]).total_seconds()
    if span < 10:  # noqa: PLR2004
        return [f"{each:%H:%M:%S}.{each.microsecond // 100_000}" for each in inside]
    many_days = inside[0].date() != inside[-1].date()
    form = "%m-%d %H:%M" if many_days else "%H:%M" if span >= 600 else "%H:%M:%S"  # noqa: PLR2004
    return [f"{each:{form}}" for each in inside]
