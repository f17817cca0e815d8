"""``secops.yaml``: finding it, and reading it with the line of each value."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from secops.errors import ConfigurationError
from secops.settings.declared import BY_KEY, STRUCTURED

if TYPE_CHECKING:
    from yaml import MappingNode, Node

    from secops.documents import Document

CONFIG_NAME: Final = "secops.yaml"


def choose(config: Path | None, environ: Mapping[str, str], folder: Path | None) -> Path | None:
    """Return the file to read, or ``None`` where there is none.

    Args:
        config: The file that the command line names.
        environ: The environment; ``SECOPS_CONFIG`` names a file too.
        folder: Where to look from, upwards; the working directory where ``None``.

    Raises:
        ConfigurationError: A file was named and is not there.
    """
    path = config or (Path(environ["SECOPS_CONFIG"]) if environ.get("SECOPS_CONFIG") else None)
    if path is None:
        return _find(folder or _working_directory())
    if not _is_file(path):
        raise ConfigurationError(
            f"There is no file {path}.",
            hint="Write it with `secops init`, or leave --config and SECOPS_CONFIG away.",
        )
    return path


def _working_directory() -> Path | None:
    try:
        return Path.cwd()
    except FileNotFoundError:  # somebody removed it under us
        return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a folder above that we may not look into; a NUL in the name
        return False


def _find(folder: Path | None) -> Path | None:
    if folder is None:
        return None
    for place in (folder, *folder.parents):
        if _is_file(place / CONFIG_NAME):
            return place / CONFIG_NAME
        if (place / ".git").exists():
            return None
    return None


_LOOKS: Final = "`secops init --print` shows what the file looks like."


def read(path: Path, structured: dict[str, Document]) -> dict[str, tuple[str, int]]:
    """Return each scalar of the file by its dotted key, with its line.

    Args:
        path: The file.
        structured: Filled with what is no setting; see ``declared.STRUCTURED``.

    Raises:
        ConfigurationError: It cannot be read, is not YAML, or holds what no setting can be.
    """
    import yaml  # noqa: PLC0415  most commands run without a file, and start-up is their latency

    try:
        text = path.read_text(encoding="utf-8")
        # Not libyaml's loader: it crashes the process on a deeply nested file.
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror}.", hint="Mend its permissions."
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is not UTF-8.", hint="Save it as UTF-8.") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = re.sub(r"'([^']*)'|\"([^\"]*)\"", _unquoted, error.problem or "")
        raise ConfigurationError(
            f"{path}:{line}: this is not YAML: {problem}.", hint=_LOOKS
        ) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigurationError(
            f"{path}:{line}: a character that YAML does not allow.", hint="Write it as an escape."
        ) from None
    except RecursionError:
        raise ConfigurationError(f"{path} is nested too deeply.", hint=_LOOKS) from None
    if root is None:
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise ConfigurationError(
            f"{path}:1: the file must hold settings, one `key: value` a line.", hint=_LOOKS
        )
    found: dict[str, tuple[str, int]] = {}
    try:
        _walk(path, _settings_of(path, root, structured), "", found)
    except RecursionError:
        raise ConfigurationError(f"{path} is nested too deeply.", hint=_LOOKS) from None
    return found


def _settings_of(path: Path, root: MappingNode, structured: dict[str, Document]) -> MappingNode:
    """Take what is no setting out of the file."""
    import yaml  # noqa: PLC0415

    left = []
    for name, child in root.value:
        key = str(name.value)
        if key not in STRUCTURED:
            left.append((name, child))
            continue
        from secops.documents import from_node  # noqa: PLC0415  only where the file holds any

        if key in structured:
            line = name.start_mark.line + 1
            raise ConfigurationError(
                f"{path}:{line}: {key} stands twice.", hint="Keep one of the two."
            )
        structured[key] = from_node(path, child, _LOOKS)
    return yaml.MappingNode(root.tag, left, root.start_mark, root.end_mark)


def _unquoted(found: re.Match[str]) -> str:
    """Keep what YAML's complaints quote only where it is syntax: the file may hold a password."""
    quoted = found[1] or found[2] or ""
    return found[0] if len(quoted) <= 1 or quoted.startswith("<") else "something"


def _walk(path: Path, node: MappingNode, prefix: str, found: dict[str, tuple[str, int]]) -> None:
    import yaml  # noqa: PLC0415

    sections = {key.split(".")[0] for key in BY_KEY if "." in key}
    for name, child in node.value:
        line = name.start_mark.line + 1
        key = prefix + str(name.value)
        if not re.fullmatch(r"[\w.-]{1,64}", key):
            # Not repeated: a URL that lost its `database_url:` stands here too.
            raise ConfigurationError(
                f"{path}:{line}: what stands before the colon is no setting's name.", hint=_LOOKS
            )
        if isinstance(child, yaml.MappingNode) and key in sections:
            _walk(path, child, f"{key}.", found)
            continue
        if key in sections and child.tag == "tag:yaml.org,2002:null":
            continue
        if key in sections:
            raise ConfigurationError(
                f"{path}:{line}: {key} takes settings of its own, indented under it.",
                hint="They are: "
                + ", ".join(each for each in BY_KEY if each.startswith(f"{key}.")),
            )
        if key not in BY_KEY:
            raise ConfigurationError(
                f"{path}:{line}: there is no setting {key!r}.", hint=_nearest(key, sections)
            )
        if not isinstance(child, yaml.ScalarNode):
            raise ConfigurationError(
                f"{path}:{line}: {key} takes one value, not a {_kind(child)}.",
                hint=BY_KEY[key].help,
            )
        if key in found:
            raise ConfigurationError(
                f"{path}:{line}: {key} stands twice; first on line {found[key][1]}.",
                hint="Keep one of the two.",
            )
        if child.tag != "tag:yaml.org,2002:null":
            found[key] = (child.value, line)


def _kind(node: Node) -> str:
    return "list" if node.tag.endswith(":seq") else "mapping"


def _nearest(key: str, sections: set[str]) -> str:
    known = [*BY_KEY, *STRUCTURED]
    near = difflib.get_close_matches(key, [*known, *sections], n=1, cutoff=0.5)
    if near:
        return f"Did you mean {near[0]}?"
    return "The settings are: " + ", ".join(known) + "."
