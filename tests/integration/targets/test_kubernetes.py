"""Kubernetes: resource versions, base64, restarts by annotation, and what the pods read."""

from __future__ import annotations

import base64

import pytest

from secops.errors import Conflict, OutcomeUnknown, Refused
from secops.targets.failures import NoSuchPlace, NotAllowed
from secops.targets.kubernetes_words import ANNOTATION
from secops.targets.target import MARKER, Progress
from support.fakes.faults import Reply
from support.fakes.kubernetes import FakeKubernetes
from support.targets import change, moved, opened


def held(fake: FakeKubernetes) -> dict[str, str]:
    assert fake.secret is not None
    return {name: base64.b64decode(value).decode() for name, value in fake.secret["data"].items()}


def test_config_map_and_secret_keep_what_is_theirs(kubernetes: FakeKubernetes) -> None:
    kubernetes.reset({"A": "1", "B": "2"}, secrets={"KEY": "s3cret", "OLD": "x"})
    target = opened(kubernetes, secret_names=["KEY", "OLD", "NEW_KEY"])
    seen = target.read()
    assert {name: each.value for name, each in seen.variables.items()} == {
        "A": "1", "B": "2", "KEY": "s3cret", "OLD": "x",
    }  # fmt: skip
    moved(target, {"A": "9", "KEY": "r0tated ü\n", "NEW_KEY": "n", "PLAIN": "p"}, ["OLD", "B"])
    assert held(kubernetes) == {"KEY": "r0tated ü\n", "NEW_KEY": "n"}
    assert set(kubernetes.config_map["data"]) == {"A", "PLAIN", MARKER}
    assert kubernetes.count("write") == 2
    assert kubernetes.deployed == 1
    moved(target, {"A": "1", "KEY": "s3cret", "B": "2", "OLD": "x"}, ["NEW_KEY", "PLAIN"])
    assert held(kubernetes) == {"KEY": "s3cret", "OLD": "x"}


def test_a_secret_alone_holds_everything(kubernetes: FakeKubernetes) -> None:
    kubernetes.reset({"A": "under"}, secrets={"KEY": "1"})
    target = opened(kubernetes, config_map=None)
    assert set(target.read().variables) == {"KEY"}
    moved(target, {"KEY": "2"})
    assert set(held(kubernetes)) == {"KEY", MARKER}
    assert kubernetes.config_map["data"] == {"A": "under"}


def test_what_would_come_back_elsewhere_is_not_deleted(kubernetes: FakeKubernetes) -> None:
    kubernetes.reset({"A": "1"}, secrets={"KEY": "1"})
    target = opened(kubernetes)
    with pytest.raises(Refused, match="would come back in the ConfigMap") as caught:
        target.write(change({}, ["KEY"]), target.read())
    assert "secret_names" in caught.value.hint


def test_a_variable_in_both_is_not_touched(kubernetes: FakeKubernetes) -> None:
    kubernetes.reset({"A": "1", "B": "1"}, secrets={"A": "2"})
    target = opened(kubernetes)
    assert target.read().variables["A"].value == "1"
    with pytest.raises(Refused, match="stands in the Secret and in the ConfigMap"):
        target.write(change({"A": "3"}), target.read())
    moved(target, {"B": "2"})
    assert held(kubernetes) == {"A": "2"}


def test_bytes_that_are_no_text_stay_as_they_are(kubernetes: FakeKubernetes) -> None:
    kubernetes.reset({}, secrets={"KEY": "1"})
    assert kubernetes.secret is not None
    raw = base64.b64encode(b"\xff\xfe\x00").decode()
    kubernetes.secret["data"]["RAW"] = raw
    target = opened(kubernetes)
    assert target.read().variables["RAW"].sealed
    moved(target, {"A": "1"})
    assert kubernetes.secret["data"]["RAW"] == raw


def test_the_server_itself_refuses_a_write_after_anybody_elses(kubernetes: FakeKubernetes) -> None:
    target = opened(kubernetes)
    seen = target.read()
    kubernetes.faults.add("write", before=lambda: kubernetes.edit(set={"KEPT": "theirs"}))
    with pytest.raises(Conflict, match="Somebody changed configmaps/api-env"):
        target.write(change({"A": "1"}), seen)
    assert kubernetes.variables["KEPT"] == "theirs"
    assert "A" not in kubernetes.variables


def test_a_conflict_after_the_secret_was_written_is_a_torn_write(
    kubernetes: FakeKubernetes,
) -> None:
    kubernetes.reset({"A": "1"}, secrets={"KEY": "1"})
    target = opened(kubernetes)
    seen = target.read()
    kubernetes.faults.add("write", nth=2, before=lambda: kubernetes.edit(set={"X": "theirs"}))
    with pytest.raises(OutcomeUnknown, match="The Secret is written and the ConfigMap is not"):
        target.write(change({"A": "2", "KEY": "2"}), seen)
    assert held(kubernetes) == {"KEY": "2"}
    assert MARKER not in kubernetes.variables, "the marker comes last"


def test_an_immutable_object_is_refused_before_anything_is_written(
    kubernetes: FakeKubernetes,
) -> None:
    kubernetes.reset({"A": "1"}, secrets={"KEY": "1"})
    kubernetes.config_map["immutable"] = True
    target = opened(kubernetes)
    with pytest.raises(Refused, match="ConfigMap api-env is immutable"):
        target.write(change({"A": "2", "KEY": "2"}), target.read())
    assert held(kubernetes) == {"KEY": "1"}
    assert kubernetes.count("write") == 0


def test_pods_are_restarted_by_an_annotation_and_other_annotations_stay(
    kubernetes: FakeKubernetes,
) -> None:
    target = opened(kubernetes)
    made = moved(target, {"A": "1"})
    annotations = kubernetes.deployment["spec"]["template"]["metadata"]["annotations"]
    assert annotations == {"theirs": "kept", ANNOTATION: kubernetes.variables[MARKER]}
    assert made == kubernetes.variables[MARKER]


def test_a_lost_reply_to_a_restart_restarts_nothing_twice(kubernetes: FakeKubernetes) -> None:
    target = opened(kubernetes)
    target.write(change({"A": "1"}), target.read())
    kubernetes.faults.add("deploy", reply=Reply.LOST)
    with pytest.raises(OutcomeUnknown):
        target.deploy("")
    made = target.deploy("")
    assert kubernetes.deployed == 1
    assert target.status(made).progress is Progress.LIVE


def test_scaling_meanwhile_is_no_restart(kubernetes: FakeKubernetes) -> None:
    target = opened(kubernetes)
    made = moved(target, {"A": "1"})
    kubernetes.deployment["spec"]["replicas"] = 5
    kubernetes.deployment["metadata"]["generation"] += 1
    shown = target.status(made)
    assert (shown.progress, shown.detail) == (
        Progress.PENDING, "the controller has not seen it yet",
    )  # fmt: skip
    kubernetes.finish()
    assert target.status(made).progress is Progress.LIVE
    assert [each.id for each in target.deployments(kubernetes.now().replace(year=2020))] == [made]


@pytest.mark.parametrize(
    ("status", "progress", "said"),
    [
        ({"observedGeneration": 1}, Progress.PENDING, "not seen it"),
        ({"updatedReplicas": 1}, Progress.PENDING, "1 of 2 pods are new"),
        ({"replicas": 3}, Progress.PENDING, "1 old pods are still ending"),
        ({"availableReplicas": 1}, Progress.PENDING, "1 of 2 new pods are available"),
        (
            {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "quota"}]},
            Progress.FAILED,
            "pods cannot be made: quota",
        ),
        ({}, Progress.LIVE, "2 of 2"),
    ],
)
def test_how_far_a_restart_is(
    kubernetes: FakeKubernetes, status: dict[str, object], progress: Progress, said: str
) -> None:
    target = opened(kubernetes)
    made = moved(target, {"A": "1"})
    kubernetes.deployment["status"] |= status
    shown = target.status(made)
    assert shown.progress is progress
    assert said in shown.detail


def test_a_paused_deployment_waits_for_a_person(kubernetes: FakeKubernetes) -> None:
    target = opened(kubernetes)
    made = moved(target, {"A": "1"})
    kubernetes.deployment["spec"]["paused"] = True
    assert target.status(made).progress is Progress.HELD


def test_a_template_that_was_changed_back_has_failed(kubernetes: FakeKubernetes) -> None:
    target = opened(kubernetes)
    made = moved(target, {"A": "1"})
    del kubernetes.deployment["spec"]["template"]["metadata"]["annotations"][ANNOTATION]
    assert target.status(made).progress is Progress.FAILED


def test_no_pods_is_live(kubernetes: FakeKubernetes) -> None:
    target = opened(kubernetes)
    kubernetes.deployment["spec"]["replicas"] = 0
    made = moved(target, {"A": "1"})
    assert target.status(made).progress is Progress.LIVE


@pytest.mark.parametrize("denied", ["patch configmaps", "patch deployments", "get deployments"])
def test_the_server_is_asked_what_is_allowed(kubernetes: FakeKubernetes, denied: str) -> None:
    kubernetes.denied = {denied}
    found = {each.what: each for each in opened(kubernetes).rights()}
    lacking = [what for what, each in found.items() if each.allowed is False]
    assert [each.rpartition("/")[0] for each in lacking] == [denied]
    assert "Role" in found[lacking[0]].mend


def test_pods_that_read_from_elsewhere_are_noticed(kubernetes: FakeKubernetes) -> None:
    kubernetes.deployment["spec"]["template"]["spec"]["containers"][0]["envFrom"] = []
    found = opened(kubernetes).rights()[-1]
    assert found.allowed is False
    assert "ConfigMap api-env" in found.detail


@pytest.mark.parametrize(
    ("denied", "does"),
    [("get configmaps", "read"), ("patch configmaps", "write"), ("patch deployments", "deploy")],
)
def test_a_refusal_names_what_is_needed(kubernetes: FakeKubernetes, denied: str, does: str) -> None:
    kubernetes.denied = {denied}
    target = opened(kubernetes)
    with pytest.raises(NotAllowed) as caught:
        moved(target, {"A": "1"})
    assert (
        denied.partition(" ")[0].replace("get", "read") in caught.value.message or does == "deploy"
    )
    assert "Role" in caught.value.hint


@pytest.mark.parametrize(
    ("option", "said"), [("config_map", "configmaps/none"), ("deployment", "deployments/none")]
)
def test_an_object_that_is_not_there_is_named(
    kubernetes: FakeKubernetes, option: str, said: str
) -> None:
    with pytest.raises(NoSuchPlace, match=said):
        moved(opened(kubernetes, **{option: "none"}), {"A": "1"})


def test_without_a_marker_nothing_is_restarted(kubernetes: FakeKubernetes) -> None:
    with pytest.raises(OutcomeUnknown, match=MARKER):
        opened(kubernetes).deploy("")
    assert kubernetes.deployed == 0


def test_what_was_read_just_now_is_not_read_again(kubernetes: FakeKubernetes) -> None:
    target = opened(kubernetes)
    target.write(change({"A": "1"}), target.read())
    assert [each.kind for each in kubernetes.requests] == ["read", "write"]
