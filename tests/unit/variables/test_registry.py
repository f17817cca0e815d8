"""The registry: every variable of the plan, its one canonical text, its bounds, and which way is stricter."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secops.durations import parse_duration
from secops.errors import ConfigurationError, UsageError
from secops.settings import Secret
from secops.variables.entry import Direction, Entry, Stricter
from secops.variables.kinds import Kind
from secops.variables.registry import Registry, registry
from secops.variables.rules import Level
from secops.variables.values import read

KNOWN = registry()

# The plan's section 3.1, its configuration module (3.2), its rollback and its options.
PLAN = [
    "JWT_SECRET",
    "JWT_EXPIRATION",
    "REFRESH_TOKEN_EXPIRATION",
    "ENABLE_TOKEN_ROTATION",
    "ENABLE_THEFT_DETECTION",
    "ENABLE_DEVICE_FINGERPRINT_CHECK",
    "ENABLE_IP_ANOMALY_DETECTION",
    "MAX_LOGIN_ATTEMPTS",
    "LOCKOUT_DURATION_MINUTES",
    "ENABLE_EMAIL_LOGIN_NOTIFICATIONS",
    "MIN_PASSWORD_LENGTH",
    "REQUIRE_UPPERCASE",
    "REQUIRE_LOWERCASE",
    "REQUIRE_NUMBER",
    "REQUIRE_SPECIAL_CHAR",
    "COOKIE_SECURE",
    "COOKIE_HTTPONLY",
    "COOKIE_SAMESITE",
    "COOKIE_MAX_AGE",
    "ENABLE_SECURITY_EVENT_LOGGING",
    "LOG_FAILED_LOGIN_ATTEMPTS",
    "LOG_SUCCESSFUL_LOGINS",
    "LOG_TOKEN_REFRESH",
    "LOG_ACCOUNT_LOCKOUTS",
    "RATE_LIMIT_LOGIN_ATTEMPTS",
    "RATE_LIMIT_LOGIN_WINDOW_MS",
    "PGPASSWORD",
]

# What each kind may be asked for: spellings that hold, and texts that hardly do.
_UNITS = ("ms", "s", "m", "h", "d", "w", " minutes", " hrs", "min", "S")
SPELLINGS = st.one_of(
    st.builds("{}{}".format, st.integers(0, 10_000), st.sampled_from(_UNITS)),
    st.builds("{}h{}m".format, st.integers(0, 99), st.integers(0, 99)),
    st.builds("{}.{}h".format, st.integers(0, 99), st.integers(0, 99)),
    st.integers(-5, 10**12).map(str),
    st.sampled_from(["true", "TRUE", "yes", "on", "1", "false", "no", "off", "0", "True "]),
    st.sampled_from(["none", "lax", "strict", "Strict", "LAX", " none"]),
    st.text(max_size=40),
)


def test_every_variable_that_the_plan_names_is_known_with_its_section() -> None:
    named = [name for name, entry in KNOWN.entries.items() if entry.plan]
    assert sorted(named) == sorted(PLAN)
    for entry in KNOWN.entries.values():
        assert entry.about.endswith("."), entry.name
    for entry in (KNOWN.entries[name] for name in PLAN):
        assert entry.secret or entry.default is not None, entry.name
        assert entry.secret or entry.stricter is not Stricter.NONE, entry.name


def test_what_is_secret_is_known_to_be() -> None:
    assert {name for name in PLAN if KNOWN.is_secret(name)} == {"JWT_SECRET", "PGPASSWORD"}
    assert KNOWN.is_secret("SOMETHING_ELSE")
    assert KNOWN.shown("JWT_SECRET", "x") == "***"
    assert KNOWN.shown("JWT_EXPIRATION", "1h") == "1h"
    assert KNOWN.shown("JWT_SECRET", None) is None


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("JWT_EXPIRATION", "1800s", "30m"),
        ("JWT_EXPIRATION", "30 minutes", "30m"),
        ("JWT_EXPIRATION", "0.5h", "30m"),
        ("JWT_EXPIRATION", "1h30m", "90m"),  # jsonwebtoken reads no compound
        ("JWT_EXPIRATION", "30D", "30d"),
        ("REFRESH_TOKEN_EXPIRATION", "1w", "7d"),
        ("LOCKOUT_DURATION_MINUTES", "30m", "30"),
        ("LOCKOUT_DURATION_MINUTES", "0030", "30"),
        ("RATE_LIMIT_LOGIN_WINDOW_MS", "15m", "900000"),
        ("COOKIE_MAX_AGE", "7d", "604800000"),
        ("MAX_LOGIN_ATTEMPTS", " 5 ", "5"),
        ("ENABLE_TOKEN_ROTATION", "yes", "true"),
        ("ENABLE_TOKEN_ROTATION", "0", "false"),
        ("COOKIE_SAMESITE", "Strict", "strict"),
    ],
)
def test_all_spellings_of_a_value_share_one_text(name: str, text: str, expected: str) -> None:
    assert KNOWN.canonical(name, text) == expected


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("JWT_EXPIRATION", "1800", "needs a unit"),
        ("JWT_EXPIRATION", "59s", "too small"),
        ("JWT_EXPIRATION", "31d", "too large"),
        ("JWT_EXPIRATION", "soon", "duration"),
        ("JWT_EXPIRATION", "-1h", "duration"),
        ("MAX_LOGIN_ATTEMPTS", "0", "too small"),  # the plan's module takes 0 for its default
        ("MAX_LOGIN_ATTEMPTS", "5.0", "whole number"),
        ("MAX_LOGIN_ATTEMPTS", "\u0665", "whole number"),
        ("MAX_LOGIN_ATTEMPTS", "9" * 5000, "whole number"),
        ("LOCKOUT_DURATION_MINUTES", "90s", "whole number of minutes"),
        ("ENABLE_TOKEN_ROTATION", "", "true or false"),
        ("COOKIE_SAMESITE", "stric", "none, lax, strict"),
        ("JWT_SECRET", "c4n4ry", "too short"),
        ("JWT_SECRET", "a\x00" * 32, "NUL"),
    ],
)
def test_what_is_no_value_or_out_of_bounds_is_refused_without_being_repeated(
    name: str, text: str, words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        KNOWN.canonical(name, text)
    assert words in caught.value.message
    assert caught.value.message.startswith(f"{name}: ")
    assert name != "JWT_SECRET" or text not in str(caught.value.as_dict())


def test_bounds_are_said_in_the_words_of_the_variable() -> None:
    with pytest.raises(UsageError) as caught:
        KNOWN.canonical("JWT_EXPIRATION", "31d")
    assert "1m to 30d" in caught.value.hint


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="JWT_EXPIRATON") as caught:
        KNOWN.canonical("JWT_EXPIRATON", "1h")
    assert "JWT_EXPIRATION?" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        KNOWN.entry("max_login_attempts")
    assert "MAX_LOGIN_ATTEMPTS?" in caught.value.hint


def check_canonical(entry: Entry, text: str) -> bool:
    try:
        once = entry.canonical(text)
    except UsageError:
        return False
    assert entry.canonical(once) == once
    assert entry.read(once) == entry.read(text)
    assert entry.meaning(once) == entry.read(text)  # every app reads it so
    return True


def check_opposite(entry: Entry, old: str | None, new: str | None) -> None:
    assert entry.compare(new, old) is OPPOSITE[entry.compare(old, new)]


OPPOSITE = {
    Direction.TIGHTEN: Direction.RELAX,
    Direction.RELAX: Direction.TIGHTEN,
    Direction.SAME: Direction.SAME,
    Direction.NEUTRAL: Direction.NEUTRAL,
}
TEXTS = [
    f"{number}{unit}"
    for number in (0, 1, 5, 30, 60, 900, 90_000, 604_800_000)
    for unit in ("", *_UNITS)
] + [
    "true",
    "false",
    "TRUE",
    "1",
    "none",
    "lax",
    "strict",
    "Strict",
    "",
    " ",
    "1h30m",
    "0.5h",
    "1.5",
    "x" * 40,
]


def test_a_canonical_text_is_its_own_canonical_text_and_means_the_same() -> None:
    held = [check_canonical(entry, text) for entry in KNOWN.entries.values() for text in TEXTS]
    assert sum(held) > 300


def test_a_change_and_its_way_back_are_opposites() -> None:
    texts: list[str | None] = [None, *TEXTS]
    for entry in KNOWN.entries.values():
        for old in texts:
            for new in texts:
                check_opposite(entry, old, new)


def test_two_tightenings_make_a_tightening() -> None:
    for entry in KNOWN.entries.values():
        stricter = {
            old: {new for new in TEXTS if entry.compare(old, new) is Direction.TIGHTEN}
            for old in TEXTS
        }
        for old, all_new in stricter.items():
            for new in all_new:
                assert stricter[new] <= all_new, (entry.name, old, new)


@given(st.sampled_from(sorted(PLAN)), SPELLINGS, st.none() | SPELLINGS)
@settings(max_examples=400)
def test_the_same_holds_for_any_text(name: str, one: str, other: str | None) -> None:
    check_canonical(KNOWN.entry(name), one)
    check_opposite(KNOWN.entry(name), one, other)


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        ("JWT_EXPIRATION", "1h", "30m", "tighten"),
        ("JWT_EXPIRATION", "15m", "1h", "relax"),
        ("JWT_EXPIRATION", "3600s", "1h", "same"),
        ("JWT_EXPIRATION", "1800", "30m", "neutral"),  # milliseconds to one app, seconds to another
        ("JWT_EXPIRATION", None, "1h", "neutral"),  # the app's own default may be thirty days
        ("ENABLE_TOKEN_ROTATION", None, "true", "tighten"),
        ("ENABLE_TOKEN_ROTATION", "true", None, "relax"),
        ("ENABLE_TOKEN_ROTATION", "", "false", "same"),
        ("ENABLE_TOKEN_ROTATION", "1", "true", "neutral"),  # the plan's module takes 1 for false
        ("COOKIE_SAMESITE", "none", "lax", "tighten"),
        ("COOKIE_SAMESITE", "strict", "lax", "relax"),
        ("LOCKOUT_DURATION_MINUTES", "30", "5", "relax"),
        ("MAX_LOGIN_ATTEMPTS", "5", "999", "relax"),
        ("MAX_LOGIN_ATTEMPTS", "${{shared.MAX}}", "5", "neutral"),
        ("RATE_LIMIT_LOGIN_WINDOW_MS", "900000", "1000", "relax"),
        ("MY_OWN", "a", "b", "neutral"),
        ("MY_OWN", "a", "a", "same"),
    ],
)
def test_a_change_is_told_from_its_opposite(
    name: str, old: str | None, new: str | None, expected: str
) -> None:
    assert KNOWN.compare(name, old, new) == expected


def broken(**texts: str) -> list[tuple[Level, str]]:
    return [(each.level, each.message) for each in KNOWN.check(texts)]


def test_an_environment_that_does_not_hold_together_is_told_why() -> None:
    assert broken() == []
    ((level, message),) = broken(COOKIE_SAMESITE="none")
    assert level is Level.ERROR
    assert message.startswith("COOKIE_SAMESITE=none needs COOKIE_SECURE=true: browsers drop")
    assert broken(COOKIE_SAMESITE="none", COOKIE_SECURE="true") == []
    ((level, message),) = broken(JWT_EXPIRATION="7d")
    assert level is Level.ERROR
    assert "REFRESH_TOKEN_EXPIRATION=7d (default) must be larger than JWT_EXPIRATION=7d" in message
    ((level, message),) = broken(REFRESH_TOKEN_EXPIRATION="30d")
    assert level is Level.WARNING
    assert "COOKIE_MAX_AGE" in message
    assert [each[0] for each in broken(ENABLE_THEFT_DETECTION="true")] == [Level.WARNING]


def test_only_rules_that_a_change_touches_are_held_against_it() -> None:
    texts = {"COOKIE_SAMESITE": "none", "JWT_EXPIRATION": "30m"}
    assert KNOWN.check(texts, touched=["JWT_EXPIRATION"]) == ()
    assert len(KNOWN.check(texts, touched=["COOKIE_SECURE"])) == 1


def test_what_is_not_known_breaks_no_rule() -> None:
    assert broken(COOKIE_SAMESITE="${{shared.SITE}}", JWT_EXPIRATION="900") == []


def test_an_environment_is_read_into_types() -> None:
    found = read(
        {"JWT_EXPIRATION": "30m", "JWT_SECRET": "s" * 32, "COOKIE_MAX_AGE": "", "PATH": "/"}
    )
    assert found.span("JWT_EXPIRATION") == timedelta(minutes=30)
    assert found.span("REFRESH_TOKEN_EXPIRATION") == timedelta(days=7)
    assert found.span("COOKIE_MAX_AGE") == timedelta(days=7)
    assert found.span("LOCKOUT_DURATION_MINUTES") == timedelta(minutes=30)
    assert found.span("RATE_LIMIT_LOGIN_WINDOW_MS") == timedelta(minutes=15)
    assert found.count("MAX_LOGIN_ATTEMPTS") == 5
    assert found.flag("ENABLE_TOKEN_ROTATION") is False
    assert found.text("COOKIE_SAMESITE") == "strict"
    assert found.secret("JWT_SECRET") == Secret("s" * 32)
    assert found.secret("PGPASSWORD") is None
    assert found.given == {"JWT_EXPIRATION", "JWT_SECRET"}
    assert "s" * 32 not in repr(found)


def test_all_that_is_wrong_with_an_environment_is_said_at_once_and_no_secret_repeated() -> None:
    canary = "c4n4ry"
    environ = {"JWT_SECRET": canary, "JWT_EXPIRATION": "900", "COOKIE_SAMESITE": "none"}
    with pytest.raises(ConfigurationError) as caught:
        read(environ)
    faults = caught.value.details["faults"]
    assert isinstance(faults, list)
    assert len(faults) == 3
    assert canary not in str(caught.value.as_dict())


def own(folder: Path, text: str) -> Registry:
    (folder / "registry.yaml").write_text(text, encoding="utf-8")
    return registry(folder)


def refused(folder: Path, text: str) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        own(folder, text)
    return caught.value


def test_a_registry_of_ones_own_adds_variables_and_changes_what_is_said_of_others(
    tmp_path: Path,
) -> None:
    known = own(
        tmp_path,
        "variables:\n"
        "  SESSION_IDLE: {type: duration, min: 1m, max: 1d, default: 90m, stricter: smaller}\n"
        "  JWT_EXPIRATION: {default: 30d, absent: default, max: 90d}\n"
        "rules:\n"
        "  - {larger: REFRESH_TOKEN_EXPIRATION, than: SESSION_IDLE, because: so it is}\n",
    )
    assert known.compare("SESSION_IDLE", "1h", "30m") is Direction.TIGHTEN
    assert known.compare("JWT_EXPIRATION", None, "1h") is Direction.TIGHTEN
    assert known.canonical("JWT_EXPIRATION", "60d") == "60d"
    assert known.entry("JWT_EXPIRATION").about == KNOWN.entry("JWT_EXPIRATION").about
    assert known.entry("JWT_EXPIRATION").own
    assert not known.entry("COOKIE_SECURE").own
    assert len(known.rules) == len(KNOWN.rules) + 1
    assert known.check({"REFRESH_TOKEN_EXPIRATION": "1h"}, touched=["SESSION_IDLE"])


@pytest.mark.parametrize(
    ("text", "line", "words", "hint"),
    [
        ("variables:\n  X: {typ: count}\n", 2, "the variable X has no 'typ'", "type?"),
        ("variables:\n  X: {about: a}\n", 2, "lacks a type", "count"),
        ("variables:\n  X: {type: number}\n", 2, "type must be one of", ""),
        ("variables:\n  X:\n    type: count\n    default: many\n", 4, "whole number", ""),
        ("variables:\n  X:\n    type: count\n    min: 9\n    max: 3\n", 4, "min is larger", ""),
        (
            "variables:\n  X:\n    type: count\n    max: 3\n    default: 5\n",
            5,
            "too large",
            "up to 3",
        ),
        ("variables:\n  X: {type: choice}\n", 2, "choices belong to", ""),
        ("variables:\n  X: {type: flag, stricter: smaller}\n", 2, "has no smaller way", "true"),
        ("variables:\n  X: {type: text, secret: true, default: a}\n", 2, "no default", ""),
        ("variables:\n  1X: {type: text}\n", 2, "no digit first", ""),
        ("variables:\n  JWT_EXPIRATION: {max: 5m}\n", 2, "too large", ""),
        ("variables:\n  X: nothing\n", 2, "takes `key: value` lines", ""),
        ("variables: [X]\n", 1, "takes `key: value` lines", ""),
        ("variable:\n  X: {}\n", 1, "a registry has no 'variable'", "variables?"),
        ("rules:\n  - {when: {NOPE: 1}, need: {COOKIE_SECURE: true}, because: x}\n", 2, "NOPE", ""),
        (
            "rules:\n  - {larger: COOKIE_SECURE, than: JWT_EXPIRATION, because: x}\n",
            2,
            "compared",
            "",
        ),
        ("rules:\n  - {because: x}\n", 2, "a rule has", ""),
        ("rules:\n  - {larger: JWT_EXPIRATION, than: COOKIE_MAX_AGE}\n", 2, "lacks 'because'", ""),
        ("variables:\n  A: {type: text}\n  A: {type: text}\n", 3, "stands twice", ""),
        ("variables:\n  A: [\n", 3, "not YAML", ""),
    ],
)
def test_what_is_off_in_a_registry_is_said_with_file_line_and_the_nearest_word(
    tmp_path: Path, text: str, line: int, words: str, hint: str
) -> None:
    error = refused(tmp_path, text)
    assert f"registry.yaml:{line}: " in error.message
    assert words in error.message
    assert hint in error.hint


@pytest.mark.parametrize("kind", list(Kind))
@given(text=st.text(max_size=30))
@settings(max_examples=30)
def test_no_text_at_all_breaks_a_comparison(kind: Kind, text: str) -> None:
    entry = Entry("X", kind, choices=("a", "b") if kind is Kind.CHOICE else ())
    entry.compare(text, "1h")
    entry.compare(None, text)


def test_a_duration_reads_as_everywhere_else() -> None:
    for text in ("90s", "15m", "24h", "7d", "2w", "1h30m"):
        assert KNOWN.entry("COOKIE_MAX_AGE").read("7d") == timedelta(days=7)
        assert Entry("X", Kind.DURATION).read(text) == parse_duration(text)
