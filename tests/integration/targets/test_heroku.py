"""Heroku: one PATCH, one release, dynos that follow."""

from __future__ import annotations

from typing import Any

import pytest

from secops.errors import OutcomeUnknown
from secops.targets.failures import NoSuchPlace, NotAllowed, TooManyRequests
from secops.targets.target import Progress
from support.fakes.heroku import FakeHeroku
from support.targets import change, moved, opened


def test_an_empty_text_is_a_value_and_no_delete(heroku: FakeHeroku) -> None:
    moved(opened(heroku), {"A": ""}, ["KEPT"])
    assert heroku.variables["A"] == ""
    assert "KEPT" not in heroku.variables


def test_dynos_of_the_old_release_keep_it_pending_and_one_off_dynos_do_not(
    heroku: FakeHeroku,
) -> None:
    target = opened(heroku)
    heroku.outcome = "slow"
    made = moved(target, {"A": "1"})
    shown = target.status(made)
    assert (shown.progress, shown.detail) == (
        Progress.PENDING, "v2 succeeded: 2 of 2 dynos are still to come up",
    )  # fmt: skip
    heroku.finish()
    assert target.status(made).detail == "v2 succeeded: 2 dynos run it"


def test_an_app_without_dynos_is_live_at_once(heroku: FakeHeroku) -> None:
    heroku.dynos = 0
    target = opened(heroku)
    assert target.status(moved(target, {"A": "1"})).progress is Progress.LIVE


@pytest.mark.parametrize(
    ("outcome", "said"),
    [("failed", "the release before it serves"), ("crashed", "2 of 2 dynos crashed")],
)
def test_a_failure_says_what_failed(heroku: FakeHeroku, outcome: str, said: str) -> None:
    target = opened(heroku)
    heroku.outcome = outcome
    assert said in target.status(moved(target, {"A": "1"})).detail


def test_a_newer_release_of_somebody_else_carries_ours(heroku: FakeHeroku) -> None:
    target = opened(heroku)
    made = moved(target, {"A": "1"})
    heroku.edit(set={"B": "1"})
    assert target.status(made).progress is Progress.LIVE


def test_a_foreign_release_just_before_ours_is_not_taken_for_ours(heroku: FakeHeroku) -> None:
    target = opened(heroku)
    seen = target.read()
    heroku.faults.add("write", before=lambda: heroku.edit(set={"B": "theirs"}))
    made = target.deploy(target.write(change({"A": "1"}), seen))
    assert made == heroku.releases[0]["id"]
    assert heroku.variables["B"] == "theirs"


def test_a_foreign_edit_of_our_variable_in_the_same_moment_shows(
    heroku: FakeHeroku, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = opened(heroku)
    seen = target.read()
    handle = heroku.handle

    def late(request: Any, *, half: bool) -> Any:
        answer = handle(request, half=half)
        if request.method == "PATCH":
            heroku.edit(set={"A": "theirs"})
        return answer

    monkeypatch.setattr(heroku, "handle", late)
    with pytest.raises(OutcomeUnknown, match="not what was written"):
        target.write(change({"A": "1"}), seen)


def test_a_release_rollback_is_in_the_history(heroku: FakeHeroku) -> None:
    since = heroku.now()
    heroku._release("Rollback to v1", "eve@example.com", ours=False)
    (edit,) = opened(heroku).edits(since)
    assert (edit.who, edit.message) == ("eve@example.com", "Rollback to v1")


def test_a_deploy_of_code_is_no_edit(heroku: FakeHeroku) -> None:
    since = heroku.now()
    heroku._release("Deploy 0ab1c2d3", "eve@example.com", ours=False)
    assert opened(heroku).edits(since) == []


def test_what_the_token_may_not_see_is_named(heroku: FakeHeroku) -> None:
    heroku.denied = {"GET /config-vars"}
    with pytest.raises(NotAllowed, match="read the config vars") as caught:
        opened(heroku).read()
    assert "heroku authorizations:create" in caught.value.hint
    found = {each.what: each.allowed for each in opened(heroku).rights()}
    assert found["read the config vars"] is False
    assert found["see the app"] is True
    assert found["change the config vars"] is None


def test_an_app_that_is_not_there_is_named(heroku: FakeHeroku) -> None:
    with pytest.raises(NoSuchPlace, match="other-app"):
        opened(heroku, app="other-app").read()


def test_herokus_limit_without_a_retry_after_ends_in_a_sentence(heroku: FakeHeroku) -> None:
    heroku.limit = 0
    with pytest.raises(TooManyRequests, match="takes no more requests"):
        opened(heroku, patience="1ms").read()


def test_a_release_that_shows_late_is_waited_for(heroku: FakeHeroku) -> None:
    target = opened(heroku)
    seen = target.read()
    heroku.faults.add("history", status=503, times=3)
    assert target.write(change({"A": "1"}), seen) == ""
    assert target.deploy("") == heroku.releases[0]["id"]
    assert heroku.deployed == 1
