"""How bad a row is, from the words that events and detections use."""

from __future__ import annotations

from typing import Final

_LEVELS: Final = {
    "emergency": "critical", "alert": "critical", "critical": "critical", "fatal": "critical",
    "high": "high", "error": "high",
    "medium": "medium", "warning": "medium", "warn": "medium",
    "low": "low", "notice": "low",
}  # fmt: skip
STYLES: Final = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "cyan"}


def level(value: object) -> str:
    """Return ``critical``, ``high``, ``medium``, ``low``, or an empty string for anything else."""
    return _LEVELS.get(value.strip().lower(), "") if isinstance(value, str) else ""


def style(value: object) -> str:
    """Return the colour of a severity, as :meth:`secops.output.terminal.Stream.styled` knows it."""
    return STYLES.get(level(value), "")
