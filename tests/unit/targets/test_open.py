"""Targets by name: which one is meant, and what is off in secops.yaml."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secops.errors import ConfigurationError, NothingMatched, Refused, SecopsError, UsageError
from secops.settings import Settings, load
from secops.targets import shell
from secops.targets.open import KINDS, chosen, open_target, places
from secops.targets.target import Change, Place, Snapshot


def settings(folder: Path, text: str) -> Settings:
    (folder / "secops.yaml").write_text(text, encoding="utf-8")
    return load(environ={}, folder=folder)


TWO = "targets:\n  one: {kind: dotenv, path: .env}\n  two: {kind: shell}\n"


def test_a_place_is_what_is_written(tmp_path: Path) -> None:
    text = (
        "targets:\n  prod:\n    kind: railway\n    services: [012, a]\n    retry: true\n    n: 5\n"
    )
    assert places(settings(tmp_path, text)) == [
        Place("prod", "railway", {"services": ["012", "a"], "retry": True, "n": "5"}, tmp_path)
    ]
    assert places(settings(tmp_path, "targets:\n")) == []
    assert places(settings(tmp_path, "")) == []


def test_the_only_target_or_the_one_called_default_is_meant(tmp_path: Path) -> None:
    assert chosen(settings(tmp_path, "targets: {a: {kind: shell}}")).name == "a"
    with pytest.raises(UsageError) as several:
        chosen(settings(tmp_path, TWO))
    assert "--target one" in several.value.hint
    assert chosen(settings(tmp_path, TWO), "two").name == "two"
    assert chosen(settings(tmp_path, TWO.replace("two", "default"))).name == "default"
    with pytest.raises(NothingMatched) as unknown:
        chosen(settings(tmp_path, TWO), "tow")
    assert "Did you mean two?" in unknown.value.hint
    with pytest.raises(ConfigurationError) as none:
        chosen(settings(tmp_path, ""))
    assert "kind: dotenv" in none.value.hint


@pytest.mark.parametrize(
    ("text", "line", "words", "hint"),
    [
        ("targets:\n  a: {kind: dotenf}\n", 2, "no kind of target 'dotenf'", "dotenv?"),
        ("targets:\n  a: {path: .env}\n", 2, "lacks a kind", "railway"),
        ("targets:\n  a: .env\n", 2, "`key: value` lines", "kind: dotenv"),
        ("targets: .env\n", 1, "takes a name for each target", "kind: dotenv"),
        ("targets:\n  a: {kind: shell}\n  a: {kind: shell}\n", 3, "stands twice", ""),
    ],
)
def test_what_is_off_is_said_with_its_line(
    tmp_path: Path, text: str, line: int, words: str, hint: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        places(settings(tmp_path, text))
    assert f"secops.yaml:{line}: " in caught.value.message
    assert words in caught.value.message
    assert hint in caught.value.hint


def test_every_kind_has_its_module() -> None:
    for kind in KINDS:
        try:
            target = open_target(Place("x", kind, {}), {})
        except SecopsError:
            continue  # it lacks what it needs, and says so
        assert target.kind == kind


VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)


@given(st.dictionaries(st.sampled_from(["A", "B", "C"]), VALUES, min_size=1, max_size=3))
def test_a_shell_reads_what_is_printed(values: dict[str, str]) -> None:
    text = "\n".join(shell.lines(Change(values, frozenset({"GONE"}))))
    names = " ".join(f'"${name}"' for name in values)
    done = subprocess.run(
        ["sh", "-c", f"{text}\nprintf '%s\\0' {names} \"${{GONE-absent}}\""],
        capture_output=True, check=True, env={"GONE": "here", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.stdout.decode().split("\0")[:-1] == [*values.values(), "absent"]


def test_the_shells_lines_are_all_or_none() -> None:
    printed: list[str] = []
    target = shell.Shell("x", printed.append)
    with pytest.raises(Refused):
        target.write(Change({"A": "1", "B;rm": "2"}), Snapshot({}))
    with pytest.raises(Refused):
        target.write(Change({"A": "\x00"}), Snapshot({}))
    assert printed == []
    target.write(Change({"A": "a b"}, frozenset({"B"})), target.read())
    assert printed == ["export A='a b'\nunset B\n"]
    assert not target.traits.readable
