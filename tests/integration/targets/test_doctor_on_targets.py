"""``secops doctor`` says of each target what its credentials allow, and asks nobody where there is none."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import yaml

from secops.doctor import targets
from secops.doctor.check import Patient, Result, Status
from secops.doctor.examination import CHECKS, examine
from secops.errors import Unreachable
from secops.settings import CONFIG_NAME, load
from support.fakes.faults import Reply
from support.fakes.railway import FakeRailway
from support.fakes.server import CANARY, Fake

LOOKS = (targets.described, targets.allowed)


def no_connection(_: str) -> Any:
    raise Unreachable("Nothing answers there.", hint="Start it.")


def looked(
    folder: Path, *fakes: Fake, environ: dict[str, str] | None = None, **options: object
) -> list[Result]:
    """Run both checks on a secops.yaml that describes these."""
    text: dict[str, Any] = {"schema": "app"}
    if fakes:
        text["targets"] = {
            f"prod{number}": {"kind": fake.kind, **fake.place("x", **options).options}
            for number, fake in enumerate(fakes)
        }
    (folder / CONFIG_NAME).write_text(yaml.safe_dump(text))
    given = {key: value for fake in fakes for key, value in fake.environ.items()}
    settings = load(environ=given if environ is None else environ, folder=folder)
    return [result for _, result in examine(Patient(settings, no_connection), LOOKS).results]


def test_the_checks_are_among_the_doctors() -> None:
    assert set(LOOKS) <= set(CHECKS)


def test_without_a_target_nobody_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert [each.status for each in looked(tmp_path)] == [Status.SKIPPED] * 2


def test_each_platform_is_well(tmp_path: Path, fake: Fake) -> None:
    first, second = looked(tmp_path, fake)
    assert (first.status, first.evidence) == (Status.OK, f"prod0 ({fake.kind})")
    assert second.status is Status.OK
    assert second.evidence.startswith("prod0 may do ")
    assert fake.count("write", "deploy") == 0


def test_a_missing_token_fails_and_the_other_target_is_still_asked(
    tmp_path: Path, railway: FakeRailway, heroku: Fake
) -> None:
    first, second = looked(tmp_path, railway, heroku, environ=heroku.environ)
    assert first.status is Status.FAIL
    assert "RAILWAY_TOKEN is not set" in first.evidence
    assert "Settings > Tokens" in first.mend
    assert second.status is Status.OK
    assert railway.count() == 0
    assert heroku.count() > 0


def test_a_token_in_the_file_fails_and_is_not_shown(tmp_path: Path, railway: FakeRailway) -> None:
    first, second = looked(tmp_path, railway, token=CANARY)
    assert first.status is Status.FAIL
    assert "has its credentials in secops.yaml" in first.evidence
    assert second.status is Status.SKIPPED
    assert CANARY not in f"{first} {second}"


def test_a_refused_token_fails_with_where_to_get_one(tmp_path: Path, railway: FakeRailway) -> None:
    _, second = looked(tmp_path, railway, environ={"RAILWAY_TOKEN": "wrong-token"})
    assert second.status is Status.FAIL
    assert "cannot be known to Railway" in second.evidence
    assert "Settings > Tokens" in second.mend
    assert "wrong-token" not in f"{second}"


def test_a_right_that_lacks_is_a_warning(tmp_path: Path, railway: FakeRailway) -> None:
    railway.denied = {"environmentPatches"}
    railway.healthcheck = None
    _, second = looked(tmp_path, railway)
    assert second.status is Status.WARN
    assert "cannot read who changed what" in second.evidence
    assert "Healthcheck Path" in second.mend


def test_an_unreachable_platform_fails_without_its_address(
    tmp_path: Path, railway: FakeRailway
) -> None:
    railway.faults.add("rights", reply=Reply.NEVER, times=9)
    _, second = looked(tmp_path, railway)
    assert second.status is Status.FAIL
    assert "127.0.0.1" not in f"{second}"


def test_a_platform_that_asks_to_come_back_later_does_not_hold_the_doctor_up(
    tmp_path: Path, railway: FakeRailway
) -> None:
    railway.faults.add("rights", status=429, headers={"Retry-After": "55"}, times=9)
    _, second = looked(tmp_path, railway)
    assert second.status is Status.FAIL
    assert "takes no more requests for 55 s" in second.evidence


def test_values_are_not_shown(tmp_path: Path, fake: Fake) -> None:
    fake.edit(set={"PASSWORD": "hunter2-c4n4ry"})
    assert "hunter2" not in f"{looked(tmp_path, fake)}"
