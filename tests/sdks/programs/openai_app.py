"""An application that knows nothing of Tidegate: OpenAI's SDK, told where to go by OPENAI_BASE_URL alone.

Prints one JSON object per line: what each call came to.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

import openai

client = openai.OpenAI()
hasty = client.with_options(max_retries=0)
QUESTION: Any = [{"role": "user", "content": "hello there"}]


def tell(name: str, what: Callable[[], dict[str, Any]]) -> None:
    result: dict[str, Any] = {"name": name}
    try:
        result |= what()
    except openai.APIError as error:
        result |= {
            "raised": type(error).__name__,
            "is_status_error": isinstance(error, openai.APIStatusError),
            "code": error.code,
            "message": error.message,
        }
        if isinstance(error, openai.APIStatusError):
            result |= {"status": error.status_code, "retry_after": error.response.headers.get("retry-after")}
    sys.stdout.write(json.dumps(result) + "\n")


def chat(model: str, using: openai.OpenAI = hasty, text: str = "") -> dict[str, Any]:
    messages = [{"role": "user", "content": text}] if text else QUESTION
    answer = using.chat.completions.create(model=model, messages=messages)
    assert answer.usage is not None
    return {"text": answer.choices[0].message.content, "tokens": answer.usage.total_tokens}


def stream(model: str, using: openai.OpenAI = hasty) -> dict[str, Any]:
    pieces: list[str] = []
    tokens = 0
    try:
        for chunk in using.chat.completions.create(
            model=model, messages=QUESTION, stream=True, stream_options={"include_usage": True}
        ):
            pieces += [choice.delta.content or "" for choice in chunk.choices]
            tokens = chunk.usage.total_tokens if chunk.usage else tokens
    finally:
        seen[model] = "".join(pieces)
    return {"text": "".join(pieces), "pieces": len(pieces), "tokens": tokens}


async def at_once() -> dict[str, Any]:
    async with openai.AsyncOpenAI() as asynchronous:
        answers = await asyncio.gather(
            *[asynchronous.chat.completions.create(model="chat", messages=QUESTION) for _ in range(10)]
        )
        streaming = await asynchronous.chat.completions.create(model="chat", messages=QUESTION, stream=True)
        pieces = [choice.delta.content or "" async for chunk in streaming for choice in chunk.choices]
    return {"texts": [answer.choices[0].message.content for answer in answers], "text": "".join(pieces)}


seen: dict[str, str] = {}
tell("chat", lambda: chat("chat", client))
tell("stream", lambda: stream("chat", client))
tell("async", lambda: asyncio.run(at_once()))
tell("retried", lambda: chat("once", client))
chat("limited")
tell("limited", lambda: chat("limited"))
for model in ("invalid", "denied", "missing", "overloaded", "stalled", "broken", "claude"):
    tell(model, lambda model=model: chat(model))
tell("large", lambda: chat("chat", text="x" * 100_000))
for model in ("cut", "erring", "silent", "overloaded"):
    tell(f"{model} stream", lambda model=model: stream(model))
tell("seen", lambda: {"cut": seen["cut"], "silent": seen["silent"]})
