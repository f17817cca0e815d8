"""The variables of a process, read into domain types: what an app in Python asks at its start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from secops.errors import ConfigurationError, UsageError
from secops.settings import Secret
from secops.variables.kinds import Value
from secops.variables.registry import Registry, registry
from secops.variables.rules import Level


@dataclass(frozen=True, slots=True)
class Values:
    """What an environment says, by name. Made by :func:`read`.

    Attributes:
        values: Typed; ``None`` where a variable is absent and has no default.
        given: The names that the environment itself sets.
        warnings: Rules that it breaks and that refuse nothing, in words.
    """

    values: Mapping[str, Value | Secret | None]
    given: frozenset[str]
    warnings: tuple[str, ...] = ()

    def span(self, name: str) -> timedelta:
        """Return a span of time."""
        value = self.values[name]
        assert isinstance(value, timedelta), name
        return value

    def flag(self, name: str) -> bool:
        """Return yes or no."""
        value = self.values[name]
        assert isinstance(value, bool), name
        return value

    def count(self, name: str) -> int:
        """Return a whole number."""
        value = self.values[name]
        assert isinstance(value, int), name
        return value

    def text(self, name: str) -> str:
        """Return a word or a text."""
        value = self.values[name]
        assert isinstance(value, str), name
        return value

    def secret(self, name: str) -> Secret | None:
        """Return a secret, or ``None`` where it is absent."""
        value = self.values[name]
        assert value is None or isinstance(value, Secret), name
        return value


def read(environ: Mapping[str, str], known: Registry | None = None) -> Values:
    """Read every variable of the registry; what is absent or empty has its default.

    Args:
        environ: The environment.
        known: The registry; the one that ships where ``None``.

    Raises:
        ConfigurationError: A value cannot be read or is out of bounds, or a rule across variables is
            broken. Names all that is wrong, and repeats no value of a secret.
    """
    known = known or registry()
    values: dict[str, Value | Secret | None] = {}
    texts: dict[str, str | None] = {}
    faults: list[str] = []
    for name, entry in known.entries.items():
        text = environ.get(name) or entry.default
        try:
            value = None if text is None else entry.read(text)
        except UsageError as error:
            faults.append(f"{error.message} {error.hint}".strip())
            continue
        texts[name] = None if text is None else entry.canonical(text)
        values[name] = Secret(value) if entry.secret and isinstance(value, str) else value
    broken = known.check(texts)
    faults += [each.message for each in broken if each.level is Level.ERROR]
    if faults:
        raise ConfigurationError(
            f"The environment does not hold together: {faults[0]}",
            hint="\n".join(faults[1:]),
            details={"faults": faults},
        )
    warnings = tuple(each.message for each in broken)
    return Values(values, frozenset(name for name in values if environ.get(name)), warnings)
