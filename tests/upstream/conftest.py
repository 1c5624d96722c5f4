"""Everything here runs on the product's loop and on asyncio's own. Helpers are beside the tests, in `upstream_testing`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from tidegate_testing.fixtures import no_authorities

from tidegate_runtime.loop import EventLoop

sys.path.insert(0, str(Path(__file__).parent))

__all__ = ["no_authorities"]


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": EventLoop, "asyncio": asyncio.SelectorEventLoop}
