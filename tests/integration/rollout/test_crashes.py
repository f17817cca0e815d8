"""A rollout or a rollback that dies anywhere, whose replies are lost, that meets somebody else's edits."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from secops.schema.detect import detect
from support.databases import Database
from support.fakes.faults import Reply
from support.rollouts import Case, Stage, run, stage_of, worlds

pytestmark = pytest.mark.parametrize("server", ["pg18"], indirect=True, scope="session")

REPLIES = (None, Reply.NEVER, Reply.LOST, Reply.HALF)
MEDDLING = (
    ("", "KEPT"),
    ("before", "JWT_EXPIRATION"), ("at", "JWT_EXPIRATION"), ("after", "JWT_EXPIRATION"),
    ("at", "KEPT"), ("at", "FRESH"),
)  # fmt: skip


@pytest.fixture(params=worlds())
def stage(request: pytest.FixtureRequest, hardened: Database, tmp_path: Path) -> Iterator[Stage]:
    with hardened.connect() as conn:
        layout = detect(conn, hardened.settings())
        with stage_of(request.param, conn, layout, tmp_path) as found:
            yield found


def campaign(stage: Stage, phase: str, take: float, combinations: float = 1.0) -> int:
    """Make runs, and hold each to its right end.

    Args:
        stage: Where.
        phase: Whether the rollout meets trouble, or the rollback.
        take: The share of the places to die at each of which one run dies.
        combinations: The share of the combinations of lost replies and foreign edits.

    Returns:
        How many runs it were.
    """
    kind = stage.world.kind
    chosen = random.Random(f"{kind} {phase}")
    every = [(reply, *meddling) for reply in REPLIES for meddling in MEDDLING]
    done = 0
    for reply, when, name in chosen.sample(every, round(len(every) * combinations)):
        places = run(stage, Case(kind, phase, 0, reply, when, name))
        done += 1
        for die_at in range(1, places + 1):
            if chosen.random() < take:
                run(stage, Case(kind, phase, die_at, reply, when, name))
                done += 1
    return done


@pytest.mark.parametrize("phase", ["forward", "back"])
def test_some_crashes_anywhere_leave_the_right_state(stage: Stage, phase: str) -> None:
    assert campaign(stage, phase, take=0.03, combinations=0.3) >= 7


@pytest.mark.chaos
@pytest.mark.parametrize("phase", ["forward", "back"])
def test_every_crash_everywhere_leaves_the_right_state(stage: Stage, phase: str) -> None:
    share = float(os.environ.get("CHAOS_SHARE", "1"))
    done = campaign(stage, phase, take=share)
    print(f"{stage.world.kind} {phase}: {done:,} runs, 0 wrong", flush=True)
    assert done >= 700 * share
