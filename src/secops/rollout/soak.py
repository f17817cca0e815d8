"""How long a stage is watched: from what its variables mean, not from a number alone.

Access tokens that were given out before a change live on for as long as they were meant to. While they do,
nobody refreshes who would have to afterwards, and a gate sees a mixture of old and new. What it measures is
of the new configuration alone once the old tokens have expired, and it has seen a refresh of everybody once
a new token's life has passed as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from secops.durations import about
from secops.rollout.moves import Key
from secops.variables.registry import Registry

ACCESS_TOKENS: Final = "JWT_EXPIRATION"
"""The variable that says how long access tokens live."""

LONGEST_WAIT: Final = timedelta(hours=24)
"""Nobody waits longer for old tokens than that. An app that gave out tokens for thirty days would hold the
first stage for a month, and the stage is what ends it; the plan goes on after a day."""


@dataclass(frozen=True, slots=True)
class Soaking:
    """How long a stage is watched, and from when on what is seen counts.

    Attributes:
        length: From when it is live until it may pass.
        pure_after: From when it is live until nothing of the configuration before is left.
        why: In words.
    """

    length: timedelta
    pure_after: timedelta
    why: str


def soaking(
    registry: Registry,
    keys: Mapping[str, Key],
    minimum: timedelta,
    drain: timedelta = timedelta(0),
) -> Soaking:
    """Work out how long a stage must be watched.

    Args:
        registry: What the variables mean.
        keys: What changes.
        minimum: What the rollout asks for.
        drain: How long processes of before may go on once the new ones are live.
    """
    old, new = lifetimes(registry, keys)
    waited = min(old, LONGEST_WAIT)
    needed = drain + waited + new
    pure = drain + waited
    if needed <= minimum:
        return Soaking(minimum, pure, f"{about(minimum)}, as the rollout asks")
    why = f"{about(needed)}: tokens of before live for {about(old)}, new ones for {about(new)}"
    if old > waited:
        why += f", and nobody waits longer than {about(waited)} for the old ones"
    return Soaking(needed, pure, why)


def lifetimes(registry: Registry, keys: Mapping[str, Key]) -> tuple[timedelta, timedelta]:
    """Return how long access tokens lived before a change and live after it; zero where it is none."""
    key = keys.get(ACCESS_TOKENS)
    if key is None or ACCESS_TOKENS not in registry:
        return timedelta(0), timedelta(0)
    entry = registry.entry(ACCESS_TOKENS)
    old, new = entry.meaning(key.before), entry.meaning(key.after)
    return (
        # What an app does where the variable is absent, or has a text that apps read differently, is
        # not known: as long as anybody waits.
        old if isinstance(old, timedelta) else LONGEST_WAIT,
        new if isinstance(new, timedelta) else timedelta(0),
    )
