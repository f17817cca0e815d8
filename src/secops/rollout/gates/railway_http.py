"""``railway_http``: the share of bad answers among all requests, as Railway's edge counts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, Protocol, Self, runtime_checkable

from pydantic import BeforeValidator, model_validator

from secops.errors import SecopsError
from secops.forms import Span
from secops.rollout.gates.counts import WatchOptions, Window
from secops.rollout.gates.options import read
from secops.rollout.gates.watch import Watch

if TYPE_CHECKING:
    from secops.rollout.gates.gate import GateSpec, Surroundings
    from secops.settings import Settings


@dataclass(frozen=True, slots=True)
class Requests:
    """How many requests were answered with one status, in one window."""

    at: datetime
    status: int
    count: int


@runtime_checkable
class CountsRequests(Protocol):
    """A target whose platform counts requests."""

    def requests(
        self, since: datetime, until: datetime, window: timedelta, *, path: str, method: str
    ) -> Sequence[Any]:
        """Return what was answered, by window and status (objects with ``at``, ``status``, ``count``)."""


_LENGTH: Final = 3


def _statuses(value: object) -> object:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)):
        return value
    found = tuple(str(each).strip().lower() for each in texts)
    for each in found:
        if (
            len(each) != _LENGTH
            or each[0] not in "12345"
            or not (each[1:] == "xx" or each[1:].isdigit())
        ):
            raise ValueError("takes statuses such as 502 or 5xx")
    return found


class RailwayHttpOptions(WatchOptions):
    """What may be said of it.

    Attributes:
        bad: Which statuses are failures: ``5xx``, ``401``, several.
        path: Only requests of this path.
        method: Only requests of this method.
        delay: How long after its end a window is closed; the edge's counts come late.
    """

    delay: Span = timedelta(minutes=1)
    bad: Annotated[tuple[str, ...], BeforeValidator(_statuses)] = ("5xx",)
    path: str = ""
    method: str = ""

    @model_validator(mode="after")
    def _whole_seconds(self) -> Self:
        if self.window < timedelta(seconds=1) or self.window % timedelta(seconds=1):
            raise ValueError("window is whole seconds: Railway counts in these")
        return self


def build(spec: GateSpec, settings: Settings | None = None) -> Watch:  # noqa: ARG001  the interface's
    """Make the gate of its description."""
    options = read(RailwayHttpOptions, spec)
    return Watch(
        spec.name, spec.kind, options, EdgeCounts(options.bad, options.path, options.method)
    )


@dataclass(frozen=True, slots=True)
class EdgeCounts:
    """Counts that the platform's edge keeps.

    Attributes:
        bad: Which statuses are failures.
        path: Only requests of this path.
        method: Only requests of this method.
    """

    bad: tuple[str, ...]
    path: str
    method: str

    needs_database = False

    @property
    def what(self) -> str:
        """What is counted."""
        place = f" to {self.path}" if self.path else ""
        return f"answers with {' or '.join(self.bad)}{place}"

    def windows(
        self, since: datetime, until: datetime, length: timedelta, around: Surroundings
    ) -> Sequence[Window]:
        """Ask the target; its samples are put into windows by their time."""
        target = around.target
        if not isinstance(target, CountsRequests):
            raise SecopsError(
                f"the target {target.name} ({target.kind}) does not count requests; railway does."
            )
        begin = since.replace(microsecond=0)  # the platform's clock strikes whole seconds
        counted: dict[int, list[int]] = {}
        for each in target.requests(since, until, length, path=self.path, method=self.method):
            # A platform's samples lie on its own grid; what lies outside is another time's.
            if not begin <= each.at < until:
                continue
            place = counted.setdefault(int((each.at - begin) / length), [0, 0])
            place[1] += round(each.count)
            if str(each.status) in self.bad or f"{str(each.status)[:1]}xx" in self.bad:
                place[0] += round(each.count)
        return [
            Window(since + number * length, bad, total)
            for number, (bad, total) in sorted(counted.items())
        ]
