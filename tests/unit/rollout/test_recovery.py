"""What became of a write, from what is live; how long a stage soaks; what may follow what."""

from __future__ import annotations

import itertools
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secops.errors import Busy, SecopsError
from secops.rollout.drift import Way, find
from secops.rollout.entries import Standing, faults, first, read, standings
from secops.rollout.expiry import relaxations
from secops.rollout.local_journal import LocalJournal
from secops.rollout.moves import Key, Kind, Move, restored
from secops.rollout.owners import Hold, Owner, this_process
from secops.rollout.plan import recorded
from secops.rollout.recovery import Outcome, Side, compare
from secops.rollout.rolling_back import choose
from secops.rollout.soak import soaking
from secops.rollout.states import FOLLOWS, State
from secops.targets.target import MARKER, Snapshot, Variable
from secops.variables.registry import registry

AT = datetime(2026, 11, 24, tzinfo=UTC)


def move(keys: dict[str, Key] | None = None, **more: object) -> Move:
    return replace(
        Move(
            uuid.uuid4(), Kind.STAGE, "prod", "fp", "jwt-ttl", "30m",
            {"A": Key("1", "2"), "B": Key(None, "x")} if keys is None else keys,
            None, "alice", "laptop",
        ),
        **more,  # type: ignore[arg-type]  # fields by name
    )  # fmt: skip


def live(**values: str | None) -> Snapshot:
    return Snapshot({name: Variable(name, value) for name, value in values.items()})


def passed(one: Move, at: datetime = AT, *steps: State, **facts: object) -> Standing:
    standing = first(one, {}, at=at, previous="")
    for state in steps or (State.APPLIED, State.DEPLOYING, State.LIVE, State.PASSED):
        more = {"applied": True, **(facts if state is State.LIVE else {})}
        if state is State.PASSED:
            more["over"] = True
        standing = standing.next(state, more, at=at, actor="alice", host="h", epoch=1)
    return standing


def test_every_combination_of_values_and_marker_has_one_outcome() -> None:
    one = move()
    mine = str(one.id)
    sides = {Side.BEFORE: ("1", None), Side.AFTER: ("2", "x"), Side.FOREIGN: ("9", "y")}
    for a, b, marker in itertools.product(Side, Side, (None, mine, "another")):
        values: dict[str, str | None] = {"A": sides[a][0], MARKER: marker}
        if sides[b][1] is not None:
            values["B"] = sides[b][1]
        if marker is None:
            del values[MARKER]
        found = compare(one, live(**values))
        assert dict(found.sides) == {"A": a, "B": b}
        if Side.FOREIGN in (a, b) or marker == "another":
            assert found.outcome is Outcome.CONFLICT
        elif a is b is Side.AFTER and marker == mine:
            assert found.outcome is Outcome.APPLIED
        elif a is b is Side.BEFORE and marker is None:
            assert found.outcome is Outcome.NOT_APPLIED
        else:
            assert found.outcome is Outcome.TORN
        left = found.remaining()
        assert set(left.set) | left.unset == {
            name for name, side in found.sides.items() if side is Side.BEFORE
        } | {MARKER}


def test_a_sealed_variable_goes_by_the_marker_and_one_sealed_since_is_foreign() -> None:
    one = move({"S": Key("old", "new", hidden=True)})
    sealed = Variable("S", None, sealed=True)
    before = compare(one, Snapshot({"S": sealed}))
    assert before.outcome is Outcome.NOT_APPLIED
    marker = Variable(MARKER, str(one.id))
    assert compare(one, Snapshot({"S": sealed, MARKER: marker})).outcome is Outcome.APPLIED
    plain = move({"S": Key("old", "new")})
    assert compare(plain, Snapshot({"S": sealed})).outcome is Outcome.CONFLICT


_TEXT = st.text(max_size=12)


@given(
    st.dictionaries(_TEXT, st.tuples(st.none() | _TEXT, st.none() | _TEXT), max_size=5),
    _TEXT,
    _TEXT,
)
def test_a_move_and_its_entries_survive_being_written_down(
    keys: dict[str, tuple[str | None, str | None]], reason: str, why: str
) -> None:
    one = move({name: Key(*pair) for name, pair in keys.items()}, reason=reason)
    assert restored(one.as_dict()) == one
    standing = first(one, {"why": why}, at=AT, previous="")
    line = standing.last.as_text()
    assert line.isascii()
    assert "\n" not in line
    back = read(line)
    assert back.genuine
    assert standings([back])[0].move == one


def test_a_chain_that_somebody_touched_shows() -> None:
    whole = passed(move()).entries
    assert faults(whole) == []
    changed = replace(whole[1], actor="mallory")
    assert any("was changed" in each for each in faults([whole[0], changed, *whole[2:]]))
    assert any("lacks entries" in each for each in faults([whole[0], *whole[2:]]))
    resealed = replace(whole[1], actor="mallory").sealed()
    assert any("does not follow" in each for each in faults([whole[0], resealed, *whole[2:]]))
    later = first(move(), {}, at=AT, previous=whole[-1].hash)
    assert faults([*whole, *later.entries]) == []
    assert any("missing" in each for each in faults(later.entries))


def test_no_state_follows_that_may_not() -> None:
    for state in State:
        for following in State:
            standing = _in_state(state)
            if standing is None:
                continue
            if following in FOLLOWS[state]:
                standing.next(following, {}, at=AT, actor="a", host="h", epoch=1)
            else:
                with pytest.raises(SecopsError, match="cannot follow"):
                    standing.next(following, {}, at=AT, actor="a", host="h", epoch=1)


def _in_state(state: State) -> Standing | None:
    ways = {
        State.INTENT: (), State.APPLIED: (State.APPLIED,), State.UNKNOWN: (State.UNKNOWN,),
        State.PASSED: (State.PASSED,), State.FAILED: (State.FAILED,),
        State.ROLLED_BACK: (State.ROLLED_BACK,), State.CONFLICT: (State.CONFLICT,),
        State.HELD: (State.APPLIED, State.HELD), State.DEPLOYING: (State.APPLIED, State.DEPLOYING),
    }  # fmt: skip
    if state not in ways:
        return None
    standing = first(move(), {}, at=AT, previous="")
    for each in ways[state]:
        standing = standing.next(each, {}, at=AT, actor="a", host="h", epoch=1)
    return standing


def test_a_line_that_a_crash_cut_off_is_no_entry_and_is_in_nobodys_way(tmp_path: Path) -> None:
    journal = LocalJournal(tmp_path / "deep" / "er", "prod/eu", "fp")
    entries = passed(move()).entries
    journal.append(entries[:2])
    assert journal.path.stat().st_mode & 0o777 == 0o600
    assert journal.path.parent.stat().st_mode & 0o777 == 0o700
    with journal.path.open("a") as file:
        file.write(entries[2].as_text()[:50])
    assert journal.entries() == list(entries[:2])
    journal.append(entries[2:])
    assert journal.entries() == list(entries)
    with journal.path.open("a") as file:
        file.write("nonsense\n")
    with pytest.raises(SecopsError, match="cannot be read"):
        journal.entries()


def test_one_process_at_a_time_on_this_machine(tmp_path: Path) -> None:
    one, two = (LocalJournal(tmp_path, "prod", "fp") for _ in range(2))
    with (
        one.held("alice@here, pid 7", "rollback"),
        pytest.raises(Busy, match="alice@here"),
        two.held("bob", "rollback"),
    ):
        pass
    with two.held("bob", "rollback"):
        pass


def test_an_owner_is_alive_until_its_process_or_its_heartbeat_says_otherwise() -> None:
    me = this_process("alice", "laptop")
    assert not me.gone
    assert Hold(me, AT, AT, AT + timedelta(minutes=2), 1).alive
    assert not Hold(me, AT, AT, AT + timedelta(minutes=4), 1).alive
    assert not Hold(None, None, None, AT, 1).alive
    boot, namespace, _ = me.token.split(" ")
    dead = Owner("alice", "laptop", me.pid, f"{boot} {namespace} 1")
    assert dead.gone
    assert not Hold(dead, AT, AT, AT, 1).alive
    elsewhere = Owner("alice", "server", 1, "another-boot pid:[1] 5")
    assert not elsewhere.gone


@pytest.mark.parametrize(
    ("before", "after", "minimum", "length", "pure"),
    [
        ("1h", "30m", "24h", 24 * 60, 60),
        ("1h", "30m", "10m", 90, 60),
        ("3600s", "1800s", "10m", 90, 60),
        ("30d", "1h", "24h", 25 * 60, 24 * 60),
        ("15m", "15m", "5m", 30, 15),
        (None, "30m", "5m", 24 * 60 + 30, 24 * 60),
        ("soon", "30m", "5m", 24 * 60 + 30, 24 * 60),
    ],
)
def test_a_soak_lasts_as_long_as_old_and_new_tokens_live(
    before: str | None, after: str, minimum: str, length: int, pure: int
) -> None:
    from secops.durations import parse_duration

    found = soaking(registry(), {"JWT_EXPIRATION": Key(before, after)}, parse_duration(minimum))
    assert found.length == timedelta(minutes=length)
    assert found.pure_after == timedelta(minutes=pure)


def test_a_soak_without_tokens_is_what_was_asked_for() -> None:
    found = soaking(registry(), {"MAX_LOGIN_ATTEMPTS": Key("10", "5")}, timedelta(minutes=7))
    assert (found.length, found.pure_after) == (timedelta(minutes=7), timedelta(0))


def test_a_rollback_takes_the_newest_or_all_after_one() -> None:
    moves = [passed(move(), AT + timedelta(hours=n)) for n in range(3)]
    assert choose(moves) == [moves[2]]
    assert choose(moves, moves[0].move.id) == [moves[2], moves[1]]
    failed = first(move(), {}, at=AT + timedelta(hours=9), previous="").next(
        State.FAILED, {"over": True, "applied": False}, at=AT, actor="a", host="h", epoch=1
    )
    assert choose([*moves, failed]) == [moves[2]]


def test_what_was_recorded_and_how_it_came_away() -> None:
    one = passed(move({"A": Key("1", "2"), "B": Key(None, "x"), "C": Key("z", None),
                       "R": Key("p", "${{shared.R}}")}))  # fmt: skip
    assert {name: each.value for name, each in recorded([one]).items()} == {
        "A": "2", "B": "x", "C": None, "R": "${{shared.R}}"
    }  # fmt: skip
    same = live(A="2", B="x", R="${{shared.R}}")
    same = Snapshot({**same.variables, "R": Variable("R", "${{shared.R}}", reference=True)})
    assert find([one], same) == []
    ways = {each.name: each.way for each in find([one], live(A="3", C="back", R="text"))}
    assert ways == {
        "A": Way.CHANGED, "B": Way.MISSING, "C": Way.APPEARED, "R": Way.LITERAL
    }  # fmt: skip
    sealed = Snapshot({**same.variables, "A": Variable("A", None, sealed=True)})
    assert [each.way for each in find([one], sealed)] == [Way.SEALED]


def test_everything_gone_back_is_the_platforms_own_rollback() -> None:
    older = passed(move({"A": Key("1", "2"), "B": Key("1", "2")}), AT)
    newer = passed(move({"A": Key("2", "3"), "B": Key("2", "3")}), AT + timedelta(hours=1))
    then = live(A="2", B="2", **{MARKER: str(older.move.id)})
    assert {each.way for each in find([older, newer], then)} == {Way.WENT_BACK}


def test_what_is_loose_has_a_date_until_it_is_tightened() -> None:
    until = (AT + timedelta(hours=4)).isoformat()
    loose = passed(move({"A": Key("1", "2")}, relaxes=("A",)), AT, expires_at=until)
    assert relaxations([loose]) == {"A": AT + timedelta(hours=4)}
    tight = passed(move({"A": Key("2", "1")}), AT + timedelta(hours=1))
    assert relaxations([loose, tight]) == {}
