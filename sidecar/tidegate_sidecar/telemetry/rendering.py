"""A record as a line of JSON.

The line is made by one call of orjson on one dictionary. Parts that were rendered in advance and joined cost as much: most
of what a line consists of is different each time.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any, Final

import orjson

from tidegate_sidecar.telemetry.records import (
    MAX_TEXT,
    AttemptRecord,
    CallRecord,
    Ending,
    ShadowRefusal,
    UsageState,
)

MAX_INTEGER: Final = 2**63 - 1
"""The largest that every reader of JSON takes for an integer."""


class Renderer:
    """Renders the records of one process. It keeps nothing but the texts of seconds."""

    def __init__(self) -> None:
        # Calls that end together began seconds apart where answers are long.
        self._second = lru_cache(maxsize=128)(_second)

    def render(self, record: CallRecord) -> bytes:
        """The record as one line, its line break included; parts that are empty are left out.

        `time` is when the call began, RFC 3339 in UTC. What is no Unicode (a lone surrogate in the name of a model) is
        written as U+FFFD: there is a line for every call, and every reader takes it.
        """
        second, ms = divmod(record.started_wall_ns // 1_000_000, 1_000)
        began = f"{self._second(second)}.{ms:03d}Z"
        document = _served(record, began) or _document(record, began)
        try:
            return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)
        except TypeError:
            return orjson.dumps(_readable(document), option=orjson.OPT_APPEND_NEWLINE)


def _second(at: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))


def _served(record: CallRecord, began: str) -> dict[str, Any] | None:
    """The fields of a call that ended as nearly all do, in one expression; None for any other."""
    attempts = record.attempts
    if (
        record.ending is not Ending.SERVED
        or record.usage is not UsageState.REPORTED
        or len(attempts) != 1
        or record.would_refuse
        or record.reason
        or record.pass_through
        or record.first_token_ms is not None
        or record.cache_write_tokens is not None
        or record.input_tokens is None
        or record.output_tokens is None
        or not (record.consumer and record.pool)
    ):
        return None
    document: dict[str, Any] = {
        "time": began,
        "request_id": record.request_id,
        "dialect": record.dialect,
        "operation": record.operation,
        "stream": record.stream,
        "consumer": record.consumer[:MAX_TEXT],
        "requested_model": record.requested_model[:MAX_TEXT],
        "model": record.model[:MAX_TEXT],
        "pool": record.pool,
        "provider": record.provider,
        "status": record.status,
        "ending": "served",
        "attempts": [_attempt(attempts[0])],
        "input_tokens": record.input_tokens,
        "output_tokens": record.output_tokens,
    }
    if record.cached_input_tokens is not None:
        document["cached_input_tokens"] = record.cached_input_tokens
    if record.reasoning_tokens is not None:
        document["reasoning_tokens"] = record.reasoning_tokens
    document["usage"] = "reported"
    document["duration_ms"] = record.duration_ms
    if record.config:
        document["config"] = record.config
    if record.namespace:
        document["namespace"] = record.namespace
    if record.workload:
        document["workload"] = record.workload
    return document


def _document(record: CallRecord, began: str) -> dict[str, Any]:  # noqa: C901, PLR0912, PLR0915 - a list of fields
    """All fields in the order in which they are written. Every call pays for this, and a loop over names costs more."""
    document: dict[str, Any] = {"time": began}
    if record.request_id:
        document["request_id"] = record.request_id
    if record.dialect:
        document["dialect"] = record.dialect
    if record.operation:
        document["operation"] = record.operation
    document["stream"] = record.stream
    if record.consumer:
        document["consumer"] = record.consumer[:MAX_TEXT]
    if record.requested_model:
        document["requested_model"] = record.requested_model[:MAX_TEXT]
    if record.model:
        document["model"] = record.model[:MAX_TEXT]
    if record.pool:
        document["pool"] = record.pool
    if record.provider:
        document["provider"] = record.provider
    document["status"] = record.status
    document["ending"] = str(record.ending)
    if record.code:
        document["code"] = record.code
    if record.object:
        document["object"] = record.object
    if record.rule:
        document["rule"] = record.rule
    if record.reason:
        document["reason"] = record.reason
    if record.would_refuse:
        document["would_refuse"] = [_shadow(it) for it in record.would_refuse]
    if record.attempts:
        document["attempts"] = [_attempt(it) for it in record.attempts]
    if record.input_tokens is not None:
        document["input_tokens"] = record.input_tokens
    if record.output_tokens is not None:
        document["output_tokens"] = record.output_tokens
    if record.cached_input_tokens is not None:
        document["cached_input_tokens"] = record.cached_input_tokens
    if record.cache_write_tokens is not None:
        document["cache_write_tokens"] = record.cache_write_tokens
    if record.reasoning_tokens is not None:
        document["reasoning_tokens"] = record.reasoning_tokens
    document["usage"] = str(record.usage)
    if record.first_token_ms is not None:
        document["first_token_ms"] = record.first_token_ms
    document["duration_ms"] = record.duration_ms
    if record.policy:
        document["policy"] = record.policy
    if record.pass_through is not None:
        document["pass_through"] = record.pass_through
    if record.config:
        document["config"] = record.config
    if record.namespace:
        document["namespace"] = record.namespace
    if record.workload:
        document["workload"] = record.workload
    return document


def _shadow(refusal: ShadowRefusal) -> dict[str, Any]:
    return {"object": refusal.object, "rule": refusal.rule, "code": refusal.code}


def _attempt(attempt: AttemptRecord) -> dict[str, Any]:
    document = {
        "provider": attempt.provider,
        "result": attempt.result,
        "status": attempt.status,
        "reason": attempt.reason,
        "duration_ms": attempt.duration_ms,
    }
    if not attempt.sent:
        document["sent"] = False
    return document


def _readable(value: Any) -> Any:
    """The same with all that orjson refuses replaced by what is nearest to it."""
    if isinstance(value, str):
        # By way of UTF-16, in which the two halves of one character find each other.
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        return {name: _readable(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_readable(member) for member in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return max(-MAX_INTEGER, min(value, MAX_INTEGER))
    return value
