"""What a transaction pooler looks like to a client: another process number than the server's own."""

from __future__ import annotations

import socket
import struct
import threading

from support.servers import Server


class Pooler:
    """Passes bytes between clients and a server, and answers the start as a pooler does.

    Like PgBouncer it tells its clients a process number of its own making. It gives each client a
    server connection for good, so what it shows is how secops recognises a pooler, not what a pooler
    breaks.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def url(self, database: str) -> str:
        """Its URL of a database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}?sslmode=disable&gssencmode=disable"

    def close(self) -> None:
        """Take no more clients."""
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._server.port))
            threading.Thread(target=_pass_on, args=(client, server), daemon=True).start()
            threading.Thread(target=_answer, args=(server, client), daemon=True).start()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass  # the other side has hung up
    finally:
        sink.close()


def _answer(server: socket.socket, client: socket.socket) -> None:
    """Pass messages on; in BackendKeyData ('K') put another process number, then step back."""
    with server.makefile("rb", buffering=0) as stream:
        while True:
            kind = stream.read(1)
            if not kind:
                client.close()
                return
            size = _read(stream, 4)
            body = _read(stream, struct.unpack("!I", size)[0] - 4)
            if kind == b"K":
                body = struct.pack("!i", -80_537_862) + body[4:]
            client.sendall(kind + size + body)
            if kind == b"Z":
                break
        _pass_on(server, client)


def _read(stream: object, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = stream.read(size - len(found))  # type: ignore[attr-defined]  # a raw stream
        assert more
        found += more
    return found
