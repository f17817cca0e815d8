"""Settings: flags over environment over ``secops.yaml`` over defaults, and where each came from."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from secops.errors import ConfigurationError, UsageError
from secops.settings.declared import DECLARED
from secops.settings.file import CONFIG_NAME, choose, read
from secops.settings.values import Declared, Origin, Secret, Value

if TYPE_CHECKING:
    from secops.documents import Document

__all__ = ["CONFIG_NAME", "DECLARED", "Declared", "Origin", "Secret", "Settings", "Value", "load"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What is set, and where each value came from. Made by :func:`load`.

    Attributes:
        values: The settings by key.
        origins: Where each came from.
        config: The ``secops.yaml`` that was read, if one was.
        environ: The environment that was read.
        structured: What the file holds beside settings, by key: see ``declared.STRUCTURED``.
    """

    values: Mapping[str, Value | Secret | None]
    origins: Mapping[str, Origin]
    config: Path | None = None
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    structured: Mapping[str, Document] = field(default_factory=dict, repr=False)

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
    path = choose(config, environ, folder) if read_file else None
    structured: dict[str, Document] = {}
    written = read(path, structured) if path else {}
    values: dict[str, Value | Secret | None] = {}
    origins: dict[str, Origin] = {}
    for setting in DECLARED:
        text, origin = _pick(setting, flags or {}, environ, written, path)
        origins[setting.key] = origin
        values[setting.key] = setting.default if text is None else _value(setting, text, origin)
    return Settings(values, origins, path, environ, structured)


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
