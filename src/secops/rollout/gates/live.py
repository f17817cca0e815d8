"""``live``: is what was written what runs? The platform says so, and the service itself does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from pydantic import Field

from secops.durations import about
from secops.errors import SecopsError
from secops.forms import Form, Span
from secops.rollout.gates.gate import Moment, Point, Reading, Surroundings, Verdict
from secops.rollout.gates.options import Address, read
from secops.rollout.gates.probing import Answer, probe
from secops.targets.target import MARKER, Progress

if TYPE_CHECKING:
    from secops.rollout.gates.gate import GateSpec
    from secops.settings import Settings

_OK: Final = 200
_WORST: Final = 500


class LiveOptions(Form):
    """What may be said of it.

    Attributes:
        deadline: How long it may take from the write until all of it is live.
        grace: For how long it may fall silent afterwards.
        probe: The service's health page, if it is another than the target's.
        probes: How many in a row must echo the marker.
        timeout: How long to wait for one.
    """

    deadline: Span = timedelta(minutes=15)
    grace: Span = timedelta(minutes=2)
    probe: Address = ""
    probes: int = Field(3, ge=1, le=100)
    timeout: Span = timedelta(seconds=5)


def build(spec: GateSpec, settings: Settings | None = None) -> Live:  # noqa: ARG001  the interface's
    """Make the gate of its description."""
    return Live(spec.name, read(LiveOptions, spec))


@dataclass(frozen=True, slots=True)
class Live:
    """The gate.

    Attributes:
        name: How the rollout calls it.
        options: What it holds the service to.
    """

    name: str
    options: LiveOptions

    kind = "live"
    needs_database = False

    def describe(self) -> str:
        """Return what it holds the service to."""
        return (
            f"the deployment is live within {about(self.options.deadline)}, and "
            f"{self.options.probes} of {self.options.probes} probes echo the operation"
        )

    def read(self, moment: Moment, around: Surroundings) -> Reading:
        """Ask the platform, then the service."""
        url = self.options.probe or around.probe
        watched = around.target.traits.deploys or bool(moment.deployment)
        if not watched and not url:
            return self._reading(
                moment,
                Verdict.INCONCLUSIVE,
                "This target knows no deployments, and no page to probe is named: nobody can say what runs. "
                "Give the target a probe, or leave this gate out.",
            )
        said, found = self._platform(moment, around) if watched else (None, "")
        if said is not None:
            return said
        if not url:
            return self._reading(moment, Verdict.PASS, f"{_upper(found)}.", good=True)
        return self._echo(moment, url)

    def _platform(self, moment: Moment, around: Surroundings) -> tuple[Reading | None, str]:
        """Ask the platform: a reading where it is not live, and what it says."""
        try:
            found = around.target.status(moment.deployment)
        except SecopsError as error:
            return self._reading(moment, Verdict.ERROR, error.message), ""
        said = f"the deployment {found.id or 'there'} is {found.detail or found.progress.value}"
        match found.progress:
            case Progress.LIVE:
                return None, said
            case Progress.FAILED:
                return self._reading(moment, Verdict.FAIL, f"{_upper(said)}."), said
            case Progress.HELD:
                waits = f"{_upper(said)}, and waits for a person."
                return self._reading(moment, Verdict.INCONCLUSIVE, waits), said
            case Progress.PENDING:
                return self._not_yet(moment, said), said

    def _echo(self, moment: Moment, url: str) -> Reading:
        wanted = self.options.probes
        answers = [probe(url, self.options.timeout) for _ in range(wanted)]
        echoed = sum(_echoes(each, moment.operation) for each in answers)
        if echoed == wanted:
            said = f"{echoed} of {wanted} probes echo {MARKER}={moment.operation}."
            return self._reading(moment, Verdict.PASS, said, good=True, echoed=echoed)
        missed = next(each for each in answers if not _echoes(each, moment.operation))
        return self._not_yet(
            moment, f"{echoed} of {wanted} probes echo the operation; {_why(missed)}", echoed
        )

    def _not_yet(self, moment: Moment, said: str, echoed: int = 0) -> Reading:
        """Give it time: until the deadline, and once it was live, for the grace."""
        good = moment.previous.get("good")
        since = datetime.fromisoformat(good) if good else moment.began
        patience = self.options.grace if good else self.options.deadline
        waited = moment.now - since
        late = waited > patience
        sentence = f"{_upper(said)}; for {about(waited)}, and {about(patience)} are allowed."
        return self._reading(
            moment, Verdict.FAIL if late else Verdict.INCONCLUSIVE, sentence, echoed=echoed
        )

    def _reading(
        self, moment: Moment, verdict: Verdict, said: str, *, good: bool = False, echoed: int = 0
    ) -> Reading:
        state = {"good": moment.now.isoformat()} if good else dict(moment.previous)
        known = verdict is not Verdict.ERROR
        return Reading(
            gate=self.name,
            kind=self.kind,
            verdict=verdict,
            summary=said,
            figures={"probes": self.options.probes, "echoed": echoed} if known else {},
            state=state,
            points=(Point(moment.now, float(good), counted=True, weight=1),) if known else (),
            unit="yes",
        )


def _echoes(answer: Answer, operation: str) -> bool:
    return answer.status == _OK and operation in answer.body


def _why(answer: Answer) -> str:
    if answer.status is None:
        return f"one had no answer ({answer.problem})"
    if answer.status >= _WORST or answer.status != _OK:
        return f"one was answered with {answer.status}"
    return "one was answered without it"


def _upper(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
