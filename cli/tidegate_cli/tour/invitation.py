"""How to make a call of one's own, ready to be copied (PURE)."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tidegate_cli.tour.script import Ask
from tidegate_policy.model import Dialect
from tidegate_sidecar.settings import Address


def invitation(address: Address, dialect: Dialect, model: str) -> Iterator[str]:
    """A curl line and a few lines of Python for the sidecar at `address`."""
    ask = Ask(consumer="me", model=model, dialect=dialect)
    headers = " ".join(f"-H '{name}: {value}'" for name, value in ask.all_headers.items())
    document: dict[str, object] = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    if dialect is Dialect.ANTHROPIC:
        document["max_tokens"] = 64
    yield f"  curl http://{address}{ask.path} {headers} -d '{json.dumps(document)}'"
    yield ""
    messages = 'messages=[{"role": "user", "content": "Hello"}]'
    if dialect is Dialect.ANTHROPIC:
        yield "  from anthropic import Anthropic"
        yield f'  client = Anthropic(base_url="http://{address}/anthropic", api_key="unused")'
        yield f'  print(client.messages.create(model="{model}", max_tokens=64, {messages}).content[0].text)'
    else:
        yield "  from openai import OpenAI"
        yield f'  client = OpenAI(base_url="http://{address}/openai/v1", api_key="unused")'
        yield f'  print(client.chat.completions.create(model="{model}", {messages}).choices[0].message.content)'
