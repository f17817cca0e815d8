"""Files of events, as they come: any line may be anything."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secops.accounts import event_files
from secops.accounts.event_files import Line, Source
from secops.errors import SecopsError, UsageError

GOOD = b'{"event_type": "logout"}'


def lines(tmp_path: Path, content: bytes, name: str = "events.jsonl", **more: Any) -> list[Line]:
    path = tmp_path / name
    path.write_bytes(content)
    extra = more.pop("extra", False)
    with Source(str(path), **more) as source:
        return list(source.lines(extra=extra))


def test_empty_lines_count_and_say_nothing(tmp_path: Path) -> None:
    found = lines(tmp_path, b"\n" + GOOD + b"\r\n  \n\n" + GOOD)
    assert [line.number for line in found] == [2, 5]
    assert found[0].given == {"event_type": "logout"}


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    assert lines(tmp_path, b"\xef\xbb\xbf" + GOOD + b"\n")[0].given == {"event_type": "logout"}
    table = lines(tmp_path, b"\xef\xbb\xbfevent_type\nlogout\n", "events.csv")
    assert table[0].given == {"event_type": "logout"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"event_type": ', "this is not JSON: Expecting value at column 15"),
        (b"logout", "this is not JSON"),
        (b'{"a": NaN}', "this is not JSON: NaN is no number"),
        (b'{"a": -Infinity}', "this is not JSON: -Infinity is no number"),
        (b'{"a": "\x01"}', "this is not JSON: Invalid control character"),
        (b'{"a": ' + b"9" * 5000 + b"}", "this is not JSON: Exceeds the limit"),
        (b"[1]", "it is no object"),
        (b"null", "it is no object"),
        (b'"logout"', "it is no object"),
        (b'{"a": "\xff"}', "it is not UTF-8"),
        (b'{"a": "\xed\xa0\x80"}', "it is not UTF-8"),
        (b"[" * 100_000, "it is nested too deeply"),
    ],
    ids=range(12),
)
def test_a_line_that_is_no_object_is_named_with_the_reason(
    tmp_path: Path, line: bytes, reason: str
) -> None:
    good, bad, after = lines(tmp_path, GOOD + b"\n" + line + b"\n" + GOOD + b"\n")
    assert good.given is not None
    assert after.given is not None
    assert (bad.number, bad.given) == (2, None)
    assert bad.reason.startswith(reason)
    assert bad.text == line.decode(errors="backslashreplace")


def test_a_file_without_newlines_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_files, "LONGEST_LINE", 1000)
    long = b'{"event_type": "' + b"x" * 5000 + b'"}\n'
    found = lines(tmp_path, GOOD + b"\n" + long + GOOD + b"\n" + long.strip())
    assert [line.number for line in found] == [1, 2, 3, 4]
    assert [bool(line.given) for line in found] == [True, False, True, False]
    assert found[1].reason == "it is longer than 1,000 bytes"
    assert len(found[1].text) <= 200


def test_only_lines_without_a_backslash_are_plain(tmp_path: Path) -> None:
    found = lines(tmp_path, b'{"a": "b"}\n{"a": "\\n"}\n')
    assert [line.plain for line in found] == [True, False]


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.jsonl", b"", "jsonl"),
        ("a.ndjson", b"", "jsonl"),
        ("a.JSON", b"", "jsonl"),
        ("a.csv", b"", "csv"),
        ("a.log", GOOD, "jsonl"),
        ("a.log", b"  \n" + GOOD, "jsonl"),
        ("a", b"event_type\nlogout\n", "csv"),
        ("a", b"", "jsonl"),
        ("a.2026-11-24", b"\xef\xbb\xbf" + GOOD, "jsonl"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_what_a_file_is_follows_from_its_name_or_its_beginning(
    tmp_path: Path, name: str, content: bytes, kind: str, packed: bool
) -> None:
    path = tmp_path / (name + (".gz" if packed else ""))
    path.write_bytes(gzip.compress(content) if packed else content)
    with Source(str(path)) as source:
        assert source.kind == kind
    with Source(str(path), "csv") as source:
        assert source.kind == "csv"


def test_a_packed_file_is_known_by_its_content(tmp_path: Path) -> None:
    found = lines(tmp_path, gzip.compress(GOOD + b"\n") * 2, "events.jsonl")
    assert len(found) == 2  # gzip files may be joined


def test_the_position_reaches_the_size(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl.gz"
    path.write_bytes(gzip.compress((GOOD + b"\n") * 1000))
    with Source(str(path)) as source:
        assert len(list(source.lines())) == 1000
        assert source.position == source.size == path.stat().st_size


@pytest.mark.parametrize("cut", [20, 200])
def test_a_packed_file_that_is_cut_off_says_so(tmp_path: Path, cut: int) -> None:
    text = b"".join(b'{"event_type": "%d"}\n' % (n * 7919) for n in range(200))
    with pytest.raises(SecopsError, match="is damaged or cut off"):
        lines(tmp_path, gzip.compress(text)[:cut])


def test_a_packed_file_with_wrong_bytes_says_so(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(GOOD * 100))
    data[-6] ^= 0xFF
    with pytest.raises(SecopsError, match="is damaged or cut off"):
        lines(tmp_path, bytes(data))


def test_an_empty_cell_says_nothing_and_a_newline_may_stand_in_quotes(tmp_path: Path) -> None:
    text = (
        b"event_type,message,success,metadata\r\n"
        b'logout,"a\nb",true,"{""a"": 1}"\r\n'
        b"\r\n"
        b"login_failed,,F,\r\n"
    )
    first, second = lines(tmp_path, text, "events.csv")
    assert first.given == {
        "event_type": "logout", "message": "a\nb", "success": True, "metadata": {"a": 1},
    }  # fmt: skip
    assert second.given == {"event_type": "login_failed", "success": False}
    assert (first.number, second.number) == (2, 5)
    assert not first.plain


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"logout", "it has 1 cells, the first line has 2"),
        (b"logout,a,b", "it has 3 cells, the first line has 2"),
        (b'logout,"a"b', "this is not CSV"),
        (b"logout,{", "metadata is not JSON"),
        (b"logout,NaN", "metadata is not JSON: NaN is no number"),
    ],
)
def test_a_row_that_does_not_fit_is_named(tmp_path: Path, row: bytes, reason: str) -> None:
    content = b"event_type,metadata\nlogout,1\n" + row + b"\nlogout,2\n"
    first, bad, last = lines(tmp_path, content, "events.csv")
    assert (first.number, bad.number, last.number) == (2, 3, 4)
    assert bad.reason.startswith(reason)
    assert last.given == {"event_type": "logout", "metadata": 2}


def test_bytes_that_are_no_text_stay_in_their_row(tmp_path: Path) -> None:
    content = b"event_type,message\nlogout,a\xff\nlogout,b\n"
    first, second = lines(tmp_path, content, "events.csv")
    assert first.given == {"event_type": "logout", "message": "a\udcff"}
    assert first.text == "logout,a\\udcff"
    assert second.given == {"event_type": "logout", "message": "b"}


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b"type,email\n", "names no column event_type"),
        (b"event_type,email,email\n", "'email' stands twice"),
        (b"event_type,emial\n", r"no column 'emial' \(did you mean email\?\)"),
    ],
)
def test_a_header_that_is_off_stops_it(tmp_path: Path, header: bytes, said: str) -> None:
    with pytest.raises(SecopsError, match=said):
        lines(tmp_path, header + b"a,b,c\n", "events.csv")


def test_further_columns_may_stand_where_that_was_asked(tmp_path: Path) -> None:
    content = b"event_type,pod\nlogout,web-1\n"
    assert lines(tmp_path, content, "events.csv", extra=True)[0].given == {
        "event_type": "logout", "pod": "web-1",
    }  # fmt: skip
    with pytest.raises(UsageError):
        lines(tmp_path, content, "events.csv")


def test_an_empty_file_holds_no_events(tmp_path: Path) -> None:
    assert lines(tmp_path, b"", "events.csv") == []
    assert lines(tmp_path, b"", "events.jsonl") == []


CELL = st.text(st.characters(codec="utf-8"), max_size=20)


@given(st.lists(st.tuples(CELL.filter(bool), CELL), max_size=5))
def test_what_the_csv_module_writes_is_read_back(rows: list[tuple[str, str]]) -> None:
    import tempfile

    text = io.StringIO(newline="")
    csv.writer(text).writerows([("event_type", "message"), *rows])
    with tempfile.TemporaryDirectory() as folder:
        found = lines(Path(folder), text.getvalue().encode(), "events.csv")
    assert [line.given for line in found] == [
        {key: value for key, value in zip(("event_type", "message"), row, strict=True) if value}
        for row in rows
    ]


@given(st.lists(st.dictionaries(CELL, CELL, max_size=3), max_size=5))
def test_what_json_writes_is_read_back(events: list[dict[str, str]]) -> None:
    import tempfile

    text = "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in events)
    with tempfile.TemporaryDirectory() as folder:
        found = lines(Path(folder), text.encode())
    assert [line.given for line in found] == events
