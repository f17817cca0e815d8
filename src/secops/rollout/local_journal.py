"""The journal on this machine: enough to roll back while the database is down.

One file for each target, one JSON object a line, appended and synced to disk before anything is done that
it tells of. It is a copy of what the database has, and runs ahead of it where the database was away; it is
given to it later (:mod:`secops.rollout.books`).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from secops.errors import Busy, SecopsError
from secops.rollout.entries import Entry, read

_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700


class LocalJournal:
    """The entries of one target on this machine.

    Args:
        folder: Where journals are kept; made where it is missing, readable by its owner only.
        target: The target's name, for the file's.
        fingerprint: What the target points at.
    """

    def __init__(self, folder: Path, target: str, fingerprint: str) -> None:
        short = hashlib.sha256(fingerprint.encode()).hexdigest()[:12]
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", target)[:40] or "target"
        self.path = folder / f"{name}-{short}.jsonl"
        self._lock = folder / f"{name}-{short}.lock"

    def entries(self) -> list[Entry]:
        """Return what it holds; a last line that was cut off by a crash is no entry.

        Raises:
            SecopsError: A line cannot be read.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        return [read(line.decode()) for line in whole.splitlines() if line.strip()]

    def append(self, entries: Iterable[Entry]) -> None:
        """Add entries; when it returns they are on the disk.

        Raises:
            SecopsError: They could not be written.
        """
        lines = b"".join(f"{entry.as_text()}\n".encode() for entry in entries)
        if not lines:
            return
        try:
            self._make_folder()
            new = not self.path.exists()
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, _MODE)
            try:
                _cut_torn_end(file)
                _write_all(file, lines)
                os.fsync(file)
            finally:
                os.close(file)
            if new:
                _sync_folder(self.path.parent)
        except OSError as error:
            raise SecopsError(
                f"The local journal {self.path} cannot be written: {error.strerror}.",
                hint="Mend its permissions, or name another folder with SECOPS_STATE_DIR.",
            ) from None

    def replace(self, entries: Iterable[Entry]) -> None:
        """Put entries in the place of all that it holds, at once."""
        new = self.path.with_suffix(".new")
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _MODE)
        try:
            _write_all(file, b"".join(f"{entry.as_text()}\n".encode() for entry in entries))
            os.fsync(file)
        finally:
            os.close(file)
        new.replace(self.path)
        _sync_folder(self.path.parent)

    @contextmanager
    def held(self, actor: str, what: str) -> Iterator[None]:
        """Be the only one on this machine who changes the target, for the length of a block.

        The kernel lets go of it when the process ends, however it ends.

        Raises:
            Busy: Another process holds it; names it.
        """
        self._make_folder()
        file = os.open(self._lock, os.O_RDWR | os.O_CREAT, _MODE)
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _held(os.pread(file, 4096, 0)) from None
            holder = json.dumps({"actor": actor, "pid": os.getpid(), "what": what})
            os.ftruncate(file, 0)
            os.pwrite(file, holder.encode(), 0)
            yield
        finally:
            os.close(file)

    def _make_folder(self) -> None:
        self.path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)


def _held(data: bytes) -> Busy:
    try:
        found = json.loads(data)
        who = f"{found['actor']}, pid {found['pid']}: {found['what']}"
    except (ValueError, KeyError, TypeError):  # its holder is about to write its name
        found, who = {}, "it has just begun"
    return Busy(
        f"Another secops on this machine works on this target ({who}).",
        hint="Wait for it to end; `secops rollout status` shows how far it is.",
        details={"holder": found},
    )


def _cut_torn_end(file: int) -> None:
    """Take away what a crash left of a line: what follows must begin a line of its own."""
    size = os.fstat(file).st_size
    end = size
    while end:
        start = max(0, end - 4096)
        found = os.pread(file, end - start, start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end != size:
        os.ftruncate(file, end)


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
