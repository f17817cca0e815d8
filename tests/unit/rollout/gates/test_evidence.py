"""What counts say: the arithmetic of gates."""

from __future__ import annotations

import json
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secops.rollout.gates.evidence import (
    Baseline,
    Terms,
    Weighing,
    estimate,
    harm,
    latest,
    limit,
    scaled,
    tripwire,
)
from support.soaks import DAY, Traffic, soak, soaks

USUAL = estimate([(2, 25)] * 240)  # 8 % of 6,000
TERMS = Terms()


def weighed(baseline: Baseline, *counts: tuple[int, int], terms: Terms = TERMS) -> Weighing:
    weighing = Weighing(baseline, terms)
    for each in counts:
        weighing.add(each)
    return weighing


@given(st.floats(0.0001, 0.9), st.floats(1, 20))
def test_so_many_times_as_bad_is_a_share_and_never_less(share: float, factor: float) -> None:
    found = scaled(share, factor)
    assert share - 1e-12 <= found < 1
    assert scaled(share, factor * 1.1) >= found - 1e-12


def test_twice_as_bad_is_twice_the_failures_or_half_the_successes() -> None:
    assert scaled(0.08, 2) == pytest.approx(0.16)
    assert scaled(0.6, 2) == pytest.approx(0.8)


def test_a_baseline_tells_share_and_uncertainty() -> None:
    assert USUAL.share == pytest.approx(0.08, rel=0.01)
    assert (USUAL.bad, USUAL.total) == (480, 6000)
    small = estimate([(2, 25)] * 10)
    assert small.spread > 2 * USUAL.spread


def test_no_baseline_is_believed_beyond_what_two_days_differ() -> None:
    assert estimate([(80_000, 1_000_000)] * 100).spread >= 0.03


def test_clustered_failures_make_a_baseline_less_certain_and_a_window_worth_less() -> None:
    rng = random.Random(4)
    even = estimate(Traffic(dispersion=0).windows(rng, DAY))
    clustered = estimate(Traffic(dispersion=0.1).windows(rng, DAY))
    assert clustered.dispersion > 4 * even.dispersion
    assert clustered.dispersion == pytest.approx(0.1, rel=0.4)
    assert clustered.spread > even.spread


def test_a_share_that_swings_over_hours_is_seen_as_such() -> None:
    """Each window alone looks like a coin; the hours do not."""
    rng = random.Random(5)
    windows = []
    for hour in range(24):
        share = 0.04 if hour % 2 else 0.12
        windows += [(sum(rng.random() < share for _ in range(20)), 20) for _ in range(12)]
    assert estimate(windows).spread > 2 * estimate([(2, 25)] * 230).spread


def test_a_baseline_of_nothing_is_no_certainty_of_zero() -> None:
    none = estimate([(0, 20)] * DAY)
    assert 0 < none.share < 0.001
    assert none.spread > 1
    assert limit(none, TERMS) == TERMS.floor


def test_as_before_passes_and_twice_as_bad_fails() -> None:
    assert weighed(USUAL, *[(2, 25)] * 40).passed
    twice = weighed(USUAL, *[(4, 25)] * 40)
    assert twice.failed
    assert not twice.passed


def test_better_than_before_passes() -> None:
    assert weighed(USUAL, *[(0, 25)] * 40).passed


def test_what_is_tolerated_is_no_failure() -> None:
    """A tenth more, for long: below the 1.25 times that are tolerated."""
    assert not weighed(USUAL, *[(22, 250)] * 100).failed


def test_three_quarters_more_are_found_with_time() -> None:
    assert weighed(USUAL, *[(7, 50)] * 100).failed


def test_few_attempts_neither_pass_nor_fail() -> None:
    assert TERMS.least == 200
    for counts in ((0, 199), (199, 199)):
        few = weighed(USUAL, counts)
        assert not few.passed
        assert not few.failed


def test_what_could_not_have_shown_the_harm_is_no_pass() -> None:
    """One in a thousand before: 300 attempts without a failure say nothing of two in a thousand."""
    rare = estimate([(1, 1000)] * 250)
    terms = Terms(floor=0.0001)
    assert not weighed(rare, (0, 300), terms=terms).passed
    assert weighed(rare, *[(1, 1000)] * 100, terms=terms).passed


def test_below_the_floor_nobody_minds() -> None:
    rare = estimate([(0, 1000)] * 20)
    assert weighed(rare, *[(2, 1000)] * 10).passed
    assert harm(rare, TERMS) == pytest.approx(0.01)
    assert weighed(rare, *[(15, 1000)] * 10).failed


def test_a_failure_stays_one() -> None:
    weighing = weighed(USUAL, *[(8, 25)] * 30)
    assert weighing.failed
    for _ in range(500):
        weighing.add((0, 25))
    assert weighing.failed
    assert not weighing.passed


def test_a_given_limit_needs_no_baseline() -> None:
    from secops.rollout.gates.evidence import given as limited

    terms = Terms(tolerate=1.0, floor=0.05)
    assert weighed(limited(0.05), *[(1, 25)] * 40, terms=terms).passed
    assert weighed(limited(0.05), *[(3, 25)] * 60, terms=terms).failed


def test_the_tripwire_lies_well_above_what_is_usual() -> None:
    assert tripwire(None, TERMS) == 0.5
    assert tripwire(USUAL, TERMS) == 0.5
    assert tripwire(estimate([(10, 25)] * 100), TERMS) > 0.75


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(9, 30)), max_size=30), st.integers(1, 200))
def test_the_latest_windows_hold_enough_and_no_window_more(
    windows: list[tuple[int, int]], least: int
) -> None:
    kept, (bad, total) = latest(windows, least)
    assert windows[len(windows) - len(kept) :] == kept
    assert (bad, total) == (sum(one for one, _ in kept), sum(two for _, two in kept))
    if total >= least:
        assert sum(two for _, two in kept[1:]) < least
    else:
        assert kept == windows


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(8, 40)), max_size=30), st.data())
def test_it_goes_on_from_what_was_kept(windows: list[tuple[int, int]], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(windows)))
    whole = weighed(USUAL, *windows)
    first = weighed(USUAL, *windows[:cut])
    kept = json.loads(json.dumps(first.as_dict()))
    second = Weighing(Baseline.restored(json.loads(json.dumps(USUAL.as_dict()))), TERMS, kept)
    for each in windows[cut:]:
        second.add(each)
    assert (second.bad, second.total) == (whole.bad, whole.total)
    assert second.worse == pytest.approx(whole.worse, abs=1e-3)
    assert second.clear == pytest.approx(whole.clear, abs=1e-3)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=20),
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), max_size=30),
)
def test_any_counts_make_finite_evidence(
    before: list[tuple[int, int]], after: list[tuple[int, int]]
) -> None:
    weighing = Weighing(estimate([(bad, bad + good) for bad, good in before]), TERMS)
    for bad, good in after:
        weighing.add((bad, bad + good))
    assert math.isfinite(weighing.worse)
    assert math.isfinite(weighing.clear)
    assert not (weighing.passed and weighing.failed)


@pytest.mark.parametrize("counts", [(-1, 5), (6, 5), (1, 0)])
def test_counts_that_cannot_be_are_refused(counts: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="among"):
        weighed(USUAL, counts)


# The campaign of thousands is tests/unit/rollout/gates/test_campaign.py; these are its sample. The seeds are
# fixed, so that what passes once passes always.


def test_a_service_that_is_no_worse_is_left_alone() -> None:
    found = soaks(range(60), Traffic(mood=0.2))
    assert found["fail"] == 0
    assert found["pass"] >= 54


def test_a_doubling_is_found_within_a_day() -> None:
    found = [soak(seed, Traffic(mood=0.2), factor=2) for seed in range(60)]
    assert {each.verdict for each in found} == {"fail"}
    assert sorted(each.after for each in found)[30] <= 48  # four hours, by day or night


def test_a_breakdown_is_found_at_once() -> None:
    found = [soak(seed, Traffic(rate=200), factor=5) for seed in range(20)]
    assert max(each.after for each in found) <= 6
