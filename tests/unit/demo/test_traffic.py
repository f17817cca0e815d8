"""The demo's traffic has a rhythm, and in it the attacks that secops' reports are there to find."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address, ip_network
from itertools import pairwise
from random import Random
from typing import Any
from uuid import UUID

import pytest

from secops.demo import attacks, backend
from secops.demo.backend import (
    EVENT_COLUMNS,
    LOCKED_FOR,
    MAX_ATTEMPTS,
    OLD_TOKEN_COLUMNS,
    REFRESH_LIFE,
    TOKEN_COLUMNS,
    old_token_lines,
)
from secops.demo.people import (
    BESIEGED,
    DAY,
    LOCKED_OUT,
    OFFICE,
    ROBBED,
    SCRIPTED,
    Person,
    make_people,
)
from secops.demo.traffic import Traffic

UNTIL = datetime.fromisoformat("2026-03-19T15:20:00+00:00").timestamp()
MINUTE, HOUR = 60.0, 3_600.0
RESERVED = [
    ip_network(network)
    for network in (
        "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "100.64.0.0/10",
        "198.18.0.0/15",
    )
]  # fmt: skip


def unescaped(value: str) -> str | None:
    """Read a value of COPY's text format, as PostgreSQL does."""
    if value == "\\N":
        return None
    plain = {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}
    read, letters = "", iter(value)
    for letter in letters:
        read += plain[next(letters)] if letter == "\\" else letter
    return read


def rows(lines: list[str], columns: tuple[str, ...]) -> list[dict[str, Any]]:
    found = []
    for line in lines:
        assert line.endswith("\n")
        values = [unescaped(value) for value in line[:-1].split("\t")]
        found.append(dict(zip(columns, values, strict=True)))
    return found


@dataclass
class Played:
    """Traffic, read back from what would be loaded."""

    people: list[Person]
    traffic: Traffic
    events: list[dict[str, Any]] = field(default_factory=list)
    tokens: list[dict[str, Any]] = field(default_factory=list)

    def attack(self, label: str, *kinds: str) -> list[dict[str, Any]]:
        return [
            event
            for event in self.events
            if event["label"] == label and (not kinds or event["event_type"] in kinds)
        ]

    def failures(self, label: str) -> list[dict[str, Any]]:
        return self.attack(label, "login_failed")


def play(count: int, events: int, seed: int = 1) -> Played:
    people = make_people(count, seed)
    played = Played(people, Traffic(people, until=UNTIL, events=events, seed=seed))
    lines = [line for chunk in played.traffic.play() for line in chunk]
    played.events = rows(lines, EVENT_COLUMNS)
    for event in played.events:
        event["at"] = datetime.fromisoformat(event["created_at"]).timestamp()
        event["metadata"] = json.loads(event["metadata"] or "{}")
        event["label"] = event["metadata"].get("demo_attack", "")
    played.tokens = rows(list(played.traffic.backend.token_lines()), TOKEN_COLUMNS)
    return played


@pytest.fixture(scope="module")
def played() -> Played:
    return play(4_000, 100_000)


def most_within(events: list[dict[str, Any]], span: float) -> list[dict[str, Any]]:
    """Return the densest run of events that fits into a span."""
    best: list[dict[str, Any]] = []
    first = 0
    for last, event in enumerate(events):
        while event["at"] - events[first]["at"] > span:
            first += 1
        if last - first + 1 > len(best):
            best = events[first : last + 1]
    return best


# The whole.


def test_the_same_seed_writes_the_same_traffic() -> None:
    one, two, other = play(300, 8_000), play(300, 8_000), play(300, 8_000, seed=2)
    assert one.events == two.events
    assert one.tokens == two.tokens
    assert one.events != other.events


@pytest.mark.parametrize(("people", "events"), [(200, 5_000), (1_000, 60_000)])
def test_there_are_about_as_many_events_as_asked(people: int, events: int) -> None:
    made = len(play(people, events).events)
    assert abs(made - events) / events < 0.12


def test_everything_happens_in_two_weeks_that_end_now_in_the_order_of_time(played: Played) -> None:
    times = [event["at"] for event in played.events]
    assert times == sorted(times)
    assert times[0] >= UNTIL - 14 * DAY
    assert times[-1] <= UNTIL
    assert UNTIL - times[-1] < 5 * MINUTE
    assert {int((UNTIL - moment) // DAY) for moment in times} == set(range(14))


def test_every_kind_of_event_is_there(played: Played) -> None:
    kinds = Counter(event["event_type"] for event in played.events)
    assert set(kinds) == {
        "login_success", "login_failed", "token_refresh", "logout", "password_changed", "account_locked",
        "account_unlocked", "refresh_token_theft_detected",
    }  # fmt: skip
    assert kinds.most_common(1)[0][0] == "token_refresh"


def test_every_event_and_token_has_a_key_of_its_own(played: Played) -> None:
    keys = [UUID(row["id"]) for row in (*played.events, *played.tokens)]
    assert len(set(keys)) == len(keys)
    assert {key.version for key in keys} == {7}


def test_addresses_are_of_networks_that_nobody_has(played: Played) -> None:
    used = {event["ip_address"] for event in played.events} - {None}
    strangers = [
        text for text in used if not any(ip_address(text) in network for network in RESERVED)
    ]
    assert strangers == []


# Everyday traffic.


def test_people_work_by_day_and_on_working_days(played: Played) -> None:
    offsets = {person.id: person.offset for person in played.people if person.habit is OFFICE}
    hours: Counter[int] = Counter()
    days: Counter[int] = Counter()
    for event in played.events:
        if event["user_id"] in offsets and not event["label"]:
            local = event["at"] + offsets[event["user_id"]] * HOUR
            hours[int(local % DAY // HOUR)] += 1
            days[int(local // DAY + 3) % 7] += 1
    total = hours.total()
    assert sum(hours[hour] for hour in range(7, 20)) > 0.9 * total
    assert sum(hours[hour] for hour in range(5)) < 0.01 * total
    assert (days[5] + days[6]) / 2 < 0.2 * sum(days[day] for day in range(5)) / 5


def test_there_are_people_who_come_in_the_evening_and_at_the_weekend(played: Played) -> None:
    offsets = {person.id: person.offset for person in played.people if person.habit is not OFFICE}
    evenings = weekends = total = 0
    for event in played.events:
        if event["user_id"] in offsets and not event["label"]:
            local = event["at"] + offsets[event["user_id"]] * HOUR
            total += 1
            evenings += 18 <= local % DAY / HOUR < 24
            weekends += int(local // DAY + 3) % 7 >= 5
    assert evenings > 0.3 * total
    assert weekends > 0.15 * total


def families(played: Played) -> dict[str, list[dict[str, Any]]]:
    found = defaultdict(list)
    for event in played.events:
        if event["event_type"] in ("login_success", "token_refresh"):
            found[event["metadata"]["token_family"]].append(event)
    return found


def test_a_client_refreshes_when_a_quarter_of_an_hour_is_over(played: Played) -> None:
    in_rhythm = total = 0
    for events in families(played).values():
        if any(event["label"] in (attacks.STORM, attacks.THEFT) for event in events):
            continue
        for before, after in pairwise(events):
            gap = after["at"] - before["at"]
            assert gap > 13 * MINUTE
            total += 1
            in_rhythm += gap < 15 * MINUTE
    assert in_rhythm > 0.8 * total


def test_nobody_honest_refreshes_more_often_than_the_report_on_it_allows(played: Played) -> None:
    last_hour = Counter(
        event["user_id"]
        for event in played.events
        if event["event_type"] == "token_refresh"
        and event["at"] > UNTIL - HOUR
        and not event["label"]
    )
    assert max(last_hour.values()) <= 10


def test_people_mistype_now_and_then(played: Played) -> None:
    honest = [event for event in played.events if not event["label"]]
    failed = sum(event["event_type"] == "login_failed" for event in honest)
    logins = sum(event["event_type"] == "login_success" for event in honest)
    assert 0.08 < failed / logins < 0.25


def test_five_wrong_passwords_in_a_row_lock_for_half_an_hour_and_nothing_else_does(
    played: Played,
) -> None:
    failures: Counter[str] = Counter()
    locked: dict[str, float] = {}
    due: set[str] = set()
    for event in played.events:
        user, at, kind = event["user_id"], event["at"], event["event_type"]
        if kind == "account_locked":
            assert user in due
            due.remove(user)
            locked[user] = at + LOCKED_FOR
        elif kind in ("account_unlocked", "login_success"):
            assert kind == "account_unlocked" or at >= locked.get(user, 0)
            failures[user] = 0
            locked.pop(user, None)
        elif kind == "login_failed" and user:
            assert user not in due
            reason = event["metadata"]["reason"]
            assert (reason == "locked") == (at < locked.get(user, 0))
            if reason == "bad_password":
                if locked.pop(user, None):
                    failures[user] = 0
                failures[user] += 1
                if failures[user] == MAX_ATTEMPTS:
                    due.add(user)
    assert not due
    for account in played.traffic.accounts:
        assert account.failures == failures[account.person.id]
        assert account.locked_until == pytest.approx(locked.get(account.person.id, 0), abs=0.001)


def test_disabled_accounts_are_refused(played: Played) -> None:
    disabled = {person.id for person in played.people if not person.active}
    theirs = [event for event in played.events if event["user_id"] in disabled]
    assert theirs
    assert {event["metadata"]["reason"] for event in theirs} == {"disabled"}


def test_the_help_desk_unlocks_as_an_operator(played: Played) -> None:
    unlocked = [event for event in played.events if event["event_type"] == "account_unlocked"]
    assert unlocked
    assert {event["event_category"] for event in unlocked} == {"operator"}


# Attacks.


def test_each_attack_is_there_and_labelled(played: Played) -> None:
    assert {event["label"] for event in played.events} - {""} == set(attacks.ATTACKS)


def test_brute_force_is_one_address_at_one_account_many_times(played: Played) -> None:
    today = [event for event in played.failures(attacks.BRUTE_FORCE) if event["at"] > UNTIL - DAY]
    assert {event["email"] for event in today} == {LOCKED_OUT.email}
    assert {event["ip_address"] for event in today} == {attacks.GUESSER}
    assert len(most_within(today, 10 * MINUTE)) >= 25


def test_its_victim_is_locked_now_and_for_a_while(played: Played) -> None:
    victim = played.traffic.accounts[0]
    assert victim.person.email == LOCKED_OUT.email
    assert victim.locked_until > UNTIL + 15 * MINUTE


def test_spraying_is_one_address_at_many_accounts_that_locks_nobody(played: Played) -> None:
    tries = [
        event
        for event in played.attack(attacks.SPRAYING, "login_failed", "login_success")
        if event["ip_address"] == attacks.SPRAYER
    ]
    assert tries[-1]["at"] - tries[0]["at"] <= HOUR
    each = Counter(event["user_id"] for event in tries)
    assert len(each) >= 40
    assert max(each.values()) <= 3
    assert sum(count >= 2 for count in each.values()) >= 0.6 * len(each)
    hit = {event["user_id"] for event in tries if event["success"] == "t"}
    assert 1 <= len(hit) < len(each) / 10
    assert len(played.attack(attacks.SPRAYING, "account_locked")) <= len(each) / 50


def test_stuffing_is_many_addresses_and_many_accounts_mostly_unknown(played: Played) -> None:
    failures = played.failures(attacks.STUFFING)
    each = Counter(event["email"] for event in failures)
    assert len(each) >= 0.95 * len(failures)
    assert len({event["ip_address"] for event in failures}) >= 40
    unknown = sum(event["user_id"] is None for event in failures)
    assert unknown > 0.6 * len(failures)
    assert {event["metadata"]["reason"] for event in failures if event["user_id"] is None} == {
        "unknown_user"
    }
    known = {person.email.lower() for person in played.people}
    assert not known & {event["email"] for event in failures if event["user_id"] is None}


def test_some_of_its_addresses_are_in_a_hurry(played: Played) -> None:
    by_address = defaultdict(list)
    for event in played.failures(attacks.STUFFING):
        by_address[event["ip_address"]].append(event)
    fast = [
        run for events in by_address.values() if len(run := most_within(events, 15 * MINUTE)) >= 25
    ]
    assert fast
    assert all(len({event["email"] for event in run}) >= 15 for run in fast)


def test_its_hits_leave_open_sessions_in_its_network_and_some_accounts_are_taken_over(
    played: Played,
) -> None:
    network = ip_network(attacks.STUFFERS)
    hits = played.attack(attacks.STUFFING, "login_success")
    assert len(hits) >= 5
    assert all(ip_address(event["ip_address"]) in network for event in hits)
    live = {token["family_id"] for token in live_leaves(played)}
    assert {event["metadata"]["token_family"] for event in hits} <= live
    logins = {event["user_id"]: event for event in hits}
    taken = played.attack(attacks.STUFFING, "password_changed")
    assert taken
    for event in taken:
        login = logins[event["user_id"]]
        assert event["ip_address"] == login["ip_address"]
        assert 0 < event["at"] - login["at"] < 30 * MINUTE


def test_distributed_guessing_is_many_addresses_at_one_account(played: Played) -> None:
    failures = played.failures(attacks.DISTRIBUTED)
    assert {event["email"] for event in failures} == {BESIEGED.email}
    each = Counter(event["ip_address"] for event in failures)
    assert len(each) >= 60
    # failed-logins, by account and address from five on, cannot see it.
    assert max(each.values()) < 5
    recent = most_within(failures, 30 * MINUTE)
    assert len({event["ip_address"] for event in recent}) >= 8
    assert played.traffic.accounts[1].locked_until > UNTIL


def test_a_stolen_token_is_used_by_two_and_ends_its_family(played: Played) -> None:
    thefts = played.attack(attacks.THEFT, "refresh_token_theft_detected")
    assert len(thefts) == 3
    assert thefts[-1]["email"] == ROBBED.email
    assert thefts[-1]["at"] > UNTIL - DAY
    by_family = families(played)
    tokens = defaultdict(list)
    for token in played.tokens:
        tokens[token["family_id"]].append(token)
    for theft in thefts:
        family = theft["metadata"]["token_family"]
        used = by_family[family]
        assert len({event["ip_address"] for event in used}) == 2
        assert len({event["user_agent"] for event in used}) == 2
        assert used[-1]["at"] < theft["at"]
        assert used[-1]["ip_address"] == theft["metadata"]["used_by"] != theft["ip_address"]
        assert {token["revoked_reason"] for token in tokens[family]} == {"reuse_detected"}
        assert len(tokens[family]) == len(used)


def test_a_script_refreshes_far_too_often_in_the_last_hour(played: Played) -> None:
    storm = [
        event
        for event in played.attack(attacks.STORM, "token_refresh")
        if event["at"] > UNTIL - HOUR
    ]
    assert {event["email"] for event in storm} == {SCRIPTED.email}
    assert len({event["metadata"]["token_family"] for event in storm}) == 1
    assert len(storm) > 120


def test_hostile_input_reaches_the_table_as_it_was_sent(played: Played) -> None:
    events = played.failures(attacks.HOSTILE)
    assert {event["email"] for event in events} == set(attacks.HOSTILE_EMAILS)
    assert {event["user_agent"] for event in events} == set(attacks.HOSTILE_AGENTS)
    each = Counter(event["email"] for event in events if event["at"] > UNTIL - DAY)
    assert min(each.values()) >= 5


# Tokens.


def live_leaves(played: Played) -> list[dict[str, Any]]:
    return [
        token
        for token in played.tokens
        if token["revoked"] == "f"
        and token["used"] == "f"
        and datetime.fromisoformat(token["expires_at"]).timestamp() > UNTIL
    ]


def test_a_family_has_at_most_one_live_leaf(played: Played) -> None:
    each = Counter(token["family_id"] for token in live_leaves(played))
    assert len(each) > 100
    assert max(each.values()) == 1


def test_a_live_family_has_every_token_in_a_chain_that_the_events_tell_of(played: Played) -> None:
    live = {token["family_id"] for token in live_leaves(played)}
    chains = defaultdict(list)
    for token in played.tokens:
        if token["family_id"] in live:
            chains[token["family_id"]].append(token)
    told = families(played)
    for family, chain in chains.items():
        assert chain[0]["parent_id"] is None
        for before, after in pairwise(chain):
            assert after["parent_id"] == before["id"]
            assert before["used"] == "t"
            assert before["used_at"] == after["created_at"]
        recent = [
            token["created_at"]
            for token in chain
            if seconds(token, "created_at") > UNTIL - 14 * DAY
        ]
        assert recent == [event["created_at"] for event in told[family]]


def seconds(token: dict[str, Any], column: str) -> float:
    return datetime.fromisoformat(token[column]).timestamp()


def test_of_a_family_that_is_over_the_app_keeps_the_last_token(played: Played) -> None:
    live = {token["family_id"] for token in live_leaves(played)}
    each = Counter(
        token["family_id"]
        for token in played.tokens
        if token["family_id"] not in live and token["revoked_reason"] in (None, "logout")
    )
    assert set(each.values()) == {1}


def test_live_families_have_old_used_tokens_as_evidence(played: Played) -> None:
    live = {token["family_id"] for token in live_leaves(played)}
    evidence = [
        token
        for token in played.tokens
        if token["family_id"] in live
        and token["used"] == "t"
        and seconds(token, "expires_at") < UNTIL - 7 * DAY
    ]
    assert len(evidence) > 50


def test_tokens_live_a_week_and_their_families_a_month(played: Played) -> None:
    for token in played.tokens:
        life = seconds(token, "expires_at") - seconds(token, "created_at")
        assert 0 < life <= REFRESH_LIFE + 0.001
        assert seconds(token, "expires_at") <= seconds(token, "family_expires_at")


def test_revoked_tokens_say_when_and_why(played: Played) -> None:
    reasons = Counter(token["revoked_reason"] for token in played.tokens if token["revoked"] == "t")
    assert set(reasons) == {"logout", "password_change", "reuse_detected"}
    for token in played.tokens:
        assert (token["revoked"] == "t") == (token["revoked_at"] is not None)


def test_hashes_are_of_sha256_and_unique(played: Played) -> None:
    hashes = {token["token_hash"] for token in played.tokens}
    assert len(hashes) == len(played.tokens)
    assert all(len(bytes.fromhex(text)) == 32 for text in hashes)


def test_old_tokens_are_rows_that_an_older_app_wrote_and_expired_more_than_a_week_ago(
    played: Played,
) -> None:
    old = rows(list(old_token_lines(Random(1), played.people, UNTIL, 500)), OLD_TOKEN_COLUMNS)
    assert len(old) == 500
    assert max(seconds(token, "expires_at") for token in old) < UNTIL - 7 * DAY
    assert {token["revoked"] for token in old} == {"t", "f"}


@pytest.mark.parametrize("text", ["plain", "a\tb", "a\nb\r", "\\N", "\\", "\\t", "ü\u202e\x1b[2J"])
def test_whatever_is_in_a_field_it_stays_one_field(text: str) -> None:
    field_: Callable[[str], str] = backend.field
    written = field_(text)
    assert not set(written) & {"\t", "\n", "\r"}
    assert unescaped(written) == text
