"""The guided tour: what a person would type, one command after another, and why."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Final

from secops.demo.attacks import STUFFERS
from secops.demo.people import LOCKED_OUT, ROBBED


@dataclass(frozen=True, slots=True)
class Stop:
    """One command of the tour.

    Attributes:
        why: What somebody wants who types it.
        words: What they type after ``secops``.
    """

    why: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return shlex.join(("secops", *self.words))


MIGRATE: Final = Stop(
    "The tables, columns and indexes that the plan needs, without making the app wait.",
    ("migrate", "--yes"),
)

TOUR: Final = (
    Stop(
        "Who fails to log in, and from where?",
        ("report", "failed-logins", "--since", "24h"),
    ),
    Stop(
        "Which accounts did that lock?",
        ("report", "lockouts", "--since", "7d", "--limit", "12"),
    ),
    Stop(
        f"{LOCKED_OUT.name} is on the phone: why can't she log in?",
        ("show", "user", LOCKED_OUT.email),
    ),
    Stop(
        "She is who she says she is. Let her in, and leave a record of why.",
        (
            "unlock",
            "user",
            LOCKED_OUT.email,
            "--reason",
            "Identified by phone",
            "--ticket",
            "DEMO-1",
        ),
    ),
    Stop(
        "Leaked passwords were tried from one network. What would ending its sessions touch?",
        ("revoke", "sessions", "--ip", STUFFERS, "--dry-run", "--reason", "Leaked passwords"),
    ),
    Stop(
        "End them.",
        ("revoke", "sessions", "--ip", STUFFERS, "--yes", "--reason", "Leaked passwords"),
    ),
    Stop(
        "Old refresh tokens go; the used ones by which theft is noticed stay.",
        ("prune", "tokens", "--older-than", "7d", "--yes", "--reason", "Upkeep"),
    ),
)

NEXT: Final = (
    ("every report there is", "secops report"),
    ("who tries few passwords on many accounts", "secops report suspicious-ips"),
    ("whom hundreds of addresses guess at", "secops report attacked-accounts"),
    ("a stolen refresh token", "secops report theft"),
    ("whose token it was", f"secops show user {ROBBED.email}"),
    ("the same for a program", "secops report lockouts --json"),
    ("what works and what does not", "secops doctor"),
)
