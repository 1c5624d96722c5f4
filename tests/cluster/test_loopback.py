"""Ports for servers that are started a little later, by many processes at once."""

from __future__ import annotations

import subprocess
import sys

_TAKER = """
import sys
from tidegate_cluster.loopback import free_port
print(*(free_port() for _ in range(300)), flush=True)
sys.stdin.read()
"""


def test_no_port_is_given_to_two_processes_that_run_at_once_or_twice_to_one() -> None:
    """Two of four workers had one port: one of them asked the other's operator whether its own was ready."""
    command = [sys.executable, "-c", _TAKER]
    takers = [
        subprocess.Popen(
            command,
            env={"PYTHONPATH": ":".join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    ports: list[str] = []
    for taker in takers:
        assert taker.stdout is not None
        ports += taker.stdout.readline().split()
    for taker in takers:
        taker.communicate(timeout=60)
        assert taker.returncode == 0
    assert len(ports) == len(set(ports)) == 600
