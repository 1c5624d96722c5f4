"""One simulator per test, on a free port, with the real clients of both providers pointed at it.

Their packages take seconds to import, and each worker reads all tests: they are imported by those that need them, and
what is in them is named by `package.name`.
"""

from __future__ import annotations

from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientSession, ClientTimeout
from pydantic import BaseModel, TypeAdapter

from tidegate_cli.simulator.server import Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import anthropic
    import openai


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    simulator = Simulator()
    await simulator.start()
    yield simulator
    await simulator.stop()
    assert simulator.counters.open_requests == 0
    assert simulator.counters.open_streams == 0


@pytest.fixture
async def http(simulator: Simulator) -> AsyncIterator[ClientSession]:
    async with ClientSession(simulator.url, timeout=ClientTimeout(total=10)) as session:
        yield session


@pytest.fixture
async def openai_client(simulator: Simulator) -> AsyncIterator[openai.AsyncOpenAI]:
    import openai  # noqa: PLC0415 - see above

    url = f"{simulator.provider_url('primary')}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key="sk-test", max_retries=0, timeout=30) as client:
        yield client


@pytest.fixture
async def anthropic_client(simulator: Simulator) -> AsyncIterator[anthropic.AsyncAnthropic]:
    import anthropic  # noqa: PLC0415 - see above

    url = simulator.provider_url("primary")
    async with anthropic.AsyncAnthropic(base_url=url, api_key="sk-test", max_retries=0, timeout=30) as client:
        yield client


@pytest.fixture
def strictly() -> Callable[[str, bytes | str], Any]:
    """Validates JSON by a client's own model without any conversion, and refuses fields that the model lacks."""

    def validate(kind: str, data: bytes | str) -> Any:
        value = TypeAdapter(resolve_name(kind)).validate_json(data, strict=True)
        refuse_extras(value)
        return value

    def refuse_extras(value: object) -> None:
        if isinstance(value, BaseModel):
            assert not value.model_extra, f"{type(value).__name__} has no {set(value.model_extra)}"
            for name in type(value).model_fields:
                refuse_extras(getattr(value, name))
        elif isinstance(value, list):
            for item in value:
                refuse_extras(item)

    return validate


@pytest.fixture
def chat() -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello there"}]}


@pytest.fixture
def message(chat: dict[str, Any]) -> dict[str, Any]:
    return {**chat, "model": "claude-test", "max_tokens": 100}
