"""Read YAML with the line of everything in it, so that every complaint can name file and line."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final, Never

import yaml

from secops.durations import parse_duration
from secops.errors import ConfigurationError, UsageError

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# libyaml's loader crashes the process where something is nested some 25,000 deep.
_LONGEST: Final = 10_000


def shown(path: Path) -> str:
    """Return a path as messages name it: relative to the working directory where it is inside."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def complain(path: Path, line: int, message: str, hint: str = "") -> Never:
    """Refuse a file.

    Raises:
        ConfigurationError: Always; its details hold ``file`` and ``line``.
    """
    raise ConfigurationError(
        f"{shown(path)}:{line}: {message}.",
        hint=hint or "docs/reports.md describes how a report is written.",
        details={"file": str(path), "line": line},
    )


def nearest(word: str, known: Sequence[str], otherwise: str) -> str:
    """Return a hint: the known word that a mistyped one is nearest to, or all of them."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"Did you mean {near[0]}?" if near else f"{otherwise} {', '.join(known)}."


def compose(path: Path, lines: Sequence[str]) -> yaml.MappingNode:
    """Read lines of a file, the first of which is its line 1, as a mapping.

    Raises:
        ConfigurationError: They are no YAML mapping.
    """
    text = "\n".join(lines)
    if len(text) > _LONGEST:
        complain(path, 1, f"the header is longer than {_LONGEST:,} characters")
    try:
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        complain(path, line, f"the header is not YAML: {error.problem}")
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        complain(path, line, "the header holds a character that YAML does not allow")
    if not isinstance(root, yaml.MappingNode):
        complain(path, 1, "the header must hold `key: value` lines, and a title among them")
    return root


class Value:
    """One value of a mapping.

    Attributes:
        path: The file.
        key: The key that it stands under.
        node: The value itself.
        line: The line of the key.
    """

    def __init__(self, path: Path, key: str, node: yaml.Node, line: int) -> None:
        self.path, self.key, self.node, self.line = path, key, node, line

    @property
    def is_null(self) -> bool:
        """Whether nothing, ``~`` or ``null`` stands there."""
        return str(self.node.tag).endswith(":null")

    @property
    def is_text(self) -> bool:
        """Whether one value stands there."""
        return isinstance(self.node, yaml.ScalarNode)

    def text(self) -> str:
        """Return one value as it is written; an empty string where nothing is."""
        if not isinstance(self.node, yaml.ScalarNode):
            complain(self.path, self.line, f"{self.key} takes one value")
        return "" if self.is_null else str(self.node.value)

    def texts(self) -> tuple[str, ...]:
        """Return a list of values; one value is a list of one."""
        if not isinstance(self.node, yaml.SequenceNode):
            return () if self.is_null else (self.text(),)
        return tuple(
            Value(self.path, self.key, node, node.start_mark.line + 1).text()
            for node in self.node.value
        )

    def mapping(self, keys: Sequence[str] = ()) -> Fields:
        """Return the values by name; see :class:`Fields`."""
        if not isinstance(self.node, yaml.MappingNode):
            complain(self.path, self.line, f"{self.key} takes `name: value` lines")
        return Fields(self.path, self.node, keys, self.key)

    def check(self, reading: Callable[[], object]) -> None:
        """Run something that reads this value and name its line where that fails.

        Raises:
            ConfigurationError: It raised :class:`UsageError`.
        """
        try:
            reading()
        except UsageError as error:
            complain(self.path, self.line, f"{self.key}: {error.message.rstrip('.')}", error.hint)


class Fields(dict[str, Value]):
    """The values of a mapping by their keys.

    Args:
        path: The file.
        node: The mapping.
        keys: The only keys that it may hold; any where empty.
        where: What it is, for messages.

    Raises:
        ConfigurationError: A key is unknown or stands twice.
    """

    def __init__(self, path: Path, node: yaml.MappingNode, keys: Sequence[str], where: str) -> None:
        super().__init__()
        self.path, self.where, self.line = path, where, node.start_mark.line + 1
        for name, child in node.value:
            line, key = name.start_mark.line + 1, str(name.value)
            if keys and key not in keys:
                complain(path, line, f"{where} has no {key!r}", nearest(key, keys, "It may hold"))
            if key in self:
                complain(path, line, f"{key!r} stands twice; first on line {self[key].line}")
            self[key] = Value(path, key, child, line)

    def text(self, key: str, *, needed: bool = False) -> str:
        """Return one value; an empty string where it is not there."""
        found = self[key].text() if key in self else ""
        if needed and not found.strip():
            complain(self.path, self.line, f"{self.where} lacks a {key}")
        return found

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of values; empty where it is not there."""
        return self[key].texts() if key in self else ()

    def mapping(self, key: str) -> Mapping[str, Value]:
        """Return a mapping; empty where it is not there."""
        return self[key].mapping() if key in self and not self[key].is_null else {}

    def span(self, key: str) -> timedelta | None:
        """Return a span of time; ``None`` where it is not there."""
        text = self.text(key)
        if not text:
            return None
        self[key].check(lambda: parse_duration(text))
        return parse_duration(text)

    def flag(self, key: str) -> bool:
        """Return true or false; false where it is not there."""
        text = self.text(key).lower()
        if text not in {"", "true", "false"}:
            complain(self.path, self[key].line, f"{key} must be true or false")
        return text == "true"
