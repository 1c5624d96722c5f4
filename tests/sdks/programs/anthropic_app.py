"""An application that knows nothing of Tidegate: Anthropic's SDK, told where to go by ANTHROPIC_BASE_URL alone.

Prints one JSON object per line: what each call came to.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

import anthropic

client = anthropic.Anthropic()
hasty = client.with_options(max_retries=0)
QUESTION: Any = [{"role": "user", "content": "hello there"}]


def tell(name: str, what: Callable[[], dict[str, Any]]) -> None:
    result: dict[str, Any] = {"name": name}
    try:
        result |= what()
    except anthropic.APIError as error:
        body: Any = error.body
        details = body["error"] if isinstance(body, dict) and "error" in body else {}
        result |= {
            "raised": type(error).__name__,
            "is_status_error": isinstance(error, anthropic.APIStatusError),
            "code": details.get("tidegate", {}).get("code"),
            "message": details.get("message", error.message),
        }
        if isinstance(error, anthropic.APIStatusError):
            result |= {"status": error.status_code, "retry_after": error.response.headers.get("retry-after")}
    sys.stdout.write(json.dumps(result) + "\n")


def chat(model: str, using: anthropic.Anthropic = hasty, text: str = "") -> dict[str, Any]:
    messages = [{"role": "user", "content": text}] if text else QUESTION
    answer = using.messages.create(model=model, messages=messages, max_tokens=64)
    block: Any = answer.content[0]
    return {"text": block.text, "tokens": answer.usage.input_tokens + answer.usage.output_tokens}


def stream(model: str, using: anthropic.Anthropic = hasty) -> dict[str, Any]:
    pieces: list[str] = []
    try:
        with using.messages.stream(model=model, messages=QUESTION, max_tokens=64) as streaming:
            pieces += streaming.text_stream
            usage = streaming.get_final_message().usage
    finally:
        seen[model] = "".join(pieces)
    return {
        "text": "".join(pieces),
        "pieces": len(pieces),
        "tokens": usage.input_tokens + usage.output_tokens,
    }


async def at_once() -> dict[str, Any]:
    async with anthropic.AsyncAnthropic() as asynchronous:
        answers = await asyncio.gather(
            *[asynchronous.messages.create(model="chat", messages=QUESTION, max_tokens=64) for _ in range(10)]
        )
        async with asynchronous.messages.stream(model="chat", messages=QUESTION, max_tokens=64) as streaming:
            pieces = [piece async for piece in streaming.text_stream]
    blocks: list[Any] = [answer.content[0] for answer in answers]
    return {"texts": [block.text for block in blocks], "text": "".join(pieces)}


seen: dict[str, str] = {}
tell("chat", lambda: chat("chat", client))
tell("stream", lambda: stream("chat", client))
tell("async", lambda: asyncio.run(at_once()))
tell("retried", lambda: chat("once", client))
chat("limited")
tell("limited", lambda: chat("limited"))
for model in ("invalid", "denied", "missing", "overloaded", "stalled", "broken", "gpt"):
    tell(model, lambda model=model: chat(model))
tell("large", lambda: chat("chat", text="x" * 100_000))
for model in ("cut", "erring", "silent", "overloaded"):
    tell(f"{model} stream", lambda model=model: stream(model))
