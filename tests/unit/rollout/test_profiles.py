"""Profiles and rollouts: those that ship are the plan's, and what is off in others is said where it stands."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secops.errors import ConfigurationError, NothingMatched, UsageError
from secops.rollout.differences import between, from_live, rules_broken
from secops.rollout.lint import lint
from secops.rollout.profiles import Assignment, Catalogue, load_profiles
from secops.rollout.rollouts import Rollouts, Then, load_rollouts
from secops.settings import Settings, load
from secops.targets.target import Variable
from secops.variables.entry import Direction

# The plan's section 3.1, command by command.
OWASP = {
    "JWT_EXPIRATION": "15m",
    "REFRESH_TOKEN_EXPIRATION": "7d",
    "ENABLE_TOKEN_ROTATION": "true",
    "ENABLE_THEFT_DETECTION": "true",
    "MAX_LOGIN_ATTEMPTS": "5",
    "LOCKOUT_DURATION_MINUTES": "30",
    "MIN_PASSWORD_LENGTH": "12",
    "REQUIRE_UPPERCASE": "true",
    "REQUIRE_LOWERCASE": "true",
    "REQUIRE_NUMBER": "true",
    "REQUIRE_SPECIAL_CHAR": "true",
    "COOKIE_SECURE": "true",
    "COOKIE_HTTPONLY": "true",
    "COOKIE_SAMESITE": "strict",
    "ENABLE_SECURITY_EVENT_LOGGING": "true",
    "LOG_FAILED_LOGIN_ATTEMPTS": "true",
    "LOG_SUCCESSFUL_LOGINS": "true",
    "RATE_LIMIT_LOGIN_ATTEMPTS": "30",
    "RATE_LIMIT_LOGIN_WINDOW_MS": "900000",
}


def settings(folder: Path, text: str = "") -> Settings:
    (folder / "secops.yaml").write_text(text, encoding="utf-8")
    return load(environ={}, folder=folder)


def write(folder: Path, **files: str) -> Path:
    """Write profiles; a name that begins with ``rollouts_`` is a rollout."""
    home = folder / "profiles"
    (home / "rollouts").mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        inner = home / "rollouts" if name.startswith("rollouts_") else home
        path = inner / f"{name.removeprefix('rollouts_').replace('_', '-')}.yaml"
        path.write_text(text, encoding="utf-8")
    return home


def profiles(folder: Path, **files: str) -> Catalogue:
    write(folder, **files)
    return load_profiles(settings(folder))


def rollouts(folder: Path, **files: str) -> Rollouts:
    write(folder, **files)
    return load_rollouts(settings(folder))


def test_what_ships_is_what_the_plan_has() -> None:
    found = load_profiles()
    assert found.names() == [
        "features-off",
        "owasp-2024",
        "owasp-2024-complete",
        "quick-win",
        "relaxed",
    ]
    assert found.resolve("owasp-2024") == Assignment(OWASP)
    assert found.resolve("quick-win").set == {
        "JWT_EXPIRATION": "1h", "MAX_LOGIN_ATTEMPTS": "5", "LOCKOUT_DURATION_MINUTES": "30",
    }  # fmt: skip
    assert found.resolve("relaxed").set == {
        "JWT_EXPIRATION": "1h", "ENABLE_TOKEN_ROTATION": "false", "MAX_LOGIN_ATTEMPTS": "999",
    }  # fmt: skip
    assert found.resolve("features-off").set == {
        "ENABLE_SECURITY_EVENT_LOGGING": "false", "ENABLE_THEFT_DETECTION": "false",
    }  # fmt: skip
    assert found.max_age("relaxed") == found.max_age("features-off") == timedelta(hours=4)
    assert found.max_age("owasp-2024") is None
    for name in found.names():
        assert found.find(name).plan, name


def test_the_plans_three_days_ship_as_a_rollout() -> None:
    found = load_rollouts().find("jwt-ttl")
    assert [(stage.id, dict(stage.assignment.set)) for stage in found.stages] == [
        ("1h", {"JWT_EXPIRATION": "1h"}),
        ("30m", {"JWT_EXPIRATION": "30m"}),
        ("15m", {"JWT_EXPIRATION": "15m"}),
    ]
    for stage in found.stages:
        assert stage.soak.minimum >= timedelta(hours=24)
        assert "live" in stage.gates
        assert [gate.name for gate in found.gates_of(stage)] == list(stage.gates)
        assert stage.plan
    assert found.on_fail is Then.ROLLBACK
    assert found.on_inconclusive is Then.HOLD
    assert [stage.id for stage in found.before("15m")] == ["1h", "30m"]


def test_what_ships_is_without_a_fault() -> None:
    assert lint(None) == []


def test_ones_own_profiles_join_and_build_on_others(tmp_path: Path) -> None:
    found = profiles(
        tmp_path,
        base="about: b\nset: {JWT_EXPIRATION: 90m, COOKIE_SECURE: yes}\nmax_age: 2h\n",
        mine="about: m\nextends: [owasp-2024, base]\nset: {COOKIE_SAMESITE: Lax}\n"
        "unset: [LOG_SUCCESSFUL_LOGINS]\n",
        again="about: a\nextends: mine\nset: {LOG_SUCCESSFUL_LOGINS: 'on'}\nunset: COOKIE_SECURE\n",
    )
    mine = found.resolve("mine")
    assert mine.set == {
        **{name: value for name, value in OWASP.items() if name != "LOG_SUCCESSFUL_LOGINS"},
        "JWT_EXPIRATION": "90m",
        "COOKIE_SAMESITE": "lax",
    }
    assert mine.unset == {"LOG_SUCCESSFUL_LOGINS"}
    again = found.resolve("again")
    assert again.set["LOG_SUCCESSFUL_LOGINS"] == "true"
    assert again.unset == {"COOKIE_SECURE"}
    assert found.max_age("again") == timedelta(hours=2)
    sources = found.sources("again")
    assert (sources["JWT_EXPIRATION"], sources["COOKIE_HTTPONLY"]) == ("base", "owasp-2024")
    assert found.is_own("mine")
    assert not found.is_own("owasp-2024")


def test_a_folder_that_secops_yaml_names_is_relative_to_it(tmp_path: Path) -> None:
    home = write(tmp_path, mine="about: m\nset: {JWT_EXPIRATION: 1h}\n")
    home.rename(tmp_path / "env")
    assert "mine" in load_profiles(settings(tmp_path, "profiles: env\n")).names()
    assert "mine" not in load_profiles(settings(tmp_path)).names()
    lost = load_profiles(settings(tmp_path, "profiles: nowhere\n"))
    assert lost.problem is not None
    assert "owasp-2024" in lost.names()


def test_a_circle_is_shown(tmp_path: Path) -> None:
    found = profiles(
        tmp_path,
        one="about: x\nextends: two\n",
        two="about: x\nextends: three\n",
        three="about: x\nextends: two\n",
    )
    with pytest.raises(ConfigurationError) as caught:
        found.resolve("one")
    assert "two extends three extends two" in caught.value.message
    assert "two.yaml:2: " in caught.value.message


def test_the_name_of_a_profile_that_ships_is_taken_only_on_purpose(tmp_path: Path) -> None:
    found = profiles(tmp_path, relaxed="about: x\nset: {JWT_EXPIRATION: 2h}\n")
    with pytest.raises(ConfigurationError, match="already") as caught:
        found.find("relaxed")
    assert "overrides: true" in caught.value.hint
    found = profiles(tmp_path, relaxed="about: x\noverrides: true\nset: {JWT_EXPIRATION: 2h}\n")
    assert found.resolve("relaxed").set == {"JWT_EXPIRATION": "2h"}


@pytest.mark.parametrize(
    ("text", "line", "words", "hint"),
    [
        ("about: x\nset:\n  JWT_EXPIRATON: 1h\n", 3, "no variable 'JWT_EXPIRATON'", "JWT_EXPIRATION?"),
        ("about: x\nset:\n  JWT_EXPIRATION: 31d\n", 3, "JWT_EXPIRATION: the value is too large", "30d"),
        ("about: x\nset:\n  JWT_EXPIRATION: 1800\n", 3, "needs a unit", "15m"),
        ("about: x\nset:\n  JWT_EXPIRATION: [1h]\n", 3, "takes one value", ""),
        ("about: x\nset:\n  JWT_EXPIRATION:\n", 3, "takes one value", ""),
        ("about: x\nset:\n  JWT_SECRET: c4n4ry\n", 3, "JWT_SECRET is a secret", "vault"),
        ("about: x\nset:\n  SECOPS_ROLLOUT_ID: a\n", 3, "not for a profile", ""),
        ("about: x\nset:\n  RAILWAY_TOKEN: a\n", 3, "not for a profile", ""),
        ("about: x\nunset: [A_KEY]\n", 2, "no variable 'A_KEY'", ""),
        ("about: x\nunset: [COOKIE_SECURE]\nset: {COOKIE_SECURE: true}\n", 2, "set and unset", ""),
        ("about: x\nsets: {}\n", 2, "a profile has no 'sets'", "set?"),
        ("set: {}\n", 1, "a profile lacks 'about'", ""),
        ("about: x\nmax_age: soon\n", 2, "max_age: 'soon' is not a duration", ""),
        ("about: x\nextends: owasp\n", 2, "no profile 'owasp'", "owasp-2024?"),
        ("about: x\nset: {COOKIE_SECURE: true, COOKIE_SECURE: false}\n", 2, "stands twice", ""),
        ("about: [\n", 2, "not YAML", ""),
        ("- a\n", 1, "takes `key: value` lines", ""),
        ("", 1, "takes `key: value` lines", ""),
        ("about: &a [*a]\n", 1, "nested", ""),
    ],
)  # fmt: skip
def test_what_is_off_in_a_profile_is_said_with_file_line_and_the_nearest_word(
    tmp_path: Path, text: str, line: int, words: str, hint: str
) -> None:
    found = profiles(tmp_path, mine=text)
    with pytest.raises(ConfigurationError) as caught:
        found.resolve("mine")
    assert f"mine.yaml:{line}: " in caught.value.message
    assert words in caught.value.message
    assert hint in caught.value.hint
    assert "c4n4ry" not in str(caught.value.as_dict())


def test_an_unknown_profile_is_answered_with_the_nearest() -> None:
    with pytest.raises(NothingMatched) as caught:
        load_profiles().resolve("relax")
    assert "Did you mean relaxed?" in caught.value.hint


def test_one_broken_file_keeps_no_other_from_working(tmp_path: Path) -> None:
    found = profiles(tmp_path, good="about: x\nset: {JWT_EXPIRATION: 1h}\n", bad="about: [\n")
    good, problems = found.load()
    assert "good" in {each.name for each in good}
    assert [problem.details["line"] for problem in problems] == [2]


ROLLOUT = """about: Mine.
gates:
  refreshes: {kind: sql_ratio, tolerate: 1.5x, min_n: 10}
on_fail: hold
stages:
  - {id: one, profile: quick-win, gates: live}
  - id: two
    set: {JWT_EXPIRATION: 1800s}
    unset: [LOG_TOKEN_REFRESH]
    soak: {min: 48h}
    gates: [live, refreshes]
"""


def test_a_rollout_of_ones_own_has_profiles_gates_and_soaks(tmp_path: Path) -> None:
    found = rollouts(tmp_path, rollouts_mine=ROLLOUT).find("mine")
    one, two = found.stages
    assert one.assignment.set["MAX_LOGIN_ATTEMPTS"] == "5"
    assert one.soak.minimum == timedelta(0)
    assert two.assignment == Assignment({"JWT_EXPIRATION": "30m"}, frozenset({"LOG_TOKEN_REFRESH"}))
    assert two.soak.minimum == timedelta(hours=48)
    assert found.on_fail is Then.HOLD
    gate = found.gates["refreshes"]
    assert (gate.kind, gate.options) == ("sql_ratio", {"tolerate": "1.5x", "min_n": "10"})
    assert gate.document.line(("tolerate",)) == 3
    assert found.gates["live"].kind == "live"


def test_a_stage_is_found_by_its_id_alone_where_only_one_rollout_has_it(tmp_path: Path) -> None:
    found = rollouts(tmp_path, rollouts_mine=ROLLOUT, rollouts_other=ROLLOUT)
    assert found.find_stage("30m")[0].name == "jwt-ttl"
    with pytest.raises(UsageError) as several:
        found.find_stage("two")
    assert "--rollout mine" in several.value.hint
    assert found.find_stage("two", "other")[0].name == "other"
    with pytest.raises(NothingMatched) as none:
        found.find_stage("45m")
    assert "jwt-ttl: 1h, 30m, 15m" in none.value.hint
    with pytest.raises(NothingMatched) as unknown:
        found.find_stage("45m", "jwt-ttl")
    assert "1h, 30m, 15m" in unknown.value.hint
    with pytest.raises(NothingMatched) as lost:
        found.find_stage("1h", "jwt-tl")
    assert "jwt-ttl?" in lost.value.hint


@pytest.mark.parametrize(
    ("change", "line", "words", "hint"),
    [
        (("id: two", "id: one"), 7, "stands twice", ""),
        (("id: two", "id: -two"), 7, "id", ""),
        (("48h", "soon"), 10, "soak.min", ""),
        (("profile: quick-win", "profile: quick"), 6, "no profile 'quick'", "quick-win?"),
        (("[live, refreshes]", "[live, refresh]"), 11, "no gate 'refresh'", "refreshes?"),
        (("1800s", "1s"), 8, "too small", "1m"),
        (("on_fail: hold", "on_fail: retry"), 4, "on_fail must be one of rollback", ""),
        (("kind: sql_ratio, ", ""), 3, "lacks a kind", ""),
        (("    set: {JWT_EXPIRATION: 1800s}\n    unset: [LOG_TOKEN_REFRESH]\n", ""), 7, "nothing", ""),
        (("soak: {min: 48h}", "soak: {minimum: 48h}"), 10, "no 'minimum'", "min?"),
        (("soak: {min: 48h}", "soaks: {min: 48h}"), 10, "a stage has no 'soaks'", "soak?"),
        (("unset: [LOG_TOKEN_REFRESH]", "unset: [JWT_EXPIRATION]"), 9, "set and unset", ""),
    ],
)  # fmt: skip
def test_what_is_off_in_a_rollout_is_said_with_its_line(
    tmp_path: Path, change: tuple[str, str], line: int, words: str, hint: str
) -> None:
    assert change[0] in ROLLOUT
    found = rollouts(tmp_path, rollouts_mine=ROLLOUT.replace(*change))
    with pytest.raises(ConfigurationError) as caught:
        found.find("mine")
    assert f"mine.yaml:{line}: " in caught.value.message
    assert words in caught.value.message
    assert hint in caught.value.hint


def test_lint_says_what_is_hardly_meant_so(tmp_path: Path) -> None:
    write(
        tmp_path,
        lax="about: x\nset: {COOKIE_SAMESITE: none, MAX_LOGIN_ATTEMPTS: 50}\n",
        empty="about: x\n",
        rollouts_back="about: x\nstages:\n  - {id: a, set: {JWT_EXPIRATION: 30m}, gates: live}\n"
        "  - {id: b, set: {JWT_EXPIRATION: 1h}}\n",
    )
    found = [(each.severity.value, each.name, each.message) for each in lint(settings(tmp_path))]
    assert [(severity, name) for severity, name, _ in found] == [
        ("error", "lax"),
        ("warning", "empty"),
        ("warning", "lax"),
        ("warning", "back"),
        ("warning", "back"),
    ]
    text = " ".join(message for _, _, message in found)
    for words in (
        "COOKIE_SECURE=true",
        "MAX_LOGIN_ATTEMPTS",
        "stage b: it has no gates",
        "stage b is laxer",
    ):
        assert words in text
    assert lint(settings(tmp_path), frozenset({"empty"}))[0].name == "empty"
    write(tmp_path, registry="variables: 5\n")
    assert [each.kind for each in lint(settings(tmp_path))] == ["registry"]


def live(**texts: str | None) -> dict[str, Variable]:
    return {name: Variable(name, value, sealed=value is None) for name, value in texts.items()}


def test_a_live_environment_is_compared_by_what_its_texts_mean() -> None:
    known = load_profiles().registry
    wanted = Assignment(
        {
            "JWT_EXPIRATION": "30m",
            "COOKIE_SECURE": "true",
            "MAX_LOGIN_ATTEMPTS": "5",
            "COOKIE_MAX_AGE": "604800000",
        },
        frozenset({"LOG_TOKEN_REFRESH"}),
    )
    there = live(JWT_EXPIRATION="1800s", COOKIE_SECURE=None, LOG_TOKEN_REFRESH="true", OTHER="x")
    found = {each.name: each for each in from_live(known, there, wanted)}
    assert not found["JWT_EXPIRATION"].differs
    assert found["COOKIE_SECURE"].hidden
    assert found["COOKIE_SECURE"].differs
    assert found["LOG_TOKEN_REFRESH"].direction is Direction.RELAX
    # Absent is the default, and still is to be set.
    assert found["MAX_LOGIN_ATTEMPTS"].direction is Direction.SAME
    assert found["MAX_LOGIN_ATTEMPTS"].differs
    assert "OTHER" not in found


def test_rules_are_held_against_what_the_environment_will_be() -> None:
    known = load_profiles().registry
    wanted = Assignment({"COOKIE_SAMESITE": "none"})
    assert rules_broken(known, live(COOKIE_SECURE="true"), wanted) == ()
    assert len(rules_broken(known, live(COOKIE_SECURE="false"), wanted)) == 1


def test_two_profiles_are_compared_where_both_speak() -> None:
    found = load_profiles()
    lines = between(found.registry, found.resolve("quick-win"), found.resolve("relaxed"))
    assert [(each.name, each.before, each.after, each.direction) for each in lines] == [
        ("ENABLE_TOKEN_ROTATION", None, "false", None),
        ("JWT_EXPIRATION", "1h", "1h", Direction.SAME),
        ("LOCKOUT_DURATION_MINUTES", "30", None, None),
        ("MAX_LOGIN_ATTEMPTS", "5", "999", Direction.RELAX),
    ]


_NAMES = st.sampled_from(["A", "B", "C"])
ASSIGNMENTS = st.builds(
    lambda given, gone: Assignment(given, frozenset(gone - set(given))),
    st.dictionaries(_NAMES, st.sampled_from("xyz")),
    st.sets(_NAMES),
)


@given(ASSIGNMENTS, ASSIGNMENTS, ASSIGNMENTS)
def test_laying_one_over_another_is_the_same_as_applying_both(
    one: Assignment, two: Assignment, three: Assignment
) -> None:
    environment: dict[str, str | None] = {"A": "1", "Z": "2"}
    assert two.over(one).after(environment) == two.after(one.after(environment))
    assert three.over(two.over(one)) == three.over(two).over(one)
    assert not set(two.over(one).set) & two.over(one).unset
