"""What a new password must be."""

from __future__ import annotations

import pytest

from secops.accounts.login.password_policy import Policy, Profile

PLAN = Policy()
MODERN = Policy(Profile.MODERN)


def test_the_plans_sentences_for_the_plans_example() -> None:
    assert ". ".join(PLAN.faults("password")) + "." == (
        "Password must be at least 12 characters. Password must contain uppercase letter. "
        "Password must contain number. Password must contain special character."
    )


@pytest.mark.parametrize(
    ("password", "fault"),
    [
        ("Abcdefgh12!", "Password must be at least 12 characters"),
        ("abcdefghi12!", "Password must contain uppercase letter"),
        ("ABCDEFGHI12!", "Password must contain lowercase letter"),
        ("Abcdefghijk!", "Password must contain number"),
        ("Abcdefghij12", "Password must contain special character"),
    ],
)
def test_each_rule_alone_has_its_own_sentence(password: str, fault: str) -> None:
    assert PLAN.faults(password) == [fault]


@pytest.mark.parametrize("password", ["SecurePass123!", "Abcdefghi12!", "A" + "b" * 99 + "1!"])
def test_what_meets_the_plans_rules_is_taken(password: str) -> None:
    assert PLAN.faults(password) == []


def test_rules_that_are_switched_off_ask_for_nothing() -> None:
    lax = Policy(upper=False, lower=False, number=False, special=False, least=4)
    assert lax.faults("    ") == []


@pytest.mark.parametrize(
    "password", ["Password123!", "Password123!Password123!", "qwertyuiopasdfgh", "short but odd"]
)
def test_the_modern_profile_refuses_what_attackers_try_first(password: str) -> None:
    assert len(MODERN.faults(password)) == 1


@pytest.mark.parametrize(
    "password", ["correct zebra stapler vortex", "これは長いパスワードですよ、本当に長いです"]
)
def test_the_modern_profile_asks_for_no_kinds_of_characters(password: str) -> None:
    assert MODERN.faults(password) == []
    assert PLAN.faults(password)


def test_a_persons_own_name_is_no_good_password() -> None:
    assert MODERN.faults("priya.raman.priya", about=["priya.raman@example.net", "Priya Raman"])


@pytest.mark.parametrize("policy", [PLAN, MODERN])
def test_a_password_of_a_megabyte_is_not_even_looked_at(policy: Policy) -> None:
    assert policy.faults("Aa1!" * 262_144) == ["Password must be at most 1,024 characters"]
