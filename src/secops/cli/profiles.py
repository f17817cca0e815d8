"""What the commands about profiles share: completion of names."""

from __future__ import annotations

from secops.errors import SecopsError
from secops.settings import load


def complete_profile(incomplete: str) -> list[str]:
    """Return the profiles whose names begin so; nothing where they cannot be read."""
    from secops.rollout.profiles import load_profiles

    try:
        return _beginning(load_profiles(load()).names(), incomplete)
    except SecopsError:
        return _beginning(load_profiles().names(), incomplete)


def complete_profile_or_rollout(incomplete: str) -> list[str]:
    """Return the profiles and rollouts whose names begin so."""
    return sorted({*complete_profile(incomplete), *complete_rollout(incomplete)})


def complete_rollout(incomplete: str) -> list[str]:
    """Return the rollouts whose names begin so; nothing where they cannot be read."""
    from secops.rollout.rollouts import load_rollouts

    try:
        return _beginning(load_rollouts(load()).names(), incomplete)
    except SecopsError:
        return _beginning(load_rollouts().names(), incomplete)


def complete_target(incomplete: str) -> list[str]:
    """Return the targets of ``secops.yaml`` whose names begin so; nothing where it cannot be read."""
    from secops.targets.open import places

    try:
        return _beginning([place.name for place in places(load())], incomplete)
    except SecopsError:
        return []


def _beginning(names: list[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
