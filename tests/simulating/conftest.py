"""One simulator per test, on a free port, with the real clients of both providers pointed at it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest
from aiohttp import ClientSession, ClientTimeout
from pydantic import BaseModel, TypeAdapter

from tidegate_cli.simulator.server import Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


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
    url = f"{simulator.provider_url('primary')}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key="sk-test", max_retries=0, timeout=10) as client:
        yield client


@pytest.fixture
async def anthropic_client(simulator: Simulator) -> AsyncIterator[anthropic.AsyncAnthropic]:
    url = simulator.provider_url("primary")
    async with anthropic.AsyncAnthropic(base_url=url, api_key="sk-test", max_retries=0, timeout=10) as client:
        yield client


@pytest.fixture
def strictly() -> Callable[[Any, bytes | str], Any]:
    """Validates JSON by a client's own model without any conversion, and refuses fields that the model lacks."""

    def validate(kind: Any, data: bytes | str) -> Any:
        value = TypeAdapter(kind).validate_json(data, strict=True)
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
