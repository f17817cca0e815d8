"""Writing files so that they are there after a power cut, and readable by their owner alone."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from secops.errors import Busy, SecopsError

FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700

_LOCK: Final = ".lock"
_SLICE: Final = 1 << 20
_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def told(folder: Path) -> Iterator[None]:
    """Turn what the file system says no with into a sentence.

    Raises:
        SecopsError: It is full, read-only, or does not let us in.
    """
    try:
        yield
    except OSError as error:
        kept = "What is archived already is whole, and nothing was deleted that is not."
        if error.errno in _FULL:
            raise SecopsError(
                f"No more can be written to the archive {folder}: {error.strerror}.",
                hint=f"{kept} Make room, then run it again.",
                details={"errno": errno.errorcode.get(error.errno or 0, "")},
            ) from None
        raise SecopsError(
            f"The archive {folder} cannot be used: {error.strerror or error}"
            + (f" ({error.filename})." if error.filename else "."),
            hint=f"{kept} The folder must be there, or its parent must let it be made, and be writable.",
        ) from None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Be the only one who writes to an archive, for the length of a block.

    Raises:
        Busy: Another process writes to it.
    """
    handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(
                f"Another process writes to the archive {folder}.",
                hint="Wait for it; two databases need two archives.",
            ) from None
        yield
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make a folder, and its parents, so that they are there after a power cut."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(FOLDER_MODE)
        sync_folder(each.parent)


def write(path: Path, content: bytes | memoryview) -> None:
    """Write a new file, and have it on the disk when this returns.

    A file of that name that is there is replaced by what was written, at its end: use it for names that
    nobody reads.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
    try:
        os.fchmod(handle, FILE_MODE)
        left = memoryview(content)
        while left:
            left = left[os.write(handle, left) :]
        os.fsync(handle)
        # What is read back is to come from the disk, not from memory.
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)


def replace(source: Path, target: Path) -> None:
    """Rename a file over another at one stroke, and have that on the disk when this returns."""
    source.replace(target)
    sync_folder(target.parent)


def remove(path: Path) -> None:
    """Remove a file that may be gone, and have that on the disk when this returns."""
    path.unlink(missing_ok=True)
    if path.parent.is_dir():
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have a folder's names on the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_back_wrong(path: Path) -> SecopsError:
    """Return the error for a file that does not give back what was written to it."""
    return SecopsError(
        f"What was read back from {path} is not what was written; nothing was deleted for its sake.",
        hint="Look at the disk and the file system of the archive.",
    )


def digest(path: Path) -> str:
    """Return a file's SHA-256, in hexadecimal."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_SLICE):
            found.update(part)
    return found.hexdigest()
