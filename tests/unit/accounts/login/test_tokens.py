"""Refresh tokens as texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secops.accounts.login import tokens

texts = st.text(st.characters(), min_size=1, max_size=80)


def test_a_token_is_256_random_bits_behind_a_prefix_that_scanners_know() -> None:
    made = {tokens.mint() for _ in range(1_000)}
    assert len(made) == 1_000
    assert all(each.startswith("srt_") and len(each) == 4 + 43 for each in made)


def test_the_table_holds_a_sha256_in_hexadecimal() -> None:
    # As `printf srt_example | sha256sum` prints it, and any other backend computes it.
    expected = "7ac709477ea41bed3b7f5d19cac35a7aeffe1e9a7e19c30f1dc3f5ddba222adb"
    assert tokens.digest("srt_example") == expected


@given(texts)
def test_only_the_parent_opens_what_was_sealed_under_it(parent: str) -> None:
    child = tokens.mint()
    sealed = tokens.seal(parent, child)
    assert len(sealed) == 32
    assert tokens.unseal(parent, sealed, tokens.digest(child)) == child
    assert tokens.unseal(parent + "x", sealed, tokens.digest(child)) is None
    assert tokens.unseal(parent, sealed, tokens.digest(tokens.mint())) is None


@pytest.mark.parametrize("sealed", [b"", b"x", b"x" * 31, b"x" * 33])
def test_what_was_never_sealed_opens_nothing(sealed: bytes) -> None:
    assert tokens.unseal("parent", sealed, tokens.digest("child")) is None
