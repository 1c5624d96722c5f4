"""What each dialect says about usage, ends, and errors."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate_policy.model import Dialect, RetryOn
from tidegate_sidecar.providers.base import (
    DialectAdapter,
    ErrorBody,
    SseEvent,
    Usage,
    classify,
    retry_after_ms,
)
from tidegate_sidecar.providers.registry import ADAPTERS
from tidegate_sidecar.providers.sse import events
from tidegate_sidecar.proxy.redact import RedactedResponse
from tidegate_sidecar.routing.refusal import Case

OPENAI, ANTHROPIC = ADAPTERS[Dialect.OPENAI], ADAPTERS[Dialect.ANTHROPIC]
NAMES = st.sampled_from(
    [
        "usage",
        "prompt_tokens",
        "completion_tokens",
        "input_tokens",
        "output_tokens",
        "error",
        "code",
        "type",
        "message",
    ]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(), inner, max_size=4),
    max_leaves=8,
)


@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=lambda it: it.dialect)
@settings(deadline=None, max_examples=60)
@given(document=ANYTHING)
def test_no_answer_breaks_the_reading_of_usage(adapter: DialectAdapter, document: object) -> None:
    usage = adapter.usage(document)
    for tokens in (usage.input_tokens, usage.output_tokens):
        assert tokens is None or tokens >= 0


@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=lambda it: it.dialect)
@settings(deadline=None, max_examples=60)
@given(
    name=st.sampled_from(["", "message_start", "message_delta", "message_stop", "error", "ping"]),
    data=ANYTHING.map(lambda it: json.dumps(it).encode()) | st.binary(max_size=60),
)
def test_no_event_breaks_the_reading_of_a_stream(adapter: DialectAdapter, name: str, data: bytes) -> None:
    tap = adapter.tap()
    tap.feed(SseEvent(name, data))
    assert len(tap.error) <= 80
    assert tap.may_end or not tap.complete


@pytest.mark.parametrize(
    ("adapter", "document", "expected"),
    [
        (OPENAI, {"usage": {"prompt_tokens": 3, "completion_tokens": 0}}, Usage(3, 0)),
        (OPENAI, {"usage": None}, Usage()),
        (OPENAI, {"usage": {"prompt_tokens": True, "completion_tokens": -1}}, Usage()),
        (OPENAI, {"usage": {"prompt_tokens": "3", "completion_tokens": 1.5}}, Usage()),
        (OPENAI, [], Usage()),
        (ANTHROPIC, {"usage": {"input_tokens": 3, "output_tokens": 2**53}}, Usage(3, None)),
    ],
)
def test_only_plausible_usage_is_believed(adapter: DialectAdapter, document: object, expected: Usage) -> None:
    assert adapter.usage(document) == expected


def test_usage_of_an_anthropic_stream_is_the_last_word_on_each_part() -> None:
    tap = ANTHROPIC.tap()
    tap.feed(SseEvent("message_start", b'{"message":{"usage":{"input_tokens":9,"output_tokens":1}}}'))
    tap.feed(SseEvent("message_delta", b'{"usage":{"output_tokens":5}}'))
    tap.feed(SseEvent("message_delta", b'{"usage":{"output_tokens":7}}'))
    assert not tap.may_end
    tap.feed(SseEvent("message_stop", b'{"type":"message_stop"}'))
    assert (tap.usage, tap.complete, tap.may_end) == (Usage(9, 7), True, True)


def test_an_openai_stream_may_end_when_its_text_is_finished_and_is_complete_with_done() -> None:
    tap = OPENAI.tap()
    tap.feed(
        SseEvent(
            "", b'{"choices":[{"delta":{"content":"\\"finish_reason\\":\\"stop\\""},"finish_reason":null}]}'
        )
    )
    assert not tap.may_end
    tap.feed(SseEvent("", b'{"choices":[{"delta":{},"finish_reason":"stop"}]}'))
    assert (tap.may_end, tap.complete) == (True, False)
    tap.feed(SseEvent("", b"[DONE]"))
    assert tap.complete


@pytest.mark.parametrize("case", list(Case))
def test_each_refusal_has_a_shape_in_each_dialect(case: Case) -> None:
    body = ErrorBody(
        status=case.status,
        code=case.code,
        message="m",
        details={"param": "model", "rule": "r"},
        request_id="tg-1",
    )
    error = json.loads(OPENAI.error(body))["error"]
    assert (error["code"], error["message"], error["param"]) == (case.code, "m", "model")
    assert error["tidegate"] == {"param": "model", "rule": "r", "request_id": "tg-1"}
    document = json.loads(ANTHROPIC.error(body))
    assert (document["type"], document["request_id"]) == ("error", "tg-1")
    assert document["error"]["tidegate"] == {"code": case.code, "param": "model", "rule": "r"}
    for adapter in ADAPTERS.values():
        tap = adapter.tap()
        (event,) = events(adapter.stream_error(body))
        tap.feed(event)
        assert tap.error


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, None),
        (400, None),
        (401, None),
        (403, None),
        (404, None),
        (422, None),
        (408, RetryOn.TIMEOUT),
        (425, RetryOn.SERVER_ERROR),
        (429, RetryOn.RATE_LIMITED),
        (500, RetryOn.SERVER_ERROR),
        (502, RetryOn.SERVER_ERROR),
        (503, RetryOn.OVERLOADED),
        (504, RetryOn.TIMEOUT),
        (520, RetryOn.SERVER_ERROR),
        (529, RetryOn.OVERLOADED),
    ],
)
def test_a_status_says_whether_another_try_may_help(status: int, kind: RetryOn | None) -> None:
    assert classify(status) is kind


NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1_000)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ((), None),
        ((("Retry-After", "7"),), 7_000),
        ((("retry-after", "0"),), 0),
        ((("retry-after", "1.5"),), 1_500),
        ((("retry-after-ms", "250"), ("retry-after", "7")), 250),
        ((("retry-after-ms", "soon"), ("retry-after", "7")), 7_000),
        ((("retry-after", format_datetime(NOW + timedelta(seconds=30), usegmt=True)),), 30_000),
        ((("retry-after", format_datetime(NOW - timedelta(seconds=30), usegmt=True)),), 0),
        ((("retry-after", "soon"),), None),
        ((("retry-after", "-5"),), None),
        ((("retry-after", "\u0667"),), None),
        ((("retry-after", "Mon, 01 Jan 0001 00:00:00 -0000"),), 0),
    ],
)
def test_how_long_a_provider_asks_to_wait(headers: tuple[tuple[str, str], ...], expected: int | None) -> None:
    assert retry_after_ms(headers, NOW_MS) == expected


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=40), st.text(max_size=40))
def test_no_header_breaks_the_reading_of_how_long_to_wait(seconds: str, milliseconds: str) -> None:
    wait_ms = retry_after_ms((("retry-after", seconds), ("retry-after-ms", milliseconds)), NOW_MS)
    assert wait_ms is None or wait_ms >= 0


class Pieces:
    """An answer in given pieces."""

    status = 200
    headers: tuple[tuple[str, str], ...] = (("x-debug", "key=abcab"),)

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = iter(pieces)

    async def read(self) -> bytes:
        return next(self._pieces, b"")

    def close(self) -> None:
        pass


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text("abc-", min_size=1, max_size=6).map(str.encode), max_size=12))
async def test_a_key_is_taken_out_however_it_is_cut(pieces: list[bytes]) -> None:
    """The key begins with what it ends with, so that its own parts look like it."""
    response = RedactedResponse(Pieces(pieces), "abcab")
    out = b""
    while piece := await response.read():
        assert b"abcab" not in out + piece
        out += piece
    assert out == b"".join(pieces).replace(b"abcab", b"[redacted]")
    assert response.headers == (("x-debug", "key=[redacted]"),)
