"""Rollouts against a platform's fake: how many requests a stage takes, and how soon a rollback is accepted.

What one does otherwise is one `railway variable set` a variable, each of which deploys.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

from bench.measure import Section, milliseconds
from secops.rollout import rolling_back, ticking
from secops.rollout.desk import Desk
from secops.rollout.moves import Key
from secops.schema.detect import detect
from support.databases import Command, Database, create_app
from support.rollouts import BEFORE, ORDER, Faked, Stage, stage_of
from support.servers import Server

_SIZES: Final = (1, 7, 19)
_ROUNDS: Final = 9
_LATENCY: Final = 0.2
_BUILD: Final = 180.0
"""Seconds that a deployment takes; the fake's clock alone waits for them."""


def measure(server: Server, _: argparse.Namespace) -> Section:
    """Count requests and deployments, and time rollbacks."""
    section = Section(
        "Rollouts on Railway",
        ("what", "secops", "one call a variable"),
        about="Against the fake that validates like Railway, a deployment takes 3 minutes and a reply 200 ms. "
        "The right column is what `railway variable set` for each variable would make, and cannot take back.",
    )
    database = Database(server, server.create())
    create_app(database)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        assert Command(home).on(database)("migrate", "--yes").code == 0
        with database.connect() as conn:
            layout = detect(conn, database.settings())
            with stage_of("railway", conn, layout, home) as stage:
                _measured(section, stage)
    server.drop(database.name)
    return section


def _measured(section: Section, stage: Stage) -> None:
    world = stage.world
    assert isinstance(world, Faked)
    for size in _SIZES:
        keys = _keys(size)
        requests, deployments = _stage(stage, world, keys)
        section.add(f"requests of a stage of {size}, polls included", str(requests), "-")
        section.add(f"deployments of a stage of {size}", str(deployments), str(size))
    taken: list[float] = []
    counted: list[int] = []
    for _ in range(_ROUNDS):
        _stage(stage, world, _keys(7))
        seconds, requests = _back(stage, world)
        taken.append(seconds)
        counted.append(requests)
    section.add("requests from the decision to the accepted rollback", str(max(counted)), "-")
    section.add(
        "time from the decision to the accepted rollback, the slowest of "
        f"{_ROUNDS}", milliseconds(max(taken)), "-",
    )  # fmt: skip
    section.add("the same, median", milliseconds(statistics.median(taken)), "-")


def _keys(size: int) -> dict[str, Key]:
    return {f"NAME_{number}": Key("old", "new") for number in range(size)}


def _stage(stage: Stage, world: Faked, keys: dict[str, Key]) -> tuple[int, int]:
    """Roll a stage out; return its requests and deployments."""
    stage.begin()
    world.fake.reset({**BEFORE, **dict.fromkeys(keys, "old")})
    world.fake.outcome = "slow"
    desk = stage.desk()
    slept = 0.0

    def sleep(seconds: float) -> None:
        nonlocal slept
        slept += seconds
        if slept >= _BUILD:
            world.fake.finish()

    desk.sleep = sleep
    ticking.start(desk, stage.plan(desk, keys), ORDER)
    return world.fake.count(), world.fake.deployed


def _back(stage: Stage, world: Faked) -> tuple[float, int]:
    """Roll back; return how long, and how many requests, until the platform had accepted it."""
    world.fake.outcome = "live"
    accepted: list[tuple[float, int]] = []
    asked = world.fake.count()
    for kind in ("read", "history", "status", "deploy"):
        world.fake.faults.add(kind, times=99, before=lambda: time.sleep(_LATENCY))

    def note() -> None:
        time.sleep(_LATENCY)
        accepted.append((time.perf_counter(), world.fake.count() - asked))

    world.fake.faults.add("write", after=note)
    desk: Desk = stage.desk()
    began = time.perf_counter()
    undoing = rolling_back.plan(desk, rolling_back.choose(desk.books.standings()))
    rolling_back.finish(desk, rolling_back.begin(desk, undoing, reason="bench"), undoing)
    at, requests = accepted[0]
    return at - began, requests
