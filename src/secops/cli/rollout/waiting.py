"""``--wait``: ticks again and again, and shows how far it is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from secops.durations import about

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from secops.cli.command import Run
    from secops.rollout.desk import Desk
    from secops.rollout.ticking import Ticked


def until_over(run: Run, desk: Desk, ticked: Ticked, interval: timedelta) -> Ticked:
    """Tick until the move is over or waits for a person."""
    from secops.rollout import ticking

    with run.output.progress(f"{ticked.standing.move.title} soaks", None, "looks") as progress:
        while not ticked.standing.over and ticked.standing.state.value != "held":
            progress.describe(_words(ticked, desk.books.now()))
            time.sleep(_pause(ticked, desk.books.now(), interval))
            again = ticking.tick(desk, wait=True)
            if again is None:  # somebody else brought it to its end
                last = desk.books.standings()
                mine = [each for each in last if each.move.id == ticked.standing.move.id]
                return ticking.Ticked(mine[0], ticked.verdicts, ticked.rollback)
            ticked = again
            progress.advance()
    return ticked


def _pause(ticked: Ticked, now: datetime, interval: timedelta) -> float:
    """Return how long to sleep: to the end of the soak where that is nearer."""
    ends = ticked.standing.moment("soak_ends")
    left = (ends - now).total_seconds() if ends is not None else interval.total_seconds()
    return min(interval.total_seconds(), left + 0.05) if left > 0 else interval.total_seconds()


def _words(ticked: Ticked, now: datetime) -> str:
    standing = ticked.standing
    ends = standing.moment("soak_ends")
    left = f", {about(ends - now)} left" if ends is not None and ends > now else ""
    gates = ""
    if ticked.verdicts:
        gates = "; " + ", ".join(
            f"{each.gate} {each.verdict.value}" for each in ticked.verdicts.readings
        )
    return f"{standing.move.title} is {standing.state.value}{left}{gates}"
