"""E-mail addresses as people type them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secops.accounts.login import identifiers


@pytest.mark.parametrize(
    "typed",
    ["Alice@Example.com", "  alice@example.com ", "ALICE@EXAMPLE.COM", "ａｌｉｃｅ@example.com"],  # noqa: RUF001
)
def test_one_person_by_whatever_spelling(typed: str) -> None:
    assert identifiers.normalise(typed) == "alice@example.com"


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "   ",
        "a\x00b@example.com",
        "a\nb@example.com",
        "\ud800@example.com",
        "x" * 321,
        "ﬃ" * 200,
    ],
)
def test_what_can_be_nobody_is_refused(typed: str) -> None:
    assert identifiers.normalise(typed) is None


@given(st.text(max_size=400))
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    once = identifiers.normalise(text)
    if once is not None:
        assert once.encode()
        assert identifiers.normalise(once) == once


def test_the_counts_key_gives_no_address_away() -> None:
    one = identifiers.key(b"pepper", "alice@example.com")
    assert one == identifiers.key(b"pepper", "alice@example.com")
    assert one != identifiers.key(b"salt", "alice@example.com")
    assert b"alice" not in one
