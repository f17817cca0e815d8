"""``secops serve`` as a process that tests ask over a socket."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import httpx2

from support.databases import Command
from support.servers import free_port

KEY: Final = {"JWT_SECRET": "k" * 48}


@dataclass
class Serving:
    """A process that serves.

    Attributes:
        url: Where.
        process: The process.
        out: What it printed, once it has ended.
        err: The same of its stderr.
    """

    url: str
    process: subprocess.Popen[str]
    out: str = ""
    err: str = ""

    def client(self) -> httpx2.Client:
        """Return a client of it; each thread needs one."""
        return httpx2.Client(base_url=self.url, timeout=60)


@contextmanager
def serving(command: Command, *arguments: str, **env: str) -> Iterator[Serving]:
    """Run the backend until the block ends, then stop it as an operator does."""
    port = free_port()
    process = command.start(
        "serve", "--port", str(port), "--profile", "owasp-2024-complete", *arguments,
        env={**KEY, **env},
    )  # fmt: skip
    found = Serving(f"http://127.0.0.1:{port}", process)
    with found.client() as client:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if client.get("/healthz").status_code == 200:
                    break
            except httpx2.TransportError:
                assert process.poll() is None, process.communicate()
                time.sleep(0.1)
    try:
        yield found
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGTERM)
        found.out, found.err = process.communicate(timeout=60)
