"""Counts of the platform's edge: put into windows by their time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from secops.errors import Unreachable
from secops.rollout.gates.gate import Verdict, build
from secops.rollout.gates.railway_http import Requests
from support.gates import FIVE, HOUR, MINUTE, START, Spec, Told, around, moment


@dataclass
class Edge(Told):
    """A platform whose samples lie on its own grid: whole minutes of its own."""

    bad: int = 1
    asked: list[Any] = field(default_factory=list)
    gone: bool = False

    def requests(
        self, since: datetime, until: datetime, window: timedelta, *, path: str, method: str = ""
    ) -> Sequence[Requests]:
        if self.gone:
            raise Unreachable("Railway does not answer.")
        self.asked.append((window, path, method))
        found = []
        at = since.replace(second=0, microsecond=0) - window + timedelta(seconds=17)
        while at < until + window:
            bad = self.bad if at >= START else 1
            found += [Requests(at, 200, 48), Requests(at, 502, bad), Requests(at, 401, 3)]
            at += window
        return found


GATE = build(Spec("http_5xx", "railway_http", {"path": "/auth/refresh"}))


def test_as_many_bad_answers_as_before_pass() -> None:
    found = GATE.read(moment(25 * HOUR), around(Edge()))
    assert found.verdict is Verdict.PASS
    assert "answers with 5xx to /auth/refresh" in found.summary
    assert found.baseline is not None
    assert 0.015 < found.baseline < 0.025


def test_more_of_them_fail() -> None:
    found = GATE.read(moment(6 * HOUR), around(Edge(bad=9)))
    assert found.verdict is Verdict.FAIL


def test_the_path_is_asked_for_and_counts_come_late() -> None:
    edge = Edge()
    found = GATE.read(moment(HOUR + 30 * timedelta(seconds=1)), around(edge))
    assert set(edge.asked) == {(FIVE, "/auth/refresh", "")}
    assert found.figures["total"] == 11 * 52  # the twelfth window closes a minute after its end
    assert GATE.read(moment(HOUR + 2 * MINUTE), around(edge)).figures["total"] == 12 * 52


def test_other_statuses_can_be_the_bad_ones() -> None:
    gate = build(Spec("refused", "railway_http", {"bad": ["401", "5xx"], "limit": "10%"}))
    found = gate.read(moment(25 * HOUR), around(Edge()))
    assert found.figures["bad"] == found.figures["total"] / 52 * 4


def test_a_platform_that_does_not_answer_is_an_error() -> None:
    assert GATE.read(moment(HOUR), around(Edge(gone=True))).verdict is Verdict.ERROR


def test_a_target_that_counts_nothing_is_an_error() -> None:
    found = GATE.read(moment(HOUR), around(Told()))
    assert found.verdict is Verdict.ERROR
    assert "does not count requests; railway does" in found.summary
