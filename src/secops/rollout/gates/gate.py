"""What a gate is: a question to a service that was changed, asked again and again while it soaks.

A gate says pass, fail, inconclusive or error, and these four are never mixed: what was not measured has not
passed, and a query that broke says nothing of the service. Only pass advances a stage.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from secops.database.connection import Connection
    from secops.settings import Settings
    from secops.targets.target import Target


class Verdict(enum.StrEnum):
    """What a gate says."""

    PASS = "pass"  # noqa: S105  no password
    """Enough was seen, it is as good as before, and the soak is over."""
    FAIL = "fail"
    """The service is worse than may be: roll back."""
    INCONCLUSIVE = "inconclusive"
    """Not enough was seen, or the soak is not over: neither advance nor roll back."""
    ERROR = "error"
    """The question itself could not be asked: neither advance nor roll back."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When a gate is asked, on one clock: the database's where there is one.

    Attributes:
        operation: The rollout's operation; the marker that the service should echo.
        deployment: How the target calls the deployment; empty where it has none.
        began: When the change was written. What came before is the baseline's.
        live_since: When the change was live; ``None`` while it is not.
        pure_from: From when on nothing of the old configuration is left (the access tokens that it gave
            out have expired). What comes before is shown and does not count as a pass.
        now: The time.
        soak_ends: When the soak is over; before that no gate passes that watches a soak.
        settled: Since when the configuration before was undisturbed (the end of the last rollout or
            rollback here), where that is known: a baseline does not reach back beyond it.
        previous: The ``state`` of this gate's last reading in this operation; empty before the first.
    """

    operation: str
    deployment: str
    began: datetime
    live_since: datetime | None
    pure_from: datetime
    now: datetime
    soak_ends: datetime
    settled: datetime | None = None
    previous: Mapping[str, Any] = field(default_factory=dict)

    @property
    def soaked(self) -> bool:
        """Whether the soak is over."""
        return self.live_since is not None and self.now >= self.soak_ends


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a gate may ask.

    Attributes:
        target: Where the service's variables live.
        settings: The settings of this run; the folder of the user's own queries and timeouts.
        conn: A connection in autocommit mode; ``None`` where there is no database or none answers.
        probe: The address of the service's own health page, as the target's description has it (its
            ``probe``), or nothing.
    """

    target: Target
    settings: Settings
    conn: Connection | None = None
    probe: str = ""


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a gate's series: what it saw since its last reading.

    Attributes:
        at: The end of that time.
        value: What it measured, in the reading's unit; ``None`` where there was nothing to measure.
        counted: Whether it counts towards a pass; what was seen early does not.
        weight: Of how many events or probes it is made.
    """

    at: datetime
    value: float | None
    counted: bool
    weight: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """A gate's answer at one moment.

    Attributes:
        gate: The gate's name.
        kind: Its kind.
        verdict: What it says.
        summary: Why, in one sentence for people.
        figures: The numbers behind it, for machines (JSON-serialisable).
        state: What the next reading needs; the engine keeps the newest one (JSON-serialisable).
        points: What is new in the gate's series since the last reading.
        unit: Of the values: ``share`` (0 to 1), ``s``, or ``yes`` (1 for yes, 0 for no).
        baseline: What it was before the change, in the same unit, where known.
        limit: What is tolerated, in the same unit, where there is a limit.
    """

    gate: str
    kind: str
    verdict: Verdict
    summary: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    state: Mapping[str, Any] = field(default_factory=dict)
    points: tuple[Point, ...] = ()
    unit: str = "share"
    baseline: float | None = None
    limit: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return everything but the state, as JSON holds it; :func:`restored` reads it back."""
        return {
            "gate": self.gate,
            "kind": self.kind,
            "verdict": self.verdict.value,
            "summary": self.summary,
            "figures": dict(self.figures),
            "points": [
                [point.at.astimezone(UTC).isoformat(), point.value, point.counted, point.weight]
                for point in self.points
            ],
            "unit": self.unit,
            "baseline": self.baseline,
            "limit": self.limit,
        }


def restored(found: Mapping[str, Any]) -> Reading:
    """Read back what :meth:`Reading.as_dict` gave; the state is empty."""
    return Reading(
        gate=str(found["gate"]),
        kind=str(found["kind"]),
        verdict=Verdict(found["verdict"]),
        summary=str(found["summary"]),
        figures=dict(found["figures"]),
        points=tuple(
            Point(datetime.fromisoformat(at), value, bool(counted), int(weight))
            for at, value, counted, weight in found["points"]
        ),
        unit=str(found["unit"]),
        baseline=found["baseline"],
        limit=found["limit"],
    )


class GateSpec(Protocol):
    """A gate as a rollout's file describes it."""

    @property
    def name(self) -> str:
        """How the rollout calls it."""

    @property
    def kind(self) -> str:
        """Which of :data:`KINDS` it is."""

    @property
    def options(self) -> Mapping[str, Any]:
        """The rest, for the kind to read; values may be text."""


class Gate(Protocol):
    """A gate, ready to be asked."""

    @property
    def name(self) -> str:
        """How the rollout calls it."""

    @property
    def kind(self) -> str:
        """Its kind."""

    @property
    def needs_database(self) -> bool:
        """Whether it asks the database."""

    def describe(self) -> str:
        """Return what it holds the service to, in one sentence."""

    def read(self, moment: Moment, around: Surroundings) -> Reading:
        """Ask. What goes wrong in asking is the verdict ``ERROR``, not an exception.

        Its state stays valid where nobody keeps it: the next reading then sees the same time again.
        """


KINDS: Final[Mapping[str, str]] = {
    "live": "secops.rollout.gates.live",
    "sql_ratio": "secops.rollout.gates.sql_ratio",
    "http": "secops.rollout.gates.http",
    "railway_http": "secops.rollout.gates.railway_http",
}
"""The kinds, and the module of each; it has a ``build`` of its own."""


def build(spec: GateSpec, settings: Settings | None = None) -> Gate:
    """Make a gate of its description.

    Args:
        spec: The description.
        settings: Name the folder of the user's own queries; without, only what ships is found.

    Raises:
        ConfigurationError: There is no such kind, or an option is unknown or out of bounds; says which.
    """
    from importlib import import_module  # noqa: PLC0415  a gate brings pydantic, a listing needs none

    from secops.errors import ConfigurationError  # noqa: PLC0415
    from secops.forms import nearest  # noqa: PLC0415

    if spec.kind not in KINDS:
        raise ConfigurationError(
            f"The gate {spec.name} is of a kind {spec.kind!r}, which there is not.",
            hint=nearest(spec.kind, tuple(KINDS), "The kinds are"),
        )
    gate: Gate = import_module(KINDS[spec.kind]).build(spec, settings)
    return gate
