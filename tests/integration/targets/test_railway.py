"""Railway: sealed and reference variables, what others staged, tokens that may not, every state."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from secops.errors import Conflict, OutcomeUnknown, Refused, Unreachable
from secops.targets import railway_write
from secops.targets.failures import Misunderstood, NoSuchPlace, NotAllowed
from secops.targets.target import MARKER, Change, Progress
from support.fakes.faults import Reply
from support.fakes.railway import OTHER, SERVICE, FakeRailway
from support.targets import change, moved, opened

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def test_references_are_read_and_written_as_they_are(railway: FakeRailway) -> None:
    railway.reset({"A": "${{shared.X}}", "B": "plain"}, shared={"X": "secret-9"})
    target = opened(railway)
    found = target.read().variables
    assert found["A"].value == "${{shared.X}}"
    assert (found["A"].reference, found["B"].reference) == (True, False)
    moved(target, {"A": "now plain"})
    moved(target, {"A": "${{shared.X}}"})
    assert railway.variables["A"] == "${{shared.X}}"
    assert "secret-9" not in str(railway.writes)


def test_sealed_variables_are_known_by_name_and_stay_as_they_are(railway: FakeRailway) -> None:
    railway.reset({"A": "1"}, sealed={"S": "hidden"})
    target = opened(railway)
    found = target.read().variables
    assert (found["S"].sealed, found["S"].value) == (True, None)
    assert not found["A"].sealed
    moved(target, {"A": "2"}, ["B"])
    assert railway.variables["S"] == "hidden"
    assert "S" not in railway.writes[0]["services"][SERVICE]["variables"]


def test_a_sealed_variable_is_known_too_where_only_its_value_is_missing(
    railway: FakeRailway,
) -> None:
    railway.reset({"A": "1"}, sealed={"S": "hidden"})
    railway.denied = {"environment"}
    assert opened(railway).read().variables["S"].sealed


def test_what_railway_sets_itself_is_not_shown_and_cannot_be_written(railway: FakeRailway) -> None:
    target = opened(railway)
    seen = target.read()
    assert not [name for name in seen.variables if name.startswith("RAILWAY_")]
    with pytest.raises(Refused, match="RAILWAY_X belongs to Railway"):
        target.write(change({"RAILWAY_X": "1"}), seen)
    assert railway.count("write") == 0


def test_variables_of_many_pages_are_all_known(railway: FakeRailway) -> None:
    names = {f"V{number:03}": "x" for number in range(250)}
    railway.reset(names, sealed={"ZZ": "hidden"})
    target = opened(railway)
    found = target.read()
    assert len(found.variables) == 251
    assert all(each.changed_at for each in found.variables.values())
    assert railway.count("read") == 3
    made = moved(target, {"V001": "y"})
    assert target.status(made).progress is Progress.LIVE


def test_other_services_are_not_touched(railway: FakeRailway) -> None:
    target = opened(railway)
    assert "OTHERS" not in target.read().variables
    moved(target, {"A": "1"})
    assert railway.services[OTHER]["OTHERS"].value == "untouched"


def test_what_a_colleague_staged_is_told_without_its_values(railway: FakeRailway) -> None:
    target = opened(railway)
    assert target.read().pending == ""
    railway.stage(THEIRS="private-value", MORE="x")
    found = target.read().pending
    assert found == "staged on Railway for 1 service: MORE, THEIRS"
    moved(target, {"A": "1"})
    assert railway.staged, "a commit of ours does not ship it"
    assert "THEIRS" not in str(railway.writes)


# Tokens.


@pytest.mark.parametrize("kind", ["project", "account"])
def test_both_kinds_of_token_work(railway: FakeRailway, kind: str) -> None:
    railway.reset({"A": "1"}, token_kind=kind)
    target = opened(railway)
    moved(target, {"A": "2"})
    assert railway.variables["A"] == "2"
    assert target.rights()[0].allowed


@pytest.mark.parametrize("kind", ["project", "account"])
def test_a_token_that_is_sent_as_the_other_kind_is_found_out(
    railway: FakeRailway, kind: str
) -> None:
    railway.reset({"A": "1"}, token_kind=kind)
    other = {"project": "account", "account": "project"}[kind]
    target = opened(railway, token_kind=other)
    with pytest.raises(NotAllowed):
        target.read()
    (right,) = target.rights()
    assert right.allowed is False
    assert right.mend == f"Set token_kind: {kind} in secops.yaml."
    assert set(target.http._headers) == {
        {"project": "Project-Access-Token", "account": "Authorization"}[other]
    }


def test_a_workspaces_token_may_not_ask_who_it_is_and_may_do_the_rest(railway: FakeRailway) -> None:
    railway.reset({"A": "1"}, token_kind="account")
    railway.denied = {"me"}
    found = opened(railway).rights()
    assert (found[0].allowed, found[0].detail) == (True, "a workspace's token")


def test_a_token_of_another_environment_is_found_out(railway: FakeRailway) -> None:
    (right,) = opened(railway, environment="00000000-0000-4000-8000-000000000000").rights()
    assert right.allowed is False
    assert "another environment" in right.detail


def test_two_factor_authentication_is_named(
    railway: FakeRailway, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"errors": [{"message": "Two Factor Authentication Required"}]}
    answer = type(railway).handle
    target = opened(railway)

    def refuse(request: Any, half: bool) -> Any:
        found = answer(railway, request, half=half)
        return type(found)(200, body)

    monkeypatch.setattr(railway, "handle", refuse)
    with pytest.raises(NotAllowed, match="two-factor") as caught:
        target.read()
    assert "security" in caught.value.hint


def test_each_right_that_lacks_is_named(railway: FakeRailway) -> None:
    railway.denied = {"environmentPatches", "environmentStagedChanges"}
    found = {each.what: each for each in opened(railway).rights()}
    assert found["read who changed what"].allowed is False
    assert found["see what is staged"].allowed is False
    assert found["read the variables"].allowed is True
    assert "Settings > Tokens" in found["read who changed what"].mend


def test_what_may_not_be_seen_does_not_stop_a_rollout(railway: FakeRailway) -> None:
    railway.denied = {"environmentPatches", "environmentStagedChanges", "environment"}
    target = opened(railway)
    made = moved(target, {"A": "1"})
    assert target.status(made).progress is Progress.LIVE
    assert railway.deployed == 1
    requests = target.http.requests
    target.read()
    assert target.http.requests == requests + 1, "what was refused is not asked for again"


def test_doctor_sees_seals_health_check_and_overlap(railway: FakeRailway) -> None:
    railway.reset({"A": "1"}, sealed={"S": "x"})
    railway.healthcheck = None
    railway.can_redeploy = False
    railway.stage(THEIRS="x")
    found = {each.what: each for each in opened(railway).rights()}
    assert found["read each variable back"].detail == "1 of 2 are sealed: S"
    assert found["tell a healthy deployment"].allowed is False
    assert found["redeploy the service"].allowed is False
    assert found["write without shipping what others staged"].allowed is False
    assert found["replace a deployment without a gap"].allowed is True


# Where a commit is not allowed, or not wanted.


@pytest.mark.parametrize("why", ["denied", "configured"])
@pytest.mark.parametrize("deletes", [[], ["KEPT"], ["KEPT", "JWT_EXPIRATION"]])
def test_an_upsert_and_one_redeploy_do_the_same(
    railway: FakeRailway, why: str, deletes: list[str]
) -> None:
    railway.denied = {"environmentPatchCommit"} if why == "denied" else set()
    target = opened(railway, **({"write": "upsert"} if why == "configured" else {}))
    wanted = {f"V{number}": "x" for number in range(19)}
    written = target.write(change(wanted, deletes), target.read())
    assert (written, railway.deployed) == ("", 0)
    made = target.deploy(written)
    assert railway.deployed == 1
    assert set(railway.running) == {"KEPT", "JWT_EXPIRATION", MARKER, *wanted} - set(deletes)
    assert target.status(made).progress is Progress.LIVE
    assert target.deploy("") == made, "asked again after a lost reply it starts no second one"
    assert railway.deployed == 1


def test_deletes_without_any_right_to_commit_still_work_at_the_price_of_deployments(
    railway: FakeRailway,
) -> None:
    railway.denied = {"environmentPatchCommit", "environmentStageChanges"}
    target = opened(railway)
    made = moved(target, {"A": "1"}, ["KEPT", "JWT_EXPIRATION"])
    assert railway.running == {"A": "1", MARKER: railway.variables[MARKER]}
    assert railway.deployed == 2
    assert target.status(made).progress is Progress.LIVE


def test_what_a_colleague_staged_is_not_committed_along(railway: FakeRailway) -> None:
    railway.stage(THEIRS="x")
    target = opened(railway, write="upsert")
    with pytest.raises(Conflict, match="staged"):
        target.write(change({"A": "1"}, ["KEPT"]), target.read())
    assert railway.variables["KEPT"] == "as it was"
    assert railway.staged["services"][OTHER]


def test_what_a_colleague_stages_in_the_same_moment_is_not_committed_along(
    railway: FakeRailway,
) -> None:
    target = opened(railway, write="upsert")
    seen = target.read()
    railway.faults.add("write", before=lambda: railway.stage(THEIRS="x"))
    with pytest.raises(OutcomeUnknown, match="same moment"):
        target.write(change({"A": "1"}, ["KEPT"]), seen)
    assert railway.variables == {"JWT_EXPIRATION": "1h", "KEPT": "as it was"}


def test_a_token_that_may_only_commit_is_not_asked_to_upsert(railway: FakeRailway) -> None:
    railway.denied = {"environmentPatchCommit"}
    target = opened(railway, write="commit")
    with pytest.raises(NotAllowed, match="commit a change of variables"):
        target.write(change({"A": "1"}), target.read())
    assert railway.count("write") == 1


def test_a_half_done_upsert_says_so(railway: FakeRailway) -> None:
    railway.denied = {"environmentPatchCommit", "environmentStageChanges", "variableDelete"}
    target = opened(railway)
    with pytest.raises(OutcomeUnknown, match="Part of the change is written"):
        target.write(change({"A": "1"}, ["KEPT"]), target.read())
    assert railway.variables["A"] == "1"
    assert railway.variables["KEPT"] == "as it was"


@pytest.mark.parametrize("can", [True, False])
def test_without_a_deployment_to_start_again_a_redeploy_is_refused(
    railway: FakeRailway, can: bool
) -> None:
    """The CLI once said nothing and exited 0 here (railwayapp/cli, pull request 734)."""
    railway.can_redeploy = can
    if can:
        railway.deployments[0].status = "FAILED"
    target = opened(railway, write="upsert")
    written = target.write(change({"A": "1"}), target.read())
    with pytest.raises(Refused, match="start again") as caught:
        target.deploy(written)
    assert "written and not live" in caught.value.hint
    assert railway.deployed == 0


# Deployments.


def test_a_deployment_that_appears_late_is_waited_for(railway: FakeRailway) -> None:
    railway.appears_after = 3
    target = opened(railway)
    made = moved(target, {"A": "1"})
    assert railway.deployed == 1
    assert made == railway.deployments[0].id
    assert target.slept == [1.0, 2.0]


def test_a_deployment_that_does_not_appear_is_unknown_and_starts_no_second_one(
    railway: FakeRailway,
) -> None:
    railway.appears_after = 99
    target = opened(railway)
    with pytest.raises(OutcomeUnknown, match="no deployment of it shows"):
        moved(target, {"A": "1"})
    assert railway.deployed == 1


def test_a_commit_without_a_deployment_is_deployed_once_when_it_is_overdue(
    railway: FakeRailway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(railway, "_deploy", lambda: None)
    target = opened(railway)
    written = target.write(change({"A": "1"}), target.read())
    monkeypatch.undo()
    with pytest.raises(OutcomeUnknown):
        target.deploy(written)
    assert railway.deployed == 0
    monkeypatch.setattr(railway_write, "_OVERDUE", timedelta(0))
    made = opened(railway).deploy("")
    assert (railway.deployed, railway.running["A"]) == (1, "1")
    assert opened(railway).deploy("") == made
    assert railway.deployed == 1


def test_an_asynchronous_commit_is_waited_for(railway: FakeRailway) -> None:
    railway.asynchronous = True
    target = opened(railway)
    moved(target, {"A": "1"})
    assert railway.patches[0]["status"] == "COMMITTED"


def test_a_commit_that_railway_cannot_apply_is_said(railway: FakeRailway) -> None:
    target = opened(railway)

    def break_it() -> None:
        railway.patches[0] |= {"status": "APPLYING", "lastAppliedError": "volume is locked"}

    railway.faults.add("write", after=break_it)
    with pytest.raises(
        OutcomeUnknown, match="could not apply the committed change: volume is locked"
    ):
        target.write(change({"A": "1"}), target.read())


def test_a_write_that_railway_took_is_one_whatever_fails_afterwards(railway: FakeRailway) -> None:
    """Raised from a write, Unreachable would mean that nothing was written."""
    target = opened(railway)
    seen = target.read()
    railway.faults.add("history", status=503, times=9)
    assert target.write(change({"A": "1"}), seen) == ""
    railway.faults.clear()
    assert target.deploy("") == railway.deployments[0].id
    assert railway.deployed == 1


def test_after_a_lost_reply_another_process_finds_the_deployment(railway: FakeRailway) -> None:
    target = opened(railway)
    seen = target.read()
    railway.faults.add("write", reply=Reply.LOST)
    with pytest.raises(OutcomeUnknown):
        target.write(change({"A": "1"}), seen)
    assert opened(railway).deploy("") == railway.deployments[0].id
    assert railway.deployed == 1


def test_a_lost_redeploy_is_not_started_twice(railway: FakeRailway) -> None:
    target = opened(railway, write="upsert")
    target.write(change({"A": "1"}), target.read())
    railway.faults.add("deploy", reply=Reply.LOST)
    with pytest.raises(OutcomeUnknown):
        target.deploy("")
    assert target.deploy("") == railway.deployments[0].id
    assert railway.deployed == 1


def test_a_deployment_of_somebody_else_before_ours_is_not_taken_for_ours(
    railway: FakeRailway,
) -> None:
    target = opened(railway)
    seen = target.read()
    railway.faults.add("write", before=lambda: railway.edit(set={"B": "theirs"}))
    made = target.deploy(target.write(change({"A": "1"}), seen))
    assert made == railway.deployments[0].id
    assert railway.variables["B"] == "theirs"


@pytest.mark.parametrize(
    ("status", "progress"),
    [
        ("BUILDING", Progress.PENDING), ("CRASHED", Progress.FAILED), ("DEPLOYING", Progress.PENDING),
        ("FAILED", Progress.FAILED), ("INITIALIZING", Progress.PENDING),
        ("NEEDS_APPROVAL", Progress.HELD), ("QUEUED", Progress.PENDING), ("REMOVED", Progress.FAILED),
        ("REMOVING", Progress.FAILED), ("SKIPPED", Progress.FAILED), ("SLEEPING", Progress.LIVE),
        ("SUCCESS", Progress.LIVE), ("WAITING", Progress.HELD),
    ],
)  # fmt: skip
def test_every_state_of_a_deployment_means_something(
    railway: FakeRailway, status: str, progress: Progress
) -> None:
    target = opened(railway)
    railway.outcome = "slow"
    made = moved(target, {"A": "1"})
    railway.deployments[1].status = "REMOVED"
    railway.deployments[0].status = status
    shown = target.status(made)
    assert shown.progress is progress
    assert shown.detail.startswith(status)


def test_while_the_old_one_serves_beside_it_a_deployment_is_not_live(railway: FakeRailway) -> None:
    railway.overlap = True
    target = opened(railway)
    made = moved(target, {"A": "1"})
    shown = target.status(made)
    assert (shown.progress, shown.detail) == (
        Progress.PENDING,
        "SUCCESS, and the one before it still serves",
    )
    railway.drain()
    assert target.status(made).progress is Progress.LIVE


def test_a_deployment_that_a_newer_one_replaced_is_as_far_as_that(railway: FakeRailway) -> None:
    """A colleague ships code after us: that carries our variables too, and is no failure of ours."""
    target = opened(railway)
    made = moved(target, {"A": "1"})
    railway.edit(set={"B": "1"})
    shown = target.status(made)
    assert shown.progress is Progress.LIVE
    assert shown.id == railway.deployments[0].id != made
    assert made in shown.detail


def test_a_deployment_that_was_taken_down_has_failed(railway: FakeRailway) -> None:
    target = opened(railway)
    made = moved(target, {"A": "1"})
    railway.deployments[0].status = "REMOVED"
    assert target.status(made).progress is Progress.FAILED


# History, metrics, compare-and-set, and what the interface refuses.


def test_the_history_names_who_changed_what_and_our_own_words(railway: FakeRailway) -> None:
    target = opened(railway)
    since = railway.now()
    railway.edit(set={"A": "1"}, unset=["KEPT"], who="eve@example.com", message="tidy up")
    moved(target, {"B": "1"})
    ours, theirs = target.edits(since)
    assert ours.message.startswith("secops op=op-")
    assert (theirs.who, theirs.message, theirs.names) == (
        "eve@example.com",
        "tidy up",
        {"A", "KEPT"},
    )


def test_requests_are_counted_by_status_and_time(railway: FakeRailway) -> None:
    railway.statuses = {"/auth/refresh": {200: 600, 500: 12}}
    target = opened(railway)
    until = datetime(2026, 11, 24, 12, 10, tzinfo=UTC)
    since = until - timedelta(minutes=10)
    assert target.status_counts("/auth/refresh", since, until) == {200: 600, 500: 12}
    assert target.status_counts("/elsewhere", since, until) == {}
    found = target.requests(since, until, timedelta(minutes=5), path="/auth/refresh", method="POST")
    assert [(each.at, each.status, each.count) for each in found] == [
        (since, 200, 300), (since + timedelta(minutes=5), 200, 300),
        (since, 500, 6), (since + timedelta(minutes=5), 500, 6),
    ]  # fmt: skip


def test_compare_and_set_writes_what_a_commit_writes(railway: FakeRailway) -> None:
    target = opened(railway, compare_and_set=True)
    assert target.traits.compare_and_set
    made = moved(target, {"A": "'$\\\n"}, ["KEPT"])
    assert target.status(made).progress is Progress.LIVE
    assert railway.running == {
        "A": "'$\\\n",
        "JWT_EXPIRATION": "1h",
        MARKER: railway.running[MARKER],
    }
    moved(target, {"A": "${{shared.X}}"})
    assert railway.variables["A"] == "${{shared.X}}"
    assert railway.deployed == 2


def test_compare_and_set_refuses_a_write_after_anybody_elses(railway: FakeRailway) -> None:
    target = opened(railway, compare_and_set=True)
    seen = target.read()
    railway.edit(set={"KEPT": "theirs"})
    with pytest.raises(Conflict):
        target.write(change({"A": "1"}), seen)
    seen = target.read()
    railway.faults.add("write", before=lambda: railway.edit(set={"KEPT": "again"}))
    with pytest.raises(Conflict):
        target.write(change({"A": "1"}), seen)
    assert "A" not in railway.variables
    assert railway.variables["KEPT"] == "again"


def test_names_instead_of_ids_are_said_to_be_none(railway: FakeRailway) -> None:
    with pytest.raises(NoSuchPlace, match="Service not found") as caught:
        opened(railway, service="api").read()
    assert "names do not work" in caught.value.hint


def test_a_changed_interface_is_said(railway: FakeRailway, monkeypatch: pytest.MonkeyPatch) -> None:
    from secops.targets import railway_api

    target = opened(railway)
    parts = {**railway_api.PARTS, "variables": "variablesByName(projectId: $project)"}
    monkeypatch.setattr(railway_api, "PARTS", parts)
    with pytest.raises(Misunderstood, match="no longer knows") as caught:
        target.read()
    assert "Update secops" in caught.value.hint


def test_the_fake_validates_variables_too(railway: FakeRailway) -> None:
    """What keeps the tests honest: a patch of another shape does not get through."""
    target = opened(railway)
    patches: list[object] = [
        {"services": {SERVICE: {"variables": {"A": "1"}}}},
        {"services": {"api": {}}},
        "x",
    ]
    for patch in patches:
        with pytest.raises((OutcomeUnknown, Misunderstood, Unreachable)):
            target.api.change("environmentPatchCommit", what="try", patch=patch, message="")
    assert railway.deployed == 0


def test_the_plans_limits_are_kept(railway: FakeRailway) -> None:
    """Free: 100 requests an hour. A stage with its polls stays under 20, a rollback's write under 4."""
    target = opened(railway)
    seen = target.read()
    before = target.http.requests
    target.write(change({"JWT_EXPIRATION": "30m"}), seen)
    assert railway.requests[before].kind == "write"
    railway.limit = 1
    target.read()
    with pytest.raises(Unreachable, match="no more requests"):
        opened(railway, patience="1s").read()
    assert Change({}).unset == frozenset()
