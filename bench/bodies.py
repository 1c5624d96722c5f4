"""What large bodies cost in memory: many calls at once through `tidegate-sidecar` as a process, with its bound and without.

Run with `python bench/bodies.py`. The bound is what the injector plans for the memory limit of a sidecar, 256Mi by default, and
the peak of the process is what counts against that limit; it is the bar, and the exit code is 1 when it is missed. The peer is
the same process with a bound that is never reached. A provider in this process answers late, so that all bodies are there at
the same time, and with as many bytes as it was sent where a row says so. The model is asked for by an alias, so each body is
written anew.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import orjson
import uvloop
from aiohttp import web
from tidegate_cluster.loopback import free_port
from tidegate_testing import configs

from tidegate_operator.inject.container import held_bytes
from tidegate_policy import wire

MIB = 2**20
LATE_S = 1.0
UNBOUNDED = 2**40
IMAGE = {"MALLOC_MMAP_THRESHOLD_": "131072"}
"""What the sidecar's image sets beside paths."""
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 0,
    "model": "gpt-test",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}


@dataclass(frozen=True, slots=True)
class Load:
    """Calls that come at once, twice in a row."""

    calls: int
    mib: float
    shape: str
    is_echoed: bool = False

    def __str__(self) -> str:
        echoed = ", and as much back" if self.is_echoed else ""
        return f"{self.calls} calls of {self.mib:g} MiB, {self.shape}{echoed}"

    def body(self) -> bytes:
        """A request."""
        size = int(self.mib * MIB)
        if self.shape == "one text":
            content: object = "x" * size
        else:
            # Small objects take most when they are read: this is a long conversation, or many tool results.
            content = [{"type": "text", "text": "word " * 20} for _ in range(size // 125)]
        return orjson.dumps({"model": "small", "messages": [{"role": "user", "content": content}]})


LOADS = (
    Load(200, 0.1, "many parts"),
    Load(40, 1, "one text"),
    Load(60, 1, "many parts"),
    Load(20, 5, "many parts"),
    Load(12, 10, "one text"),
    Load(12, 10, "many parts"),
    Load(8, 30, "many parts"),
    Load(30, 1, "one text", is_echoed=True),
)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one load."""

    served: int
    refused: int
    failed: int
    peak_mib: float


def main() -> int:
    """Run the bench; 1 when the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory-mib", type=int, default=256, help="memory limit of the sidecar")
    options = parser.parse_args()
    bound = held_bytes(options.memory_mib * MIB)
    print(f"bound {bound / MIB:g} MiB of bodies, planned for a limit of {options.memory_mib} MiB\n")
    print(f"{'load':<50} {'served':>7} {'refused':>8} {'peak MiB':>9} {'without bound':>14}")
    missed = False
    for load in LOADS:
        bounded = uvloop.run(measure(load, bound))
        unbounded = uvloop.run(measure(load, UNBOUNDED))
        print(
            f"{load!s:<50} {bounded.served:>7} {bounded.refused:>8} {bounded.peak_mib:>9.0f} {unbounded.peak_mib:>14.0f}"
        )
        if bounded.failed or unbounded.failed:
            print(f"  neither served nor refused: {bounded.failed}, {unbounded.failed}")
        missed |= bounded.peak_mib > options.memory_mib or bool(bounded.failed)
    return int(missed)


async def measure(load: Load, bound: int) -> Result:
    """One load on a fresh process."""
    async with provider(load.is_echoed) as url:
        models = (configs.model("gpt-test", "", "small"),)
        pool = configs.pool(configs.provider("only", url, models=models))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "config.json"
            file.write_bytes(wire.encode(configs.config(pool)))
            with running(Path(folder), file, bound) as (process, address):
                served, refused, failed = await ask(load, address)
                return Result(served, refused, failed, peak_mib(process.pid))


async def ask(load: Load, address: str) -> tuple[int, int, int]:
    """How many calls were served, refused, and neither."""
    body = load.body()
    url = f"http://{address}/openai/v1/chat/completions"
    headers = {"content-type": "application/json"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def one() -> int:
            try:
                async with session.post(url, data=body, headers=headers) as answer:
                    await answer.read()
                    return answer.status
            except aiohttp.ClientError:
                return 0

        statuses: list[int] = []
        for _ in range(2):
            statuses += await asyncio.gather(*(one() for _ in range(load.calls)))
    served, refused = statuses.count(200), statuses.count(503)
    return served, refused, len(statuses) - served - refused


@asynccontextmanager
async def provider(is_echoing: bool) -> AsyncIterator[str]:  # noqa: FBT001 - a private helper
    """The base URL of a provider that answers late."""

    async def answer(request: web.Request) -> web.Response:
        size = len(await request.read())
        await asyncio.sleep(LATE_S)
        return web.json_response({**ANSWER, "padding": "x" * size} if is_echoing else ANSWER)

    app = web.Application(client_max_size=2**30)
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        _, port = runner.addresses[0][:2]
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        await runner.cleanup()


@contextmanager
def running(folder: Path, file: Path, bound: int) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, and where it takes calls."""
    address = f"127.0.0.1:{free_port()}"
    environment = {
        "PATH": "/usr/bin:/bin",
        "TIDEGATE_CONFIG_FILE": str(file),
        "TIDEGATE_LISTEN": address,
        "TIDEGATE_ADMIN": "127.0.0.1:0",
        "TIDEGATE_MAX_HELD_BYTES": str(bound),
        **IMAGE,
    }
    log = folder / "log"
    with (
        log.open("w") as output,
        subprocess.Popen(
            [sys.executable, "-m", "tidegate_sidecar"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=output,
            text=True,
        ) as process,
    ):
        try:
            wait_until_in_force(process, log)
            yield process, address
        finally:
            process.terminate()


def wait_until_in_force(process: subprocess.Popen[str], log: Path) -> None:
    """Until the process has its configuration."""
    while "is in force" not in log.read_text(encoding="utf-8"):
        if process.poll() is not None:
            raise SystemExit(f"the sidecar did not start:\n{log.read_text(encoding='utf-8')}")
        time.sleep(0.02)


def peak_mib(pid: int) -> float:
    """The most memory that a process has had."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.findall(r"VmHWM:\s+(\d+) kB", text)[0]) / 1024


if __name__ == "__main__":
    sys.exit(main())
