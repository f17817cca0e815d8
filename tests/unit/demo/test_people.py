"""The demo's people are many, varied, made up, and always the same."""

from __future__ import annotations

import base64
import re
import unicodedata
from collections import defaultdict
from ipaddress import ip_address, ip_network

import pytest

from secops.demo.names import CULTURES, folded
from secops.demo.people import CAST, DAY, Person, make_people

# RFC 5737, RFC 3849, RFC 6598: nobody on the internet has these.
RESERVED = [
    ip_network(network)
    for network in (
        "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "100.64.0.0/10",
    )
]  # fmt: skip


@pytest.fixture(scope="module")
def people() -> list[Person]:
    return make_people(5_000, 1)


def reserved(text: str) -> bool:
    address = ip_address(text)
    return str(address) == text and any(address in network for network in RESERVED)


def test_a_seed_makes_the_same_people_and_another_seed_others(people: list[Person]) -> None:
    assert make_people(5_000, 1) == people
    others = make_people(5_000, 2)
    assert not {person.id for person in people} & {person.id for person in others}


def test_there_are_as_many_as_asked_with_the_cast_first(people: list[Person]) -> None:
    assert len(people) == 5_000
    assert [person.email for person in people[: len(CAST)]] == [role.email for role in CAST]


def test_addresses_are_unique_whatever_their_case(people: list[Person]) -> None:
    assert len({person.email.lower() for person in people}) == len(people)
    assert len({person.id for person in people}) == len(people)


def test_addresses_are_ascii_and_of_the_example_domains_only(people: list[Person]) -> None:
    shape = re.compile(r"[A-Za-z0-9._+-]+@(?:[a-z]+\.)?example\.(?:com|net|org)")
    assert [person.email for person in people if not shape.fullmatch(person.email)] == []


def test_addresses_are_spelled_in_many_ways(people: list[Person]) -> None:
    locals_ = [person.email.partition("@")[0] for person in people]
    for mark in ("+", ".", "_", "-"):
        assert sum(mark in local for local in locals_) > 50, mark
    assert sum(local != local.lower() for local in locals_) > 50
    assert sum(local.isalpha() for local in locals_) > 50


def test_names_are_of_many_scripts(people: list[Person]) -> None:
    scripts = {
        unicodedata.name(letter).split()[0]
        for person in people
        for letter in person.name
        if letter.isalpha()
    }
    assert scripts >= {
        "LATIN", "CYRILLIC", "GREEK", "ARABIC", "HEBREW", "DEVANAGARI", "TAMIL", "BENGALI", "CJK",
        "HIRAGANA", "HANGUL", "THAI",
    }  # fmt: skip


def test_every_name_has_a_spelling_for_addresses() -> None:
    for culture in CULTURES:
        for name in (*culture.given, *culture.family):
            assert re.fullmatch("[a-z]{2,}", name.ascii), name
    assert folded("Łukasz Ødegård-Weiß") == "lukaszodegardweiss"


def test_password_hashes_are_well_formed_a_third_of_them_bcrypt(people: list[Person]) -> None:
    argon2 = re.compile(
        r"\$argon2id\$v=19\$m=19456,t=2,p=1\$([A-Za-z0-9+/]{22})\$([A-Za-z0-9+/]{43})"
    )
    # The last letter of bcrypt's salt holds two bits, that of its digest four.
    bcrypt = re.compile(r"\$2b\$12\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{30}[.CGKOSWaeimquy26]")
    kinds = {"argon2": 0, "bcrypt": 0}
    for person in people:
        if found := argon2.fullmatch(person.password_hash):
            assert len(base64.b64decode(found[1] + "==")) == 16
            assert len(base64.b64decode(found[2] + "=")) == 32
            kinds["argon2"] += 1
        else:
            assert bcrypt.fullmatch(person.password_hash), person.password_hash
            kinds["bcrypt"] += 1
    assert 0.28 < kinds["bcrypt"] / len(people) < 0.39
    assert len({person.password_hash for person in people}) == len(people)


def test_their_networks_are_reserved_for_documentation(people: list[Person]) -> None:
    used = {
        address
        for person in people
        for address in (person.home, person.office, person.exit)
        if address
    }
    assert [address for address in used if not reserved(address)] == []
    assert 0.15 < sum(":" in person.home for person in people) / len(people) < 0.3


def test_colleagues_share_an_address_and_a_time_zone(people: list[Person]) -> None:
    offices: dict[str, list[Person]] = defaultdict(list)
    for person in people:
        if person.office:
            offices[person.office].append(person)
    assert max(map(len, offices.values())) > 20
    for colleagues in offices.values():
        assert len({person.offset for person in colleagues}) == 1


def test_some_may_not_log_in_and_some_never_do(people: list[Person]) -> None:
    inactive = [person for person in people if not person.active]
    assert 0.01 < len(inactive) / len(people) < 0.06
    assert not any(person.activity for person in inactive)
    assert any(person.active and not person.activity for person in people)


def test_accounts_were_made_over_years_and_before_any_session(people: list[Person]) -> None:
    ages = sorted(person.age / DAY for person in people)
    assert ages[0] >= 45
    assert ages[-1] > 5 * 365
