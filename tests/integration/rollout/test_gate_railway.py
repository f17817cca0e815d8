"""The gate over Railway's own counts, through the real target and a service that validates as Railway does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from secops.rollout.gates.gate import Moment, Surroundings, Verdict, build
from secops.targets import railway
from support.fakes.railway import FakeRailway
from support.gates import HOUR, Spec, settings


def test_it_counts_what_the_edge_answered() -> None:
    live = datetime(2026, 11, 24, 12, 0, 7, 123456, tzinfo=UTC)
    gate = build(Spec("http_5xx", "railway_http", {"path": "/auth/refresh", "limit": "5%"}))
    with FakeRailway({"JWT_EXPIRATION": "1h"}) as fake:
        target = railway.make(fake.place("prod"), fake.environ)
        around = Surroundings(target, settings())
        soak = timedelta(hours=6)
        moment = Moment("op", "d1", live, live, live, live + soak, live + soak - HOUR)

        fake.statuses = {"/auth/refresh": {200: 9_900, 502: 100}, "": {500: 70_000}}
        good = gate.read(moment, around)
        assert good.verdict is Verdict.PASS
        assert good.figures["bad"] < good.figures["total"] * 0.012
        assert good.figures["total"] > 9_500

        fake.statuses = {"/auth/refresh": {200: 8_800, 502: 1_200}}
        assert gate.read(moment, around).verdict is Verdict.FAIL

        fake.statuses = {}
        assert gate.read(moment, around).verdict is Verdict.INCONCLUSIVE

        fake.denied = {"httpMetricsGroupedByStatus"}
        refused = gate.read(moment, around)
        assert refused.verdict is Verdict.ERROR
        assert "could not be counted" in refused.summary
