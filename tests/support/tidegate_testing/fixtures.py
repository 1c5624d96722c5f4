"""Fixtures that a folder's conftest names in order to have them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tidegate_cli.simulator.server import Simulator


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """The simulated provider; no request is open on it when a test is over."""
    simulator = Simulator()
    await simulator.start()
    try:
        yield simulator
        await simulator.wait_for(lambda it: it.counters.open_requests == 0)
    finally:
        await simulator.stop()


@pytest.fixture(scope="module", autouse=True)
def no_authorities() -> Iterator[None]:
    """Providers here speak plain HTTP: to read the system's authorities would take longer than most tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", "/dev/null")
        yield
