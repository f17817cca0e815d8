"""What holds of every platform: exact values, one deployment, and what each failure means."""

from __future__ import annotations

import contextlib
import socket
import string
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secops.errors import (
    Conflict,
    NotYet,
    OutcomeUnknown,
    Refused,
    SecopsError,
    Unreachable,
)
from secops.targets.failures import Misunderstood, NotAllowed, TooManyRequests
from secops.targets.target import MARKER, Change, Progress
from support.fakes.faults import Reply
from support.fakes.server import CANARY, Answer, Fake
from support.targets import change, moved, opened

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
AWKWARD = [
    "", " ", "1h", "'", '"', "\\", "$HOME", "${HOME}", "${{shared.X}}", "$$", "`id`", "a\nb", "a\r\nb",
    "\t", "é☃𝄞", "\u202e", "null", "true", "0", "{}", "a=b#c", "x" * 5000, "\x7f", "\u2028",
]  # fmt: skip
NAMES = st.text(string.ascii_uppercase + string.digits + "_", min_size=1, max_size=12).filter(
    lambda name: not name[0].isdigit() and not name.startswith("RAILWAY_") and name != MARKER
)
VALUES = st.sampled_from(AWKWARD) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30
)
HELD = st.dictionaries(NAMES, VALUES, max_size=8)
WRITES = {"railway": "environmentPatchCommit", "heroku": "PATCH /config-vars",
          "kubernetes": "patch configmaps", "render": "PUT /env-vars"}  # fmt: skip


def without_marker(values: Any) -> dict[str, str]:
    return {name: value for name, value in values.items() if name != MARKER}


def restored(fake: Fake, before: dict[str, str], wanted: dict[str, str], gone: set[int]) -> None:
    """Values of any kind, absent ones, and what was not touched; read back and as the platform has them."""
    fake.reset(before)
    target = opened(fake)
    first = target.read()
    assert {name: each.value for name, each in first.variables.items()} == before
    names = sorted(before)
    unset = {names[each] for each in gone if each < len(names)} - set(wanted)
    moved(target, wanted, unset)
    expected = {name: value for name, value in before.items() if name not in unset} | wanted
    assert without_marker(fake.variables) == expected
    assert without_marker(fake.running) == expected
    assert {
        name: each.value for name, each in target.read().variables.items() if name != MARKER
    } == expected

    back = {name: before[name] for name in {*wanted, *unset} if name in before}
    moved(target, back, [name for name in wanted if name not in before])
    assert without_marker(fake.variables) == before
    assert without_marker(fake.running) == before
    assert fake.deployed == 2


CHANGES = {"before": HELD, "wanted": HELD, "gone": st.sets(st.integers(0, 7))}
QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(max_examples=20, suppress_health_check=QUIET)
@given(**CHANGES)
def test_a_change_arrives_and_its_undoing_restores_every_byte(
    fake: Fake, before: dict[str, str], wanted: dict[str, str], gone: set[int]
) -> None:
    restored(fake, before, wanted, gone)


@pytest.mark.chaos
@settings(max_examples=1000, suppress_health_check=QUIET)
@given(**CHANGES)
def test_a_thousand_changes_and_their_undoing_restore_every_byte(
    fake: Fake, before: dict[str, str], wanted: dict[str, str], gone: set[int]
) -> None:
    restored(fake, before, wanted, gone)


@pytest.mark.parametrize("count", [1, 2, 10, 19])
@pytest.mark.parametrize("deletes", [0, 1, 9])
def test_any_number_of_variables_is_one_write_and_one_deployment(
    fake: Fake, count: int, deletes: int
) -> None:
    fake.reset({f"V{number}": "old" for number in range(19)})
    target = opened(fake)
    unset = [f"V{number}" for number in range(min(deletes, count))]
    wanted = {f"V{number}": "new" for number in range(count) if f"V{number}" not in unset}
    deployment = moved(target, wanted, unset)
    assert fake.count("write") == 1
    assert fake.deployed == 1
    assert target.status(deployment).progress is Progress.LIVE
    assert target.http.requests == fake.count() <= 10
    assert set(fake.running) == {f"V{number}" for number in range(19)} - set(unset) | {MARKER}


def test_to_ask_again_for_what_was_deployed_deploys_nothing_more(fake: Fake, target: Any) -> None:
    """Where a platform can tell; Render cannot, so the engine looks at its deployments first."""
    written = target.write(change({"A": "1"}), target.read())
    made = target.deploy(written)
    assert target.deploy(made) == made
    if fake.kind != "render":
        assert opened(fake).deploy("") == made
    assert fake.deployed == 1


def test_a_deployment_is_pending_until_it_serves(fake: Fake, target: Any) -> None:
    fake.outcome = "slow"
    made = moved(target, {"A": "1"})
    shown = target.status(made)
    assert shown.progress is Progress.PENDING
    assert shown.detail
    fake.finish()
    assert target.status(made).progress is Progress.LIVE


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        ("railway", "FAILED"), ("railway", "CRASHED"), ("railway", "SKIPPED"), ("heroku", "failed"),
        ("heroku", "crashed"), ("kubernetes", "failed"), ("render", "build_failed"),
        ("render", "update_failed"), ("render", "canceled"),
    ],
)  # fmt: skip
def test_a_deployment_that_will_not_serve_has_failed(
    servers: dict[str, Fake], kind: str, outcome: str
) -> None:
    fake = servers[kind]
    fake.reset({"A": "1"})
    fake.outcome = outcome
    target = opened(fake)
    made = moved(target, {"A": "2"})
    shown = target.status(made)
    assert shown.progress is Progress.FAILED
    assert shown.detail
    assert fake.running == {"A": "1"}


def test_a_deployment_that_failed_is_tried_again_by_who_comes_back_for_it(
    fake: Fake, target: Any
) -> None:
    fake.outcome = {"railway": "FAILED", "render": "update_failed"}.get(fake.kind, "failed")
    made = moved(target, {"A": "2"})
    assert target.status(made).progress is Progress.FAILED
    fake.outcome = "live"
    later = opened(fake)
    again = later.deploy("")
    assert later.status(again).progress is Progress.LIVE
    assert fake.running["A"] == "2"
    assert fake.deployed == 2


def test_the_deployments_since_a_moment_are_listed_newest_first(fake: Fake, target: Any) -> None:
    before = fake.now()
    assert target.deployments(before) == []
    first = moved(target, {"A": "1"})
    assert target.deployments(before)[0].id == first
    second = moved(target, {"A": "2"})
    found = [each.id for each in target.deployments(before)]
    assert found[0] == second
    # Render cannot tell which carry the last write.
    assert found == ([second, first] if fake.kind == "render" else [second])
    assert target.deployments(fake.now() + timedelta(hours=1)) == []


def test_who_changed_what_is_told_where_the_platform_knows(fake: Fake, target: Any) -> None:
    since = fake.now()
    who = "mallory@example.com"
    fake.edit(set={"JWT_EXPIRATION": "9h"}, who=who)
    found = target.edits(since)
    if not target.traits.dated:
        assert found == []
        return
    assert [(each.who, set(each.names)) for each in found] == [(who, {"JWT_EXPIRATION"})]
    assert abs(found[0].at - since) < timedelta(minutes=1)
    assert target.edits(fake.now() + timedelta(hours=1)) == []


def test_a_write_between_read_and_write_is_refused_where_the_platform_compares(
    fake: Fake, target: Any
) -> None:
    seen = target.read()
    fake.edit(set={"KEPT": "theirs"})
    if target.traits.compare_and_set or fake.kind == "render":
        with pytest.raises(Conflict) as caught:
            target.write(change({"A": "1"}), seen)
        assert "Nothing was written" in caught.value.hint
        assert fake.variables["KEPT"] == "theirs"
        assert "A" not in fake.variables
    else:
        target.write(change({"A": "1"}), seen)
        assert fake.variables["KEPT"] == "theirs", "a foreign value is never overwritten"


# What each failure means.


@pytest.mark.parametrize("reply", [Reply.LOST, Reply.NEVER, Reply.HALF, Reply.GARBAGE])
def test_a_write_without_a_reply_is_unknown_and_is_not_sent_again(
    fake: Fake, target: Any, reply: Reply
) -> None:
    seen = target.read()
    fake.faults.add("write", reply=reply)
    with pytest.raises(OutcomeUnknown) as caught:
        target.write(change({"A": "1", "B": "2", "C": "3"}), seen)
    assert caught.value.exit_code == 7
    assert fake.count("write") == 1
    written = len(set(fake.variables) & {"A", "B", "C", MARKER})
    assert written == {Reply.NEVER: 0, Reply.HALF: 2}.get(reply, 4)


@pytest.mark.parametrize("reply", [Reply.LATE, Reply.STUCK])
def test_a_write_whose_reply_is_too_late_is_unknown(fake: Fake, reply: Reply) -> None:
    target = opened(fake, timeout="150ms")
    seen = target.read()
    fake.faults.add("write", reply=reply)
    with pytest.raises(OutcomeUnknown, match="150 ms"):
        target.write(change({"A": "1"}), seen)
    assert fake.count("write") == 1
    assert ("A" in fake.variables) is (reply is Reply.LATE)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_error_leaves_a_write_unknown_and_lets_a_read_try_again(
    fake: Fake, target: Any, status: int
) -> None:
    fake.faults.add("read", status=status, times=2)
    seen = target.read()
    assert seen.variables["KEPT"].value == "as it was"
    fake.faults.add("write", status=status)
    with pytest.raises(OutcomeUnknown, match=f"HTTP {status}"):
        target.write(change({"A": "1"}), seen)
    assert fake.count("write") == 1
    fake.faults.add("read", status=status, times=9)
    with pytest.raises(Unreachable, match=f"HTTP {status}") as caught:
        target.read()
    assert caught.value.exit_code == 10


@pytest.mark.parametrize("reply", [Reply.LOST, Reply.GARBAGE])
def test_a_read_without_a_reply_is_tried_again(fake: Fake, target: Any, reply: Reply) -> None:
    fake.faults.add("read", reply=reply, times=2)
    assert target.read().variables["KEPT"].value == "as it was"
    fake.faults.add("read", reply=reply, times=9)
    with pytest.raises(Unreachable):
        target.read()


@pytest.mark.parametrize("on", ["read", "write"])
def test_a_429_is_waited_for_as_long_as_asked(fake: Fake, target: Any, on: str) -> None:
    """Also before a write: such a request was turned away before anybody looked at it."""
    fake.faults.add(on, status=429, headers={"Retry-After": "7"})
    moved(target, {"A": "1"})
    assert target.slept == [7.0]
    assert fake.deployed == 1
    assert fake.variables["A"] == "1"


@pytest.mark.parametrize("on", ["read", "write"])
def test_a_429_that_lasts_longer_than_our_patience_says_when_to_come_back(
    fake: Fake, on: str
) -> None:
    target = opened(fake, patience="20s")
    seen = target.read()
    fake.faults.add(on, status=429, headers={"Retry-After": "3000"}, times=50)
    with pytest.raises(TooManyRequests, match="50 min") as caught:
        target.read() if on == "read" else target.write(change({"A": "1"}), seen)
    assert caught.value.exit_code == 10
    assert isinstance(caught.value, Unreachable), "who calls must know that nothing was written"
    assert caught.value.details == {"retry_after": 3000}
    assert "A" not in fake.variables
    assert target.slept == []


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "0"}])
def test_a_429_that_does_not_say_how_long_ends_as_well(fake: Fake, headers: dict[str, str]) -> None:
    target = opened(fake, patience="1s")
    fake.faults.add("read", status=429, headers=headers, times=10_000)
    target.http.sleep = time.sleep
    with pytest.raises(TooManyRequests):
        target.read()
    assert fake.count() < 5, "it does not ask without a pause"


@pytest.mark.parametrize("status", [401, 403])
def test_a_right_that_is_refused_is_named_with_where_to_get_it(
    fake: Fake, target: Any, status: int
) -> None:
    seen = target.read()
    fake.faults.add("write", status=status, message="no", times=2)
    with pytest.raises(NotAllowed) as caught:
        target.write(change({"A": "1"}), seen)
    assert caught.value.exit_code == 8
    assert isinstance(caught.value, Refused)
    assert "token may not" in caught.value.message
    assert "Nothing was changed" in caught.value.hint
    assert len(caught.value.hint) > 60
    assert "A" not in fake.variables


def test_a_wrong_token_is_refused(fake: Fake) -> None:
    fake.token = "another"
    target = opened(fake)
    fake.token = CANARY
    with pytest.raises(NotAllowed):
        target.read()


@pytest.mark.parametrize("body", [[], {}, "text", 5, None, {"data": None}, {"data": {}}])
def test_an_answer_of_another_shape_is_said_and_harms_nothing(
    fake: Fake, target: Any, body: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Heroku answers a map of any names, Render an empty list where there are none.
    meant = {"heroku": isinstance(body, dict), "render": body == []}
    if meant.get(fake.kind):
        target.read()
        return
    monkeypatch.setattr(fake, "handle", lambda *_, **__: Answer(200, body))
    with pytest.raises((Misunderstood, Unreachable)) as caught:
        target.read()
    assert caught.value.hint


def test_a_port_where_nobody_listens_is_unreachable(fake: Fake) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    target = opened(fake, url=f"http://127.0.0.1:{port}")
    with pytest.raises(Unreachable, match="refused") as caught:
        target.read()
    assert "Nothing was changed" in caught.value.hint
    with pytest.raises(Unreachable):
        target.write(change({"A": "1"}), opened(fake).read())


def test_a_redirect_is_not_followed_with_the_token(fake: Fake, target: Any) -> None:
    fake.faults.add("read", status=302, headers={"Location": "http://127.0.0.1:1/"})
    with pytest.raises(Misunderstood, match="elsewhere"):
        target.read()


def test_what_the_platform_says_is_repeated_without_the_token_and_not_at_length(
    fake: Fake, target: Any
) -> None:
    fake.faults.add("read", status=418, message=f"bad token {CANARY} \x1b[31m\n" + "x" * 500)
    with pytest.raises(SecopsError) as caught:
        target.read()
    assert CANARY not in f"{caught.value.as_dict()}"
    assert len(caught.value.message) < 400


FAULTS: list[dict[str, Any]] = [
    {"reply": Reply.LOST}, {"reply": Reply.NEVER}, {"reply": Reply.GARBAGE}, {"reply": Reply.LATE},
    {"status": 429, "headers": {"Retry-After": "9999"}},
    *({"status": status} for status in (302, 401, 403, 404, 409, 418, 422, 500)),
]  # fmt: skip


@contextlib.contextmanager
def shown(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    found: list[str] = []
    with caplog.at_level("DEBUG"):
        yield found
    found.append(caplog.text)


def test_the_token_is_seen_nowhere(fake: Fake, caplog: pytest.LogCaptureFixture) -> None:
    """In no error, its causes and their attributes, no repr, no log, whatever goes wrong."""
    with shown(caplog) as texts:
        for number, fault in enumerate(FAULTS):
            for on in ("read", "write", "deploy", "status", "history"):
                if fault.get("reply") is Reply.LATE and on != "write":
                    continue
                fake.reset({"A": "1"})
                target = opened(
                    fake,
                    timeout="100ms" if fault.get("reply") is Reply.LATE else "30s",
                    patience="1s",
                )
                fake.faults.add(on, times=9, message=f"bad {CANARY}", **fault)
                try:
                    made = moved(target, {"A": str(number)})
                    target.status(made)
                    target.edits(LONG_AGO)
                except SecopsError as error:
                    texts.extend(chained(error))
                texts.extend(map(repr, (target, target.http, vars(target), target.fingerprint)))

            fake.faults.clear()
            texts.append(repr(opened(fake).rights()))
    assert CANARY not in "\n".join(texts)
    assert len(texts) > 100


def chained(error: BaseException | None) -> list[str]:
    texts = []
    while error is not None:
        texts += [repr(error), str(error), repr(vars(error)), repr(error.args)]
        request = getattr(error, "_request", None)
        texts.append(repr(getattr(request, "headers", "")))
        trace = error.__traceback__
        while trace is not None:
            trace = trace.tb_next
        error = error.__cause__ or error.__context__
    return texts


def test_requests_are_counted(fake: Fake, target: Any) -> None:
    fake.faults.add("read", status=503, times=2)
    target.read()
    assert target.http.requests == fake.count()
    assert target.http.requests >= 3


def test_rights_are_found_out_without_changing_anything(fake: Fake, target: Any) -> None:
    before = fake.variables
    found = target.rights()
    assert found
    assert not [each for each in found if each.allowed is False]
    assert fake.variables == before
    assert fake.deployed == 0
    assert fake.count("write", "deploy") == 0


def test_with_a_wrong_token_a_right_says_so(fake: Fake) -> None:
    fake.token = "another"
    target = opened(fake)
    fake.token = CANARY
    try:
        found = target.rights()
    except NotAllowed:
        assert fake.kind == "kubernetes"
        return
    assert found[0].allowed is False
    assert found[0].mend


def test_no_error_of_a_target_is_one_to_come_back_for_without_a_reason() -> None:
    assert not issubclass(TooManyRequests, NotYet)
    assert Change({}).note == ""
