"""`tidegate-injector` as a process: how it starts, what it says, how it ends."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tidegate_operator.certificates.bundle import Bundle
from tidegate_operator.certificates.plan import Plan, next_step

COMMAND = [sys.executable, "-W", "error", "-m", "tidegate_operator.inject"]


def certificates(folder: Path) -> Bundle:
    bundle = next_step(None, Plan(names=("localhost",), addresses=("127.0.0.1",)), int(time.time()))
    assert bundle is not None
    for name in ("ca.crt", "tls.crt", "tls.key"):
        (folder / name).write_bytes(bundle.to_data()[name])
    return bundle


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "TIDEGATE_SIDECAR_IMAGE": "registry.example/sidecar:1",
        "TIDEGATE_CERTIFICATES": str(tmp_path),
        "TIDEGATE_LISTEN": "127.0.0.1:0",
        "TIDEGATE_HEALTH": "127.0.0.1:0",
        "TIDEGATE_DRAIN_MS": "0",
    }


def test_wrong_settings_end_it_with_what_is_right(environment: dict[str, str]) -> None:
    wrong = environment | {"TIDEGATE_SIDECAR_STARTUP": "Later", "TIDEGATE_SIDECAR_IMAGE": ""}
    result = subprocess.run(COMMAND, env=wrong, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        "TIDEGATE_SIDECAR_IMAGE is not set: give the image of the sidecar",
        "TIDEGATE_SIDECAR_STARTUP='Later': expected one of Start, Wait",
    ]


def test_a_port_that_is_taken_ends_it_without_a_traceback(environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = environment | {"TIDEGATE_HEALTH": f"127.0.0.1:{taken.getsockname()[1]}"}
        result = subprocess.run(COMMAND, env=busy, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert "the injector ends" in result.stderr
    assert "Traceback" not in result.stderr


def test_it_ends_well_although_clients_keep_their_connections(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """As API servers do. With TLS and uvloop a loop that ends too early leaves sockets open, and the process fails."""
    bundle = certificates(tmp_path)
    context = ssl.create_default_context(cadata=bundle.trust)
    with (
        subprocess.Popen(COMMAND, env=environment, stderr=subprocess.PIPE, text=True) as process,
        ExitStack() as stack,
    ):
        assert process.stderr is not None
        line = ""
        while "reviewing on" not in line:
            line = process.stderr.readline()
            assert line
        port = int(line.partition("reviewing on 127.0.0.1:")[2].partition(",")[0])
        for _ in range(3):
            plain = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            client = stack.enter_context(context.wrap_socket(plain, server_hostname="localhost"))
            client.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            assert client.recv(12) == b"HTTP/1.1 404"
        process.terminate()
        log = process.stderr.read()
        assert process.wait(60) == 0
    assert log.splitlines()[0].endswith("SIGTERM: stopping")
    assert "Traceback" not in log
