"""Opening a target that points at a fake, and moving its variables as an engine would."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from secops.targets.open import open_target
from secops.targets.target import MARKER, Change
from support.fakes.server import Fake

_NUMBERS = itertools.count(1)


def opened(fake: Fake, **options: object) -> Any:
    """Open a target that waits for nothing: what it would have slept is in ``slept``."""
    target: Any = open_target(fake.place("prod", **options), fake.environ)
    slept: list[float] = []
    target.http.sleep = slept.append
    target.slept = slept
    return target


def change(set: Mapping[str, str], unset: Iterable[str] = ()) -> Change:
    """A change with a marker of its own."""
    marker = f"op-{next(_NUMBERS)}"
    return Change({**set, MARKER: marker}, frozenset(unset), f"secops op={marker}")


def moved(target: Any, set: Mapping[str, str], unset: Iterable[str] = ()) -> str:
    """Write and deploy; returns the deployment."""
    made = target.deploy(target.write(change(set, unset), target.read()))
    assert isinstance(made, str)
    return made
