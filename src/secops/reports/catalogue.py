"""All reports: those that ship with secops and those in the user's own folder.

A report is found by its file's name; only what is asked for is read. A file that cannot be read never
keeps the others from working.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from secops.errors import ConfigurationError, NothingMatched, SecopsError
from secops.reports.header import Report, parse
from secops.resources import shipped

if TYPE_CHECKING:
    from secops.settings import Settings

_SUFFIX: Final = ".sql"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The reports by name.

    Attributes:
        shipped: Files that ship with secops.
        own: Files in the user's folder.
        folder: The user's folder, if one is set.
        problem: Why that folder cannot be read, if it cannot.
    """

    shipped: dict[str, Path]
    own: dict[str, Path]
    folder: Path | None = None
    problem: ConfigurationError | None = None

    def names(self) -> list[str]:
        """Return the names of all reports, without reading any."""
        return sorted({*self.shipped, *self.own})

    def find(self, name: str) -> Report:
        """Read one report.

        Raises:
            NothingMatched: There is none of that name.
            ConfigurationError: Its file cannot be read as one, or takes the name of a report that ships
                with secops without saying so.
        """
        if name in self.own:
            report = parse(self.own[name])
            if name in self.shipped and not report.overrides:
                raise ConfigurationError(
                    f"{report.path}:1: secops has a report {name!r} already.",
                    hint="Give the file another name, or write `overrides: true` into its header.",
                    details={"file": str(report.path), "line": 1},
                )
            return report
        if name in self.shipped:
            return parse(self.shipped[name])
        raise self._unknown(name)

    def is_own(self, report: Report) -> bool:
        """Say whether a report is the user's."""
        return self.own.get(report.name) == report.path

    def load(self) -> tuple[list[Report], list[SecopsError]]:
        """Read every report.

        Returns:
            Those that can be read, by name, and what is wrong with the others.
        """
        reports: list[Report] = []
        problems: list[SecopsError] = [self.problem] if self.problem else []
        for name in self.names():
            try:
                reports.append(self.find(name))
            except ConfigurationError as error:
                problems.append(error)
        return reports, problems

    def _unknown(self, name: str) -> NothingMatched:
        near = difflib.get_close_matches(name, self.names(), n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]}? " if near else ""
        if self.problem:
            hint += f"{self.problem.message} "
        return NothingMatched(
            f"There is no report {name!r}.",
            hint=hint + "`secops report` lists them.",
            details={"nearest": near},
        )


def open_catalogue(settings: Settings | None = None) -> Catalogue:
    """Find all reports, without reading any.

    Args:
        settings: Name the user's folder; without them, only what ships is found.
    """
    found = _files(shipped("queries").iterdir())
    folder = settings.folder("queries") if settings else None
    if settings is None or folder is None:
        return Catalogue(found, {})
    try:
        return Catalogue(found, _files(folder.iterdir()), folder)
    except OSError as error:
        problem = ConfigurationError(
            f"The folder of your own reports, {folder}, cannot be read: {error.strerror}.",
            hint=f"It is set by {settings.origins['queries']}.",
        )
        return Catalogue(found, {}, folder, problem)


def _files(paths: Iterable[Path]) -> dict[str, Path]:
    # Editors leave files such as `.#name.sql` beside the one that is open.
    return {
        path.stem: path
        for path in paths
        if path.suffix == _SUFFIX and not path.name.startswith(".") and path.is_file()
    }
