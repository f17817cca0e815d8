"""Folders for servers that run as another user than the tests do."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def outside() -> Iterator[Path]:
    """Yield a new folder that is not below pytest's own.

    Every pytest session closes that one to other users when it begins, and PostgreSQL, which never runs as
    root, would lose its data folder in mid-flight.
    """
    folder = Path(tempfile.mkdtemp(prefix="secops-test-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
