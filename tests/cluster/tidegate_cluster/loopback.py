"""Ports and plain HTTP on 127.0.0.1."""

import json
import random
import socket
import ssl
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any

from tidegate_cluster.errors import ClusterError

ADDRESS = "127.0.0.1"

# Below the range from which Linux takes ports for outgoing connections (32768 and up): none of those then takes
# the port of a server that is stopped for a while and must come back to it.
_FIRST_PORT = 20_000
_LAST_PORT = 29_999
_PORT_TRIES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A server's answer, whatever its status."""

    status: int
    text: str

    def json(self) -> Any:  # any JSON value there is
        """Parse the body."""
        return json.loads(self.text)


def free_port() -> int:
    """Return a port on which nobody listens at this moment, and that no caller gets again, here or in another process.

    A worker of pytest-xdist that took the port of another one's server before that has started would hear the wrong
    one. What does not ask here may still take it before you do.

    Raises:
        ClusterError: a hundred random ports are all taken.
    """
    for _ in range(_PORT_TRIES):
        port = random.randint(_FIRST_PORT, _LAST_PORT)  # noqa: S311 - a port is no secret
        if _is_ours(port) and _is_free(port):
            return port
    raise ClusterError(
        f"No free port among {_PORT_TRIES} tried from {_FIRST_PORT} to {_LAST_PORT} on {ADDRESS}"
    )


def _is_ours(port: int) -> bool:
    # A name that Linux gives to one process at a time, and takes back when that has ended, however it ends.
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0tidegate-test-port-{port}")
    except OSError:
        claim.close()
        return False
    claim.detach()
    return True


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the servers will: a port whose old connections still linger counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except OSError:
            return False
        return True


def request(
    port: int,
    method: str,
    path: str,
    *,
    address: str = ADDRESS,
    tls: ssl.SSLContext | None = None,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float,
) -> Answer:
    """Send one request to `address` over a connection of its own; `body` is sent as JSON unless None.

    `headers` come after our own, and count where they have one's name.
    `timeout_s` is for each step (connect, handshake, each read), not for the whole. No proxy is used, whatever the
    environment says.

    Raises:
        OSError, HTTPException: no server, no answer in time, or no HTTP. See `UNREACHABLE`.
    """
    connection = (
        HTTPConnection(address, port, timeout=timeout_s)
        if tls is None
        else HTTPSConnection(address, port, timeout=timeout_s, context=tls)
    )
    with closing(connection):
        sent = {"Content-Type": "application/json", "Accept": "application/json", **(headers or {})}
        connection.request(method, path, body=None if body is None else json.dumps(body), headers=sent)
        response = connection.getresponse()
        return Answer(status=response.status, text=response.read().decode("utf-8", errors="replace"))


UNREACHABLE = (OSError, HTTPException)
"""What `request` raises where a server is absent, frozen or half started."""
