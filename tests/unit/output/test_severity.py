"""The words that events and detections use say how bad a row is."""

from __future__ import annotations

import pytest

from secops.output.severity import STYLES, level, style


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("critical", "critical"),
        (" HIGH ", "high"),
        ("error", "high"),
        ("Warning", "medium"),
        ("notice", "low"),
        ("info", ""),
        ('high" onclick="', ""),
        ("", ""),
        (None, ""),
        (5, ""),
    ],
)
def test_the_level_of_a_word(value: object, found: str) -> None:
    assert level(value) == found
    assert style(value) == STYLES.get(found, "")
