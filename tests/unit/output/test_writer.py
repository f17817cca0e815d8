"""Results go to stdout; notes, warnings, questions and errors to stderr."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import pytest

from secops.errors import Refused
from secops.output import Format, Output
from support.screens import Tty, said


def test_a_line_is_for_people_only() -> None:
    for each in Format:
        out, err = said(lambda o: o.line("Hello."), each)
        assert ("Hello." in out) is (each in {Format.TABLE, Format.MARKDOWN, Format.HTML})
        assert not err


def test_notes_go_to_stderr_unless_quiet_and_warnings_always() -> None:
    def speak(output: Output) -> None:
        output.note("By the way.")
        output.warn("Careful.")

    for each in (Format.TABLE, Format.CSV, Format.HTML, Format.MARKDOWN):
        assert said(speak, each) == ("", "By the way.\nWarning: Careful.\n")
        assert said(speak, each, quiet=True) == ("", "Warning: Careful.\n")


@pytest.mark.parametrize("format", [Format.JSON, Format.JSONL])
def test_with_json_every_line_of_stderr_is_json(format: Format) -> None:
    def speak(output: Output) -> None:
        output.note("By the\nway.")
        output.warn("Careful.")
        output.error(Refused("No.", hint="Add --yes."))

    out, err = said(speak, format)
    assert not out
    assert [json.loads(line) for line in err.splitlines()] == [
        {"note": "By the\nway."},
        {"warning": "Careful."},
        {"error": {"code": "refused", "exit": 8, "message": "No.", "hint": "Add --yes."}},
    ]


def test_an_error_is_a_sentence_and_an_indented_hint() -> None:
    assert (
        said(lambda o: o.error(Refused("No.", hint="Add --yes.")))[1]
        == "Error: No.\n  Add --yes.\n"
    )
    assert said(lambda o: o.error(Refused("No.")))[1] == "Error: No.\n"
    coloured = said(lambda o: o.error(Refused("No.")), tty=True)[1]
    assert coloured == "\x1b[1;31mError:\x1b[0m No.\n"


def test_a_document_is_its_value_for_programs_and_its_lines_for_people() -> None:
    value = {
        "email": "a@b",
        "live": True,
        "sessions": [{"id": 1, "deep": {"x": [1]}}, {"id": 2}],
        "none": [],
    }
    lines = ["Account a@b", "    may log in"]
    out, _ = said(lambda o: o.document(value, lines), Format.JSON)
    assert json.loads(out) == value
    assert out == (
        '{\n  "email": "a@b",\n  "live": true,\n  "sessions": [\n'
        '    {"id": 1, "deep": {"x": [1]}},\n    {"id": 2}\n  ],\n  "none": []\n}\n'
    )
    assert said(lambda o: o.document([1, {"a": 2}], lines), Format.JSONL)[0] == '1\n{"a": 2}\n'
    assert said(lambda o: o.document(value, lines))[0] == "Account a@b\n    may log in\n"
    assert (
        said(lambda o: o.document(value, lines), Format.CSV)[0] == "Account a@b\n    may log in\n"
    )
    assert (
        "<pre>\nAccount a@b\n    may log in\n</pre>"
        in said(lambda o: o.document(value, lines), Format.HTML)[0]
    )
    fenced = said(lambda o: o.document(value, ["a ```` b"]), Format.MARKDOWN)[0]
    assert fenced == "`````text\na ```` b\n`````\n"


@pytest.mark.parametrize(
    "value", [None, 1, "x", [], {}, [1], [[{"a": 1}]], {1: {2: 3}}, {"a": ({"b": 1},)}]
)
def test_any_document_is_json(value: Any) -> None:
    out, _ = said(lambda o: o.document(value, ()), Format.JSON)
    assert json.loads(out) == json.loads(json.dumps(value))


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Tty:
    stdin = Tty()
    monkeypatch.setattr(sys, "stdin", stdin)
    return stdin


@pytest.mark.parametrize(
    ("typed", "word", "answer"),
    [
        ("y\n", None, True),
        ("YES\n", None, True),
        (" y \n", None, True),
        ("\n", None, False),
        ("n\n", None, False),
        ("yesterday\n", None, False),
        ("", None, False),
        ("everyone\n", "everyone", True),
        ("Everyone\n", "everyone", False),
        ("y\n", "everyone", False),
        ("", "everyone", False),
        ("\n", "everyone", False),
    ],
)
def test_only_a_clear_yes_is_a_yes(
    keyboard: Tty, typed: str, word: str | None, answer: bool
) -> None:
    keyboard.write(typed)
    keyboard.seek(0)
    output = Output(stdout=Tty(), stderr=Tty())
    assert output.can_ask
    assert output.ask("Really?", word=word) is answer


@pytest.mark.usefixtures("keyboard")
def test_a_question_goes_to_stderr_and_is_inert() -> None:
    def ask(output: Output) -> None:
        output.ask("Revoke \x1b[2J?")
        output.ask("Revoke?", word="all\x1b")

    out, err = said(ask, tty=True)
    assert not out
    assert err == "Revoke \\x1b[2J? [y/N] \nRevoke? Type all\\x1b to go on: \n"


def test_nobody_is_asked_where_nobody_is(keyboard: Tty, monkeypatch: pytest.MonkeyPatch) -> None:
    keyboard.write("y\n")
    keyboard.seek(0)
    piped = Output(stdout=io.StringIO(), stderr=io.StringIO())
    assert not piped.can_ask
    assert not piped.ask("Really?")
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert not Output(stdout=Tty(), stderr=Tty()).can_ask
    monkeypatch.setattr(sys, "stdin", None)
    assert not Output(stdout=Tty(), stderr=Tty()).can_ask


def test_output_goes_to_the_process_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output()
    output.line("out")
    output.note("err")
    assert capsys.readouterr() == ("out\n", "err\n")
