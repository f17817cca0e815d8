"""How much do counts say that a service got worse? Pure arithmetic, safe to look at after each window.

What is compared is a share: failures among attempts, window by window, with the share of a baseline. The
test is sequential. Two hypotheses are held against one another by how well each foretold what was counted:
their quotient is an e-process, and where the one in the denominator is true it reaches ``1 / alpha`` at any
time at all with a probability of at most ``alpha`` (Ville's inequality; Ramdas, Grünwald, Vovk, Shafer,
"Game-theoretic statistics and safe anytime-valid inference", 2023). A test of fixed size, repeated every
five minutes, has no such bound.

* *worse*: some share beyond what is tolerated, against exactly what is tolerated. Enough of it fails.
* *clear*: the share as before or lower, against the harm to look for. Enough of it may pass. What could not
  have shown the harm is therefore no pass, however few failures there were.

The baseline is an estimate. So each hypothesis is a distribution of shares: the estimate's uncertainty,
moved up by its factor. Traffic is not a coin either: failures come in clusters, from one broken client or
one attack. So a window's count is beta-binomial, with as much dispersion as the baseline's windows show,
over windows and over hours.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Counts = tuple[int, int]
"""Failures, and attempts, the failures among them."""

ADVISED: Final = 2_000
"""Attempts from which on a baseline is good. Measured: with 500 a test false-aborts ten times as often."""

_USUAL_DISPERSION: Final = 0.02
# No traffic is less clustered than this, nor than what makes a window's variance a tenth larger.
_LEAST_DISPERSION: Final = 0.001
_LEAST_INFLATION: Final = 1.1
_MOST_DISPERSION: Final = 0.3
# Two days are never quite alike: a baseline is not believed to more than this, relatively.
_DRIFT: Final = 0.03
# With fewer blocks their variance says too little.
_LEAST_BLOCKS: Final = 8

_STEP: Final = 0.06
_LOWEST, _HIGHEST = 1e-6, 0.985
# The shares that are looked for, as multiples of the baseline, even in their logarithm.
_WORST: Final = 6.0


@dataclass(frozen=True, slots=True)
class Terms:
    """What is tolerated, what is looked for, and how sure one wants to be.

    Attributes:
        tolerate: Up to how many times the baseline is no harm.
        detect: The harm that a pass must have ruled out, as a multiple of the baseline.
        alpha: How often a service that is no worse may fail, over a whole soak; and how often one with
            that harm may pass.
        floor: A share below which nobody minds, whatever the baseline.
        least: Attempts without which there is neither a pass nor a failure by evidence.
        tripwire: The share beyond which it fails at once.
        tripwire_least: Of how many attempts in a row.
    """

    tolerate: float = 1.25
    detect: float = 2.0
    alpha: float = 0.01
    floor: float = 0.005
    least: int = 200
    tripwire: float = 0.5
    tripwire_least: int = 50


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is usual.

    Attributes:
        bad: Failures.
        total: Attempts; 0 where the share is not counted but given.
        share: The usual share of failures.
        spread: How uncertain that is: the standard deviation of its logarithm.
        dispersion: How clustered failures are within a window (the intraclass correlation).
    """

    bad: int
    total: int
    share: float
    spread: float
    dispersion: float

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return {
            "bad": self.bad,
            "total": self.total,
            "share": self.share,
            "spread": self.spread,
            "dispersion": self.dispersion,
        }

    @classmethod
    def restored(cls, found: Mapping[str, Any]) -> Baseline:
        """Read back what :meth:`as_dict` gave."""
        return cls(
            int(found["bad"]),
            int(found["total"]),
            float(found["share"]),
            float(found["spread"]),
            float(found["dispersion"]),
        )


def given(share: float) -> Baseline:
    """Return the baseline of somebody who says what is usual instead of having it counted."""
    return Baseline(0, 0, share, 0.02, _USUAL_DISPERSION)


def estimate(windows: Sequence[Counts], scales: Sequence[int] = (1, 12, 48)) -> Baseline:
    """Estimate what is usual from windows of equal length in the order of time.

    Args:
        windows: Their counts; empty windows among them keep the order.
        scales: Over how many windows together clustering is looked for as well: an hour, four.
    """
    bad = sum(each for each, _ in windows)
    total = sum(each for _, each in windows)
    share = (bad + 0.5) / (total + 1)
    # The size of a window as an attempt sees it, by which clustering makes the variance larger.
    seen = sum(each * each for _, each in windows) / total if total else 1.0
    inflation, within = 1.0, _USUAL_DISPERSION
    for scale in scales:
        blocks = _blocks(windows, scale)
        if len(blocks) < _LEAST_BLOCKS:
            continue
        found = _inflation(blocks, share)
        if scale == scales[0]:
            within = _dispersion(found, seen) + _uncertainty(blocks) / 2
        inflation = max(inflation, found)
    if seen > 1:
        within = max(within, _dispersion(inflation, seen))
    least = min(_LEAST_DISPERSION, _dispersion(_LEAST_INFLATION, max(seen, 2.0)))
    within = min(max(within, least), _MOST_DISPERSION)
    inflation = max(inflation, 1 + (seen - 1) * within)
    spread = math.sqrt((1 - share) / (share * (total + 1)) * inflation + _DRIFT**2)
    return Baseline(bad, total, share, spread, within)


def _blocks(windows: Sequence[Counts], scale: int) -> list[Counts]:
    found = [
        (sum(bad for bad, _ in part), sum(total for _, total in part))
        for part in (windows[at : at + scale] for at in range(0, len(windows), scale))
    ]
    return [block for block in found if block[1]]


def _inflation(blocks: Sequence[Counts], share: float) -> float:
    """Return by how much blocks vary more than coins would (Pearson's X², over its degrees of freedom).

    What chance makes of coins in one case of ten is taken for chance.
    """
    free = len(blocks) - 1
    pearson = sum((bad - total * share) ** 2 / total for bad, total in blocks)
    pearson /= share * (1 - share)
    return pearson / free if pearson > free + 1.3 * math.sqrt(2 * free) else 1.0


def _dispersion(inflation: float, size: float) -> float:
    return (inflation - 1) / (size - 1) if size > 1 else 0.0


def _uncertainty(blocks: Sequence[Counts]) -> float:
    """Return the standard error of a dispersion that blocks gave."""
    surplus = sum(total - 1 for _, total in blocks)
    return math.sqrt(2 * len(blocks)) / surplus if surplus else _USUAL_DISPERSION


def scaled(share: float, factor: float) -> float:
    """Return a share that is so many times as bad.

    Twice as many failures, or half as many successes, whichever comes first: 8 % doubled are 16 %, and 60 %
    doubled are 80 %.
    """
    return min(share * factor, 1 - (1 - share) / factor)


def limit(baseline: Baseline, terms: Terms) -> float:
    """Return the share up to which is tolerated."""
    return max(scaled(baseline.share, terms.tolerate), terms.floor)


def harm(baseline: Baseline, terms: Terms) -> float:
    """Return the share that a pass must have ruled out."""
    return scaled(max(baseline.share, terms.floor), terms.detect)


def tripwire(baseline: Baseline | None, terms: Terms) -> float:
    """Return the share beyond which it fails at once: the wire's, but well above what is usual here."""
    return max(terms.tripwire, scaled(baseline.share, 3.0)) if baseline else terms.tripwire


class Hypotheses:
    """Distributions of the share, over one grid.

    Args:
        baseline: What is usual.
        terms: What is tolerated and looked for.
    """

    def __init__(self, baseline: Baseline, terms: Terms) -> None:
        usual, spread = baseline.share, baseline.spread
        beyond = limit(baseline, terms)
        low = max(min(usual, terms.floor) * math.exp(-6 * min(spread, 0.5)) / 2, _LOWEST)
        high = min(max(beyond * _WORST, 0.5), _HIGHEST)
        first, last = _logit(low), _logit(high)
        # More than 150 nodes help nobody; a wide range has coarser ones.
        step = max(_STEP, (last - first) / 150)
        self._first, self._step = first, step
        self.shares = [
            _expit(first + step * at) for at in range(math.ceil((last - first) / step) + 1)
        ]
        levels = [(usual * math.exp(spread * z / 3), math.exp(-z * z / 18)) for z in range(-15, 16)]
        levels = [(min(max(level, _LOWEST), _HIGHEST), weight) for level, weight in levels]
        tolerated = [(max(scaled(level, terms.tolerate), terms.floor), w) for level, w in levels]
        harmful = [(scaled(max(level, terms.floor), terms.detect), w) for level, w in levels]
        self.tolerated = self._spread(tolerated)
        self.harmful = self._spread(harmful)
        self.worse = self._spread(_even(beyond * 1.04, high))
        self.clear = self._spread([*tolerated, *_even(low, beyond, len(tolerated) * 2)])
        size = (1 - baseline.dispersion) / baseline.dispersion
        self._ones = [share * size for share in self.shares]
        self._noughts = [(1 - share) * size for share in self.shares]
        self._fixed = [
            math.lgamma(one) + math.lgamma(nought)
            for one, nought in zip(self._ones, self._noughts, strict=True)
        ]
        self._known: dict[Counts, list[float]] = {}

    def _spread(self, masses: Iterable[tuple[float, float]]) -> list[float]:
        """Put masses on the grid, each between its two neighbours, and make them one in sum."""
        weights = [0.0] * len(self.shares)
        for share, mass in masses:
            place = (_logit(share) - self._first) / self._step
            place = min(max(place, 0.0), len(weights) - 1.000_001)
            at = int(place)
            weights[at] += mass * (at + 1 - place)
            weights[at + 1] += mass * (place - at)
        whole = sum(weights)
        return [weight / whole for weight in weights]

    def likelihoods(self, counts: Counts) -> list[float]:
        """Return the logarithm of how likely a window's counts are, for each share of the grid.

        A factor that all shares have in common is left out.
        """
        found = self._known.get(counts)
        if found is None:
            bad, total = counts
            good, lgamma = total - bad, math.lgamma
            found = [
                lgamma(one + bad) + lgamma(nought + good) - fixed
                for one, nought, fixed in zip(self._ones, self._noughts, self._fixed, strict=True)
            ]
            if len(self._known) < 10_000:  # noqa: PLR2004  a few megabytes
                self._known[counts] = found
        return found


def _even(low: float, high: float, nodes: int = 60) -> list[tuple[float, float]]:
    """Return shares between two, even in their logarithm."""
    low, high = math.log(low), math.log(max(high, low * 1.2))
    step = (high - low) / (nodes - 1)
    return [(min(math.exp(low + step * at), _HIGHEST), 1.0) for at in range(nodes)]


def _logit(share: float) -> float:
    return math.log(share / (1 - share))


def _expit(x: float) -> float:
    return 1 / (1 + math.exp(-x))


class Weighing:
    """What all windows so far say together.

    Args:
        baseline: What is usual.
        terms: What is tolerated and looked for.
        found: What :meth:`as_dict` gave, to go on from there.

    Attributes:
        bad: Failures in the windows that count.
        total: Attempts in them.
        tripped: The share that made it fail at once, or ``None``.
        peak: The most that ever spoke for *worse*: its logarithm. Once it has reached its bound it stays.
    """

    def __init__(
        self, baseline: Baseline, terms: Terms, found: Mapping[str, Any] | None = None
    ) -> None:
        self.baseline, self.terms = baseline, terms
        self.hypotheses = Hypotheses(baseline, terms)
        kept = found or {}
        self.bad, self.total = int(kept.get("bad", 0)), int(kept.get("total", 0))
        self.peak = float(kept.get("peak", 0.0))
        logs = [float(each) for each in kept.get("logs", ())]
        fits = len(logs) == len(self.hypotheses.shares)
        self._logs = logs if fits else [0.0] * len(self.hypotheses.shares)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        highest = max(self._logs)
        return {
            "bad": self.bad,
            "total": self.total,
            "peak": self.peak,
            "logs": [round(each - highest, 6) for each in self._logs],
        }

    def add(self, counts: Counts) -> None:
        """Count a window."""
        bad, total = counts
        if not 0 <= bad <= total:
            raise ValueError(f"{bad} failures among {total} attempts")
        if not total:
            return
        self.bad += bad
        self.total += total
        new = self.hypotheses.likelihoods(counts)
        self._logs = [old + more for old, more in zip(self._logs, new, strict=True)]
        if self.total >= self.terms.least:
            self.peak = max(self.peak, self.worse)

    @property
    def worse(self) -> float:
        """How strongly it is worse than tolerated: the logarithm of the evidence."""
        return self._quotient(self.hypotheses.worse, self.hypotheses.tolerated)

    @property
    def clear(self) -> float:
        """How strongly the harm is ruled out: the logarithm of the evidence."""
        return self._quotient(self.hypotheses.clear, self.hypotheses.harmful)

    @property
    def enough(self) -> float:
        """The bound of both."""
        return -math.log(self.terms.alpha)

    @property
    def failed(self) -> bool:
        """Whether it is worse, as sure as was wanted."""
        return self.peak >= self.enough

    @property
    def passed(self) -> bool:
        """Whether the harm is ruled out, as sure as was wanted, and nothing says that it is worse."""
        return not self.failed and self.total >= self.terms.least and self.clear >= self.enough

    def _quotient(self, above: Sequence[float], below: Sequence[float]) -> float:
        highest = max(self._logs)
        likely = [math.exp(each - highest) for each in self._logs]
        one = sum(weight * each for weight, each in zip(above, likely, strict=True))
        two = sum(weight * each for weight, each in zip(below, likely, strict=True))
        return math.log(max(one, 1e-300)) - math.log(max(two, 1e-300))


def latest(windows: Sequence[Counts], least: int) -> tuple[list[Counts], Counts]:
    """Return the newest windows that hold so many attempts together (all where they do not), and their sum."""
    kept: list[Counts] = []
    bad = total = 0
    for window in reversed(windows):
        if total >= least:
            break
        kept.append(window)
        bad, total = bad + window[0], total + window[1]
    return kept[::-1], (bad, total)
