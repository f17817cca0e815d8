"""The states of a move, and which may follow which.

::

    PLANNED → INTENT → APPLIED → DEPLOYING → LIVE → SOAKING → PASSED
                 │         │          │         │       │
                 └ UNKNOWN └──────────┴─────────┴───────┴→ FAILED → ROLLED_BACK
                   CONFLICT  HELD

A move is *over* when it no longer holds its target. That is not a matter of the state alone: one that
FAILED before anything was written is over, one that FAILED after it is not until it is rolled back.
"""

from __future__ import annotations

import enum
from typing import Final


class State(enum.StrEnum):
    """How far a move is."""

    PLANNED = "planned"
    """It was shown; nothing is recorded."""
    INTENT = "intent"
    """What it will write is recorded; whether it was written is not."""
    APPLIED = "applied"
    """It is written."""
    DEPLOYING = "deploying"
    """A deployment that carries it is on its way."""
    LIVE = "live"
    """The service runs with it."""
    SOAKING = "soaking"
    """It is watched."""
    PASSED = "passed"
    """It stays."""
    FAILED = "failed"
    """It could not be written, did not come up, or a gate said no."""
    ROLLED_BACK = "rolled_back"
    """What it changed is back as it was."""
    UNKNOWN = "unknown"
    """The reply to its write was lost."""
    CONFLICT = "conflict"
    """Somebody else changed what it changes; nothing more is touched until a person decides."""
    HELD = "held"
    """A person must look: a deployment waits for approval, a gate could not tell."""


FOLLOWS: Final[dict[State, frozenset[State]]] = {
    State.PLANNED: frozenset({State.INTENT}),
    State.INTENT: frozenset(
        {State.INTENT, State.APPLIED, State.UNKNOWN, State.CONFLICT, State.FAILED, State.PASSED,
         State.ROLLED_BACK}
    ),
    State.UNKNOWN: frozenset(
        {State.UNKNOWN, State.INTENT, State.APPLIED, State.CONFLICT, State.FAILED, State.ROLLED_BACK}
    ),
    State.APPLIED: frozenset(
        {State.APPLIED, State.DEPLOYING, State.CONFLICT, State.HELD, State.FAILED, State.UNKNOWN,
         State.ROLLED_BACK}
    ),
    State.DEPLOYING: frozenset(
        {State.DEPLOYING, State.LIVE, State.CONFLICT, State.HELD, State.FAILED, State.ROLLED_BACK}
    ),
    State.LIVE: frozenset(
        {State.SOAKING, State.PASSED, State.CONFLICT, State.HELD, State.FAILED, State.ROLLED_BACK}
    ),
    State.SOAKING: frozenset(
        {State.SOAKING, State.PASSED, State.CONFLICT, State.HELD, State.FAILED, State.ROLLED_BACK}
    ),
    State.HELD: frozenset(
        {State.HELD, State.APPLIED, State.DEPLOYING, State.LIVE, State.SOAKING, State.PASSED,
         State.CONFLICT, State.FAILED, State.ROLLED_BACK}
    ),
    State.CONFLICT: frozenset(
        {State.CONFLICT, State.INTENT, State.APPLIED, State.FAILED, State.ROLLED_BACK}
    ),
    State.PASSED: frozenset({State.ROLLED_BACK}),
    State.FAILED: frozenset({State.FAILED, State.ROLLED_BACK}),
    State.ROLLED_BACK: frozenset(),
}  # fmt: skip
"""What may follow each state. A state may follow itself where more became known of it."""
