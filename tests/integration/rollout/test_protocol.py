"""Stages, crashes, lost replies, foreign edits and rollbacks in any order: all ends as people left it.

The model is one sentence: take back every move, and each variable holds what somebody who is not secops
wrote to it last, or what it held at first.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from secops.database.layout import Layout
from secops.errors import Conflict, NothingMatched, OutcomeUnknown, SecopsError
from secops.rollout import ticking
from secops.rollout.desk import Desk
from secops.rollout.entries import faults
from secops.rollout.moves import Key
from secops.rollout.recovery import value_of
from secops.schema.detect import detect
from secops.targets.target import MARKER
from support.databases import Database
from support.fakes.faults import Reply
from support.rollouts import BEFORE, ORDER, Boundaries, Crash, Memory, Stage, roll_back

pytestmark = pytest.mark.parametrize("server", ["pg18"], indirect=True, scope="session")

NAMES = ("JWT_EXPIRATION", "LEGACY", "FRESH")


class Protocol(RuleBasedStateMachine):
    """One target over time."""

    conn: ClassVar[Any]
    layout: ClassVar[Layout]
    folder: ClassVar[Path]

    def __init__(self) -> None:
        super().__init__()
        self.world = Memory()
        self.stage = Stage(self.world, self.conn, self.layout, self.folder)
        self.stage.begin()
        self.foreign: dict[str, str | None] = {name: BEFORE.get(name) for name in NAMES}
        self.count = 0

    def _process(self, die_at: int) -> Desk:
        """Begin a process; the one before has ended, and is seen to be gone."""
        self.conn.execute(
            "UPDATE secops.rollouts SET owner = NULL WHERE fingerprint = %s",
            (self.stage.fingerprint,),
        )
        return self.stage.desk(Boundaries(die_at=die_at))

    @rule(
        wanted=st.dictionaries(
            st.sampled_from(NAMES), st.sampled_from(["a", "b", None]), min_size=1
        ),
        die_at=st.integers(0, 70),
        reply=st.sampled_from([None, None, Reply.NEVER, Reply.LOST, Reply.HALF]),
    )
    def stage_it(self, wanted: dict[str, str | None], die_at: int, reply: Reply | None) -> None:
        desk = self._process(die_at)
        with contextlib.suppress(Crash, SecopsError):
            snapshot = desk.target.read()
            keys = {
                name: Key(value_of(snapshot, name), value)
                for name, value in wanted.items()
                if value_of(snapshot, name) != value
            }
            if desk.books.active() is not None or not keys:
                return
            if reply is not None:
                self.world.lose(reply)
            ticking.start(desk, self.stage.plan(desk, keys), ORDER)

    @rule(name=st.sampled_from(NAMES))
    def somebody_edits(self, name: str) -> None:
        self.count += 1
        self.foreign[name] = f"theirs {self.count}"
        self.world.edit({name: f"theirs {self.count}"})

    @precondition(lambda self: self.stage.desk().books.active() is not None)
    @rule(die_at=st.integers(0, 60))
    def somebody_resumes(self, die_at: int) -> None:
        desk = self._process(die_at)
        with contextlib.suppress(Crash, Conflict, OutcomeUnknown):
            desk.books.reconcile()
            active = desk.books.active()
            assert active is not None
            ticking.resume(desk, active, by_force=True)

    @rule(die_at=st.integers(0, 60), reply=st.sampled_from([None, None, Reply.LOST, Reply.HALF]))
    def somebody_rolls_back(self, die_at: int, reply: Reply | None) -> None:
        desk = self._process(die_at)
        if reply is not None:
            self.world.lose(reply)
        with contextlib.suppress(Crash, NothingMatched, OutcomeUnknown):
            roll_back(desk)
        self.world.take_loss()

    @invariant()
    def at_most_one_move_holds_the_target(self) -> None:
        row = self.conn.execute(
            "SELECT count(*) FROM secops.rollouts WHERE holds = %s", (self.stage.fingerprint,)
        ).fetchone()
        assert row[0] <= 1

    @invariant()
    def the_journal_is_whole(self) -> None:
        assert faults(self.stage.entries()) == []

    def teardown(self) -> None:
        self.world.take_loss()
        for _ in range(100):
            desk = self._process(0)
            desk.books.reconcile()
            try:
                roll_back(desk)
            except NothingMatched:
                break
        held = {name: self.world.variables.get(name) for name in NAMES}
        assert held == self.foreign
        kept = {n: v for n, v in self.world.variables.items() if n not in (*NAMES, MARKER)}
        assert kept == {n: v for n, v in BEFORE.items() if n not in NAMES}
        assert self.stage.desk().books.active() is None


def machine(hardened: Database, folder: Path, conn: Any) -> type[Protocol]:
    layout = detect(conn, hardened.settings())
    return type("Here", (Protocol,), {"conn": conn, "layout": layout, "folder": folder})


def test_in_the_end_everything_is_as_people_left_it(hardened: Database, tmp_path: Path) -> None:
    with hardened.connect() as conn:
        run_state_machine_as_test(
            machine(hardened, tmp_path, conn),
            settings=settings(
                max_examples=8, stateful_step_count=10, deadline=None, phases=(Phase.generate,),
                derandomize=True,
                suppress_health_check=list(HealthCheck),
            ),
        )  # fmt: skip


@pytest.mark.chaos
def test_in_the_end_everything_is_as_people_left_it_over_and_over(
    hardened: Database, tmp_path: Path
) -> None:
    with hardened.connect() as conn:
        run_state_machine_as_test(
            machine(hardened, tmp_path, conn),
            settings=settings(
                max_examples=500, stateful_step_count=20, deadline=None, phases=(Phase.generate,),
                suppress_health_check=list(HealthCheck),
            ),
        )  # fmt: skip
