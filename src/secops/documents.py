"""YAML as it is written: every value as text, and the line of everything in it.

Values stay text because what they become is for their reader to say: to YAML ``012`` is ten, ``1:30`` is
ninety and ``no`` is false, and none of that is what an environment variable of that text means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Never

from secops.errors import ConfigurationError

if TYPE_CHECKING:
    from yaml import Node

At = tuple[str | int, ...]
"""Where something stands in a document: the keys and indexes that lead to it."""

_LARGEST: Final = 1_000_000
_MOST_NODES: Final = 20_000  # aliases of aliases make a short file huge
# libyaml's loader is fast, and crashes the process where something is nested some 25,000 deep.
_LONGEST_FOR_LIBYAML: Final = 20_000


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file, or a part of one.

    Attributes:
        path: The file.
        data: Mappings as ``dict``, lists as ``list``, values as ``str``, nothing as ``None``.
        lines: The line of everything, by where it stands.
        hint: What to read, for complaints that have nothing better to say.
    """

    path: Path
    data: object
    lines: Mapping[At, int] = field(default_factory=dict)
    hint: str = ""

    def line(self, at: At = ()) -> int:
        """Return the line where something stands, or where what should hold it does."""
        for length in range(len(at), -1, -1):
            if at[:length] in self.lines:
                return self.lines[at[:length]]
        return 1

    def where(self, at: At = ()) -> str:
        """Return file and line, as messages name them."""
        return f"{shown(self.path)}:{self.line(at)}"

    def complain(self, at: At, message: str, hint: str = "") -> Never:
        """Refuse the document.

        Args:
            at: Where the fault is.
            message: What it is, without a full stop.
            hint: What to do.

        Raises:
            ConfigurationError: Always; its details hold ``file`` and ``line``.
        """
        raise ConfigurationError(
            f"{self.where(at)}: {message}.",
            hint=hint or self.hint,
            details={"file": str(self.path), "line": self.line(at)},
        )

    def part(self, *keys: str | int) -> Document:
        """Return a part of it as a document of its own, with its lines."""
        data = self.data
        for key in keys:
            assert isinstance(data, (dict, list))
            data = data[key]  # type: ignore[index]  # a list is asked for a number
        depth = len(keys)
        lines = {at[depth:]: line for at, line in self.lines.items() if at[:depth] == keys}
        return Document(self.path, data, lines, self.hint)


def shown(path: Path) -> str:
    """Return a path as messages name it: relative to the working directory where it is inside."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def read(path: Path, hint: str = "") -> Document:
    """Read a YAML file.

    Args:
        path: The file.
        hint: What to read about such files, for complaints.

    Raises:
        ConfigurationError: It cannot be read, is no YAML, or holds a key twice.
    """
    import yaml  # noqa: PLC0415  most commands read no such file, and start-up is their latency

    empty = Document(path, None, {}, hint)
    try:
        if path.stat().st_size > _LARGEST:
            empty.complain((), f"the file is larger than {_LARGEST:,} bytes")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        empty.complain((), f"the file cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        _at(path, line, hint).complain((), "this is not UTF-8", "Save it in UTF-8.")
    quick = len(text) <= _LONGEST_FOR_LIBYAML
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader) if quick else yaml.SafeLoader
    try:
        root = yaml.compose(text, Loader=loader)
        return empty if root is None else from_node(path, root, hint)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        _at(path, line, hint).complain((), f"this is not YAML: {error.problem}")
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, int(error.position)) + 1
        _at(path, line, hint).complain((), "a character that YAML does not allow")
    except RecursionError:
        empty.complain((), "this is nested too deeply")


def from_node(path: Path, node: Node, hint: str = "") -> Document:
    """Make a document of what PyYAML composed.

    Raises:
        ConfigurationError: A key stands twice, is no text, or aliases make it huge.
        RecursionError: It is nested too deeply.
    """
    lines: dict[At, int] = {}
    data = _plain(path, node, (), lines, hint)
    return Document(path, data, lines, hint)


def _plain(path: Path, node: Node, at: At, lines: dict[At, int], hint: str) -> object:
    import yaml  # noqa: PLC0415

    lines.setdefault(at, node.start_mark.line + 1)
    so_far = Document(path, None, lines, hint)
    if len(lines) > _MOST_NODES:
        so_far.complain((), f"more than {_MOST_NODES:,} values stand here, aliases resolved")
    if isinstance(node, yaml.SequenceNode):
        return [
            _plain(path, each, (*at, index), lines, hint) for index, each in enumerate(node.value)
        ]
    if isinstance(node, yaml.MappingNode):
        found: dict[str, object] = {}
        for name, child in node.value:
            line = name.start_mark.line + 1
            if not isinstance(name, yaml.ScalarNode):
                _at(path, line, hint).complain((), "a key must be a word")
            key = str(name.value)
            if key in found:
                first = lines[(*at, key)]
                _at(path, line, hint).complain((), f"{key!r} stands twice; first on line {first}")
            lines[(*at, key)] = line
            found[key] = _plain(path, child, (*at, key), lines, hint)
        return found
    return None if str(node.tag).endswith(":null") else str(node.value)


def _at(path: Path, line: int, hint: str) -> Document:
    """Return a document that can only complain, about one line."""
    return Document(path, None, {(): line}, hint)
