"""Replacing a file that others read and edit: whole or not at all, as it was in all but its content.

The new content goes into a file beside it, which takes its place in one step, so that a reader sees the old
or the new and never a part. Runs of secops keep one another out with a lock file that is there only while one
writes. An editor takes no such lock: what it saved since the read is found and kept; only what it saves between
the last look and the replacement, some microseconds, can be lost.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NoReturn

from secops.errors import Busy, Conflict, OutcomeUnknown, Refused
from secops.targets.failures import NoSuchPlace

_LARGEST: Final = 1_000_000
_LOOK_AGAIN: Final = 0.02


@dataclass(frozen=True, slots=True)
class Content:
    """A file as it was read.

    Attributes:
        path: The file itself, behind all links.
        data: What it holds.
        found: Its owner, mode, size and times.
    """

    path: Path
    data: bytes
    found: os.stat_result


def read(path: Path) -> Content:
    """Read a file, through symbolic links.

    Raises:
        NoSuchPlace: There is none, or it is no plain file.
        Refused: It may not be read, or is far larger than a file of variables.
    """
    real = Path(os.path.realpath(path))
    try:
        # Not blocking: a named pipe would wait for its writer.
        handle = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise NoSuchPlace(
            f"There is no file {path}.",
            hint=f"Check its path in secops.yaml, or make it: touch {path}",
        ) from None
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}.") from None
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise NoSuchPlace(f"{path} is no plain file.", hint="Name a file that can be replaced.")
        if found.st_size > _LARGEST:
            raise Refused(
                f"{path} is larger than {_LARGEST:,} bytes.", hint="Is it the right file?"
            )
        with os.fdopen(handle, "rb", closefd=False) as file:
            return Content(real, file.read(), found)
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(path: Path, patience: timedelta) -> Iterator[None]:
    """Keep other runs of secops from writing a file for the length of a block.

    Args:
        path: The file itself, behind all links.
        patience: How long to wait for another run.

    Raises:
        Busy: Another run holds it all that time; names it.
        Refused: Its folder may not be written to.
    """
    lock = path.with_name(f".{path.name}.secops.lock")
    until = time.monotonic() + patience.total_seconds()
    handle = _try_lock(lock)
    while handle is None:
        if time.monotonic() >= until:
            raise Busy(
                f"Another run of secops writes {path}{_holder(lock)}.",
                hint="Wait for it; the lock ends with its process.",
            )
        time.sleep(_LOOK_AGAIN)
        handle = _try_lock(lock)
    try:
        now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%SZ}"
        os.truncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {socket.gethostname()} since {now}\n".encode())
        yield
    finally:
        # While it is held: who waits for it sees that the name is gone, and makes a new one.
        with contextlib.suppress(OSError):
            lock.unlink()
        os.close(handle)


def _try_lock(lock: Path) -> int | None:
    try:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise Refused(
            f"{lock.parent} cannot be written to: {error.strerror}.",
            hint="The file is replaced by a new one beside it: run secops as its owner.",
        ) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mine = os.fstat(handle)
        there = lock.stat()
    except OSError:
        os.close(handle)
        return None
    if (mine.st_ino, mine.st_dev) != (there.st_ino, there.st_dev):
        os.close(handle)  # it was let go, and taken away, while this run opened it
        return None
    return handle


def _holder(lock: Path) -> str:
    try:
        held = lock.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
    return f": {held}" if held else ""


def replace(before: Content, data: bytes) -> None:
    """Give a file new content; its lock is held.

    Owner, mode and attributes stay. Where ``before`` is no longer what is there, nothing is written.

    Raises:
        Conflict: Somebody changed it since it was read.
        Refused: It cannot be replaced as it is; nothing was written.
        OutcomeUnknown: It was replaced, and the disk may not have it yet.
    """
    _replaceable(before)
    folder, name = before.path.parent, before.path.name
    # What a killed run left; no other can be at it, for the lock is held.
    for left in folder.glob(f".{name}.secops-*.tmp"):
        left.unlink(missing_ok=True)
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{name}.secops-", suffix=".tmp", dir=folder)
    except OSError as error:
        _refuse(before, error)
    made = Path(temporary)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            _as_before(handle, before)
            os.fsync(handle)
        if not _unchanged(before):
            raise Conflict(
                f"{before.path} was changed while it was about to be replaced.",
                hint="Nothing was written. Look at what was changed, then try again.",
            )
        made.replace(before.path)
    except OSError as error:
        _refuse(before, error)
    finally:
        with contextlib.suppress(FileNotFoundError):
            made.unlink()
    _sync(folder, before)


def _replaceable(before: Content) -> None:
    if before.found.st_nlink > 1:
        raise Refused(
            f"{before.path} has {before.found.st_nlink} names (hard links), and replacing it would part them.",
            hint="Make it a symbolic link, which is followed.",
        )


def _as_before(handle: int, before: Content) -> None:
    """Give the new file the owner, mode and attributes of the old one."""
    made, old = os.fstat(handle), before.found
    if (made.st_uid, made.st_gid) != (old.st_uid, old.st_gid):
        try:
            os.fchown(handle, old.st_uid, old.st_gid)
        except PermissionError:
            raise Refused(
                f"{before.path} belongs to another user or group, which would be lost.",
                hint="Run secops as the owner of the file. Nothing was written.",
            ) from None
    os.fchmod(handle, stat.S_IMODE(old.st_mode))
    if not hasattr(os, "listxattr"):
        return
    for attribute in os.listxattr(before.path):
        try:
            os.setxattr(handle, attribute, os.getxattr(before.path, attribute))
        except OSError as error:
            # The system labels files itself; only who administrates it may do that by hand.
            if not attribute.startswith("security."):
                raise Refused(
                    f"{before.path}: its attribute {attribute} would be lost: {error.strerror}.",
                    hint="Nothing was written.",
                ) from None


def _unchanged(before: Content) -> bool:
    try:
        now = before.path.stat()
    except FileNotFoundError:
        return False
    old = before.found
    return (now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns) == (
        old.st_ino, old.st_size, old.st_mtime_ns, old.st_ctime_ns,
    )  # fmt: skip


def _sync(folder: Path, before: Content) -> None:
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise OutcomeUnknown(
            f"{before.path} was replaced, but the disk may lose that: {error.strerror}.",
            hint="Read it back.",
        ) from None


def _refuse(before: Content, error: OSError) -> NoReturn:
    hint = "Nothing was written."
    if error.errno in {errno.EBUSY, errno.EXDEV}:
        hint = "It is mounted as a single file, which cannot be replaced: mount its folder. " + hint
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        hint = "Run secops as the owner of the folder. " + hint
    raise Refused(f"{before.path} cannot be replaced: {error.strerror}.", hint=hint) from None
