"""How long each class of event stays: what the settings, and the presets under them, come to."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secops.cli.prune_events import Class
from secops.errors import ConfigurationError, Refused
from secops.settings import Settings, load
from secops.upkeep import holds
from secops.upkeep.retention import CLASSES, PRESETS, periods, required


def settings(preset: str | None = None, **days: int | None) -> Settings:
    environ = {f"SECOPS_RETENTION_{k.upper()}": f"{v}d" for k, v in days.items() if v is not None}
    if preset:
        environ["SECOPS_RETENTION_PRESET"] = preset
    return load(environ=environ, folder=Path("/"))


@pytest.mark.parametrize("preset", PRESETS)
def test_each_preset_can_be_set_and_keeps_the_audit_of_operators_longest(preset: str) -> None:
    found = periods(settings(preset))
    assert found == PRESETS[preset]
    assert found["operator"] == max(found.values())


def test_an_unknown_preset_is_refused_and_the_known_are_named() -> None:
    with pytest.raises(ConfigurationError, match=", ".join(PRESETS)):
        settings("sox")


def test_hipaa_keeps_six_years_and_pci_twelve_months() -> None:
    assert timedelta(days=6 * 365) < PRESETS["hipaa"]["security"] < timedelta(days=6 * 366)
    assert all(span >= timedelta(days=365) for span in PRESETS["pci"].values())


period = st.none() | st.integers(1, 9)


@given(st.none() | st.sampled_from(sorted(PRESETS)), period, period, period)
def test_the_audit_of_operators_never_goes_before_the_rest(
    preset: str | None, information: int | None, security: int | None, operator: int | None
) -> None:
    given_days = {"information": information, "security": security, "operator": operator}
    default = PRESETS.get(preset or "", {})
    expected = {
        name: timedelta(days=days) if days else default.get(name)
        for name, days in given_days.items()
    }
    last = expected["operator"]
    for name in CLASSES[:-1]:
        span = expected[name]
        if last is not None and (span is None or span > last):
            with pytest.raises(ConfigurationError, match=r"retention\.operator is shorter"):
                periods(settings(preset, **given_days))
            return
    assert periods(settings(preset, **given_days)) == {k: v for k, v in expected.items() if v}


def test_with_nothing_configured_it_refuses_and_says_how() -> None:
    with pytest.raises(Refused, match="Nothing says how long") as caught:
        required(settings())
    assert "retention.preset" in caught.value.hint
    assert "not legal advice" in caught.value.hint


def test_a_class_without_a_period_is_refused_by_name() -> None:
    with pytest.raises(Refused, match="how long security events stay") as caught:
        required(settings(information=5), ["security"])
    assert "SECOPS_RETENTION_SECURITY" in caught.value.hint
    assert required(settings(information=5, security=6), ["security"]) == {
        "security": timedelta(days=6)
    }


def test_each_class_can_be_named_on_the_command_line() -> None:
    assert tuple(Class) == CLASSES


@pytest.mark.parametrize("text", ["0", "23h", "90", "-3d", "for ever"])
def test_a_period_of_less_than_a_day_is_a_slip(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"retention\.information"):
        load(environ={"SECOPS_RETENTION_INFORMATION": text}, folder=Path("/"))


def test_a_holds_file_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "holds"
    path.write_text("\ufeff# case 12\n alice@example.com \n\n42\nalice@example.com\n", "utf-8")
    assert holds.read(path) == ["alice@example.com", "42"]
    assert holds.read(None) == []


def test_a_holds_file_that_cannot_be_read_is_no_empty_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        holds.read(tmp_path / "gone")
    (tmp_path / "latin").write_bytes(b"m\xfcller@example.com")
    with pytest.raises(ConfigurationError, match="UTF-8"):
        holds.read(tmp_path / "latin")
