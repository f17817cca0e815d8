"""What a setting is, where its value came from, and how a secret one is held."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

Value = str | int | bool | timedelta | Path


class Secret:
    """Text that no repr, log, traceback or ``str()`` shows."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text. Call it where it is handed over, and nowhere else."""
        return self._text

    def __repr__(self) -> str:
        return "Secret('***')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a setting's value came from.

    Attributes:
        kind: ``flag``, ``environment``, ``file`` or ``default``.
        detail: The flag, the variable, or file and line.
    """

    kind: str
    detail: str

    def __str__(self) -> str:
        return self.detail if self.kind != "default" else "default"


@dataclass(frozen=True, slots=True)
class Declared:
    """One setting.

    Attributes:
        key: Its name in ``secops.yaml``; a dot means a mapping (``users.table``).
        env: Environment variables that set it, the first that is set wins.
        read: Turns text into the value; raises ``ValueError`` or ``UsageError`` with the reason.
        default: The value where nothing sets it; ``None`` means unset.
        help: One sentence for the documentation.
        secret: Whether its value may never be shown.
    """

    key: str
    env: tuple[str, ...]
    read: Callable[[str], Value]
    default: Value | None
    help: str
    secret: bool = False
