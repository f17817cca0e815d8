"""Access tokens, and what attackers make of them."""

from __future__ import annotations

import base64
import json
import time
from datetime import timedelta
from uuid import uuid4

import jwt
import pytest

from secops.accounts.login.access import Claims, Refusal, Signer
from secops.accounts.login.sessions import Grant
from secops.errors import ConfigurationError
from secops.settings import Secret

KEY = "k" * 32
OTHER = "o" * 32
SESSION = uuid4()
GRANT = Grant("srt_secret", 7, SESSION, 3, timedelta(days=7))


def signer(**options: object) -> Signer:
    return Signer(Secret(KEY), **options)  # type: ignore[arg-type]


def claims(**changes: object) -> dict[str, object]:
    now = int(time.time())
    whole = {
        "iss": "secops", "aud": "app", "sub": "7", "sid": str(SESSION), "ver": 3, "jti": "j",
        "iat": now, "exp": now + 900,
    }  # fmt: skip
    whole.update(changes)
    return {name: value for name, value in whole.items() if value is not None}


def forged(**changes: object) -> str:
    return jwt.encode(claims(**changes), KEY, "HS256", headers={"typ": "at+jwt"})


def test_a_token_says_whose_it_is_and_lives_a_quarter_of_an_hour() -> None:
    token = signer().sign(GRANT)
    assert signer().read(token) == Claims("7", SESSION, 3)
    payload = jwt.decode(token, options={"verify_signature": False})
    assert payload["exp"] - payload["iat"] == 900
    assert abs(payload["iat"] - time.time()) < 5
    assert set(payload) == {"iss", "aud", "sub", "sid", "ver", "jti", "iat", "exp"}
    assert "srt_secret" not in token


def test_an_expired_token_is_told_from_a_false_one() -> None:
    assert signer().read(forged(exp=int(time.time()) - 60)) is Refusal.EXPIRED
    # One that expired and is false as well is false.
    other = jwt.encode(claims(exp=int(time.time()) - 60), OTHER, "HS256", headers={"typ": "at+jwt"})
    assert signer().read(other) is Refusal.INVALID


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "another"}, {"iss": "another"}, {"exp": None}, {"sid": None}, {"ver": None}, {"sub": None},
        {"nbf": "in an hour"}, {"sid": "no uuid"}, {"ver": "many"}, {"exp": "tomorrow"},
        {"iat": "in an hour"}, {"jti": None},
    ],
    ids=str,
)  # fmt: skip
def test_a_token_with_other_claims_is_refused(changes: dict[str, object]) -> None:
    later = int(time.time()) + 3600
    given = {name: later if value == "in an hour" else value for name, value in changes.items()}
    assert signer().read(forged(**given)) is Refusal.INVALID


def unsigned(algorithm: str) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': algorithm, 'typ': 'at+jwt'})}.{part(claims())}."


def test_every_algorithm_but_the_one_is_refused() -> None:
    for algorithm in ("none", "None", "nOnE", "", "HS256", "RS256"):
        assert signer().read(unsigned(algorithm)) is Refusal.INVALID
    for algorithm in ("HS384", "HS512"):
        with pytest.warns(jwt.InsecureKeyLengthWarning):
            token = jwt.encode(claims(), KEY, algorithm, headers={"typ": "at+jwt"})
        assert signer().read(token) is Refusal.INVALID


def test_a_changed_byte_anywhere_makes_it_worthless() -> None:
    token = signer().sign(GRANT)
    for place in range(0, len(token), 7):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        assert signer().read(changed) is Refusal.INVALID


def test_another_kind_of_token_signed_with_the_same_key_is_no_access_token() -> None:
    assert signer().read(jwt.encode(claims(), KEY, "HS256")) is Refusal.INVALID


@pytest.mark.parametrize("text", ["", ".", "..", "a.b.c", "ä.b.c", "x" * 5000, "\x00", "\ud800"])
def test_what_is_no_token_is_refused_without_an_exception(text: str) -> None:
    assert signer().read(text) is Refusal.INVALID


def test_a_key_can_be_replaced_while_its_tokens_are_out() -> None:
    old = signer().sign(GRANT)
    both = Signer(Secret(OTHER), previous=Secret(KEY))
    assert isinstance(both.read(old), Claims)
    assert isinstance(both.read(both.sign(GRANT)), Claims)
    assert Signer(Secret(OTHER)).read(old) is Refusal.INVALID


def test_a_short_key_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigurationError) as refused:
        Signer(Secret("hunter2"))
    assert "hunter2" not in str(refused.value) + refused.value.hint
    assert KEY not in repr(signer())
