"""What a raw provider does with its calls, for tests that are about what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tidegate_policy.model import CredentialRef, ObjectRef
from tidegate_testing.provider import COMPLETION, DONE, ProviderCall, Script, delta
from tidegate_testing.sidecar import Sidecar

OUR_KEY = CredentialRef(
    source=ObjectRef(kind="ProviderCredential", namespace="team-a", name="prod"), environment_variable="KEY"
)
"""A credential whose key the environment has as KEY."""


def answering(
    status: int = 200, body: bytes | dict[str, Any] = b"{}", headers: Mapping[str, str] | None = None
) -> Script:
    """Answers each call with these bytes."""

    async def answer(call: ProviderCall) -> None:
        await call.answer(body, status=status, headers=headers)

    return answer


def in_turn(*scripts: Script) -> Script:
    """Treats the first call by the first script, and on with the last one."""
    left = list(scripts)

    async def one_of_them(call: ProviderCall) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(call)

    return one_of_them


async def serving(call: ProviderCall) -> None:
    """Answers as it was asked to, whole or as a stream, in OpenAI's dialect."""
    if not call.json.get("stream"):
        await call.answer(COMPLETION)
        return
    await call.begin_stream()
    await call.event(delta("hello", "stop") + DONE)
    await call.end_stream()


def events(data: bytes) -> Script:
    """Answers each call with a stream of these bytes."""

    async def stream(call: ProviderCall) -> None:
        await call.begin_stream()
        await call.event(data)
        await call.end_stream()

    return stream


def asked(sidecar: Sidecar) -> list[tuple[str, str]]:
    """Whom the last call asked, and what came of it."""
    return [(attempt.provider, attempt.result) for attempt in sidecar.records.last.attempts]
