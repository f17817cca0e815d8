"""``http``: does a page answer as it should, and fast enough? Each reading asks it several times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from pydantic import Field, field_validator, model_validator

from secops.forms import Form, Several, Span
from secops.rollout.gates import evidence
from secops.rollout.gates.gate import Moment, Point, Reading, Surroundings, Verdict
from secops.rollout.gates.options import Address, Factor, Share, read
from secops.rollout.gates.probing import Answer, probe
from secops.rollout.gates.words import percent

if TYPE_CHECKING:
    from secops.rollout.gates.gate import GateSpec
    from secops.settings import Settings


class HttpOptions(Form):
    """What may be said of it.

    Attributes:
        url: The page; the target's probe where none is named.
        probes: How often each reading asks.
        status: Which statuses are good: ``200``, ``2xx``, several.
        slower_than: From when on an answer counts as bad.
        timeout: How long to wait for one.
        limit: The share of bad answers up to which nobody minds.
        detect: The harm that a pass must have ruled out, as a multiple of the limit.
        alpha: How often it may fail without cause.
        min_n: Probes without which it neither passes nor fails by evidence.
        tripwire: The share of bad answers beyond which it fails at once.
        tripwire_n: Of how many probes in a row.
    """

    url: Address = ""
    probes: int = Field(5, ge=1, le=200)
    status: Several = ("2xx",)
    slower_than: Span = timedelta(seconds=2)
    timeout: Span = timedelta(seconds=5)
    limit: Share = 0.05
    detect: Factor = 3.0
    alpha: Share = 0.01
    min_n: int = Field(50, ge=1, le=1_000_000)
    tripwire: Share = 0.5
    tripwire_n: int = Field(10, ge=1, le=100_000)

    @field_validator("status")
    @classmethod
    def _statuses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            text = str(each).lower()
            if len(text) != 3 or text[0] not in "12345" or not (text[1:] == "xx" or text.isdigit()):  # noqa: PLR2004
                raise ValueError("takes statuses such as 200 or 2xx")
        return tuple(str(each).lower() for each in value)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.limit <= 0 or self.alpha <= 0:
            raise ValueError("limit and alpha are more than 0")
        if self.slower_than > self.timeout:
            raise ValueError("slower_than is at most the timeout")
        return self


def build(spec: GateSpec, settings: Settings | None = None) -> Http:  # noqa: ARG001  the interface's
    """Make the gate of its description."""
    return Http(spec.name, read(HttpOptions, spec))


@dataclass(frozen=True, slots=True)
class Http:
    """The gate.

    Attributes:
        name: How the rollout calls it.
        options: What it holds the service to.
    """

    name: str
    options: HttpOptions

    kind = "http"
    needs_database = False

    def describe(self) -> str:
        """Return what it holds the service to."""
        options = self.options
        return (
            f"at most {percent(options.limit)} of the probes are answered otherwise than "
            f"{' or '.join(options.status)}, or slower than {options.slower_than.total_seconds():g} s"
        )

    def read(self, moment: Moment, around: Surroundings) -> Reading:
        """Ask the page several times and weigh all answers so far."""
        url = self.options.url or around.probe
        if not url:
            return self._reading(moment, Verdict.ERROR, "No address to probe is named: give url.")
        if moment.live_since is None:
            return self._reading(moment, Verdict.INCONCLUSIVE, "It is not live yet.")
        answers = [probe(url, self.options.timeout) for _ in range(self.options.probes)]
        bad = sum(not self._good(each) for each in answers)
        kept = moment.previous
        terms, baseline = self._terms()
        weighing = evidence.Weighing(baseline, terms, kept.get("weighing"))
        weighing.add((bad, len(answers)))
        recent: list[evidence.Counts] = [
            *((int(one), int(two)) for one, two in kept.get("recent", ())), (bad, len(answers)),
        ]  # fmt: skip
        recent, (lately_bad, lately) = evidence.latest(recent, terms.tripwire_least)
        share = lately_bad / lately
        tripped = lately >= terms.tripwire_least and share > terms.tripwire
        tripped = tripped or bool(kept.get("tripped"))
        verdict, said = self._verdict(moment, weighing, tripped=tripped, share=share)
        if bad:
            said += f" {self._why(answers)}"
        median = sorted(each.seconds for each in answers)[len(answers) // 2]
        return self._reading(
            moment,
            verdict,
            said,
            state={"weighing": weighing.as_dict(), "recent": recent, "tripped": tripped},
            figures={
                "probes": weighing.total,
                "bad": weighing.bad,
                "median_seconds": round(median, 4),
                "worse": round(weighing.peak, 3),
                "clear": round(weighing.clear, 3),
                "enough": round(weighing.enough, 3),
            },
            points=(Point(moment.now, bad / len(answers), counted=True, weight=len(answers)),),
        )

    def _terms(self) -> tuple[evidence.Terms, evidence.Baseline]:
        options = self.options
        terms = evidence.Terms(
            tolerate=1.0,
            detect=options.detect,
            alpha=options.alpha,
            floor=options.limit,
            least=options.min_n,
            tripwire=options.tripwire,
            tripwire_least=options.tripwire_n,
        )
        return terms, evidence.given(options.limit)

    def _verdict(
        self, moment: Moment, weighing: evidence.Weighing, *, tripped: bool, share: float
    ) -> tuple[Verdict, str]:
        if tripped:
            return Verdict.FAIL, f"{percent(share)} of the last probes went badly."
        so_far = f"{weighing.bad:,} of {weighing.total:,} probes went badly"
        if weighing.failed:
            return Verdict.FAIL, f"{so_far}: more than {percent(self.options.limit)}."
        if not moment.soaked:
            return Verdict.INCONCLUSIVE, f"So far {so_far}; the soak is not over."
        if weighing.passed:
            return Verdict.PASS, f"{so_far}."
        return Verdict.INCONCLUSIVE, f"{so_far}: too few probes to rule out a fault."

    def _good(self, answer: Answer) -> bool:
        if answer.status is None or answer.seconds > self.options.slower_than.total_seconds():
            return False
        text = str(answer.status)
        return text in self.options.status or f"{text[0]}xx" in self.options.status

    def _why(self, answers: Sequence[Answer]) -> str:
        first = next(each for each in answers if not self._good(each))
        if first.status is None:
            return f"One had no answer: {first.problem}."
        if first.seconds > self.options.slower_than.total_seconds():
            return f"One took {first.seconds:.1f} s."
        return f"One was answered with {first.status}."

    def _reading(
        self,
        moment: Moment,
        verdict: Verdict,
        said: str,
        *,
        state: dict[str, object] | None = None,
        figures: dict[str, object] | None = None,
        points: tuple[Point, ...] = (),
    ) -> Reading:
        return Reading(
            gate=self.name,
            kind=self.kind,
            verdict=verdict,
            summary=said,
            figures=figures or {},
            state=dict(moment.previous) if state is None else state,
            points=points,
            limit=self.options.limit,
        )
