"""secops' own configuration: the file, the folders it names, the limits it sets."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from secops.database.url import holds_password, mask, shown
from secops.doctor.check import Need, Patient, Result, check, fail, ok, warn
from secops.durations import format_duration
from secops.settings import DECLARED, Secret

if TYPE_CHECKING:
    from collections.abc import Iterator

    from secops.settings import Settings

_LONG_WAIT: Final = timedelta(seconds=1)


@check("settings-file", "secops.yaml", needs=Need.NOTHING)
def config_file(patient: Patient) -> Result:
    """Look at who else can read or write the file. That it can be read, every command has seen to."""
    path = patient.settings.config
    if path is None:
        return ok("none; settings come from flags, the environment and defaults")
    found = path.stat()
    name = path.name
    if hasattr(os, "geteuid") and found.st_uid not in {0, os.geteuid()}:
        return warn(
            f"{name} belongs to another user, who decides which database secops works on",
            f"chown {os.geteuid()} {name}",
        )
    if found.st_mode & 0o022:
        return warn(f"others may write {name}", f"chmod go-w {name}")
    if found.st_mode & 0o077 and _password_in_file(patient.settings):
        return warn(
            f"{name} holds a password, and others may read it",
            f"Put the password in ~/.pgpass; until then: chmod 600 {name}",
        )
    return ok(f"{name} is read, and only its owner may write it")


def _password_in_file(settings: Settings) -> bool:
    return any(
        isinstance(value, Secret)
        and settings.origins[key].kind == "file"
        and holds_password(value.reveal())
        for key, value in settings.values.items()
    )


@check("folders", "Reports of your own", needs=Need.NOTHING)
def folders(patient: Patient) -> Result:
    """Make sure that the folder that the settings name is there."""
    folder = patient.settings.folder("queries")
    if folder is None:
        return ok("no folder is named")
    if not folder.is_dir():
        return fail(
            f"queries ({patient.settings.origins['queries']}) names {folder}, which is no folder",
            f"mkdir -p {folder}",
        )
    return ok(f"{folder} is there")


@check("reports", "Reports", needs=Need.NOTHING)
def reports(patient: Patient) -> Result:
    """Read every report's file, as running it would."""
    from secops.reports.catalogue import open_catalogue  # noqa: PLC0415  YAML is slow to import

    found, problems = open_catalogue(patient.settings).load()
    if problems:
        return warn(
            "; ".join(each.message.rstrip(".") for each in problems),
            "\n".join(dict.fromkeys(each.hint for each in problems)),
        )
    return ok(f"all {len(found)} can be read")


@check("patience", "Patience of the app", needs=Need.NOTHING)
def patience(patient: Patient) -> Result:
    """The app may have to wait as long as a lock of ours is waited for."""
    limit = patient.settings.span("lock_timeout")
    if timedelta(0) < limit <= _LONG_WAIT:
        return ok(f"it never waits longer than {format_duration(limit)} for a lock of ours")
    many = "for ever" if not limit else f"for {format_duration(limit)}"
    return warn(
        f"lock_timeout ({patient.settings.origins['lock_timeout']}) lets it wait {many}",
        "Set lock_timeout to 100ms, the default.",
    )


def rows(settings: Settings) -> Iterator[tuple[str, object, str, str]]:
    """Return each setting with its value for people, where it came from, and what it is for."""
    for setting in DECLARED:
        value = settings.values[setting.key]
        yield setting.key, _shown(value), str(settings.origins[setting.key]), setting.help


def _shown(value: object) -> object:
    match value:
        case Secret():
            return shown(value)
        case timedelta():
            return format_duration(value)
        case str() | Path():
            return mask(str(value))
        case _:
            return value
