"""Settings: flags over environment over ``secops.yaml`` over defaults, and where each came from.

Every setting is declared once, in :data:`DECLARED`; ``secops doctor --settings``, the documentation and
the check of ``secops.yaml`` all read that table.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from secops.durations import parse_duration
from secops.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from yaml import MappingNode, Node

CONFIG_NAME: Final = "secops.yaml"

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


def _count(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        # Longer digits than any allowed number has would be refused by int() in its own words.
        digits = text.strip()
        if not re.fullmatch(r"[0-9]{1,18}", digits) or not least <= int(digits) <= most:
            raise ValueError(f"must be a whole number from {least:,} to {most:,}")
        return int(digits)

    return read


def _yes_or_no(text: str) -> bool:
    known = {"true": True, "yes": True, "on": True, "1": True}
    known |= {"false": False, "no": False, "off": False, "0": False}
    try:
        return known[text.strip().lower()]
    except KeyError:
        raise ValueError("must be true or false") from None


def _name(text: str) -> str:
    if not text or "\x00" in text or len(text.encode()) > 63:  # noqa: PLR2004  PostgreSQL's limit
        raise ValueError("must be a name of 1 to 63 bytes")
    return text


def _path(kind: str) -> Callable[[str], Path]:
    def read(text: str) -> Path:
        if not text or "\x00" in text:
            raise ValueError(f"must name a {kind}")
        try:
            return Path(text).expanduser()
        except RuntimeError:
            raise ValueError("names a home folder that is not there") from None

    return read


_folder: Final = _path("folder")


def _retention(text: str) -> timedelta:
    span = parse_duration(text)
    if span < timedelta(days=1):
        raise ValueError("must be a day at least")
    return span


def _one_of(*known: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.strip().lower() not in known:
            raise ValueError(f"must be one of {', '.join(known)}")
        return text.strip().lower()

    return read


DECLARED: Final[tuple[Declared, ...]] = (
    Declared(
        "database_url",
        ("SECOPS_DATABASE_URL", "DATABASE_URL"),
        str,
        None,
        "The database to work on. PG* variables, ~/.pgpass and service files are honoured beside it.",
        secret=True,
    ),
    Declared(
        "report_database_url",
        ("SECOPS_REPORT_DATABASE_URL",),
        str,
        None,
        "A replica, or the reader's login, for reports; they use database_url where this is unset.",
        secret=True,
    ),
    Declared(
        "direct_url",
        ("SECOPS_DIRECT_URL",),
        str,
        None,
        "The server itself, where database_url goes through a transaction pooler; migrations need it.",
        secret=True,
    ),
    Declared(
        "schema",
        ("SECOPS_SCHEMA",),
        _name,
        None,
        "PostgreSQL schema of refresh_tokens and security_events; that of the users table where unset.",
    ),
    Declared(
        "users.schema", (), _name, None, "PostgreSQL schema of the app's users table; detected."
    ),
    Declared(
        "users.table", ("SECOPS_USERS_TABLE",), _name, None, "The app's users table; detected."
    ),
    Declared("users.id", (), _name, None, "Its key column; detected."),
    Declared(
        "users.email",
        (),
        _name,
        None,
        "Its column with the e-mail address or login name; detected.",
    ),
    Declared("users.name", (), _name, None, "Its column with a person's name, if any; detected."),
    Declared(
        "users.active",
        (),
        _name,
        None,
        "Its boolean column that says who may log in, if any; detected.",
    ),
    Declared(
        "users.password",
        (),
        _name,
        None,
        "Its column with the password hash, which secops never reads; detected.",
    ),
    Declared(
        "queries",
        ("SECOPS_QUERIES",),
        _folder,
        None,
        "A folder with reports of your own (.sql files).",
    ),
    Declared(
        "operator",
        ("SECOPS_OPERATOR",),
        str,
        None,
        "Who acts, as the audit trail names them; the system user where unset.",
    ),
    Declared(
        "require_reason",
        ("SECOPS_REQUIRE_REASON",),
        _yes_or_no,
        True,
        "Whether account commands refuse to act without --reason.",
    ),
    Declared(
        "production",
        ("SECOPS_PRODUCTION",),
        _yes_or_no,
        False,
        "Whether every change asks first, single ones too.",
    ),
    Declared(
        "max_login_attempts",
        ("MAX_LOGIN_ATTEMPTS",),
        _count(1, 10_000),
        5,
        "Failed logins that lock an account, as the app counts them.",
    ),
    Declared(
        "lockout_duration",
        ("SECOPS_LOCKOUT_DURATION",),
        parse_duration,
        timedelta(minutes=30),
        "How long an automatic lock lasts in the app.",
    ),
    Declared(
        "connect_timeout",
        ("SECOPS_CONNECT_TIMEOUT",),
        parse_duration,
        timedelta(seconds=5),
        "How long to wait for a connection.",
    ),
    Declared(
        "lock_timeout",
        ("SECOPS_LOCK_TIMEOUT",),
        parse_duration,
        timedelta(milliseconds=100),
        "The longest that the app ever waits for a lock of ours.",
    ),
    Declared(
        "lock_budget",
        ("SECOPS_LOCK_BUDGET",),
        parse_duration,
        timedelta(minutes=10),
        "How long migrations keep retrying for a lock, in all.",
    ),
    Declared(
        "report_timeout",
        ("SECOPS_REPORT_TIMEOUT",),
        parse_duration,
        timedelta(seconds=30),
        "The longest that one report may run.",
    ),
    Declared(
        "ping_url",
        ("SECOPS_PING_URL",),
        str,
        None,
        "Where `secops cron cleanup` tells a monitor that it began, ended or failed.",
        secret=True,
    ),
    Declared(
        "retention.preset",
        ("SECOPS_RETENTION_PRESET",),
        _one_of("soc2", "hipaa", "pci", "gdpr"),
        None,
        "How long events stay where the next three say nothing: soc2, hipaa, pci or gdpr. Not legal advice.",
    ),
    Declared(
        "retention.information",
        ("SECOPS_RETENTION_INFORMATION",),
        _retention,
        None,
        "How long routine events stay (logins, refreshes); for ever where unset.",
    ),
    Declared(
        "retention.security",
        ("SECOPS_RETENTION_SECURITY",),
        _retention,
        None,
        "How long warnings, lockouts, theft and changes of access stay; for ever where unset.",
    ),
    Declared(
        "retention.operator",
        ("SECOPS_RETENTION_OPERATOR",),
        _retention,
        None,
        "How long the audit of operators' acts stays, no shorter than the others; for ever where unset.",
    ),
    Declared(
        "retention.holds_file",
        ("SECOPS_RETENTION_HOLDS_FILE",),
        _path("file"),
        None,
        "A file with e-mail addresses or user ids, one a line, whose events are never deleted.",
    ),
)

_BY_KEY: Final = {setting.key: setting for setting in DECLARED}


@dataclass(frozen=True, slots=True)
class Settings:
    """What is set, and where each value came from. Made by :func:`load`."""

    values: Mapping[str, Value | Secret | None]
    origins: Mapping[str, Origin]
    config: Path | None = None
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)

    def text(self, key: str) -> str | None:
        """Return a setting that is text, or ``None`` where it is unset."""
        value = self.values[key]
        assert value is None or isinstance(value, str), key
        return value

    def secret(self, key: str) -> Secret | None:
        """Return a setting that is secret, or ``None`` where it is unset."""
        value = self.values[key]
        assert value is None or isinstance(value, Secret), key
        return value

    def number(self, key: str) -> int:
        """Return a setting that is a whole number."""
        value = self.values[key]
        assert isinstance(value, int), key
        return value

    def flag(self, key: str) -> bool:
        """Return a setting that is yes or no."""
        value = self.values[key]
        assert isinstance(value, bool), key
        return value

    def span(self, key: str) -> timedelta:
        """Return a setting that is a span of time."""
        value = self.values[key]
        assert isinstance(value, timedelta), key
        return value

    def optional_span(self, key: str) -> timedelta | None:
        """Return a setting that is a span of time, or ``None`` where it is unset."""
        return None if self.values[key] is None else self.span(key)

    def folder(self, key: str) -> Path | None:
        """Return a setting that is a folder or file; one from ``secops.yaml`` is relative to that file."""
        value = self.values[key]
        assert value is None or isinstance(value, Path), key
        if value is None or self.origins[key].kind != "file" or self.config is None:
            return value
        return self.config.parent / value

    def names_a_server(self) -> bool:
        """Say whether anything names a server: a URL, or libpq's own environment."""
        return self.values["database_url"] is not None or any(
            self.environ.get(name) for name in ("PGHOST", "PGHOSTADDR", "PGSERVICE", "PGDATABASE")
        )


def load(
    flags: Mapping[str, str | None] | None = None,
    *,
    config: Path | None = None,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
    read_file: bool = True,
) -> Settings:
    """Gather the settings.

    Args:
        flags: Settings by key as the command line gave them; ``None`` means not given.
        config: The ``secops.yaml`` to read; it must exist. Without it, ``SECOPS_CONFIG`` names it, or
            the nearest one in ``folder`` and above, up to the root of a repository, is read.
        environ: The environment; the process's own where ``None``.
        folder: Where to look for ``secops.yaml``; the working directory where ``None``.
        read_file: Whether to read a ``secops.yaml`` at all; what needs none works beside a broken one.

    Raises:
        ConfigurationError: A file, variable or flag holds what no setting can be.
    """
    environ = os.environ if environ is None else environ
    path = _choose(config, environ, folder) if read_file else None
    written = _read_file(path) if path else {}
    values: dict[str, Value | Secret | None] = {}
    origins: dict[str, Origin] = {}
    for setting in DECLARED:
        text, origin = _pick(setting, flags or {}, environ, written, path)
        origins[setting.key] = origin
        values[setting.key] = setting.default if text is None else _value(setting, text, origin)
    return Settings(values, origins, path, environ)


def _choose(config: Path | None, environ: Mapping[str, str], folder: Path | None) -> Path | None:
    path = config or (Path(environ["SECOPS_CONFIG"]) if environ.get("SECOPS_CONFIG") else None)
    if path is None:
        return _find(folder or _working_directory())
    if not _is_file(path):
        raise ConfigurationError(
            f"There is no file {path}.",
            hint="Write it with `secops init`, or leave --config and SECOPS_CONFIG away.",
        )
    return path


def _pick(
    setting: Declared,
    flags: Mapping[str, str | None],
    environ: Mapping[str, str],
    written: Mapping[str, tuple[str, int]],
    path: Path | None,
) -> tuple[str | None, Origin]:
    flag = flags.get(setting.key)
    if flag is not None:
        return flag, Origin("flag", "--" + setting.key.replace(".", "-").replace("_", "-"))
    for name in setting.env:
        if environ.get(name):
            return environ[name], Origin("environment", name)
    if setting.key in written:
        text, line = written[setting.key]
        return text, Origin("file", f"{path}:{line}")
    return None, Origin("default", "")


def _value(setting: Declared, text: str, origin: Origin) -> Value | Secret:
    if setting.secret:
        return Secret(text)
    try:
        return setting.read(text)
    except UsageError as error:
        message = error.message if _harmless(text) else "That cannot be read."
        raise ConfigurationError(f"{setting.key} ({origin}): {message}", hint=error.hint) from None
    except ValueError as error:
        what = f"; it is {text!r}" if _harmless(text) else ""
        raise ConfigurationError(
            f"{setting.key} ({origin}) {error}{what}.", hint=setting.help
        ) from None


def _harmless(text: str) -> bool:
    """Say whether a value may be repeated: somebody may have put a URL where it does not belong."""
    return len(text) <= 80 and not re.search(r"@|//|=", text)  # noqa: PLR2004


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


def _read_file(path: Path) -> dict[str, tuple[str, int]]:
    """Return each scalar of the file by its dotted key, with its line."""
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
    _walk(path, root, "", found)
    return found


def _unquoted(found: re.Match[str]) -> str:
    """Keep what YAML's complaints quote only where it is syntax: the file may hold a password."""
    quoted = found[1] or found[2] or ""
    return found[0] if len(quoted) <= 1 or quoted.startswith("<") else "something"


def _walk(path: Path, node: MappingNode, prefix: str, found: dict[str, tuple[str, int]]) -> None:
    import yaml  # noqa: PLC0415

    sections = {key.split(".")[0] for key in _BY_KEY if "." in key}
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
                + ", ".join(each for each in _BY_KEY if each.startswith(f"{key}.")),
            )
        if key not in _BY_KEY:
            raise ConfigurationError(
                f"{path}:{line}: there is no setting {key!r}.", hint=_nearest(key, sections)
            )
        if not isinstance(child, yaml.ScalarNode):
            raise ConfigurationError(
                f"{path}:{line}: {key} takes one value, not a {_kind(child)}.",
                hint=_BY_KEY[key].help,
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
    near = difflib.get_close_matches(key, [*_BY_KEY, *sections], n=1, cutoff=0.5)
    if near:
        return f"Did you mean {near[0]}?"
    return "The settings are: " + ", ".join(_BY_KEY) + "."
