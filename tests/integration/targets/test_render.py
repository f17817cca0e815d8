"""Render: a list that is replaced as a whole loses nothing."""

from __future__ import annotations

import pytest

from secops.errors import Conflict, OutcomeUnknown
from secops.targets.failures import NoSuchPlace, NotAllowed
from secops.targets.target import MARKER, Progress
from support.fakes.faults import Reply
from support.fakes.render import FakeRender
from support.targets import change, moved, opened


@pytest.mark.parametrize("largest", [1, 7, 20, 100])
@pytest.mark.parametrize("count", [0, 1, 19, 100, 137])
def test_every_page_is_read_before_anything_is_written(
    render: FakeRender, largest: int, count: int
) -> None:
    """Who reads the first page alone deletes the rest."""
    if count > 100 and largest == 1:
        count = 40
    values = {f"V{number:03}": f"value {number}" for number in range(count)}
    render.reset(values)
    render.largest = largest
    target = opened(render)
    assert {name: each.value for name, each in target.read().variables.items()} == values
    moved(target, {"NEW": "1"}, ["V000"] if count else [])
    values.pop("V000", None)
    assert render.variables == {**values, "NEW": "1", MARKER: render.variables[MARKER]}
    assert render.deployed == 1


def test_somebody_elses_edit_since_the_read_is_not_put_back(render: FakeRender) -> None:
    target = opened(render)
    seen = target.read()
    render.edit(set={"KEPT": "theirs", "MORE": "1"}, unset=["JWT_EXPIRATION"])
    with pytest.raises(Conflict, match="JWT_EXPIRATION, KEPT, MORE"):
        target.write(change({"A": "1"}), seen)
    assert render.variables == {"KEPT": "theirs", "MORE": "1"}
    assert render.count("write") == 0


def test_a_list_without_an_end_is_not_read_for_ever(
    render: FakeRender, monkeypatch: pytest.MonkeyPatch
) -> None:
    from secops.errors import SecopsError
    from support.fakes.server import Answer

    numbers = iter(range(10_000))

    def page(*_: object) -> Answer:
        number = next(numbers)
        return Answer(200, [{"envVar": {"key": f"V{number}", "value": ""}, "cursor": str(number)}])

    monkeypatch.setattr(render, "_page", page)
    with pytest.raises(SecopsError, match="does not end"):
        opened(render).read()
    assert render.count() == 200


def test_a_deploy_has_the_code_that_serves_now(render: FakeRender) -> None:
    moved(opened(render), {"A": "1"})
    body = next(each.body for each in render.requests if each.kind == "deploy")
    assert body == {"clearCache": "do_not_clear", "commitId": "c0ffee"}


def test_a_deploy_that_is_accepted_without_a_name_is_found(render: FakeRender) -> None:
    render.accepts_only = True
    target = opened(render)
    made = moved(target, {"A": "1"})
    assert made == render.deploys[0]["id"]
    assert render.deployed == 1


def test_a_deploy_whose_reply_is_lost_is_unknown(render: FakeRender) -> None:
    target = opened(render)
    target.write(change({"A": "1"}), target.read())
    since = render.now()
    render.faults.add("deploy", reply=Reply.LOST)
    with pytest.raises(OutcomeUnknown):
        target.deploy("")
    assert [each.id for each in target.deployments(since)] == [render.deploys[0]["id"]]
    assert render.deployed == 1


def test_a_deploy_that_a_newer_one_replaced_is_as_far_as_that(render: FakeRender) -> None:
    target = opened(render)
    made = moved(target, {"A": "1"})
    render._deploy("live")
    shown = target.status(made)
    assert shown.progress is Progress.LIVE
    assert shown.id == render.deploys[0]["id"]


def test_a_state_that_is_not_known_waits_for_a_person(render: FakeRender) -> None:
    target = opened(render)
    made = moved(target, {"A": "1"})
    render.deploys[0]["status"] = "hibernating"
    shown = target.status(made)
    assert shown.progress is Progress.HELD
    assert "does not know" in shown.detail


def test_what_the_key_may_not_see_is_named(render: FakeRender) -> None:
    render.denied = {"GET /env-vars"}
    with pytest.raises(NotAllowed, match="read the variables") as caught:
        opened(render).read()
    assert "API Keys" in caught.value.hint
    found = {each.what: each.allowed for each in opened(render).rights()}
    assert found == {
        "see the service": True, "read the variables": False, "list deploys": True,
        "write the variables and deploy": None,
    }  # fmt: skip


def test_a_suspended_service_is_told(render: FakeRender) -> None:
    render.suspended = "suspended"
    assert "suspended" in opened(render).rights()[0].detail


def test_a_service_that_is_not_there_is_named(render: FakeRender) -> None:
    with pytest.raises(NoSuchPlace, match="srv-other"):
        opened(render, service="srv-other").read()


def test_renders_limit_says_when_to_come_back(render: FakeRender) -> None:
    target = opened(render)
    render.faults.add("read", status=429, headers={"Ratelimit-Reset": "4"})
    target.read()
    assert target.slept == [4.0]
