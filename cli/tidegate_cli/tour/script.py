"""What the demonstration asks for, step by step (PURE). It goes with the files in examples/quickstart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tidegate_policy.model import Dialect
from tidegate_sidecar.telemetry.records import Ending

CONSUMER_HEADER: Final = "x-user-id"

FIRST_PROVIDER: Final = "openai-us"
"""The provider that is made to fail."""

_FAILS: Final = {"x-simulate-only": FIRST_PROVIDER, "x-simulate-status": "500"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One call of an application, and how it ends with the files of the example."""

    consumer: str
    model: str = "gpt-5.4-mini"
    dialect: Dialect = Dialect.OPENAI
    stream: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    ending: Ending = Ending.SERVED

    @property
    def path(self) -> str:
        """Where the sidecar serves the dialect."""
        return "/openai/v1/chat/completions" if self.dialect is Dialect.OPENAI else "/anthropic/v1/messages"

    @property
    def all_headers(self) -> dict[str, str]:
        """What an SDK and the application would send."""
        headers = {"content-type": "application/json", CONSUMER_HEADER: self.consumer, **self.headers}
        if self.dialect is Dialect.ANTHROPIC:
            headers["anthropic-version"] = "2023-06-01"
        return headers

    @property
    def body(self) -> bytes:
        """A small question."""
        question = {"role": "user", "content": "What does a tide gate do?"}
        document: dict[str, object] = {"model": self.model, "messages": [question], "stream": self.stream}
        if self.dialect is Dialect.ANTHROPIC:
            document["max_tokens"] = 64
        elif self.stream:
            document["stream_options"] = {"include_usage": True}
        return json.dumps(document).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Calls that show one thing."""

    title: str
    asks: tuple[Ask, ...]
    is_after_recovery: bool = False
    """The calls wait until the breaker lets `FIRST_PROVIDER` be asked again."""


STEPS: Final = (
    Step(
        title="Calls of two users, in two dialects",
        asks=(
            Ask(consumer="alice"),
            Ask(consumer="bob", model="gpt-5.5"),
            Ask(consumer="alice", model="claude-sonnet-5-5", dialect=Dialect.ANTHROPIC),
        ),
    ),
    Step(title="A stream", asks=(Ask(consumer="alice", stream=True),)),
    Step(
        title="A model that the pool has and the policy does not allow",
        asks=(Ask(consumer="bob", model="gpt-6-astra", ending=Ending.REFUSED),),
    ),
    Step(
        title="A user in a loop: eight calls, of which six are allowed per minute",
        asks=(Ask(consumer="carol"),) * 6 + (Ask(consumer="carol", ending=Ending.REFUSED),) * 2,
    ),
    Step(
        title=f"{FIRST_PROVIDER} answers 500, five times: the next provider takes over, then the breaker opens",
        asks=(Ask(consumer="dave", headers=_FAILS),) * 5,
    ),
    Step(title=f"{FIRST_PROVIDER} is left alone while its breaker is open", asks=(Ask(consumer="dave"),)),
    Step(
        title=f"{FIRST_PROVIDER} is back: one call probes it, and it takes all calls again",
        asks=(Ask(consumer="erin"), Ask(consumer="erin")),
        is_after_recovery=True,
    ),
)
