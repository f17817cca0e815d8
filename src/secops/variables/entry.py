"""One variable of the registry: what it holds, within which bounds, and which way is stricter."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import timedelta

from secops.errors import UsageError
from secops.variables import kinds
from secops.variables.kinds import Kind, Value


class Stricter(enum.StrEnum):
    """Which way of a variable is the stricter one."""

    SMALLER = "smaller"
    LARGER = "larger"
    TRUE = "true"
    FALSE = "false"
    ORDER = "order"
    """The later one in ``choices``."""
    NONE = "none"


class Direction(enum.StrEnum):
    """What a change of a variable does to the security of the app."""

    TIGHTEN = "tighten"
    RELAX = "relax"
    SAME = "same"
    """Another text for the same, or no change."""
    NEUTRAL = "neutral"
    """It has no stricter way, or what the app makes of one of the values is not known."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One variable.

    Attributes:
        name: Its name.
        type: What it holds.
        default: The value where it is absent, in canonical form; ``None`` where there is none.
        absent_is_default: Whether a live app surely uses the default where the variable is absent.
        minimum: The least value, or the least length of a text.
        maximum: The greatest value, or the greatest length of a text.
        choices: The words it may hold, the loosest first.
        secret: Whether it may never be shown, nor stand in a profile.
        stricter: Which way is stricter.
        about: What it is, in a sentence.
        plan: The section of the security plan that names it; empty for entries of your own.
        own: Whether it comes from the user's folder, or was changed there.
    """

    name: str
    type: Kind
    default: str | None = None
    absent_is_default: bool = True
    minimum: timedelta | int | None = None
    maximum: timedelta | int | None = None
    choices: tuple[str, ...] = ()
    secret: bool = False
    stricter: Stricter = Stricter.NONE
    about: str = ""
    plan: str = ""
    own: bool = False

    def read(self, text: str) -> Value:
        """Return the value that a text stands for, as people write it.

        Returns:
            A ``timedelta`` for every span of time, ``bool`` for a flag, ``int`` for a count, else ``str``.

        Raises:
            UsageError: It is no such value, or out of bounds; says the bounds. The text is not repeated.
        """
        try:
            value = kinds.loosely(self.type, text, self.choices)
        except UsageError as error:
            raise UsageError(
                f"{self.name}: {_lowered(error.message)}", hint=error.hint or self._bounds()
            ) from None
        if self.type is Kind.TEXT and "\x00" in text:
            raise UsageError(f"{self.name}: no environment variable can hold a NUL character.")
        size = len(str(value)) if self.type is Kind.TEXT else value
        over = self.maximum is not None and size > self.maximum  # type: ignore[operator]  # same kind
        under = self.minimum is not None and size < self.minimum  # type: ignore[operator]  # same kind
        if over or under:
            what = "long" if self.type is Kind.TEXT else "large" if over else "small"
            if self.type is Kind.TEXT and under:
                what = "short"
            raise UsageError(
                f"{self.name}: the value is too {what}.",
                hint=self._bounds(),
                details={"variable": self.name},
            )
        return value

    def canonical(self, text: str) -> str:
        """Return the one text that all spellings of a value share: ``1800s`` becomes ``30m``.

        Raises:
            UsageError: As :meth:`read`.
        """
        return kinds.canonical(self.type, self.read(text))

    def meaning(self, text: str | None) -> Value | None:
        """Return what every app makes of a live value; ``None`` where that is not known.

        Args:
            text: The live text; ``None`` where the variable is absent. Apps take an empty one as absent.
        """
        if text is None or (text == "" and self.type is not Kind.TEXT):
            if self.default is None or not self.absent_is_default:
                return None
            text = self.default
        return kinds.strictly(self.type, text, self.choices)

    def compare(self, old: str | None, new: str | None) -> Direction:
        """Say what a change does; ``None`` is an absent variable. Any text is taken, none raises."""
        if old == new:
            return Direction.SAME
        before, after = self.meaning(old), self.meaning(new)
        if before is None or after is None:
            return Direction.NEUTRAL
        if before == after:
            return Direction.SAME
        if self.stricter is Stricter.NONE:
            return Direction.NEUTRAL
        return Direction.TIGHTEN if self._stricter(after, before) else Direction.RELAX

    def _stricter(self, value: Value, other: Value) -> bool:
        if self.stricter is Stricter.ORDER:
            return self.choices.index(str(value)) > self.choices.index(str(other))
        if self.stricter in {Stricter.TRUE, Stricter.FALSE}:
            return bool(value) is (self.stricter is Stricter.TRUE)
        less = value < other  # type: ignore[operator]  # both are of this entry's kind
        return bool(less) is (self.stricter is Stricter.SMALLER)

    @property
    def bounds(self) -> str:
        """The bounds in words: ``1m to 30d``, ``none, lax, strict``; empty where there are none."""
        if self.choices:
            return ", ".join(self.choices)
        if self.type is Kind.FLAG:
            return "true, false"
        least, most = (self._bound(each) for each in (self.minimum, self.maximum))
        if least and most:
            return f"{least} to {most}"
        return f"from {least}" if least else f"up to {most}" if most else ""

    def _bound(self, value: timedelta | int | None) -> str:
        if value is None:
            return ""
        return (
            f"{value} characters" if self.type is Kind.TEXT else kinds.canonical(self.type, value)
        )

    def _bounds(self) -> str:
        allowed = f"Allowed: {self.bounds}. " if self.bounds else ""
        return f"{allowed}{self.about}".strip()


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
