"""`tidegate-sidecar` as a process of its own, as people and pods start it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tidegate_cluster.loopback import free_port


class Program:
    """A running `tidegate-sidecar`."""

    def __init__(self, process: asyncio.subprocess.Process, app: int, admin: int) -> None:
        self.process = process
        self.app_port = app
        self.url = f"http://127.0.0.1:{app}"
        self.admin_url = f"http://127.0.0.1:{admin}"
        self.logged = b""

    async def logs(self, mark: bytes) -> None:
        """Wait for a line of the log with `mark` in it."""
        assert self.process.stderr is not None
        async with asyncio.timeout(60):
            while line := await self.process.stderr.readline():
                self.logged += line
                if mark in line:
                    return
        raise AssertionError(f"the program ended without {mark!r}: {self.logged.decode()}")

    async def ended(self) -> tuple[int, list[dict[str, Any]]]:
        """Its status and the records that it wrote."""
        async with asyncio.timeout(60):
            out, err = await self.process.communicate()
        self.logged += err
        assert self.process.returncode is not None
        return self.process.returncode, [json.loads(line) for line in out.splitlines()]


@asynccontextmanager
async def started(**environment: str) -> AsyncIterator[Program]:
    app, admin = free_port(), free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        "-m",
        "tidegate_sidecar",
        env={
            "TIDEGATE_LISTEN": f"127.0.0.1:{app}",
            "TIDEGATE_ADMIN": f"127.0.0.1:{admin}",
            "TIDEGATE_RELOAD_INTERVAL_MS": "10",
            **environment,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Program(process, app, admin)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
