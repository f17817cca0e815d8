"""Variables on Heroku."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from secops.targets.target import Place, Target


def make(place: Place, environ: Mapping[str, str]) -> Target:
    """Make the target that a place describes.

    Args:
        place: Its name and its options in ``secops.yaml``.
        environ: The environment, where tokens are.

    Raises:
        ConfigurationError: An option is missing or cannot be understood, or there is no token.
    """
    raise NotImplementedError
