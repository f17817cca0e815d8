"""Asking the gates of a move, and keeping what they said."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from secops.errors import SecopsError
from secops.rollout.desk import Desk
from secops.rollout.entries import Standing
from secops.rollout.gates.gate import Moment, Reading, Surroundings, Verdict, build
from secops.rollout.states import State

if TYPE_CHECKING:
    from secops.rollout.moves import Watched


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What all gates of a move said at one moment.

    Attributes:
        at: When.
        soaked: Whether the soak was over then.
        readings: What each said.
    """

    at: datetime
    soaked: bool
    readings: tuple[Reading, ...]

    @property
    def failed(self) -> tuple[Reading, ...]:
        """Those that say no."""
        return tuple(each for each in self.readings if each.verdict is Verdict.FAIL)

    @property
    def undecided(self) -> tuple[Reading, ...]:
        """Those that could not tell, or could not be asked."""
        return tuple(
            each for each in self.readings if each.verdict in {Verdict.INCONCLUSIVE, Verdict.ERROR}
        )

    @property
    def passed(self) -> bool:
        """Whether all say yes, and the soak is over."""
        return self.soaked and all(each.verdict is Verdict.PASS for each in self.readings)


def ask(desk: Desk, standing: Standing) -> Verdicts:
    """Ask every gate of a move, and keep what it says and what it needs next time.

    Raises:
        Busy: Somebody took the move over.
    """
    assert desk.books.journal is not None
    assert desk.settings is not None
    now = desk.books.now()
    kept = desk.books.journal.gates(standing.move.id)
    around = Surroundings(desk.target, desk.settings, desk.books.journal.conn, desk.probe)
    settled = _settled(desk, standing)
    readings: list[Reading] = []
    for gate in standing.move.gates:
        moment = _moment(standing, now, kept.get(gate.name, {}), settled)
        readings.append(_read(desk, gate, moment, around))
    desk.books.journal.save_readings(
        standing.move.id,
        desk.books.epoch(standing),
        now,
        [(each.gate, each.verdict.value, each.as_dict(), each.state) for each in readings],
    )
    ends = standing.moment("soak_ends")
    return Verdicts(now, ends is not None and now >= ends, tuple(readings))


def _read(desk: Desk, gate: Watched, moment: Moment, around: Surroundings) -> Reading:
    try:
        return build(gate, desk.settings).read(moment, around)
    except SecopsError as error:
        # Its description was good when the move began; what broke it since says nothing of the service.
        return Reading(gate.name, gate.kind, Verdict.ERROR, error.message)


def _moment(
    standing: Standing, now: datetime, previous: dict[str, object], settled: datetime | None
) -> Moment:
    live = standing.moment("live_since")
    return Moment(
        operation=str(standing.move.id),
        deployment=standing.text("deployment"),
        began=next(
            (each.at for each in standing.entries if each.state is State.APPLIED), standing.began
        ),
        live_since=live,
        pure_from=standing.moment("pure_from") or now,
        now=now,
        soak_ends=standing.moment("soak_ends") or now,
        settled=settled,
        previous=previous,
    )


def _settled(desk: Desk, standing: Standing) -> datetime | None:
    """Return since when the configuration before this move has been undisturbed.

    What passed was watched while it was pure: that time is the next stage's baseline. Of what was undone
    nothing is.
    """
    ended = [
        (each.moment("pure_from") if each.last.state is State.PASSED else None) or each.last.at
        for each in desk.books.standings()
        if each.began < standing.began and each.applied and each.move.id != standing.move.id
    ]
    return max(ended, default=None)
