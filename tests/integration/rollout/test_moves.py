"""One move from its plan to its end, on every platform: one write, one deployment, everything back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secops.errors import Busy, Conflict, OutcomeUnknown, Refused, SecopsError
from secops.rollout import rolling_back, starting, ticking
from secops.rollout.moves import Key, Kind
from secops.rollout.plan import Plan
from secops.rollout.states import State
from secops.schema.detect import detect
from secops.targets.target import MARKER
from support.databases import Database
from support.rollouts import (
    BEFORE,
    KEYS,
    ORDER,
    Faked,
    Stage,
    roll_back,
    roll_out,
    stage_of,
    worlds,
)

pytestmark = pytest.mark.parametrize("server", ["pg18"], indirect=True, scope="session")


@pytest.fixture(params=worlds())
def stage(request: pytest.FixtureRequest, hardened: Database, tmp_path: Path) -> Iterator[Stage]:
    with hardened.connect() as conn:
        layout = detect(conn, hardened.settings())
        with stage_of(request.param, conn, layout, tmp_path) as found:
            found.begin()
            yield found


ONLY_FAKES = pytest.mark.parametrize("stage", ["railway", "heroku", "kubernetes"], indirect=True)
RAILWAY = pytest.mark.parametrize("stage", ["railway"], indirect=True)


def fake(stage: Stage) -> Faked:
    assert isinstance(stage.world, Faked)
    return stage.world


def keys(count: int) -> dict[str, Key]:
    """Return so many variables: every third is new, every third goes, the others change."""
    return {
        f"NAME_{n}": (Key(None, "new"), Key(f"old {n}", None), Key(f"old {n}", f"new {n}"))[n % 3]
        for n in range(count)
    }


@ONLY_FAKES
@pytest.mark.parametrize("count", [1, 2, 7, 19])
def test_one_write_one_deployment_and_few_requests(stage: Stage, count: int) -> None:
    world, wanted = fake(stage), keys(count)
    world.fake.reset({**BEFORE, **{n: k.before for n, k in wanted.items() if k.before is not None}})
    was = world.variables
    desk = stage.desk()
    before = world.deployed
    asked = world.fake.count()
    plan = stage.plan(desk, wanted)
    ticked = ticking.start(desk, plan, ORDER)
    assert ticked.standing.state is State.PASSED
    assert world.deployed == before + 1
    assert world.fake.count("write") == 1 or stage.world.kind == "kubernetes"
    assert world.fake.count() - asked <= 20
    live = world.variables
    assert {n: live.get(n) for n in wanted} == {n: k.after for n, k in wanted.items()}

    asked = world.fake.count()
    undone = rolling_back.choose(desk.books.standings())
    written: list[int] = []
    world.fake.faults.add("write", after=lambda: written.append(world.fake.count() - asked))
    undoing = rolling_back.plan(desk, undone)
    back = rolling_back.begin(desk, undoing, reason="r")
    rolling_back.finish(desk, back, undoing)
    assert world.deployed == before + 2
    assert written[0] <= 3
    left = {name: value for name, value in world.variables.items() if name != MARKER}
    assert left == was


_TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
_TRICKY = st.sampled_from(
    [
        "",
        "'",
        '"',
        "\\",
        "$HOME",
        "a\r\nb",
        "line\nline",
        "${{shared.X}}",
        "é",
        "#",
        " x ",
        "=",
        "\t",
    ]
)
_VALUE = st.none() | _TEXTS | _TRICKY


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    st.dictionaries(st.sampled_from(["A", "B", "C_1", "D"]), st.tuples(_VALUE, _VALUE), min_size=1)
)
@pytest.mark.parametrize("stage", ["dotenv", "railway"], indirect=True)
def test_whatever_the_values_are_they_come_back_byte_for_byte(
    stage: Stage, values: dict[str, tuple[str | None, str | None]]
) -> None:
    stage.begin()
    target = stage.world.target()
    from secops.targets.target import Change

    given = {name: before for name, (before, _) in values.items() if before is not None}
    try:
        target.write(Change(given), target.read())
    except Refused:  # a file cannot hold a carriage return that is no line's end
        return
    was = stage.world.variables
    desk = stage.desk()
    wanted = {name: Key(a, b) for name, (a, b) in values.items() if a != b}
    try:
        done = ticking.start(desk, stage.plan(desk, wanted), ORDER).standing
    except Refused:
        assert stage.world.variables == was
        return
    assert done.state is State.PASSED
    if wanted:
        roll_back(desk)
    left = {name: value for name, value in stage.world.variables.items() if name != MARKER}
    assert left == was


@ONLY_FAKES
def test_a_deployment_that_fails_is_rolled_back_and_said(stage: Stage) -> None:
    world = fake(stage)
    world.fake.outcome = {"railway": "CRASHED", "heroku": "failed"}.get(world.kind, "failed")
    desk = stage.desk()

    def recover(sentence: str) -> None:
        if "Rolling back" in sentence:
            world.fake.outcome = "live"

    desk.told = recover
    if world.kind == "kubernetes":
        world.fake.outcome = "slow"
        plan = stage.plan(desk)
        ticked = ticking.start(desk, plan, ORDER, wait=False)
        assert ticked.standing.state is State.DEPLOYING
        world.fake.finish("failed")
        with stage.conn.transaction():
            stage.conn.execute("SELECT 1")
        again = ticking.tick(desk)
        assert again is not None
        if again.standing.state is State.DEPLOYING:
            return  # pods that cannot start look like pods that start; the deadline tells
        ticked = again
    else:
        ticked = roll_out(stage, desk)
    assert ticked.rollback is not None
    assert ticked.rollback.state is State.PASSED
    assert ticked.standing.state is State.ROLLED_BACK
    live = world.variables
    assert {name: live.get(name) for name in KEYS} == {n: k.before for n, k in KEYS.items()}


@RAILWAY
def test_a_deployment_that_waits_for_a_person_is_held_and_goes_on(stage: Stage) -> None:
    world = fake(stage)
    world.fake.outcome = "NEEDS_APPROVAL"
    desk = stage.desk()
    ticked = roll_out(stage, desk)
    assert ticked.standing.state is State.HELD
    assert "NEEDS_APPROVAL" in ticked.standing.text("why")
    again = ticking.tick(stage.desk())
    assert again is not None
    assert again.standing.state is State.HELD
    entries = len(stage.entries())
    ticking.tick(stage.desk())
    assert len(stage.entries()) == entries, "waiting fills the journal"
    railway: Any = world.fake
    railway._settle(railway.deployments[0], "SUCCESS")
    done = ticking.tick(stage.desk())
    assert done is not None
    assert done.standing.state is State.PASSED


@RAILWAY
def test_a_deployment_that_takes_too_long_fails(stage: Stage) -> None:
    world = fake(stage)
    world.fake.outcome = "slow"
    desk = stage.desk()
    order = replace(ORDER, deadline=timedelta(seconds=0), on_fail="hold")
    ticked = ticking.start(desk, stage.plan(desk), order)
    assert ticked.standing.state is State.HELD
    assert "was not live within" in ticked.standing.text("why")


@pytest.mark.parametrize("stage", ["railway"], indirect=True)
@pytest.mark.parametrize(
    ("on", "status"), [("write", 403), ("write", 503), ("read", 503), ("read", 403)]
)
def test_what_the_platform_refuses_leaves_everything_and_holds_nothing(
    stage: Stage, on: str, status: int
) -> None:
    world = fake(stage)
    desk = stage.desk()
    plan = stage.plan(desk)
    world.fake.faults.add(on, status=status, times=50, message="no")
    was = world.variables
    with pytest.raises(SecopsError):
        ticking.start(desk, plan, ORDER)
    world.fake.faults.clear()
    assert world.variables == was
    left = stage.desk().books.active()
    if left is not None:  # a 503 on a write may have been written
        assert left.state is State.UNKNOWN
        assert ticking.resume(stage.desk(), left, by_force=True).standing.state is State.PASSED
    else:
        assert roll_out(stage, stage.desk()).standing.state is State.PASSED


def test_two_processes_at_once(stage: Stage) -> None:
    one, two = stage.desk(), stage.desk()
    plan = stage.plan(one)
    standing = starting.begin(one, plan, ORDER)
    with pytest.raises(Busy) as told:
        starting.begin(two, plan, ORDER)
    assert "alice@laptop" in told.value.message
    assert told.value.exit_code == 6
    with pytest.raises(Busy):
        ticking.tick(two)
    with pytest.raises(Busy):
        roll_back(two)
    # Who is taken over can record nothing more, nor write.
    ticking.resume(two, standing, by_force=True)
    writes = stage.world.deployed
    with pytest.raises(Busy):
        starting.carry_out(one, plan, standing)
    assert stage.world.deployed == writes


def test_an_owner_without_a_sign_for_three_minutes_is_taken_over(stage: Stage) -> None:
    one, two = stage.desk(), stage.desk()
    standing = starting.begin(one, stage.plan(one), ORDER)
    with pytest.raises(Busy):
        ticking.resume(two, standing)
    stage.conn.execute("UPDATE secops.rollouts SET heartbeat_at = now() - interval '4 min'")
    assert ticking.resume(two, standing).standing.state is State.PASSED


def test_a_conflict_touches_nothing_and_is_mended_by_hand_or_rolled_back(stage: Stage) -> None:
    desk = stage.desk()
    plan = stage.plan(desk)
    stage.world.edit({"JWT_EXPIRATION": "7h"})
    was = stage.world.variables
    with pytest.raises(Conflict) as told:
        ticking.start(desk, plan, ORDER)
    assert told.value.exit_code == 5
    assert stage.world.variables == was
    rows = told.value.details["variables"]
    assert isinstance(rows, list)
    assert {"variable": "JWT_EXPIRATION", "before": "1h", "after": "30m", "live": "7h",
            "is": "foreign"} in rows  # fmt: skip
    assert stage.desk().books.active() is None


@pytest.mark.parametrize("stage", ["heroku"], indirect=True)
def test_a_value_that_was_put_back_before_the_reply_was_understood_is_told(stage: Stage) -> None:
    world = fake(stage)
    desk = stage.desk()
    plan = stage.plan(desk)
    world.fake.faults.add("write", after=lambda: world.edit({"JWT_EXPIRATION": "1h"}))
    ticked = ticking.start(desk, plan, ORDER)
    assert [edit[0] for edit in ticked.standing.facts["overwritten"]] == ["mallory@example.com"]
    assert any("mallory@example.com wrote JWT_EXPIRATION" in each for each in desk.warnings)


@pytest.mark.parametrize("stage", ["railway", "kubernetes"], indirect=True)
def test_a_value_that_somebody_put_back_at_once_is_not_written_over(stage: Stage) -> None:
    world = fake(stage)
    desk = stage.desk()
    plan = stage.plan(desk)
    world.fake.faults.add("write", after=lambda: world.edit({"JWT_EXPIRATION": "1h"}))
    with pytest.raises(OutcomeUnknown) as told:
        ticking.start(desk, plan, ORDER)
    assert "JWT_EXPIRATION is not as written" in told.value.message
    assert world.variables["JWT_EXPIRATION"] == "1h"
    roll_back(stage.desk())
    live = world.variables
    assert {name: live.get(name) for name in KEYS} == {n: k.before for n, k in KEYS.items()}


def test_a_change_during_the_soak_is_no_pass(stage: Stage) -> None:
    desk = stage.desk()
    made = stage.plan(desk)
    from secops.rollout.soak import Soaking

    soaking = Soaking(timedelta(0), timedelta(0), "at once")
    plan = Plan(made.title, (), made.keys, made.snapshot, soaking)
    assert ticking.start(desk, plan, ORDER).standing.state is State.SOAKING
    stage.world.edit({"JWT_EXPIRATION": "9h"})
    with pytest.raises(Conflict):
        ticking.tick(stage.desk())
    active = stage.desk().books.active()
    assert active is not None
    assert active.state is State.CONFLICT
    stage.world.edit({"JWT_EXPIRATION": "30m"})
    resumed = ticking.resume(stage.desk(), active)
    assert resumed.standing.state in {State.SOAKING, State.PASSED}


def test_urgent_values_take_the_target_from_what_soaks(stage: Stage) -> None:
    desk = stage.desk()
    made = stage.plan(desk)
    from secops.rollout.soak import Soaking

    plan = replace(made, soaking=Soaking(timedelta(hours=1), timedelta(0), "an hour"))
    first = ticking.start(desk, plan, ORDER).standing
    urgent = starting.Order(Kind.PROFILE, "", "relaxed", reason="now", command="rollback")
    relaxed = Plan("relaxed", (), {"JWT_EXPIRATION": Key("30m", "2h")}, desk.target.read())
    assert ticking.start(stage.desk(), relaxed, urgent).standing.state is State.PASSED
    assert stage.world.variables["JWT_EXPIRATION"] == "2h"
    assert stage.desk().books.active() is None
    roll_back(stage.desk())
    assert stage.world.variables["JWT_EXPIRATION"] == "30m"
    roll_back(stage.desk())
    assert stage.world.variables["JWT_EXPIRATION"] == "1h"
    ended = next(each for each in stage.standings() if each.move.id == first.move.id)
    assert ended.state is State.ROLLED_BACK


@RAILWAY
def test_a_sealed_variable_comes_back_from_the_value_that_was_given(stage: Stage) -> None:
    world = fake(stage)
    world.fake.reset(BEFORE, sealed={"SEALED": "hidden"})
    desk = stage.desk()
    wanted = {"SEALED": Key("hidden", "other", hidden=True)}
    done = ticking.start(desk, stage.plan(desk, wanted), ORDER).standing
    assert done.state is State.PASSED
    assert world.variables["SEALED"] == "other"
    roll_back(desk)
    assert world.variables["SEALED"] == "hidden"


@RAILWAY
def test_a_lost_reply_that_stays_lost_is_an_unknown_outcome(stage: Stage) -> None:
    world = fake(stage)
    desk = stage.desk()
    plan = stage.plan(desk)
    from support.fakes.faults import Reply

    world.fake.faults.add("write", reply=Reply.NEVER, times=30)
    with pytest.raises(OutcomeUnknown) as told:
        ticking.start(desk, plan, ORDER)
    assert "resume" in told.value.hint
    world.fake.faults.clear()
    active = stage.desk().books.active()
    assert active is not None
    assert ticking.resume(stage.desk(), active, by_force=True).standing.state is State.PASSED
