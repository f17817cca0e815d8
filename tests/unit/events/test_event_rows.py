"""One event: what is refused and why, what is filled in, which id it gets, how COPY reads it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secops.accounts.event_rows import COLUMNS, DEFAULTS, Rows, Unfit
from secops.database.layout import KeyType

LATEST = datetime(2026, 11, 25, tzinfo=UTC)
USER = "0b8a3c1e-5f3d-4c7e-9a55-0123456789ab"
EVENT: dict[str, Any] = {
    "event_type": "login_failed",
    "user_id": USER,
    "email": "bob@example.com",
    "created_at": "2026-11-24T09:00:00+00:00",
}


def rows(key_type: KeyType = "uuid", **more: Any) -> Rows:
    return Rows(key_type, more.pop("timezone", UTC), LATEST, **more)


def read(line: str) -> dict[str, Any]:
    """Read a line as COPY's text format is defined, independently of what wrote it."""
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert "\r" not in line  # COPY would take it for the end of a line
    cells = line[:-1].split("\t")
    assert len(cells) == len(COLUMNS)
    letters = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}
    return {
        name: None if cell == "\\N" else re.sub(r"\\(.)", lambda found: letters[found[1]], cell)
        for name, cell in zip(COLUMNS, cells, strict=True)
    }


def row(event: dict[str, Any], maker: Rows | None = None, *, plain: bool = False) -> dict[str, Any]:
    number, line = (maker or rows()).row(event, plain=plain)
    found = read(line)
    assert found["id"] == number
    assert str(UUID(number)) == number
    return found


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(message=TEXT, agent=TEXT, metadata=JSON)
def test_every_text_comes_back_as_it_was(message: str, agent: str, metadata: object) -> None:
    found = row({**EVENT, "message": message, "user_agent": agent, "metadata": metadata})
    assert (found["message"], found["user_agent"]) == (message, agent)
    if metadata is None:
        assert found["metadata"] is None
    else:
        assert json.loads(found["metadata"]) == metadata


@given(st.dictionaries(st.sampled_from(["message", "user_agent", "email"]), TEXT))
def test_json_without_a_backslash_is_written_the_same_without_looking(
    texts: dict[str, str],
) -> None:
    """What makes the fast path safe: such a line holds no character that would need escaping."""
    line = json.dumps({**EVENT, **texts, "metadata": texts}, ensure_ascii=False)
    if "\\" in line:
        return
    event = json.loads(line)
    assert rows().row(event, plain=True) == rows().row(event, plain=False)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"event_type": None}, "event_type is missing"),
        ({"event_type": ""}, "event_type is missing"),
        ({"event_type": 5}, "event_type is no text"),
        ({"event_type": "x" * 51}, "event_type is longer than 50 characters"),
        ({"event_category": "x" * 31}, "event_category is longer than 30 characters"),
        ({"severity": "x" * 21}, "severity is longer than 20 characters"),
        ({"email": "x" * 256}, "email is longer than 255 characters"),
        ({"email": ["a"]}, "email is no text"),
        ({"ip_address": "1" * 46}, "ip_address is longer than 45 characters"),
        ({"request_path": "/" * 501}, "request_path is longer than 500 characters"),
        ({"request_method": "x" * 11}, "request_method is longer than 10 characters"),
        ({"message": "a\x00b"}, "message holds a NUL character, which PostgreSQL cannot store"),
        ({"message": "a\ud800b"}, "message is no valid Unicode"),
        (
            {"metadata": {"a": "\x00"}},
            "metadata holds a NUL character, which PostgreSQL cannot store",
        ),
        (
            {"metadata": {"\x00": 1}},
            "metadata holds a NUL character, which PostgreSQL cannot store",
        ),
        ({"metadata": {"a": "\udc00"}}, "metadata is no valid Unicode"),
        ({"metadata": {"a": float("inf")}}, "metadata holds a number that is too large"),
        ({"success": "yes"}, "success is neither true nor false"),
        ({"success": 1}, "success is neither true nor false"),
        ({"created_at": "yesterday"}, "created_at is no time like 2026-11-24T09:00:00Z"),
        ({"created_at": ""}, "created_at is no time like 2026-11-24T09:00:00Z"),
        ({"created_at": 1764000000}, "created_at is no time like 2026-11-24T09:00:00Z"),
        ({"created_at": "2026-02-30T00:00:00Z"}, "created_at is no time like 2026-11-24T09:00:00Z"),
        ({"created_at": "2026-11-25T00:00:01Z"}, "created_at lies in the future"),
        ({"created_at": "2026-11-25T00:00:00-00:01"}, "created_at lies in the future"),
        ({"created_at": "1969-12-31T00:00:00Z"}, "created_at lies before 1970"),
        ({"id": "5"}, "id is no UUID"),
        ({"id": ""}, "id is no UUID"),
        ({"id": 5}, "id is no UUID"),
        ({"user_id": "bob"}, "user_id is no UUID"),
        ({"emial": "x"}, "there is no column 'emial' (did you mean email?)"),
        ({"zzz": "x"}, "there is no column 'zzz'"),
    ],
)
def test_what_is_no_event_is_refused_with_the_reason(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unfit) as refused:
        rows().row({**EVENT, **change})
    assert str(refused.value) == reason


def test_a_text_as_long_as_its_column_is_taken() -> None:
    longest = {"email": 255, "request_path": 500, "request_method": 10, "ip_address": 45}
    found = row({**EVENT, **{key: "ä" * length for key, length in longest.items()}})
    assert {key: len(found[key]) for key in longest} == longest


@pytest.mark.parametrize(
    ("key_type", "value", "written"),
    [
        ("uuid", USER.upper(), USER),
        ("uuid", USER.replace("-", ""), USER),
        ("uuid", "{" + USER + "}", USER),
        ("bigint", 5, "5"),
        ("bigint", "5", "5"),
        ("bigint", "-7", "-7"),
        ("bigint", 2**63 - 1, str(2**63 - 1)),
        ("integer", 2**31 - 1, str(2**31 - 1)),
        ("integer", -(2**31), str(-(2**31))),
        ("text", "auth0|5f7c8ec7c33c6c004bbafe82", "auth0|5f7c8ec7c33c6c004bbafe82"),
        ("text", "a\tb", "a\tb"),
    ],
)
def test_a_key_of_each_type_is_taken(key_type: KeyType, value: object, written: str) -> None:
    maker = rows(key_type)
    for _ in range(2):  # the second time it is remembered
        assert row({**EVENT, "user_id": value}, maker)["user_id"] == written


@pytest.mark.parametrize(
    ("key_type", "value"),
    [
        ("uuid", 5),
        ("uuid", USER[:-1]),
        ("bigint", USER),
        ("bigint", 2**63),
        ("bigint", True),
        ("bigint", 1.0),
        ("bigint", "1.0"),
        ("bigint", "٣"),
        ("bigint", ""),
        ("integer", 2**31),
        ("integer", "99999999999999999999"),
        ("text", 5),
    ],
)
def test_a_key_of_another_type_is_refused(key_type: KeyType, value: object) -> None:
    with pytest.raises(Unfit, match="user_id is no"):
        rows(key_type).row({**EVENT, "user_id": value})


@pytest.mark.parametrize("kind", DEFAULTS)
def test_what_is_missing_follows_from_the_type(kind: str) -> None:
    category, severity, success = DEFAULTS[kind]
    found = row({"event_type": kind})
    assert found["event_category"] == category
    assert found["severity"] == severity
    assert found["success"] == ("t" if success else "f")


@pytest.mark.parametrize(
    ("kind", "severity", "success"),
    [
        ("profile_viewed", "info", "t"),
        ("export_failed", "warning", "f"),
        ("access_denied", "warning", "f"),
        ("account_blocked", "warning", "f"),
    ],
)
def test_an_unknown_type_is_judged_by_its_name(kind: str, severity: str, success: str) -> None:
    found = row({"event_type": kind})
    assert (found["event_category"], found["severity"], found["success"]) == (
        "other",
        severity,
        success,
    )


def test_what_is_stated_is_not_replaced() -> None:
    stated = {"event_category": "c", "severity": "s", "success": True}
    found = row({**EVENT, **stated})
    assert (found["event_category"], found["severity"], found["success"]) == ("c", "s", "t")
    assert row({"event_type": "login_success", "success": False})["severity"] == "warning"


def test_a_time_without_a_zone_is_in_the_zone_that_was_given() -> None:
    naive = {**EVENT, "created_at": "2026-07-01T12:00:00"}
    assert row(naive)["created_at"] == "2026-07-01T12:00:00+00:00"
    berlin = rows(timezone=ZoneInfo("Europe/Berlin"))
    assert row(naive, berlin)["created_at"] == "2026-07-01T10:00:00+00:00"
    zoned = {**EVENT, "created_at": "2026-07-01T12:00:00+05:30"}
    assert row(zoned, berlin)["created_at"] == "2026-07-01T06:30:00+00:00"


def test_without_a_time_it_is_left_to_the_import_and_counted() -> None:
    maker = rows()
    assert row({"event_type": "logout"}, maker)["created_at"] is None
    with pytest.raises(Unfit):
        maker.row({"event_type": "logout", "id": "none"})
    row(EVENT, maker)
    assert maker.undated == 1


def test_further_keys_go_into_metadata_where_that_was_asked() -> None:
    maker = rows(extra_to_metadata=True)
    found = row({**EVENT, "metadata": {"a": 1}, "pod": "web-1"}, maker)
    assert json.loads(found["metadata"]) == {"a": 1, "pod": "web-1"}
    assert json.loads(row({**EVENT, "pod": 7}, maker)["metadata"]) == {"pod": 7}
    with pytest.raises(Unfit, match="'a' stands in metadata and beside it"):
        maker.row({**EVENT, "metadata": {"a": 1}, "a": 2})
    with pytest.raises(Unfit, match="metadata is no object"):
        maker.row({**EVENT, "metadata": [1], "a": 2})


def test_an_id_is_kept_in_lower_case() -> None:
    assert row({**EVENT, "id": USER.upper()})["id"] == USER


def ids(*events: dict[str, Any]) -> list[str]:
    maker = rows()
    return [maker.row(event)[0] for event in events]


def test_without_an_id_the_same_event_gets_the_same_one_at_each_import() -> None:
    assert ids(EVENT) == ids(EVENT)
    assert UUID(ids(EVENT)[0]).version == 8
    assert UUID(ids(EVENT)[0]).variant == "specified in RFC 4122"
    # Written down: an id that changes with a version of secops would import everything twice.
    assert ids(EVENT) == ["0afe9a29-003b-8a3e-ab44-8118e793519b"]


def test_the_same_event_twice_in_a_file_is_two_events() -> None:
    first, second, third = ids(EVENT, EVENT, EVENT)
    assert len({first, second, third}) == 3
    assert ids(EVENT, {**EVENT, "email": "x"}, EVENT)[2] == second


@given(st.permutations(list(EVENT)))
def test_the_order_of_keys_makes_no_other_event(order: list[str]) -> None:
    assert ids({key: EVENT[key] for key in order}) == ids(EVENT)


def test_a_moment_in_another_zone_makes_no_other_event() -> None:
    there = {**EVENT, "created_at": "2026-11-24T14:30:00+05:30"}
    assert ids(there) == ids(EVENT) == ids({**EVENT, "created_at": "2026-11-24T09:00Z"})
    assert ids({**EVENT, "email": None}) != ids(EVENT)
    assert ids({**EVENT, "message": None}) == ids(EVENT)


@given(st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=2, max_size=5, unique=True))
def test_events_that_state_different_things_have_different_ids(
    texts: list[tuple[str, str, str]],
) -> None:
    events = [{**EVENT, "message": a, "user_agent": b, "metadata": {"c": c}} for a, b, c in texts]
    assert len(set(ids(*events))) == len(events)


def test_the_day_after_tomorrow_by_the_servers_clock_is_the_limit() -> None:
    just = (LATEST - timedelta(seconds=1)).isoformat()
    assert row({**EVENT, "created_at": just})["created_at"] == just
