"""A TCP proxy in front of a server, in threads of its own: what a network between two processes can do."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit


class Proxy:
    """Passes bytes on. `swallow` keeps all open connections open and passes nothing on in them; `close` refuses."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pairs: list[_Pair] = []
        self._lock = threading.Lock()
        self.is_cut = False
        """New connections are taken and nothing is passed on in them."""
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def connections(self) -> int:
        with self._lock:
            return len(self._pairs)

    def swallow(self) -> int:
        """Silence the connections of this moment, without a sign to either side; how many."""
        with self._lock:
            for pair in self._pairs:
                pair.is_silent = True
            return len(self._pairs)

    def cut(self) -> None:
        """Silence all connections, those to come included."""
        self.is_cut = True
        self.swallow()

    def mend(self) -> None:
        """Drop what was silenced, and pass new connections on."""
        self.is_cut = False
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            pair.close()

    def close(self) -> None:
        self._listener.close()
        self.mend()

    def kubeconfig(self, original: Path, folder: Path) -> Path:
        """A kubeconfig that leads through the proxy."""
        content = json.loads(original.read_text())
        content["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{self.port}"
        path = folder / f"proxied-{self.port}.kubeconfig"
        path.write_text(json.dumps(content))
        return path

    @classmethod
    def before(cls, url: str) -> Proxy:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        return cls((parts.hostname, parts.port))

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target, timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            pair = _Pair(client, server)
            with self._lock:
                pair.is_silent = self.is_cut
                self._pairs.append(pair)
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=(pair, source, sink), daemon=True).start()

    def _pass_on(self, pair: _Pair, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if not pair.is_silent:
                    sink.sendall(data)
        if not pair.is_silent:
            pair.close()
            with self._lock, suppress(ValueError):
                self._pairs.remove(pair)


class _Pair:
    """Both ends of one connection."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self._sockets = (client, server)
        self.is_silent = False

    def close(self) -> None:
        for end in self._sockets:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
