"""All variables that secops knows: those of the plan, and those of the user's own folder."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from secops.errors import UsageError
from secops.resources import shipped
from secops.variables.entry import Direction, Entry
from secops.variables.rules import Level, Rule

FILE: Final = "registry.yaml"
"""The file of a folder of profiles that describes variables."""

RESERVED: Final = ("SECOPS_", "RAILWAY_")
"""How names begin that no profile may hold: secops' own, and those that a platform sets itself."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule that an environment breaks.

    Attributes:
        rule: Which.
        message: Which variables break it, in words, without a value.
    """

    rule: Rule
    message: str

    @property
    def level(self) -> Level:
        """How bad it is."""
        return self.rule.level


@dataclass(frozen=True, slots=True)
class Registry:
    """The variables by name, and the rules across them. Made by :func:`registry`."""

    entries: Mapping[str, Entry]
    rules: tuple[Rule, ...] = ()
    folder: Path | None = field(default=None)

    def __contains__(self, name: object) -> bool:
        return name in self.entries

    def entry(self, name: str) -> Entry:
        """Return a variable.

        Raises:
            UsageError: There is none of that name; names the nearest.
        """
        if name not in self.entries:
            raise UsageError(
                f"There is no variable {name!r} in the registry.", hint=self.nearest(name)
            )
        return self.entries[name]

    def nearest(self, name: str) -> str:
        """Return a hint for a name that is not known."""
        near = difflib.get_close_matches(name.upper(), self.entries, n=1, cutoff=0.6)
        hint = f"Did you mean {near[0]}? " if near else ""
        return f"{hint}A variable of your own is described in {FILE} of your folder of profiles."

    def canonical(self, name: str, text: str) -> str:
        """Return the one text that all spellings of a value share.

        Raises:
            UsageError: The variable is not known, or the text is no value of it or out of its bounds.
        """
        return self.entry(name).canonical(text)

    def compare(self, name: str, old: str | None, new: str | None) -> Direction:
        """Say what a change of a variable does; ``None`` is absent. An unknown variable is neutral."""
        if name not in self.entries:
            return Direction.SAME if old == new else Direction.NEUTRAL
        return self.entries[name].compare(old, new)

    def is_secret(self, name: str) -> bool:
        """Say whether a variable's value may never be shown; one that is not known counts as secret."""
        return name not in self.entries or self.entries[name].secret

    def shown(self, name: str, value: str | None) -> str | None:
        """Return a value as it may be shown: ``***`` for a secret one."""
        return "***" if value is not None and self.is_secret(name) else value

    def check(
        self, texts: Mapping[str, str | None], touched: Iterable[str] | None = None
    ) -> tuple[Broken, ...]:
        """Hold an environment against the rules.

        Args:
            texts: Its variables; one that is absent counts with its default.
            touched: Only rules that speak of one of these; all where ``None``.

        Returns:
            The rules that it breaks, errors first. What is not known breaks none.
        """
        wanted = None if touched is None else frozenset(touched)
        values = {
            name: value
            for name, entry in self.entries.items()
            if (value := entry.meaning(texts.get(name))) is not None
        }
        broken = [
            Broken(rule, self._words(rule, texts))
            for rule in self.rules
            if (wanted is None or rule.names & wanted) and not rule.holds(values)
        ]
        return tuple(sorted(broken, key=lambda each: each.level is not Level.ERROR))

    def _words(self, rule: Rule, texts: Mapping[str, str | None]) -> str:
        def named(name: str) -> str:
            text = texts.get(name)
            given = self.entries[name].default if text in (None, "") else text
            return f"{name}={self.shown(name, given)}" + (" (default)" if given is not text else "")

        if rule.first:
            return f"{named(rule.first)} must be {rule.order} {named(rule.second)}: {rule.because}."
        needs = " and ".join(
            f"{name}={self.entries[name].canonical(_text(value))}"
            for name, value in rule.need.items()
        )
        return f"{' and '.join(map(named, rule.when))} needs {needs}: {rule.because}."


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def registry(extra_folder: Path | None = None) -> Registry:
    """Read the registry.

    Args:
        extra_folder: The user's folder of profiles; its ``registry.yaml``, if there is one, adds
            variables and changes what is said of those that are there already.

    Raises:
        ConfigurationError: A file cannot be read as a registry; names file and line.
    """
    from secops.variables.files import read_registry  # noqa: PLC0415  pydantic, only where it is read

    home = shipped("profiles")
    entries, rules = read_registry(home / FILE, {}, own=False)
    own = extra_folder / FILE if extra_folder is not None else None
    if own is None or not own.is_file() or own.resolve() == (home / FILE).resolve():
        return Registry(entries, rules, extra_folder)
    entries, more = read_registry(own, entries, own=True)
    return Registry(entries, rules + more, extra_folder)
