"""Every test here runs on both loops. Helpers of these tests are beside them, in `downstream_site`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

from tidegate_runtime.loop import EventLoop

sys.path.insert(0, str(Path(__file__).parent))


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": EventLoop, "asyncio": asyncio.SelectorEventLoop}
