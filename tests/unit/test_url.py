"""Connection strings: understood as libpq does, and no part of a password ever repeated."""

from __future__ import annotations

import traceback
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from secops.database.connection import connect
from secops.database.url import holds_password, mask, nearest_option, normalise, shown
from secops.errors import ConfigurationError, SecopsError, Unreachable
from secops.settings import Secret, load

CANARY = "c4n4ry"

# Port 1 and a closed loopback address answer at once with a refusal; no name is ever resolved.
HERE = "127.0.0.1:1"

WELL_FORMED = (
    f"postgresql://u:{CANARY}@{HERE}/d",
    f"postgres://u:{CANARY}@{HERE}/d",
    f"POSTGRESQL://u:{CANARY}@{HERE}/d",
    f"postgresql+psycopg://u:{CANARY}@{HERE}/d",
    f"postgresql+psycopg2://u:{CANARY}@{HERE}/d",
    f"postgresql+asyncpg://u:{CANARY}@{HERE}/d",
    f"  postgresql://u:{CANARY}@{HERE}/d\n",
    f"postgresql://:{CANARY}@{HERE}/d",
    f"postgresql://u:{CANARY}@{HERE}",
    f"postgresql://u:{CANARY}@{HERE}/d?sslmode=disable",
    f"postgresql://u:{CANARY}@{HERE},127.0.0.1:2/d",
    f"postgresql://u:{CANARY}@/d?host=/nowhere",
    f"postgresql://u:{CANARY}@[::1]:1/d",
    f"postgresql://u:{CANARY}%40%2F%3A%25@{HERE}/d",
    f"postgresql://u:%20{CANARY}@{HERE}/d",
    f"postgresql://u:x:{CANARY}@{HERE}/d",
    f"postgresql://u:x?{CANARY}@{HERE}/d",
    f"postgresql://u:x#{CANARY}@{HERE}/d",
    f"postgresql://u:'{CANARY}\"@{HERE}/d",
    f"postgresql://u:$(x)&{CANARY};!@{HERE}/d",
    f"postgresql://{HERE}/d?password={CANARY}",
    f"postgresql://{HERE}/d?user=u&password={CANARY}&sslmode=disable",
    f"postgresql://{HERE}/d?p%61ssword={CANARY}",
    f"postgresql://{HERE}/d?sslpassword={CANARY}",
    f"host=127.0.0.1 port=1 password={CANARY} dbname=d",
    f"host = 127.0.0.1 port = 1 password = {CANARY}",
    f"host=127.0.0.1 port=1 password='{CANARY}'",
    f"host=127.0.0.1 port=1 password='x {CANARY} \\' y'",
    f"host=127.0.0.1 port=1 password=x\\ {CANARY}",
    f"host=127.0.0.1 port=1 password=x'{CANARY}",
    f"host=127.0.0.1 port=1 password=x&{CANARY}",
    f"host=127.0.0.1 port=1 password=a://b:{CANARY}",
    f"host=127.0.0.1 port=1 dbname=postgresql://u:{CANARY}@h/d",
)

MALFORMED = (
    f"postgresql://u:x {CANARY}@{HERE}/d",
    f"postgresql://u:x\n{CANARY}@{HERE}/d",
    f"postgresql://u:x@{CANARY}@{HERE}/d",
    f"postgresql://u:x/{CANARY}@{HERE}/d",
    f"postgresql://u:123/{CANARY}@{HERE}/d",
    f"postgresql://u:{CANARY}/x@{HERE}/d",
    f"postgresql://u:x@{CANARY}/y@{HERE}/d",
    f"postgresql://u:x@?{CANARY}@{HERE}/d",
    f"postgresql://u:x@?{CANARY}@{HERE}/d?sslmode=disable",
    f"postgresql://u:{CANARY}%@{HERE}/d",
    f"postgresql://u:{CANARY}%zz@{HERE}/d",
    f"postgresql://u:%{CANARY}@{HERE}/d",
    f"postgresql://u:{CANARY}%00@{HERE}/d",
    f"postgresql://u:{CANARY}\udcff@{HERE}/d",
    f"postgresql://u:{CANARY}@[::1/d",
    f"postgresql://u:{CANARY}@::1/d",
    f"postgresql://u:{CANARY}@127.0.0.1:port/d",
    f"postgresql://u:{CANARY}127.0.0.1/d",
    f"postgresql://u:{CANARY}",
    f"postgresql://{HERE}/d?{CANARY}",
    f"postgresql://{HERE}/d?password={CANARY}={CANARY}",
    f"postgresql://{HERE}/d?pasword={CANARY}",
    f"postgresql://{HERE}/d?{CANARY}=x",
    f"postgres//u:{CANARY}@{HERE}/d",
    f"postgres//u:{CANARY}@{HERE}/d?sslmode=disable",
    f"postgres:/u:{CANARY}@{HERE}/d",
    f"postgresql:u:{CANARY}@{HERE}/d",
    f"u:{CANARY}@{HERE}/d",
    f"mysql://u:{CANARY}@{HERE}/d",
    f"jdbc:postgresql://{HERE}/d?user=u&password={CANARY}",
    f"https://u:{CANARY}@{HERE}/d",
    f"host=127.0.0.1 password=x {CANARY}",
    f"host=127.0.0.1 password=x {CANARY}=y",
    f"host=127.0.0.1 password='{CANARY}",
    f"host=127.0.0.1 password='x\\'{CANARY}",
    f"host=127.0.0.1 password='x'{CANARY} dbname=d",
    f"host=127.0.0.1 pasword={CANARY}",
    f"host=127.0.0.1 password='{CANARY}'dbname=d",
    f"host 127.0.0.1 password={CANARY}",
    f'"postgresql://u:{CANARY}@{HERE}/d"',
)

EVERY = WELL_FORMED + MALFORMED


def told(text: str) -> SecopsError:
    """Return the error of connecting with a string; nothing listens there, so there is one."""
    with pytest.raises(SecopsError) as caught:
        connect(load({"database_url": text}, environ={}, folder=Path("/")), "test")
    return caught.value


@pytest.mark.parametrize("text", EVERY, ids=repr)
def test_the_error_of_connecting_never_repeats_a_password(text: str) -> None:
    error = told(text)
    trace = "".join(traceback.format_exception(error))
    for form in (error.message, error.hint, str(error.as_dict()), trace):
        assert CANARY not in form
    assert error.hint


@pytest.mark.parametrize("text", WELL_FORMED, ids=repr)
def test_a_well_formed_string_gets_as_far_as_the_server(text: str) -> None:
    assert isinstance(told(text), Unreachable)


@pytest.mark.parametrize("text", MALFORMED, ids=repr)
def test_a_malformed_string_is_a_mistake_in_the_configuration(text: str) -> None:
    assert isinstance(told(text), ConfigurationError)


@pytest.mark.parametrize("text", EVERY, ids=repr)
def test_what_is_shown_of_a_string_never_holds_a_password(text: str) -> None:
    assert CANARY not in shown(Secret(text))


# Nobody could tell that these were meant as passwords.
UNRECOGNISABLE = {
    f"postgresql://u:{CANARY}127.0.0.1/d",
    f"postgresql://u:{CANARY}",
    f"postgresql://{HERE}/d?{CANARY}",
    f"postgresql://{HERE}/d?{CANARY}=x",
    f"postgresql://{HERE}/d?pasword={CANARY}",
    f"host=127.0.0.1 pasword={CANARY}",
}


@pytest.mark.parametrize("text", [text for text in EVERY if text not in UNRECOGNISABLE], ids=repr)
def test_a_password_in_a_string_is_noticed(text: str) -> None:
    assert holds_password(text)


@pytest.mark.parametrize("text", WELL_FORMED, ids=repr)
def test_a_password_in_running_text_is_masked(text: str) -> None:
    if "p%61ssword" in text:
        return  # the words of libpq hold it decoded
    for sentence in (text, f"cannot use {text.strip()} at all", f"tried '{text.strip()}', failed"):
        assert CANARY not in mask(sentence)


@pytest.mark.parametrize(
    "text",
    [
        f"postgres//u:{CANARY}@h/d",
        f"u:{CANARY}@h",
        f"{{'user': 'u', 'password': '{CANARY}'}}",
        f'{{"password": "{CANARY}"}}',
        f"password='{CANARY}",
        f"PASSWORD = {CANARY}",
        f"sslpassword={CANARY}",
        f"oauth_client_secret={CANARY}",
        f"scram_client_key={CANARY}",
    ],
)
def test_other_forms_of_a_password_in_running_text_are_masked(text: str) -> None:
    assert CANARY not in mask(text)


@pytest.mark.parametrize(
    "text",
    [
        'FATAL: password authentication failed for user "alice"',
        'connection to server at "127.0.0.1", port 5432 failed: Connection refused',
        'relation "users" does not exist',
        "postgresql://alice@db.example.com:5432/app",
        "postgresql://db.example.com:5432/app?sslmode=require",
        "host=db dbname=app user=alice",
        "no password supplied",
        "",
    ],
)
def test_what_holds_no_password_is_left_as_it_is(text: str) -> None:
    assert mask(text) == text
    assert not holds_password(text)


@given(st.text())
def test_masking_twice_changes_nothing_more(text: str) -> None:
    assert mask(mask(text)) == mask(text)


SAFE = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1)


@given(user=SAFE, password=SAFE, database=SAFE)
def test_an_encoded_url_is_read_as_it_was_meant(user: str, password: str, database: str) -> None:
    text = (
        f"postgresql+psycopg://{quote(user, safe='')}:{quote(password, safe='')}"
        f"@h:5432/{quote(database, safe='')}"
    )
    assert conninfo_to_dict(normalise(Secret(text)).reveal()) == {
        "user": user,
        "password": password,
        "host": "h",
        "port": "5432",
        "dbname": database,
    }


@given(password=SAFE)
def test_a_quoted_word_is_read_as_it_was_meant(password: str) -> None:
    quoted = password.replace("\\", "\\\\").replace("'", "\\'")
    text = f"host=h password='{quoted}' dbname=d"
    assert conninfo_to_dict(normalise(Secret(text)).reveal())["password"] == password
    assert holds_password(text)


@given(
    st.text(st.sampled_from("ab:/?#@%[]&=' \\,41"), max_size=12),
    st.sampled_from(
        ["postgresql://u:{}@127.0.0.1:1/d", "host=127.0.0.1 port=1 password={} dbname=d"]
    ),
)
def test_libpq_never_takes_a_part_of_a_password_for_something_else(part: str, form: str) -> None:
    text = form.format(f"{CANARY}{part}{CANARY}")
    try:
        taken = normalise(Secret(text)).reveal()
    except ConfigurationError as error:
        assert CANARY not in f"{error.message}{error.hint}"  # noqa: PT017
        return
    try:
        parts = conninfo_to_dict(taken)
    except psycopg.ProgrammingError as error:
        assert CANARY not in nearest_option(str(error), ["host", "password"])  # noqa: PT017
        return
    assert not any(CANARY in str(value) for key, value in parts.items() if key != "password")


@given(st.text())
def test_any_string_is_taken_or_refused_in_our_words(text: str) -> None:
    try:
        normalise(Secret(text))
    except ConfigurationError as error:
        assert not text.strip() or len(text) < 8 or text not in error.message  # noqa: PT017


@pytest.mark.parametrize("text", ["", "   "])
def test_an_empty_string_is_no_way_to_the_default_database(text: str) -> None:
    assert "empty" in told(text).message


def test_nothing_configured_says_how_to_configure() -> None:
    with pytest.raises(ConfigurationError) as caught:
        connect(load(environ={}, folder=Path("/")), "test")
    assert "SECOPS_DATABASE_URL" in caught.value.hint
    assert "secops quickstart" in caught.value.hint


def test_an_unknown_option_names_the_nearest_right_one() -> None:
    error = told("postgresql://127.0.0.1:1/d?conect_timeout=3")
    assert error.hint.endswith("Did you mean connect_timeout?")
    assert told("host=127.0.0.1 ssl_mode=x").hint.endswith("Did you mean sslmode?")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (f"postgres://u:{CANARY}@h:5432/d", "postgresql://u:***@h:5432/d"),
        ("postgresql://u@h/d?sslmode=require", "postgresql://u@h/d?sslmode=require"),
        (f"host=/run user=u dbname=d password={CANARY}", "postgresql://u:***@%2Frun/d"),
        ("service=prod", "postgresql:///?service=prod"),
        ("postgresql://[::1]:5432/d", "postgresql://::1:5432/d"),
        (f"mysql://u:{CANARY}@h/d", "*** (cannot be read)"),
    ],
)
def test_a_string_is_shown_by_its_parts(text: str, wanted: str) -> None:
    assert shown(Secret(text)) == wanted
