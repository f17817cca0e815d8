"""Thousands of simulated soaks: how often a gate is wrong."""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import pytest

from support.soaks import Traffic, soak, soaks

pytestmark = pytest.mark.chaos

QUIET = Traffic(rate=20)
"""Four logins a minute."""
KINDS = {
    "a quiet service": QUIET,
    "with worse nights": Traffic(rate=20, mood=0.3),
    "a busy service": Traffic(rate=150, mood=0.2),
    "coins": Traffic(rate=20, dispersion=0.0),
    "many failures": Traffic(rate=20, share=0.3),
    "clustered failures": Traffic(rate=20, dispersion=0.05),
}
EACH = 500


def campaign(traffic: Traffic, number: int, *, factor: float = 1.0, days: int = 1) -> Counter[str]:
    """Run soaks on all cores."""
    parts = [range(at, number, 8) for at in range(8)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        return sum(
            pool.map(partial(soaks, traffic=traffic, factor=factor, days=days), parts), Counter()
        )


@pytest.mark.parametrize("kind", KINDS)
def test_a_service_that_is_no_worse_fails_in_at_most_one_day_of_a_hundred(kind: str) -> None:
    found = campaign(KINDS[kind], EACH)
    print(kind, dict(found))
    assert found["fail"] <= EACH / 100
    assert found["pass"] >= 0.9 * EACH


@pytest.mark.parametrize("kind", KINDS)
def test_a_doubling_is_found_and_never_passes(kind: str) -> None:
    found = campaign(KINDS[kind], EACH, factor=2.0)
    print(kind, dict(found))
    # A day of strongly clustered failures is two days of others.
    wanted = 0.95 if kind == "clustered failures" else 0.99
    assert found["fail"] >= wanted * EACH
    assert found["pass"] == 0


def test_over_two_days_clustered_doublings_are_found_too() -> None:
    found = campaign(KINDS["clustered failures"], EACH, factor=2.0, days=2)
    print(dict(found))
    assert found["fail"] >= 0.99 * EACH


def test_exactly_what_is_tolerated_seldom_fails() -> None:
    """The worst service that is no worse: 1.25 times as many failures, for a whole day."""
    found = campaign(QUIET, EACH, factor=1.25)
    print(dict(found))
    assert found["fail"] <= 0.03 * EACH


def test_it_takes_hours_at_four_a_minute_and_minutes_at_forty() -> None:
    steady = Traffic(rate=20, rhythm=0.0)
    busy = Traffic(rate=200, rhythm=0.0)
    for traffic, most in ((steady, 36), (busy, 12)):
        after = sorted(soak(seed, traffic, factor=2.0).after for seed in range(100))
        print("median minutes", after[50] * 5)
        assert after[50] <= most
