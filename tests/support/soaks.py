"""Simulated soaks: traffic with a day's rhythm and clustered failures, before and after a change."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from secops.rollout.gates import evidence

DAY = 288
"""Windows of five minutes."""


@dataclass(frozen=True)
class Traffic:
    """What a service's traffic is like.

    Attributes:
        rate: Attempts in a window, on average.
        share: Of failures among them.
        dispersion: How clustered failures are within a window (the intraclass correlation).
        rhythm: By how much the rate swings over the day, relatively.
        mood: By how much the share does, the other way round: fewer people, relatively more attackers.
    """

    rate: float = 20.0
    share: float = 0.08
    dispersion: float = 0.02
    rhythm: float = 0.8
    mood: float = 0.0

    def windows(
        self, rng: random.Random, number: int, *, phase: float = 0.0, factor: float = 1.0
    ) -> list[evidence.Counts]:
        found = []
        size = (1 - self.dispersion) / self.dispersion if self.dispersion else 0.0
        for at in range(number):
            angle = 2 * math.pi * (at / DAY + phase)
            total = poisson(rng, self.rate * (1 + self.rhythm * math.sin(angle)))
            share = min(self.share * factor * (1 - self.mood * math.sin(angle)), 0.99)
            if size:
                share = rng.betavariate(share * size, (1 - share) * size)
            found.append((sum(rng.random() < share for _ in range(total)), total))
        return found


def poisson(rng: random.Random, mean: float) -> int:
    if mean > 30:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    limit, number, product = math.exp(-mean), 0, rng.random()
    while product > limit:
        number += 1
        product *= rng.random()
    return number


@dataclass(frozen=True)
class Soaked:
    """How a soak went: ``pass``, ``fail`` or ``inconclusive``, and after how many windows it failed."""

    verdict: str
    after: int = 0


def soak(
    seed: int,
    traffic: Traffic,
    *,
    factor: float = 1.0,
    days: int = 1,
    terms: evidence.Terms = evidence.Terms(),  # noqa: B008  frozen
) -> Soaked:
    """Count a day as the baseline, then watch others in which failures are ``factor`` times as frequent."""
    rng = random.Random(seed)
    phase = rng.random()
    baseline = evidence.estimate(traffic.windows(rng, DAY, phase=phase))
    weighing = evidence.Weighing(baseline, terms)
    for number, counts in enumerate(
        traffic.windows(rng, DAY * days, phase=phase, factor=factor), start=1
    ):
        weighing.add(counts)
        if weighing.failed:
            return Soaked("fail", number)
    return Soaked("pass" if weighing.passed else "inconclusive")


def soaks(
    seeds: Sequence[int], traffic: Traffic, *, factor: float = 1.0, days: int = 1
) -> Counter[str]:
    return Counter(soak(seed, traffic, factor=factor, days=days).verdict for seed in seeds)
