"""Three stages and the ways back, as an operator types them."""

from __future__ import annotations

import pytest

from .conftest import ENV, Place

pytestmark = pytest.mark.parametrize("server", ["pg18"], indirect=True, scope="session")

YES = ("--yes", "--reason", "day 1")


def test_stages_go_in_order_each_with_one_write_and_come_back_byte_for_byte(place: Place) -> None:
    planned = place("rollout", "plan", "--stage", "first", "--json")
    assert planned.code == 0, planned.err
    assert planned.json()["variables"][0] == {
        "variable": "JWT_EXPIRATION", "live": "30d", "sealed": False, "new": "1h",
        "change": "tighten", "recorded": None, "drifted": False, "changed_by": None,
        "reference": False,
    }  # fmt: skip
    assert place.env == ENV

    skipping = place("rollout", "--stage", "second", *YES)
    assert skipping.code == 8
    assert "comes after first" in skipping.err

    unasked = place("rollout", "--stage", "first")
    assert unasked.code == 8
    assert "TIGHTEN" in unasked.out
    assert place.env == ENV

    done = place("rollout", "--stage", "first", *YES)
    assert done.code == 0, done.err
    assert "steps first has passed" in done.out
    assert "Undo: secops rollback --now" in done.out
    assert place.value("JWT_EXPIRATION") == "1h"

    again = place("rollout", "--stage", "first", *YES)
    assert again.code == 0
    assert "has already" in again.out

    second = place("rollout", "--stage", "second", *YES, "--json")
    assert second.code == 0, second.err
    operation = second.json()["operation_id"]
    assert place.value("SECOPS_ROLLOUT_ID") == operation
    assert place.value("MAX_LOGIN_ATTEMPTS") == "5"

    history = place("rollout", "history", "--json").json()
    assert [(row["what"], row["state"]) for row in history] == [
        ("steps second", "passed"), ("steps first", "passed")
    ]  # fmt: skip

    back = place("rollback", "--now")
    assert back.code == 0, back.err
    assert place.value("JWT_EXPIRATION") == "1h"
    assert place.value("MAX_LOGIN_ATTEMPTS") is None
    assert "Looser now: JWT_EXPIRATION" in back.out

    further = place("rollback", "--now")
    assert further.code == 0, further.err
    marker = place.value("SECOPS_ROLLOUT_ID")
    assert place.env == ENV + f"SECOPS_ROLLOUT_ID={marker}\n"
    assert place("rollback", "--now").code == 4

    # Each entry of the journal has its event, made in its transaction.
    entries = place.database.execute("SELECT place FROM secops.rollout_journal ORDER BY 1")
    events = place.database.execute(
        "SELECT metadata ->> 'entry' FROM security_events WHERE event_type LIKE 'roll%' ORDER BY 1"
    )
    assert entries == events
    assert {row[0] for row in place.database.execute(
        "SELECT DISTINCT metadata ->> 'actor' FROM security_events WHERE event_type LIKE 'roll%'"
    )} == {"alice"}  # fmt: skip
    finished = place.database.value(
        "SELECT count(*) FROM secops.operations WHERE finished_at IS NULL"
    )
    assert finished == 0


def test_rolling_back_to_an_operation_takes_back_everything_after_it(place: Place) -> None:
    first = place("rollout", "--stage", "first", *YES, "--json").json()["operation_id"]
    assert place("rollout", "--stage", "second", *YES).code == 0
    assert place("rollback", "--profile", "relaxed", "--now").code == 0
    assert place.value("MAX_LOGIN_ATTEMPTS") == "999"
    loose = place.status()["relaxed"]
    assert {row["variable"] for row in loose} == {"JWT_EXPIRATION", "MAX_LOGIN_ATTEMPTS"}

    dry = place("rollback", "--to", first[:8], "--dry-run")
    assert dry.code == 0, dry.err
    assert "Would put back" in dry.out
    done = place("rollback", "--to", first[:8], "--now", "--json")
    assert done.code == 0, done.err
    assert len(done.json()["undone"]) == 2
    assert place.value("JWT_EXPIRATION") == "1h"
    assert place.value("MAX_LOGIN_ATTEMPTS") is None
    assert place.status()["relaxed"] == [
        row for row in place.status()["relaxed"] if row["variable"] != "MAX_LOGIN_ATTEMPTS"
    ]


def test_what_somebody_else_wrote_is_told_and_stays(place: Place) -> None:
    assert place("rollout", "--stage", "first", *YES).code == 0
    env = place.folder / ".env"
    env.write_text(env.read_text().replace("JWT_EXPIRATION=1h", "JWT_EXPIRATION=2h"))

    drift = place("drift", "--json")
    assert drift.code == 5
    assert [(row["variable"], row["what"], row["live"]) for row in drift.json()] == [
        ("JWT_EXPIRATION", "changed", "2h")
    ]
    refused = place("rollout", "--stage", "second", *YES)
    assert refused.code == 5
    assert "JWT_EXPIRATION was left as 1h and is 2h" in refused.err

    back = place("rollback", "--now")
    assert back.code == 0, back.err
    assert "Kept, for somebody else changed them since: JWT_EXPIRATION" in back.out
    assert place.value("JWT_EXPIRATION") == "2h"
    assert place("drift").code == 0


def test_a_stage_that_relaxes_needs_a_reason_and_gets_a_date(place: Place) -> None:
    env = place.folder / ".env"
    env.write_text(env.read_text().replace("30d", "5m"))
    refused = place("rollout", "--stage", "first", "--yes")
    assert refused.code == 8
    assert "needs a reason" in refused.err
    assert "RELAX" in refused.out
    done = place("rollout", "--stage", "first", *YES, "--for", "1s")
    assert done.code == 0, done.err
    place.database.execute("SELECT pg_sleep(1.1)")
    status = place("rollout", "status")
    assert status.code == 3, status.out
    assert "Relaxed for too long: JWT_EXPIRATION on prod" in status.err


def test_a_gate_that_cannot_tell_holds_and_a_person_may_accept(place: Place) -> None:
    for stage in ("first", "second"):
        assert place("rollout", "--stage", stage, *YES).code == 0
    done = place("rollout", "--stage", "third", *YES)
    assert done.code == 0, done.err
    assert "soaks for another 1 h" in done.out
    early = place("rollout", "--stage", "third", *YES)
    assert early.code == 9
    assert "soaks" in early.err
    assert place("rollout", "abort", "--dry-run").code == 0
    status = place("rollout", "status")
    assert "steps third is live and soaks" in status.out
    aborted = place("rollout", "abort", "--yes")
    assert aborted.code == 0, aborted.err
    assert place.value("JWT_EXPIRATION") == "30m"
    assert place("rollout", "abort", "--yes").code == 4
    assert place("rollout", "tick").code == 0


def test_unknown_stages_and_targets_are_named(place: Place) -> None:
    stage = place("rollout", "--stage", "40m")
    assert stage.code == 4
    assert "first, second, third" in stage.err
    target = place("rollout", "--stage", "first", "--target", "prd")
    assert target.code == 4
    assert "Did you mean prod?" in target.err
    bare = place("rollout")
    assert bare.code == 2
    assert "--stage" in bare.err
    misplaced = place("rollout", "--dry-run", "abort")
    assert misplaced.code == 2
    assert "secops rollout abort --dry-run" in misplaced.err
