"""A gate over counts: baseline, early windows, tripwire, silence, and what is never a pass."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secops.errors import SecopsError, Unreachable
from secops.rollout.gates.counts import Window
from secops.rollout.gates.gate import Reading, Verdict, restored
from support.gates import FIVE, HOUR, MINUTE, START, Counted, around, asked, moment, steady, watch
from support.soaks import Traffic

DAY = 24 * HOUR


def test_as_before_passes_once_the_soak_is_over_and_not_before() -> None:
    early, late, over = asked(watch(steady()), HOUR, 23 * HOUR, DAY + MINUTE)
    assert early.verdict is late.verdict is Verdict.INCONCLUSIVE
    assert "the soak lasts another 23 h" in early.summary
    assert over.verdict is Verdict.PASS
    assert over.summary == (
        "576 of 7,200 are failed logins (8 %); 8 % before; up to 10 % are tolerated."
    )
    assert over.figures["baseline_total"] == 7200
    assert over.baseline == pytest.approx(0.08, rel=0.01)


def test_twice_as_bad_fails_while_it_soaks() -> None:
    (found,) = asked(watch(steady(factor=2)), 6 * HOUR + MINUTE)
    assert found.verdict is Verdict.FAIL
    assert "288 of 1,800 are failed logins (16 %); 8 % before" in found.summary


def test_it_fails_the_same_however_often_it_is_asked() -> None:
    often = asked(watch(steady(factor=2)), *[FIVE * number + MINUTE for number in range(1, 73)])
    (once,) = asked(watch(steady(factor=2)), 6 * HOUR + MINUTE)
    failed = [each.verdict is Verdict.FAIL for each in often]
    assert failed[-1]
    assert failed.index(True) > 3
    assert often[-1].figures == once.figures
    assert sum(point.weight for each in often for point in each.points) == 1800
    assert sum(point.weight for point in once.points) == 1800
    assert len(once.points) <= 61 < len(often)


@settings(max_examples=30)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(0, 2**32))
def test_no_rhythm_of_asking_changes_what_is_found(steps: list[int], seed: int) -> None:
    rng = random.Random(seed)
    counts = [(rng.randrange(5), 25) for _ in range(2000)]

    def traffic(at: datetime) -> tuple[int, int]:
        return counts[int((at - START + 3 * DAY) / FIVE) % len(counts)]

    moments, after = [], timedelta(0)
    for step in steps:
        after += step * 3 * MINUTE
        moments.append(after)
    parted = asked(watch(traffic), *moments)[-1]
    (whole,) = asked(watch(traffic), moments[-1])
    assert parted.figures["total"] == whole.figures["total"]
    assert parted.figures["bad"] == whole.figures["bad"]
    assert parted.figures["clear"] == pytest.approx(whole.figures["clear"], abs=0.01)
    if any(each.verdict is Verdict.FAIL for each in (parted, whole)):
        assert parted.figures["worse"] == pytest.approx(whole.figures["worse"], abs=0.01)


def test_a_lost_reading_is_made_again_and_counts_once() -> None:
    gate, later = watch(steady()), 2 * HOUR + MINUTE
    first = gate.read(moment(HOUR), around())
    gate.read(moment(later, previous=first.state), around())  # nobody kept its state
    again = gate.read(moment(later, previous=first.state), around())
    assert again.figures["total"] == 600


def test_what_is_kept_survives_json() -> None:
    gate = watch(steady())
    first = gate.read(moment(HOUR), around())
    kept = json.loads(json.dumps(first.state))
    one = gate.read(moment(2 * HOUR, previous=first.state), around())
    two = gate.read(moment(2 * HOUR, previous=kept), around())
    assert one.figures == two.figures
    assert one.points == two.points
    back = restored(json.loads(json.dumps(two.as_dict())))
    assert back == replace(two, state={})


def test_early_windows_are_shown_and_do_not_count() -> None:
    """Two hours of a mixture, then as before: it passes, and the early dots are hollow."""

    def traffic(at: datetime) -> tuple[int, int]:
        return (9 if START <= at < START + 2 * HOUR else 2), 25

    early, over = asked(watch(traffic), HOUR, DAY + MINUTE, pure=2 * HOUR)
    assert early.verdict is Verdict.INCONCLUSIVE
    assert "Tokens from before are still about for 1 h" in early.summary
    assert {point.counted for point in early.points} == {False}
    assert early.points[0].value == pytest.approx(9 / 25)
    assert over.verdict is Verdict.PASS
    assert over.figures["total"] == 22 * 12 * 25
    assert over.figures["total_in_all"] == 24 * 12 * 25
    assert [point.counted for point in over.points].count(True) > 20


def test_a_soak_without_pure_time_is_no_pass() -> None:
    (found,) = asked(watch(steady()), DAY + MINUTE, pure=DAY)
    assert found.verdict is Verdict.INCONCLUSIVE


def test_the_tripwire_acts_in_early_windows_too() -> None:
    (found,) = asked(watch(steady(factor=10)), 12 * MINUTE, pure=2 * HOUR)
    assert found.verdict is Verdict.FAIL
    assert "are failed logins: more than 50 %" in found.summary


def test_the_tripwire_sees_the_window_that_is_still_open() -> None:
    (found,) = asked(watch(steady(factor=10, rate=100)), 2 * MINUTE)
    assert found.verdict is Verdict.FAIL


def test_once_tripped_it_stays_so() -> None:
    def traffic(at: datetime) -> tuple[int, int]:
        return (20 if START <= at < START + 3 * FIVE else 2), 25

    first, later = asked(watch(traffic), 16 * MINUTE, 10 * HOUR)
    assert first.verdict is later.verdict is Verdict.FAIL
    (late,) = asked(watch(traffic, alpha=1e-9), 10 * HOUR)
    assert late.summary == first.summary  # nobody looked while it was broken


def test_three_failures_of_three_are_no_breakdown() -> None:
    (found,) = asked(watch(lambda at: (3, 3) if at >= START else (2, 25)), 20 * MINUTE)
    assert found.verdict is Verdict.INCONCLUSIVE


def test_without_a_baseline_nothing_passes_but_a_breakdown_fails() -> None:
    new = watch(lambda at: (0, 25) if at >= START else (0, 0))
    first, over = asked(new, HOUR, DAY + MINUTE)
    assert first.verdict is over.verdict is Verdict.INCONCLUSIVE
    assert "Only 0 attempts were counted before the change, and 200 are needed" in over.summary
    (broken,) = asked(watch(lambda at: (20, 25) if at >= START else (0, 0)), HOUR)
    assert broken.verdict is Verdict.FAIL


def test_the_baseline_is_counted_once_and_stays() -> None:
    source = Counted(steady())
    asked(watch(source), HOUR, 2 * HOUR, 3 * HOUR)
    before = [since for since, _ in source.asked if since < START]
    assert before == [START - DAY]


def test_the_baseline_does_not_reach_back_into_what_was_undone() -> None:
    """Half a day ago something else was tried, and failed."""

    def traffic(at: datetime) -> tuple[int, int]:
        return (12 if at < START - 12 * HOUR else 2), 25

    (found,) = asked(watch(traffic), HOUR, settled=START - 12 * HOUR)
    assert found.figures["baseline_total"] == 12 * 12 * 25
    assert found.baseline == pytest.approx(0.08, rel=0.01)


def test_a_given_limit_needs_no_baseline() -> None:
    new = watch(lambda at: (1, 50) if at >= START else (0, 0), limit="5%")
    assert asked(new, DAY + MINUTE)[0].verdict is Verdict.PASS
    bad = watch(lambda at: (5, 50) if at >= START else (0, 0), limit="5%")
    assert asked(bad, DAY)[0].verdict is Verdict.FAIL


def test_what_is_not_live_is_not_watched() -> None:
    (found,) = asked(watch(steady()), HOUR, live=None)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.state == {}


def test_a_small_baseline_is_told_of() -> None:
    (found,) = asked(watch(steady(rate=5, share=0.2)), HOUR)
    assert "1,440 attempts" in found.figures["advice"]
    assert "advice" not in asked(watch(steady()), HOUR)[0].figures


# What is never a pass.


def silent_from(begin: timedelta) -> Any:
    def traffic(at: datetime) -> tuple[int, int]:
        return (0, 0) if at >= START + begin else (2, 25)

    return traffic


@pytest.mark.parametrize("hours", [0, 1, 6, 12, 23])
def test_traffic_that_stops_is_no_pass(hours: int) -> None:
    (found,) = asked(watch(silent_from(hours * HOUR)), DAY + MINUTE)
    assert found.verdict is Verdict.INCONCLUSIVE
    if hours > 0:
        assert "do they arrive, and are they written down?" in found.summary


def test_a_trickle_of_what_is_usual_is_no_pass() -> None:
    (found,) = asked(watch(lambda at: (0, 1) if at >= START else (2, 25)), DAY + MINUTE)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "where some 7,200 are usual" in found.summary


def test_a_source_that_breaks_is_an_error_and_forgets_nothing() -> None:
    class Breaking(Counted):
        broken = False

        def windows(self, *args: Any) -> Sequence[Window]:
            if self.broken:
                raise Unreachable("The connection was lost.")
            return super().windows(*args)

    source = Breaking(steady())
    gate = watch(source)
    first = gate.read(moment(HOUR), around())
    source.broken = True
    second = gate.read(moment(25 * HOUR, previous=first.state), around())
    assert second.verdict is Verdict.ERROR
    assert "It could not be counted: The connection was lost." in second.summary
    assert second.state == first.state
    source.broken = False
    third = gate.read(moment(25 * HOUR, previous=second.state), around())
    assert third.verdict is Verdict.PASS
    assert third.figures["total"] == 25 * 12 * 25 - 25  # the last window closes later


IMPOSSIBLE = [
    ("more failures than attempts", lambda since: [Window(since, 3, 2)]),
    ("negative", lambda since: [Window(since, -1, 2)]),
    ("the future", lambda since: [Window(since + 48 * HOUR, 1, 2)]),
    ("the past", lambda since: [Window(since - FIVE, 1, 2)]),
    ("twice the same", lambda since: [Window(since, 1, 2), Window(since, 1, 2)]),
    ("backwards", lambda since: [Window(since + FIVE, 1, 2), Window(since, 1, 2)]),
    ("beside its windows", lambda since: [Window(since + MINUTE, 1, 2)]),
]


@pytest.mark.parametrize(("how", "windows"), IMPOSSIBLE, ids=[how for how, _ in IMPOSSIBLE])
def test_counts_that_cannot_be_are_an_error(how: str, windows: Any) -> None:
    class Off(Counted):
        def windows(self, since: datetime, *args: Any) -> Sequence[Window]:
            if since < START:
                return super().windows(since, *args)
            found: Sequence[Window] = windows(since)
            return found

    (found,) = asked(watch(Off(steady())), DAY + MINUTE)
    assert found.verdict is Verdict.ERROR, how


def broken_soak(seed: int) -> tuple[str, list[Reading]]:
    """A day's soak of a service that is no worse, whose data is missing or broken in some way."""
    rng = random.Random(seed)
    counts = Traffic(rate=20).windows(rng, 576, phase=rng.random())
    counts += counts
    way = rng.choice(
        ["no baseline", "no data", "stops", "trickles", "raises", "lies", "raises at the end"]
    )
    begin = rng.uniform(0, 23) * HOUR

    class Broken(Counted):
        def windows(self, since: datetime, until: datetime, *args: Any) -> Sequence[Window]:
            late = until > START + begin and since >= START
            if way == "raises at the end" and until > START + 23 * HOUR:
                raise SecopsError("broken")
            if way == "raises" and since >= START and rng.random() < 0.7:
                raise SecopsError("broken")
            if way == "lies" and late:
                return [Window(since, 5, 4)]
            return super().windows(since, until, *args)

    def traffic(at: datetime) -> tuple[int, int]:
        live = at >= START
        gone = {"no baseline": not live, "no data": live, "stops": at >= START + begin}
        if gone.get(way):
            return 0, 0
        if way == "trickles" and live:
            return 0, int(rng.random() < 0.3)
        return counts[int((at - START) / FIVE) + 300]

    gate = watch(Broken(traffic))
    readings: list[Reading] = []
    after = timedelta(0)
    while after < DAY + 10 * MINUTE:
        after += rng.choice([FIVE, 30 * MINUTE, 3 * HOUR])
        previous = readings[-1].state if readings else {}
        readings.append(gate.read(moment(after, previous=previous), around()))
    if way == "raises":  # what could be asked again in the end was counted after all
        readings = [each for each in readings if each.verdict is Verdict.ERROR]
    return way, readings


def test_missing_or_broken_data_never_passes() -> None:
    for seed in range(40):
        way, readings = broken_soak(seed)
        assert all(each.verdict is not Verdict.PASS for each in readings), (way, seed)


@pytest.mark.chaos
def test_missing_or_broken_data_never_passes_in_a_thousand_soaks() -> None:
    ways: dict[str, int] = {}
    for seed in range(1000, 2000):
        way, readings = broken_soak(seed)
        ways[way] = ways.get(way, 0) + 1
        assert all(each.verdict is not Verdict.PASS for each in readings), (way, seed)
    print(ways)
    assert len(ways) == 7
