"""A stand-in for a transaction pooler, as far as a client can tell one: it answers the start itself.

PgBouncer gives each client a process number of its own making in the start's BackendKeyData; so does
this proxy, and forwards everything else unchanged.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator

# BackendKeyData of protocol 3.0: "K", a length of 12, the process number, the key.
_KEY_DATA = re.compile(rb"(K\x00\x00\x00\x0c)(.{4})", re.DOTALL)
_ANOTHER = (123_456_789).to_bytes(4, "big")


def _forward(source: socket.socket, target: socket.socket, *, starting: bool) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            if starting:
                data, found = _KEY_DATA.subn(rb"\g<1>" + _ANOTHER, data, count=1)
                starting = not found
            target.sendall(data)
    for each in (source, target):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def pooler(port: int) -> Iterator[int]:
    """Run a proxy to a server's port on this machine, and hand out its own port."""
    opened: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    server = socket.create_connection(("127.0.0.1", port))
                    opened.extend((client, server))
                    for source, target, starting in (
                        (client, server, False),
                        (server, client, True),
                    ):
                        threading.Thread(
                            target=_forward,
                            args=(source, target),
                            kwargs={"starting": starting},
                            daemon=True,
                        ).start()

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for each in opened:
                # Closing alone would not wake who waits on it.
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()
