"""Numbers of gates, for people."""

from __future__ import annotations


def percent(share: float) -> str:
    """Write a share with as many digits as tell it apart from its neighbours: ``8.3 %``, ``0.04 %``."""
    value = 100 * share
    digits = 0 if value >= 99.95 or value == 0 else 1 if value >= 1 else 2 if value >= 0.1 else 3  # noqa: PLR2004
    text = f"{value:.{digits}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"
