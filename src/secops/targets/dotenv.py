"""Variables in a ``.env`` file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from secops.targets.target import Place, Target


def make(place: Place, environ: Mapping[str, str]) -> Target:
    """Make the target that a place describes."""
    raise NotImplementedError
