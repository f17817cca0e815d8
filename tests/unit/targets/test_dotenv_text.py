"""The text of a .env file: read as others read it, changed only where it has to be, and put back exactly."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from secops.errors import Refused
from secops.targets import dotenv_text
from secops.targets.dotenv_text import Form, changed, joined, parse, values
from secops.targets.target import Change

# What steers the readers of such files, and what hardly any writer thinks of.
NASTY = "ab1 \t\n\r'\"`#\\$={}/\u00e9\u2028\x0b\x85\ufeff;!\U0001f600"
TEXTS = st.text(st.sampled_from(NASTY), max_size=12)
VALUES = TEXTS | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
NAMES = st.sampled_from(["A", "B", "JWT_EXPIRATION"])
BASES = st.sampled_from(
    [
        "", "A=1", "A=1\n", '# first\n\nA=1h # a day\nB="x"\n', "export A='x' # c\nB = y\n",
        "A=1\nB=2\nA=3\n", "\ufeffA=1\n\n\n#end", "A=${B}\nB='${{shared.X}}'\n", 'A="two\nlines"\nB=\n',
        "JUNK\nA=C:\\dir\n", "A=a b c\nB= # nothing\n", "B=1\n  A=2",
    ]
)  # fmt: skip
ENDS = st.sampled_from(["\n", "\r\n"])


def one(text: str, form: Form = Form.DOTENV) -> dict[str, str]:
    return values(parse(text, form))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=1h", "1h"),
        ("A=", ""),
        ("A=''", ""),
        ("A = 1h  \n", "1h"),
        ("export A=1h\n", "1h"),
        ("A=1h # a day\n", "1h"),
        ("A=a#b\n", "a#b"),
        ("A= # nothing\n", ""),
        ("A='1h' # a day\n", "1h"),
        ('A="a # b"\n', "a # b"),
        ('A="a\\nb\\t\\"c\\" \\\\ \\x"\n', 'a\nb\t"c" \\ \\x'),
        ("A='a\\nb \\' \\\\'\n", "a\\nb ' \\"),
        ('A="two\r\nlines"\r\n', "two\nlines"),
        ("A=a b  c \n", "a b  c"),
        ("A=C:\\dir\\\n", "C:\\dir\\"),
        ("A=${{shared.X}}\n", "${{shared.X}}"),
        ("A=1\nA=2\n", "2"),
        ("\ufeffA=1\n", "1"),
        ("A=it's\n", "it's"),
    ],
)
def test_a_value_is_read_as_other_readers_do(text: str, value: str) -> None:
    assert one(text)["A"] == value


def test_a_raw_file_is_read_as_docker_reads_it() -> None:
    text = "# c\n  A='1' # x\r\nB=\nC=a=b\nNAME\nD E=1\n"
    assert one(text, Form.RAW) == {"A": "'1' # x", "B": "", "C": "a=b"}
    made = changed(text, Change({"A": '"x" ', "N": "#"}), Form.RAW)
    assert made == '# c\n  A="x" \r\nB=\nC=a=b\nNAME\nD E=1\nN=#\r\n'
    with pytest.raises(Refused, match="several lines"):
        changed(text, Change({"A": "a\nb"}), Form.RAW)


@given(TEXTS)
@settings(max_examples=500)
@example("A='x\nB=\"")
@example("\ufeff")
def test_whatever_the_file_is_its_pieces_are_the_file(text: str) -> None:
    for form in Form:
        assert joined(parse(text, form)) == text


EDITS = (BASES, ENDS, st.dictionaries(NAMES, VALUES, min_size=1), st.sets(NAMES))


@given(*EDITS)
@settings(max_examples=500)
def test_any_value_is_read_back_and_what_was_there_can_be_put_back(
    base: str, end: str, new: dict[str, str], gone: set[str]
) -> None:
    there_and_back(base, end, new, gone)


@pytest.mark.chaos
@given(*EDITS)
@settings(max_examples=10_000)
def test_ten_thousand_values_are_read_back_and_put_back(
    base: str, end: str, new: dict[str, str], gone: set[str]
) -> None:
    there_and_back(base, end, new, gone)


def there_and_back(base: str, end: str, new: dict[str, str], gone: set[str]) -> None:
    text = base.replace("\n", end)
    before = one(text)
    change = Change(new, frozenset(gone - set(new)))
    made = changed(text, change)
    assert one(made) == {k: v for k, v in before.items() if k not in change.unset} | new
    touched = {*change.set, *change.unset}
    back = changed(
        made,
        Change(
            {name: before[name] for name in touched if name in before},
            frozenset(touched - set(before)),
        ),
    )
    assert one(back) == before
    untouched = [piece.text for piece in parse(text) if piece.name not in touched]
    for state in (made, back):
        left = [piece.text for piece in parse(state) if piece.name not in touched]
        # Only the end of the file's last line may come or go, with what is behind it.
        assert "".join(left).rstrip("\r\n") == "".join(untouched).rstrip("\r\n")


@given(BASES, ENDS, st.sampled_from(["30m", "true", "5", "900000", "strict"]))
@settings(max_examples=200)
def test_a_plain_value_and_back_leaves_the_file_as_it_was_to_the_byte(
    base: str, end: str, value: str
) -> None:
    text = base.replace("\n", end)
    before = one(text)
    made = changed(text, Change({"A": value, "NEW": value}))
    back = Change(
        {"A": before["A"]} if "A" in before else {}, frozenset({"NEW", "A"} - set(before))
    )
    # A value that only escapes could hold is written anew: what it means is the same.
    if "\\" not in before.get("A", ""):
        assert changed(made, back) == text


def test_a_line_keeps_its_place_its_quotes_and_its_comment() -> None:
    text = "# login\nexport JWT_EXPIRATION=\"1h\"  # a day\nB='2'\r\nC=3"
    made = changed(text, Change({"JWT_EXPIRATION": "30m", "B": "", "D": "x y"}, frozenset({"C"})))
    assert made == "# login\nexport JWT_EXPIRATION=\"30m\"  # a day\nB=''\r\nD='x y'"


def test_an_empty_value_before_a_comment_is_quoted() -> None:
    # Older readers take the comment for the value otherwise.
    assert changed("A=1h # a day\n", Change({"A": ""})) == "A='' # a day\n"
    assert changed("A=1h\n", Change({"A": ""})) == "A=\n"


def test_what_would_not_be_read_back_is_never_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dotenv_text, "_written", lambda *_, **__: "x # y")
    with pytest.raises(Refused, match="would not be read back as it is meant: A"):
        changed("A=1\n", Change({"A": "2"}))


def test_of_a_variable_that_stands_twice_the_last_is_changed_and_all_are_deleted() -> None:
    assert changed("A=1\nB=2\nA=3\n", Change({"A": "9"})) == "A=1\nB=2\nA=9\n"
    assert changed("A=1\nB=2\nA=3\n", Change({}, frozenset({"A"}))) == "B=2\n"


def test_a_reference_stays_one_when_it_is_put_back() -> None:
    made = changed("A=${B}\n", Change({"A": "30m"}))
    assert changed(made, Change({"A": "${B}"})) == "A=${B}\n"
    assert changed("", Change({"A": "${{shared.X}}"})) == "A=${{shared.X}}\n"


@pytest.mark.parametrize(
    ("text", "change", "words"),
    [
        ('A="x\nB=1\n', Change({"B": "2"}), "Line 1: the quote of A is not closed"),
        (
            "B=1\nA='x'y\n",
            Change({"B": "2"}),
            "Line 2: the quote of A is closed, and more follows it",
        ),
        ("A=1\rB=2\n", Change({"A": "2"}), "Line 1: a carriage return"),
        ("'A'=1\n", Change({"B": "2"}), "Line 1: a name in quotes"),
        ("B=1\nA\n", Change({"A": "2"}), "Line 2 names A without a value"),
        ("", Change({"A B": "1"}), "'A B' cannot be"),
        ("", Change({"1A": "1"}), "'1A' cannot be"),
        ("", Change({"A": "\x00"}), "A: no environment variable can hold a NUL"),
        ("", Change({"A": "\ud800"}), "A: the value is no text"),
    ],
)
def test_what_cannot_be_written_safely_is_refused_with_its_line(
    text: str, change: Change, words: str
) -> None:
    with pytest.raises(Refused) as caught:
        changed(text, change)
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A=1h # x\n", "systemd"),
        ("A=a#b\n", "Node"),
        ("export A=1\n", "export"),
        ("A = 1\n", "blanks"),
        ("A='1'\n", "quotes"),
        ('A="a\\nb"\n', "backslash"),
        ("\ufeffA=1\n", "byte order mark"),
    ],
)
def test_where_readers_differ_is_said(text: str, words: str) -> None:
    assert any(words in piece.disputed for piece in parse(text))


def test_plain_lines_are_undisputed() -> None:
    assert not any(
        piece.disputed for piece in parse("# c\n\nA=1h\nB=\nC=https://a.example/x?y=1\n")
    )


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
def test_node_reads_what_secops_writes() -> None:
    texts = {
        value: changed("# c\nA=1h # d\n", Change({"A": value}))
        for value in (
            "30m",
            "",
            "a b",
            "a#b",
            "x # y",
            "it's",
            'say "x"',
            "two\nlines",
            "a$b",
            "\u00e9",
        )
    }
    script = (
        "const {parseEnv} = require('util'); const given = JSON.parse(require('fs').readFileSync(0));"
        "console.log(JSON.stringify(parseEnv ? given.map(text => parseEnv(text).A) : null))"
    )
    done = subprocess.run(
        ["node", "-e", script], input=json.dumps(list(texts.values())),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    if found is None:
        pytest.skip("this Node has no parseEnv")
    assert found == list(texts)
