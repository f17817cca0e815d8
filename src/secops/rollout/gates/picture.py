"""What a gate saw, as a drawing: its series, what was usual before, what is tolerated, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from secops.output.plot import Dot, Level, Plot
from secops.rollout.gates.gate import Reading, Verdict

_SEVERITIES: Final = {
    Verdict.PASS: "",
    Verdict.FAIL: "high",
    Verdict.INCONCLUSIVE: "medium",
    Verdict.ERROR: "medium",
}


def pictures(readings: Sequence[Reading]) -> list[Plot]:
    """Return a drawing for each gate of an operation, in the order in which they were first asked.

    Args:
        readings: Of any gates, in the order of time.
    """
    gates: dict[str, list[Reading]] = {}
    for reading in readings:
        gates.setdefault(reading.gate, []).append(reading)
    return [picture(each) for each in gates.values()]


def picture(readings: Sequence[Reading]) -> Plot:
    """Return the drawing of one gate.

    Args:
        readings: All of one gate, in the order of time; at least one. Readings that came twice (their
            record was lost in between) are drawn once.
    """
    last = readings[-1]
    measured = {(point.at, point.counted): point for each in readings for point in each.points}
    levels = []
    baseline = next(
        (each.baseline for each in reversed(readings) if each.baseline is not None), None
    )
    limit = next((each.limit for each in reversed(readings) if each.limit is not None), None)
    if baseline is not None and baseline != limit:
        levels.append(Level("before", baseline))
    if limit is not None:
        levels.append(Level("tolerated", limit, strict=True))
    return Plot(
        title=f"{last.gate} ({last.kind})",
        unit=last.unit,
        dots=[
            Dot(point.at, point.value, full=point.counted, weight=point.weight)
            for point in sorted(measured.values(), key=lambda each: each.at)
        ],
        levels=levels,
        verdict=last.verdict.value,
        summary=last.summary,
        severity=_SEVERITIES[last.verdict],
    )
