"""The demo's folder: its server, its ``secops.yaml``, and an environment that leads nowhere else."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from secops.database import embedded
from secops.demo.load import DATABASE
from secops.errors import Refused, SecopsError
from secops.settings import CONFIG_NAME, DECLARED

_OURS: Final = "# Written by `secops quickstart`"
_CONFIG: Final = (
    _OURS
    + """ for the demo in this folder: secops commands typed here work on it.
# DATABASE_URL and SECOPS_DATABASE_URL outrank this file.
database_url: {url}
"""
)
_URL_LINE: Final = re.compile(r"^database_url:.*$", re.MULTILINE)

_OUTRANKING: Final = frozenset(
    name for setting in DECLARED if setting.key != "operator" for name in setting.env
) | {"SECOPS_CONFIG"}


@dataclass(frozen=True, slots=True)
class Home:
    """The folder that a demo lives in.

    Attributes:
        folder: Where ``secops.yaml`` stands and commands are typed; absolute.
    """

    folder: Path

    @property
    def data(self) -> Path:
        """The server's data folder."""
        return self.folder / ".secops" / "postgres"

    @property
    def config(self) -> Path:
        """The demo's ``secops.yaml``."""
        return self.folder / CONFIG_NAME

    def check(self) -> None:
        """Make sure that the folder has no ``secops.yaml`` but the demo's.

        Raises:
            Refused: It has one of somebody's own.
        """
        if self.config.exists() and not self._written().startswith(_OURS):
            raise Refused(
                f"{self.config} is not the demo's: quickstart does not overwrite it.",
                hint="Give the demo a folder of its own: `secops quickstart demo`.",
            )

    def start(self, *, reset: bool = False) -> str:
        """Start the server, or find it running.

        Args:
            reset: Whether a data folder that no server starts on is made anew.

        Returns:
            The URL of its ``postgres`` database.
        """
        self.data.parent.mkdir(parents=True, exist_ok=True)
        # The demo is nobody's code: it stays out of the repository that it may stand in.
        (self.data.parent / ".gitignore").write_text("*\n", encoding="utf-8")
        try:
            return embedded.start(self.data)
        except SecopsError:
            if not reset or not self.data.exists():
                raise
            shutil.rmtree(self.data)
            return embedded.start(self.data)

    def write(self, server_url: str) -> None:
        """Write ``secops.yaml``; one that is the demo's keeps what was added to it.

        Args:
            server_url: As :meth:`start` returned it.
        """
        database_url = server_url.replace("/postgres?", f"/{DATABASE}?", 1)
        line = json.dumps(database_url)  # YAML reads JSON's strings
        if self.config.exists():
            text = _URL_LINE.sub(lambda _: f"database_url: {line}", self._written())
        else:
            text = _CONFIG.format(url=line)
        self.config.write_text(text, encoding="utf-8")

    def _written(self) -> str:
        return self.config.read_text(encoding="utf-8", errors="replace")


def leads_elsewhere(name: str) -> bool:
    """Say whether a variable could lead a command, or libpq, away from what ``secops.yaml`` says."""
    return name in _OUTRANKING or name.startswith("PG")


def outranking(environ: Mapping[str, str]) -> list[str]:
    """Return the variables that are set and outrank ``secops.yaml``."""
    return sorted(name for name in _OUTRANKING if environ.get(name))
