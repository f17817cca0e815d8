"""The format is known before the command line is parsed, for the errors of parsing."""

from __future__ import annotations

import pytest

from secops.output import Format, wanted_format


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("", Format.TABLE),
        ("report x", Format.TABLE),
        ("report x --json", Format.JSON),
        ("--json report x", Format.JSON),
        ("report x --format csv", Format.CSV),
        ("report x --format=html", Format.HTML),
        ("report x -f jsonl", Format.JSONL),
        ("report x -fmarkdown", Format.MARKDOWN),
        ("report x -qf json", Format.JSON),
        ("report x -qfjson", Format.JSON),
        ("report x --format csv --format json", Format.JSON),
        ("report x --json --format csv", Format.JSON),
        ("report x --format", Format.TABLE),
        ("report x --format nonsense", Format.TABLE),
        ("show user -- --json", Format.TABLE),
        ("unlock user --from-file json", Format.TABLE),
    ],
)
def test_the_format_of_a_line(line: str, wanted: Format) -> None:
    assert wanted_format(line.split()) is wanted
