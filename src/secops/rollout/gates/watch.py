"""A gate over counts: failures among attempts, window by window, held against what was usual before.

Where the counts come from is its source's business. Each reading takes what is new since the last one, so
that it makes no difference how often it is asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from secops.durations import about
from secops.errors import SecopsError
from secops.rollout.gates import evidence
from secops.rollout.gates.counts import Source, WatchOptions, Window
from secops.rollout.gates.gate import Moment, Point, Reading, Surroundings, Verdict
from secops.rollout.gates.words import percent

_MOST_POINTS: Final = 60
# A silence in which so many attempts were usual is no chance.
_MISSED: Final = 50
# Fewer than this share of the usual attempts: they do not arrive, or are not written down.
_LEAST_TRAFFIC: Final = 0.1


@dataclass(frozen=True, slots=True)
class Watch:
    """The gate.

    Attributes:
        name: How the rollout calls it.
        kind: Its kind.
        options: What it holds the service to.
        source: Where the counts come from.
    """

    name: str
    kind: str
    options: WatchOptions
    source: Source

    @property
    def needs_database(self) -> bool:
        """Whether it asks the database."""
        return self.source.needs_database

    def describe(self) -> str:
        """Return what it holds the service to."""
        options = self.options
        if options.limit is not None:
            return f"{self.source.what}: at most {percent(options.limit)}"
        return (
            f"{self.source.what}: at most {options.tolerate:g} times the share of the "
            f"{about(options.baseline)} before"
        )

    def read(self, moment: Moment, around: Surroundings) -> Reading:
        """Count what is new and weigh all of it."""
        try:
            return self._read(moment, around)
        except SecopsError as error:
            said = f"It could not be counted: {error.message}"
            return Reading(self.name, self.kind, Verdict.ERROR, said, state=dict(moment.previous))

    def _read(self, moment: Moment, around: Surroundings) -> Reading:
        begin = moment.live_since
        if begin is None:
            said = "It is not live yet."
            return Reading(
                self.name, self.kind, Verdict.INCONCLUSIVE, said, state=dict(moment.previous)
            )
        kept: dict[str, Any] = dict(moment.previous)
        usual = kept.get("usual")
        if usual is None:
            usual = self._usual(moment, around)
        baseline = (
            evidence.Baseline.restored(usual["baseline"]) if usual["baseline"] is not None else None
        )
        first = self._edge(begin, moment.pure_from, math.ceil)
        since = datetime.fromisoformat(kept["until"]) if "until" in kept else first
        until = self._edge(moment.now - self.options.delay, moment.pure_from, math.floor)
        until = max(until, since)
        found = self._count(since, moment.now, around) if moment.now > since else []
        closed = [each for each in found if each.at < until]
        counting = [each for each in closed if each.at >= moment.pure_from]
        weighing = (
            evidence.Weighing(baseline, self.options.terms, kept.get("weighing"))
            if baseline is not None
            else None
        )
        if weighing is not None:
            for each in counting:
                weighing.add((each.bad, each.total))
        recent: list[evidence.Counts] = [
            (int(bad), int(total)) for bad, total in kept.get("recent", ())
        ]
        tripped = kept.get("tripped")
        for each in found:
            if each.at < until:
                recent, _ = evidence.latest(
                    [*recent, (each.bad, each.total)], self.options.tripwire_n
                )
                tripped = tripped or self._tripped(recent, baseline)
            else:  # still open: it may trip the wire, and is counted when it closes
                tripped = tripped or self._tripped([*recent, (each.bad, each.total)], baseline)
        seen = [each.at + self.options.window for each in closed if each.total]
        state: dict[str, Any] = {
            "usual": usual,
            "until": until.astimezone(UTC).isoformat(),
            "recent": recent,
            "tripped": tripped,
            "bad": int(kept.get("bad", 0)) + sum(each.bad for each in closed),
            "total": int(kept.get("total", 0)) + sum(each.total for each in closed),
            "seen": seen[-1].astimezone(UTC).isoformat() if seen else kept.get("seen"),
            "weighing": weighing.as_dict() if weighing is not None else None,
        }
        verdict, said = self._verdict(moment, state, weighing)
        return Reading(
            gate=self.name,
            kind=self.kind,
            verdict=verdict,
            summary=said,
            figures=self._figures(state, weighing),
            state=state,
            points=self._points(closed, moment),
            baseline=baseline.share if baseline is not None else None,
            limit=evidence.limit(baseline, self.options.terms) if baseline is not None else None,
        )

    def _edge(
        self, moment: datetime, pure_from: datetime, rounding: Callable[[float], int]
    ) -> datetime:
        """Return the edge of a window nearest to a moment; one edge lies where the new is pure."""
        return (
            pure_from + rounding((moment - pure_from) / self.options.window) * self.options.window
        )

    def _usual(self, moment: Moment, around: Surroundings) -> dict[str, Any]:
        """Count the baseline, once; it stays what it was however long the soak."""
        options = self.options
        if options.limit is not None:
            return {"baseline": evidence.given(options.limit).as_dict(), "seconds": 0}
        since = moment.began - options.baseline
        if moment.settled is not None:
            since = max(since, moment.settled)
        number = int((moment.began - since) / options.window)
        if number < 1:
            return {"baseline": None, "total": 0, "seconds": 0}
        since = moment.began - number * options.window
        counts = [(0, 0)] * number
        for each in self._count(since, moment.began, around):
            counts[min(int((each.at - since) / options.window), number - 1)] = (
                each.bad,
                each.total,
            )
        total = sum(each for _, each in counts)
        hour = max(1, round(timedelta(hours=1) / options.window))
        scales = (1, hour, 4 * hour) if hour > 1 else (1, 4)
        enough = total >= options.min_baseline
        return {
            "baseline": evidence.estimate(counts, scales).as_dict() if enough else None,
            "total": total,
            "seconds": (moment.began - since).total_seconds(),
        }

    def _count(self, since: datetime, until: datetime, around: Surroundings) -> list[Window]:
        """Ask the source, and believe it nothing that cannot be."""
        found = list(self.source.windows(since, until, self.options.window, around))
        latest = since - timedelta(microseconds=1)
        for each in found:
            if not 0 <= each.bad <= each.total:
                raise SecopsError(
                    f"the source counts {each.bad} {self.source.what} among {each.total} attempts."
                )
            if not latest < each.at < until:
                raise SecopsError(
                    "the source's windows are not in the order of time, or not of the time asked for."
                )
            if (each.at - since) % self.options.window:
                raise SecopsError(
                    "the source's windows do not begin where they should (date_bin(:window, ..., :since))."
                )
            latest = each.at
        return found

    def _tripped(
        self, recent: Sequence[evidence.Counts], baseline: evidence.Baseline | None
    ) -> str | None:
        """Say what makes it fail at once, if something does."""
        terms = self.options.terms
        _, (bad, total) = evidence.latest(recent, terms.tripwire_least)
        wire = evidence.tripwire(baseline, terms)
        if total < terms.tripwire_least or bad <= wire * total:
            return None
        return f"{bad:,} of the last {total:,} are {self.source.what}: more than {percent(wire)}."

    def _verdict(
        self, moment: Moment, state: Mapping[str, Any], weighing: evidence.Weighing | None
    ) -> tuple[Verdict, str]:
        if state["tripped"]:
            return Verdict.FAIL, str(state["tripped"])
        if weighing is None:
            return Verdict.INCONCLUSIVE, (
                f"Only {state['usual']['total']:,} attempts were counted before the change, and "
                f"{self.options.min_baseline:,} are needed to know what is usual."
            )
        so_far = self._so_far(weighing)
        tolerated = percent(evidence.limit(weighing.baseline, weighing.terms))
        if weighing.failed:
            return Verdict.FAIL, f"{so_far}: more than the {tolerated} that are tolerated."
        if not moment.soaked:
            return Verdict.INCONCLUSIVE, self._meanwhile(moment, state, so_far)
        doubt = self._doubt(moment, state, weighing)
        if doubt:
            return Verdict.INCONCLUSIVE, doubt if doubt[0].isupper() else f"{so_far}: {doubt}"
        return Verdict.PASS, f"{so_far}; up to {tolerated} are tolerated."

    def _meanwhile(self, moment: Moment, state: Mapping[str, Any], so_far: str) -> str:
        """Say how it goes while the soak lasts."""
        if moment.now < moment.pure_from:
            return (
                f"Tokens from before are still about for {about(moment.pure_from - moment.now)}; "
                f"{state['bad']:,} of {state['total']:,} are {self.source.what} until now."
            )
        return f"So far {so_far}; the soak lasts another {about(moment.soak_ends - moment.now)}."

    def _doubt(
        self, moment: Moment, state: Mapping[str, Any], weighing: evidence.Weighing
    ) -> str | None:
        """Say what keeps it from a pass once the soak is over."""
        if silence := self._silence(moment, state, weighing):
            return silence
        if weighing.total < self.options.min_n:
            return f"{self.options.min_n:,} attempts are needed."
        if not weighing.passed:
            harm = percent(evidence.harm(weighing.baseline, weighing.terms))
            return f"too few attempts to rule out {harm}."
        return None

    def _so_far(self, weighing: evidence.Weighing) -> str:
        bad, total = weighing.bad, weighing.total
        share = f" ({percent(bad / total)})" if total else ""
        before = weighing.baseline
        usual = f"; {percent(before.share)} before" if before.total else ""
        return f"{bad:,} of {total:,} are {self.source.what}{share}{usual}"

    def _silence(
        self, moment: Moment, state: Mapping[str, Any], weighing: evidence.Weighing
    ) -> str | None:
        """Say what is missing: attempts that are usual and do not arrive, or are not written down."""
        until = datetime.fromisoformat(state["until"])
        span = (until - moment.pure_from).total_seconds()
        if span <= 0 or not weighing.total:
            return None  # too few attempts is said elsewhere
        if weighing.baseline.total and state["usual"]["seconds"]:
            rate = weighing.baseline.total / float(state["usual"]["seconds"])
            if weighing.total < _LEAST_TRAFFIC * rate * span:
                return (
                    f"Only {weighing.total:,} attempts in {about(timedelta(seconds=span))}, where some "
                    f"{round(rate * span):,} are usual: do they arrive, and are they written down?"
                )
        else:
            rate = weighing.total / span
        last = max(datetime.fromisoformat(state["seen"]), moment.pure_from)
        silent = (until - last).total_seconds()
        if silent * rate < _MISSED:
            return None
        return (
            f"No attempt for {about(timedelta(seconds=silent))}, where some {round(silent * rate):,} are "
            f"usual: do they arrive, and are they written down?"
        )

    def _figures(
        self, state: Mapping[str, Any], weighing: evidence.Weighing | None
    ) -> dict[str, Any]:
        found: dict[str, Any] = {"bad_in_all": state["bad"], "total_in_all": state["total"]}
        if weighing is None:
            return {**found, "baseline_total": state["usual"]["total"]}
        before = weighing.baseline
        found |= {
            "bad": weighing.bad,
            "total": weighing.total,
            "share": round(weighing.bad / weighing.total, 6) if weighing.total else None,
            "baseline_bad": before.bad,
            "baseline_total": before.total,
            "baseline_share": round(before.share, 6),
            "dispersion": round(before.dispersion, 4),
            "tolerated": round(evidence.limit(before, weighing.terms), 6),
            "worse": round(weighing.peak, 3),
            "clear": round(weighing.clear, 3),
            "enough": round(weighing.enough, 3),
        }
        if 0 < before.total < evidence.ADVISED:
            found["advice"] = (
                f"The baseline has {before.total:,} attempts; with {evidence.ADVISED:,} and more a gate "
                "is quicker and surer. Count further back: baseline."
            )
        return found

    def _points(self, closed: Sequence[Window], moment: Moment) -> tuple[Point, ...]:
        """Make points of windows, several of one where they are many."""
        many = math.ceil(len(closed) / _MOST_POINTS) or 1
        points = []
        for counted in (False, True):
            part = [each for each in closed if (each.at >= moment.pure_from) is counted]
            for at in range(0, len(part), many):
                group = part[at : at + many]
                bad, total = sum(each.bad for each in group), sum(each.total for each in group)
                end = group[-1].at + self.options.window
                points.append(Point(end, bad / total if total else None, counted, total))
        return tuple(points)
