"""Months and what covers them. Every boundary is midnight UTC on the first of a month."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FIRST: Final = datetime.min.replace(tzinfo=UTC)
"""Stands for MINVALUE."""
LAST: Final = datetime.max.replace(tzinfo=UTC)
"""Stands for MAXVALUE."""

MARGIN: Final = timedelta(hours=24)
"""How far away the boundary must be that a conversion draws: until it is done, events beyond it fail."""

AHEAD: Final = 3
"""How many whole months must have their partition before they begin."""

_DECEMBER: Final = 12


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A range of time: ``lower`` is in it, ``upper`` is not."""

    lower: datetime
    upper: datetime

    def __str__(self) -> str:
        return f"from {shown(self.lower)} to {shown(self.upper)}"


def shown(boundary: datetime) -> str:
    """Write a boundary: the day alone where it is midnight."""
    if boundary in {FIRST, LAST}:
        return "the beginning" if boundary == FIRST else "the end"
    midnight = boundary.time() == datetime.min.time()
    return f"{boundary:%Y-%m-%d}" if midnight else f"{boundary:%Y-%m-%d %H:%M:%S}Z"


def month_of(moment: datetime) -> datetime:
    """Return the beginning of the month that a moment is in."""
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def later(boundary: datetime, months: int) -> datetime:
    """Return the beginning of a later month."""
    start = month_of(boundary)
    years, month = divmod(start.month - 1 + months, _DECEMBER)
    return start.replace(year=start.year + years, month=month + 1)


def cutoff(now: datetime) -> datetime:
    """Return where a conversion that begins now divides old from new: :data:`MARGIN` away or more."""
    following = later(now, 1)
    return following if following - now >= MARGIN else later(now, 2)


def missing(covered: Iterable[Span], wanted: Span) -> list[Span]:
    """Return what of a span nothing covers, in order, cut at the months' boundaries."""
    gaps = []
    reached = wanted.lower
    for each in sorted(covered):
        if each.lower > reached:
            gaps.append(Span(reached, min(each.lower, wanted.upper)))
        reached = max(reached, each.upper)
        if reached >= wanted.upper:
            break
    if reached < wanted.upper:
        gaps.append(Span(reached, wanted.upper))
    return [part for gap in gaps if gap.lower < gap.upper for part in _by_month(gap)]


def _by_month(span: Span) -> Iterator[Span]:
    lower = span.lower
    while lower < span.upper:
        upper = min(later(lower, 1), span.upper)
        yield Span(lower, upper)
        lower = upper


def ahead(covered: Iterable[Span], now: datetime) -> int:
    """Return how many whole months after the current one are covered without a gap from now on.

    Returns:
        0 where the rest of this month, or the next, is not covered; -1 where not even now is.
    """
    spans = list(covered)
    if not any(each.lower <= now < each.upper for each in spans):
        return -1
    reached = now
    for each in sorted(spans):
        if each.lower <= reached:
            reached = max(reached, each.upper)
    if reached == LAST:
        return 12 * (LAST.year - now.year)  # MAXVALUE: for longer than anybody looks
    this = month_of(now)
    return max(0, 12 * (reached.year - this.year) + reached.month - this.month - 1)


def wanted(now: datetime, months: int) -> Span:
    """Return the span to be covered for so many whole months ahead: this month and those."""
    return Span(month_of(now), later(now, months + 1))
