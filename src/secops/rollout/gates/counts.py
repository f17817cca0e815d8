"""What a gate over counts takes: its options, windows, and where they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol, Self

from pydantic import Field, model_validator

from secops.durations import format_duration
from secops.forms import Form, Span
from secops.rollout.gates import evidence
from secops.rollout.gates.options import Factor, Share

if TYPE_CHECKING:
    from secops.rollout.gates.gate import Surroundings

_MOST_WINDOWS: Final = 20_000


class WatchOptions(Form):
    """What may be said of a gate over counts.

    Attributes:
        baseline: How far back before the change the usual share is counted.
        limit: The share that is tolerated, where it is given instead.
        tolerate: Up to how many times the baseline is no harm.
        detect: The harm that a pass must have ruled out, as a multiple of the baseline.
        alpha: How often it may fail, over a whole soak, without cause.
        floor: A share below which nobody minds, whatever the baseline.
        min_n: Attempts without which there is neither a pass nor a failure by evidence.
        min_baseline: Attempts without which there is no baseline.
        window: How long one window is.
        tripwire: The share beyond which it fails at once.
        tripwire_n: Of how many attempts in a row.
        delay: How long after its end a window is closed: what began in it is written down by then.
        timeout: How long the counting may take.
    """

    baseline: Span = timedelta(hours=24)
    limit: Share | None = None
    tolerate: Factor = 1.25
    detect: Factor = 2.0
    alpha: Share = 0.01
    floor: Share = 0.005
    min_n: int = Field(200, ge=1, le=10_000_000)
    min_baseline: int = Field(200, ge=20, le=10_000_000)
    window: Span = timedelta(minutes=5)
    tripwire: Share = 0.5
    tripwire_n: int = Field(50, ge=5, le=1_000_000)
    delay: Span = timedelta(seconds=10)
    timeout: Span = timedelta(seconds=30)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not timedelta(milliseconds=100) <= self.window <= timedelta(hours=6):
            raise ValueError("window is between 100ms and 6h")
        if self.limit is None and self.baseline < 10 * self.window:
            raise ValueError(
                f"baseline is at least ten windows ({format_duration(10 * self.window)})"
            )
        if self.baseline / self.window > _MOST_WINDOWS:
            raise ValueError(
                f"baseline holds more than {_MOST_WINDOWS:,} windows; make them longer"
            )
        if self.limit == 0 or self.alpha <= 0 or self.floor <= 0:
            raise ValueError("limit, alpha and floor are more than 0")
        if self.detect < 1.2 * (self.tolerate if self.limit is None else 1):
            raise ValueError(
                "detect is at least 1.2 times tolerate: what lies between is for neither"
            )
        return self

    @property
    def terms(self) -> evidence.Terms:
        """What is tolerated and looked for."""
        return evidence.Terms(
            tolerate=self.tolerate if self.limit is None else 1.0,
            detect=self.detect,
            alpha=self.alpha,
            floor=self.floor if self.limit is None else self.limit,
            least=self.min_n,
            tripwire=self.tripwire,
            tripwire_least=self.tripwire_n,
        )


@dataclass(frozen=True, slots=True)
class Window:
    """What was counted in one window.

    Attributes:
        at: When it begins.
        bad: Failures.
        total: Attempts, the failures among them.
    """

    at: datetime
    bad: int
    total: int


class Source(Protocol):
    """Where counts come from."""

    @property
    def what(self) -> str:
        """What is counted, in the plural: ``failed logins``."""

    @property
    def needs_database(self) -> bool:
        """Whether it asks the database."""

    def windows(
        self, since: datetime, until: datetime, length: timedelta, around: Surroundings, /
    ) -> Sequence[Window]:
        """Count.

        Args:
            since: From when on; the first window begins here.
            until: Up to when, not included.
            length: Of one window; each begins a multiple of it after ``since``.
            around: What may be asked.

        Returns:
            In the order of time; windows without attempts may be left out.

        Raises:
            SecopsError: It cannot be counted.
        """
