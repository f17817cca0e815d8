"""The picture in the README is a recording that loads nothing from anywhere."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

from secops.demo.people import LOCKED_OUT

RECORDING = Path(__file__).parents[3] / "docs" / "failed-logins.svg"


def test_the_recording_shows_the_command_and_the_attack_and_loads_nothing() -> None:
    text = RECORDING.read_text(encoding="utf-8")
    root = ET.fromstring(text)
    shown = "".join(root.itertext()).replace("\u00a0", " ")
    assert "$ secops report failed-logins" in shown
    assert LOCKED_OUT.email in shown
    assert "@font-face" not in text
    assert "@import" not in text
    assert all(name.startswith("#") for name in re.findall(r"url\(\s*['\"]?([^)]*)\)", text))
    loading = {"href", "src", "{http://www.w3.org/1999/xlink}href"}
    assert [each.tag for each in root.iter() if loading & set(each.keys())] == []
