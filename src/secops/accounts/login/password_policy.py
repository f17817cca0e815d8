"""What a new password must be: the plan's five rules, or those of NIST SP 800-63B-4.

The plan asks for kinds of characters. NIST forbids that (800-63B-4, 3.1.1.2: SHALL NOT impose composition
rules; ASVS 5.0, 6.2.5 says the same), for people answer it with ``Password123!``; it asks for length and a
list of passwords that attackers try first. Both are here; which one is asked for is a setting.
"""

from __future__ import annotations

import enum
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST: Final = 1024
_MODERN_LEAST: Final = 15
"""Characters where the password is all that protects an account (800-63B-4, 3.1.1.2)."""
_SCORE: Final = 3
"""Of zxcvbn's 0 to 4: more than 10^8 guesses."""

_OWN: Final = 8
"""Characters that a password with a person's own name in it must have besides."""

_SPECIAL: Final = re.compile(r'[!@#$%^&*(),.?":{}|<>]')


class Profile(enum.Enum):
    """Whose rules hold."""

    PLAN = "plan"
    MODERN = "modern"


@dataclass(frozen=True, slots=True)
class Policy:
    """What is asked of a new password.

    Attributes:
        profile: Whose rules hold.
        least: Characters at least.
        upper: Whether the plan's profile wants a capital letter; so the next three.
        lower: A small letter.
        number: A digit.
        special: A special character.
    """

    profile: Profile = Profile.PLAN
    least: int = 12
    upper: bool = True
    lower: bool = True
    number: bool = True
    special: bool = True

    def faults(self, password: str, about: Sequence[str] = ()) -> list[str]:
        """Return what is wrong with a password: sentences without their full stop, none where it is good.

        Args:
            password: What somebody wants as a password.
            about: What is known of them (address, name), which a guesser knows too.
        """
        if len(password) > LONGEST:
            return [f"Password must be at most {LONGEST:,} characters"]
        if self.profile is Profile.PLAN:
            return self._plan(password)
        return self._modern(password, about)

    def _plan(self, password: str) -> list[str]:
        found = []
        if len(password) < self.least:
            found.append(f"Password must be at least {self.least} characters")
        if self.upper and not re.search("[A-Z]", password):
            found.append("Password must contain uppercase letter")
        if self.lower and not re.search("[a-z]", password):
            found.append("Password must contain lowercase letter")
        if self.number and not re.search("[0-9]", password):
            found.append("Password must contain number")
        if self.special and not _SPECIAL.search(password):
            found.append("Password must contain special character")
        return found

    def _modern(self, password: str, about: Sequence[str]) -> list[str]:
        from zxcvbn_rs_py import zxcvbn  # noqa: PLC0415  a word list, read where passwords are set

        least = max(self.least, _MODERN_LEAST)
        # Counted as people see them: one accented letter is one, however it was typed (800-63B-4, 3.1.1.2).
        length = len(unicodedata.normalize("NFKC", password))
        if length < least:
            return [f"Password must be at least {least} characters"]
        known = [word for each in about for word in (each, *re.findall(r"\w{3,}", each))]
        rest = password.casefold()
        for word in sorted(known, key=len, reverse=True):
            rest = rest.replace(word.casefold(), "")
        if len(re.sub(r"\W", "", rest)) < _OWN and len(rest) < len(password):
            return ["Password is made of your own name or address"]
        judged = zxcvbn(password[:100], known)
        if int(judged.score) >= _SCORE:
            return []
        feedback = judged.feedback
        hint = str(feedback.warning) if feedback is not None and feedback.warning else ""
        return [
            "Password is one that attackers try early" + (f": {hint.rstrip('.')}" if hint else "")
        ]
