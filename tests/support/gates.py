"""What tests of gates need: a spec, a target that says what it is told to, moments, a source of counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from secops.errors import SecopsError
from secops.rollout.gates.counts import Source, WatchOptions, Window
from secops.rollout.gates.gate import Moment, Reading, Surroundings
from secops.rollout.gates.watch import Watch
from secops.settings import Settings, load
from secops.targets.target import Deployment, Progress, Target, Traits

START = datetime(2026, 11, 24, 12, tzinfo=UTC)
"""When the change was written."""
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
FIVE = 5 * MINUTE


@dataclass(frozen=True)
class Spec:
    name: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Told:
    """A target that says of its deployment what it is told to."""

    progress: Progress | SecopsError = Progress.LIVE
    deploys: bool = True
    name: str = "prod"
    kind: str = "told"

    @property
    def traits(self) -> Traits:
        return Traits(compare_and_set=False, deploys=self.deploys)

    def status(self, deployment: str) -> Deployment:
        if isinstance(self.progress, SecopsError):
            raise self.progress
        return Deployment(deployment, self.progress, self.progress.value.upper())


def settings() -> Settings:
    return load({}, environ={}, read_file=False)


def around(target: object = None, conn: Any = None, probe: str = "") -> Surroundings:
    return Surroundings(cast("Target", target or Told()), settings(), conn, probe)


def moment(
    after: timedelta,
    *,
    live: timedelta | None = timedelta(0),
    pure: timedelta = timedelta(0),
    soak: timedelta = 24 * HOUR,
    settled: datetime | None = None,
    previous: Mapping[str, Any] | None = None,
    operation: str = "op-1",
) -> Moment:
    """A moment so long after the change was written."""
    return Moment(
        operation=operation,
        deployment="d-1",
        began=START,
        live_since=None if live is None else START + live,
        pure_from=START + pure,
        now=START + after,
        soak_ends=START + soak,
        settled=settled,
        previous=previous or {},
    )


Traffic = Callable[[datetime], tuple[int, int]]
"""Failures and attempts of the window that begins then."""


@dataclass
class Counted:
    """A source whose counts are a function of time."""

    traffic: Traffic
    step: timedelta = FIVE
    asked: list[tuple[datetime, datetime]] = field(default_factory=list)

    what = "failed logins"
    needs_database = False

    def windows(
        self, since: datetime, until: datetime, length: timedelta, _around: Surroundings, /
    ) -> Sequence[Window]:
        self.asked.append((since, until))
        found, at = [], since
        while at < until:
            bad, total = self.traffic(at)
            if total:
                found.append(Window(at, bad, total))
            at += length
        return found


def steady(share: float = 0.08, rate: int = 25, factor: float = 1.0) -> Traffic:
    """The same in each window; after the change ``factor`` times as bad."""

    def traffic(at: datetime) -> tuple[int, int]:
        return round(rate * share * (factor if at >= START else 1)), rate

    return traffic


def watch(traffic: Traffic | Source, **options: Any) -> Watch:
    source = Counted(traffic) if callable(traffic) else traffic
    return Watch("login_failures", "sql_ratio", WatchOptions(**options), source)


def asked(gate: Watch, *after: timedelta, **how: Any) -> list[Reading]:
    """Ask a gate at several moments, each going on from the one before, as the engine does."""
    readings: list[Reading] = []
    for each in after:
        previous = readings[-1].state if readings else {}
        readings.append(gate.read(moment(each, previous=previous, **how), around()))
    return readings
