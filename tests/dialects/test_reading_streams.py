"""What each dialect reads in a stream as it passes: content, usage, its end, an error, and what is none of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_sidecar.dialects.anthropic import Anthropic
from tidegate_sidecar.dialects.base import (
    NO_USAGE,
    Dialect,
    Endpoint,
    Judged,
    Operation,
    StreamReader,
    UnreadableError,
    Usage,
    Verdict,
)
from tidegate_sidecar.dialects.openai import OpenAI
from tidegate_sidecar.dialects.registry import DEFAULT

NAMES = st.sampled_from(
    [
        "",
        "ping",
        "error",
        "message_start",
        "message_delta",
        "message_stop",
        "content_block_start",
        "thread.created",
    ]
)
MEMBERS = st.sampled_from(
    [
        "choices",
        "code",
        "content",
        "content_block",
        "delta",
        "error",
        "finish_reason",
        "index",
        "message",
        "object",
        "prompt_tokens",
        "stop_reason",
        "text",
        "tool_calls",
        "type",
        "usage",
        "x_groq",
    ]
)
WORDS = st.sampled_from(
    [
        "error",
        "message_start",
        "message_delta",
        "content_block_start",
        "response.completed",
        "response.failed",
    ]
)
STREAMED = [
    endpoint for dialect in DEFAULT.all for endpoint in dialect.endpoints.values() if endpoint.stream_reader
]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MEMBERS, inner, max_size=5),
    max_leaves=12,
)


def reader_of(endpoint: Endpoint) -> StreamReader:
    assert endpoint.stream_reader is not None
    return endpoint.stream_reader()


def read(
    dialect: Dialect, *events: tuple[str, object], operation: Operation = Operation.CHAT
) -> StreamReader:
    """A reader that has read events of (name, data), data as bytes or written as JSON."""
    reader = reader_of(dialect.endpoints[operation])
    for name, data in events:
        reader.read((b"", name.encode(), data if isinstance(data, bytes) else json.dumps(data).encode()))
    return reader


def chunk(delta: dict[str, object], finish_reason: str | None = None, index: int = 0) -> tuple[str, object]:
    return "", {"choices": [{"index": index, "delta": delta, "finish_reason": finish_reason}]}


def openai(*events: tuple[str, object]) -> StreamReader:
    return read(OpenAI(), *events)


def anthropic(*documents: dict[str, Any]) -> StreamReader:
    return read(Anthropic(), *((document["type"], document) for document in documents))


@pytest.mark.parametrize("endpoint", STREAMED, ids=lambda it: it.operation)
@given(name=NAMES, data=ANYTHING.map(lambda it: json.dumps(it).encode()) | st.binary(max_size=60))
def test_no_event_breaks_the_reading_of_a_stream(endpoint: Endpoint, name: str, data: bytes) -> None:
    reader, refusal = reader_of(endpoint), ""
    try:
        reader.read((b"", name.encode(), data))
    except UnreadableError as error:
        refusal = str(error)
    assert not refusal or f"{len(data)} bytes" in refusal
    assert reader.failure is None or len(reader.failure.word) <= 80
    assert reader.may_end or not reader.is_complete


@pytest.mark.parametrize("endpoint", STREAMED, ids=lambda it: it.operation)
def test_comments_and_events_without_data_say_nothing(endpoint: Endpoint) -> None:
    reader = reader_of(endpoint)
    for name in (b"", b"ping"):
        reader.read((b"", name, b""))
    assert (reader.has_content, reader.is_complete, reader.may_end, reader.failure) == (
        False,
        False,
        False,
        None,
    )


# OpenAI


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "a"},
        {"content": [{"type": "text", "text": "a"}]},
        {"refusal": "no"},
        {"reasoning": "hm"},
        {"reasoning_content": "hm"},
        {"tool_calls": [{"index": 0, "id": "call_1"}]},
        {"function_call": {"name": "f"}},
        {"audio": {"data": "AAAA"}},
    ],
)
def test_a_chunk_that_carries_a_part_of_the_answer_has_content(delta: dict[str, object]) -> None:
    assert openai(chunk(delta)).has_content


@pytest.mark.parametrize(
    "document",
    [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "", "refusal": None}}]},
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": None, "reasoning_content": ""}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": [], "audio": {}}, "finish_reason": ""}]},
        {"choices": [{"index": 0}]},
        {"choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
        {"choices": None},
        {},
    ],
)
def test_an_opening_has_no_content(document: dict[str, object]) -> None:
    reader = openai(("", document))
    assert (reader.has_content, reader.may_end) == (False, False)


def test_an_answer_that_is_empty_is_still_the_answer() -> None:
    assert openai(chunk({"role": "assistant"}), chunk({}, "stop")).has_content
    empty = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}}
    assert anthropic(empty).has_content


def test_the_older_forms_of_a_choice_have_content() -> None:
    for choice in ({"text": "a"}, {"message": {"content": "a"}}):
        assert openai(("", {"choices": [choice]})).has_content


@pytest.mark.parametrize("done", [b"[DONE]", b"[DONE] ", b" [DONE]", b"\t[DONE]\n", b"[DONE] bye"])
def test_done_completes_a_stream_with_anything_around_it(done: bytes) -> None:
    reader = openai(chunk({"content": "a"}), ("", done))
    assert (reader.is_complete, reader.may_end) == (True, True)


def test_a_stream_may_end_when_each_choice_that_was_seen_has_its_reason() -> None:
    first = (chunk({"content": "a"}), chunk({"content": "b"}, index=1), chunk({}, "stop"))
    assert not openai(*first).may_end
    reader = openai(*first, chunk({"content": "more"}, index=1), chunk({}, "length", index=1))
    assert (reader.may_end, reader.is_complete) == (True, False)


def test_what_comes_after_a_reason_does_not_open_the_choice_again() -> None:
    late = {
        "choices": [
            {"index": 0, "finish_reason": None, "content_filter_results": {"hate": {"filtered": False}}}
        ]
    }
    assert openai(chunk({}, "stop"), ("", late), ("", {"choices": [], "usage": None})).may_end


def test_a_reason_in_the_text_of_an_answer_is_none() -> None:
    assert not openai(chunk({"content": '"finish_reason":"stop"'})).may_end


def test_a_stream_of_endless_choices_is_not_remembered_for_ever() -> None:
    with pytest.raises(UnreadableError, match="more than 1024 choices"):
        openai(*(chunk({"content": "a"}, index=index) for index in range(1_025)))


@pytest.mark.parametrize(
    "document",
    [
        {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}},
        {"choices": [], "x_groq": {"id": "req", "usage": {"prompt_tokens": 7, "completion_tokens": 2}}},
        {"choices": [{"index": 0, "delta": {}}], "usage": {"prompt_tokens": 7, "completion_tokens": 2}},
    ],
)
def test_usage_is_read_in_any_chunk(document: dict[str, object]) -> None:
    reader = openai(
        chunk({"content": "a"}), ("", document), ("", {"choices": [], "usage": None, "x_groq": {}})
    )
    assert reader.usage == Usage(7, 2)


def test_the_last_word_on_usage_counts() -> None:
    told = [{"usage": {"prompt_tokens": 7, "completion_tokens": count}} for count in (1, 2, 3)]
    assert openai(*(("", document) for document in told)).usage == Usage(7, 3)


@pytest.mark.parametrize(
    "data",
    [
        rb'{"choices":[{"index":0,"delta":{"content":"\ud800"},"finish_reason":"stop"}]}',
        b'{"id":123456789012345678901234567890,"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}',
        b'{"id":' + b"1" * 5_000 + b',"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}',
        b'{"score":NaN,"least":-Infinity,"most":1e999,"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}',
        b' {"choices" : [ {"delta" : {"content" : "a"}, "finish_reason" : "stop"} ]}\t\r\n',
    ],
)
def test_what_the_sdks_parser_reads_is_read(data: bytes) -> None:
    for name in ("", "completion", "thread.message.delta"):
        reader = openai((name, data))
        assert (reader.has_content, reader.may_end, reader.failure) == (True, True, None)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"pong-secret", "text"),
        (b"<html>secret</html>", "markup such as HTML"),
        (b'{"choices": [secret', "broken JSON"),
        (b'["secret"]', "a JSON array"),
        (b'"secret"', "a JSON string"),
        (b"17", "a JSON number"),
        (b"true", "a JSON boolean"),
        (b"null", "a JSON null"),
        (b"\x1f\x8b\x08\x00secret", "gzip"),
        (b'{"choices": "\xff secret"}', "binary, or text that is not UTF-8"),
        (b" ", "empty"),
        (b"[" * 100_000, "broken JSON"),
    ],
)
def test_what_cannot_be_read_is_told_without_a_word_of_it(data: bytes, what: str) -> None:
    with pytest.raises(UnreadableError) as told:
        openai(("", data))
    assert str(told.value) == f"an event of {len(data)} bytes that is {what}, not a JSON object"
    with pytest.raises(UnreadableError) as told:
        read(Anthropic(), ("content_block_delta", data))
    assert (
        str(told.value)
        == f"a content_block_delta event of {len(data)} bytes that is {what}, not a JSON object"
    )


@pytest.mark.parametrize(
    ("name", "document", "judged"),
    [
        ("", {"error": {"message": "m", "code": 429}}, Judged(Verdict.RATE_LIMITED, "429")),
        ("", {"error": {"message": "m", "code": "429"}}, Judged(Verdict.RATE_LIMITED, "429")),
        ("", {"error": {"code": "rate_limit_exceeded"}}, Judged(Verdict.RATE_LIMITED, "rate_limit_exceeded")),
        ("", {"error": {"type": "overloaded_error"}}, Judged(Verdict.OVERLOADED, "overloaded_error")),
        ("error", {"error": {"type": "server_error"}}, Judged(Verdict.SERVER_ERROR, "server_error")),
        ("error", {"message": "m", "code": 503}, Judged(Verdict.OVERLOADED, "503")),
        (
            "",
            {"object": "error", "message": "m", "type": "BadRequestError"},
            Judged(Verdict.CALLER_ERROR, "BadRequestError"),
        ),
        ("", {"error": "out of memory"}, Judged(Verdict.SERVER_ERROR)),
        (
            "",
            {"error": {"code": 502}, "choices": [{"index": 0, "delta": {}, "finish_reason": "error"}]},
            Judged(Verdict.SERVER_ERROR, "502"),
        ),
    ],
)
def test_an_error_among_chunks_is_judged(name: str, document: dict[str, object], judged: Judged) -> None:
    assert openai(chunk({"content": "a"}), (name, document)).failure == judged


def test_no_error_is_none() -> None:
    for name, document in (("", {"error": None, "choices": []}), ("error", chunk({"content": "a"})[1])):
        assert openai((name, document)).failure is None


def test_the_first_error_of_a_stream_counts() -> None:
    reader = openai(("", {"error": {"code": 429}}), ("", {"error": {"code": 500}}))
    assert reader.failure == Judged(Verdict.RATE_LIMITED, "429")


# Anthropic

START = {
    "type": "message_start",
    "message": {
        "content": [],
        "usage": {
            "input_tokens": 9,
            "output_tokens": 1,
            "cache_read_input_tokens": 100,
            "cache_creation_input_tokens": 20,
        },
    },
}
STOP = {"type": "message_stop"}


def test_usage_of_a_message_is_the_last_word_on_each_part() -> None:
    reader = anthropic(
        START,
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 5}},
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 7, "input_tokens": 10}},
        {"type": "message_delta", "delta": {}},
    )
    assert reader.usage == Usage(10, 7, cached_input_tokens=100, cache_write_tokens=20)


def test_a_message_ends_with_its_stop_alone() -> None:
    reader = anthropic(START, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}})
    assert not reader.may_end
    reader.read((b"", b"message_stop", json.dumps(STOP).encode()))
    assert (reader.is_complete, reader.may_end) == (True, True)


@pytest.mark.parametrize(
    "document",
    [
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}},
        {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "hm"}},
        {"type": "content_block_delta", "delta": {"type": "signature_delta", "signature": "AA"}},
        {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "{"}},
        {
            "type": "content_block_delta",
            "delta": {"type": "citations_delta", "citation": {"cited_text": "a"}},
        },
        {"type": "content_block_start", "content_block": {"type": "text", "text": "a"}},
        {"type": "content_block_start", "content_block": {"type": "tool_use", "name": "f", "input": {}}},
        {"type": "content_block_start", "content_block": {"type": "redacted_thinking", "data": "AA"}},
        {"type": "message_start", "message": {"content": [{"type": "tool_use", "name": "f"}]}},
    ],
)
def test_an_event_that_carries_a_part_of_the_message_has_content(document: dict[str, Any]) -> None:
    assert anthropic(START, document).has_content


@pytest.mark.parametrize(
    "document",
    [
        START,
        {"type": "ping"},
        {"type": "content_block_start", "content_block": {"type": "text", "text": ""}},
        {
            "type": "content_block_start",
            "content_block": {"type": "thinking", "thinking": "", "signature": ""},
        },
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": ""}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": None}},
    ],
)
def test_an_event_that_opens_or_closes_has_no_content(document: dict[str, Any]) -> None:
    assert not anthropic(document).has_content


def test_the_type_in_the_data_says_what_an_event_is() -> None:
    """A name that is missing or unknown changes nothing."""
    for name in ("", "completion"):
        reader = read(Anthropic(), (name, START), (name, STOP))
        assert (reader.usage.input_tokens, reader.is_complete) == (9, True)


def test_nobody_reads_pings_and_what_has_no_name_that_is_known() -> None:
    reader = read(Anthropic(), ("ping", b"pong"), ("", b"[DONE]"), ("status", b"well"), ("", b"[1]"))
    assert (reader.failure, reader.is_complete, reader.usage) == (None, False, NO_USAGE)


@pytest.mark.parametrize(
    ("name", "data", "judged"),
    [
        (
            "error",
            {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
            Judged(Verdict.OVERLOADED, "overloaded_error"),
        ),
        (
            "",
            {"type": "error", "error": {"type": "invalid_request_error"}},
            Judged(Verdict.CALLER_ERROR, "invalid_request_error"),
        ),
        ("error", {"type": "rate_limit_error"}, Judged(Verdict.RATE_LIMITED, "rate_limit_error")),
        ("error", b"Overloaded", Judged(Verdict.SERVER_ERROR)),
        ("error", b"", Judged(Verdict.SERVER_ERROR)),
        ("error", {}, Judged(Verdict.SERVER_ERROR)),
    ],
)
def test_an_error_among_events_is_judged(name: str, data: object, judged: Judged) -> None:
    assert read(Anthropic(), ("message_start", START), (name, data)).failure == judged


# OpenAI's responses


def response(*documents: dict[str, Any]) -> StreamReader:
    events = [(str(document["type"]), document) for document in documents]
    return read(OpenAI(), *events, operation=Operation.RESPONSES)


def ended(kind: str, **members: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", "response": {"status": kind, "error": None, "usage": None, **members}}


@pytest.mark.parametrize(
    "document",
    [
        {"type": "response.output_text.delta", "delta": "a"},
        {"type": "response.refusal.delta", "delta": "no"},
        {"type": "response.reasoning_summary_text.delta", "delta": "hm"},
        {"type": "response.function_call_arguments.delta", "delta": "{"},
        {"type": "response.output_item.done", "item": {"type": "function_call", "arguments": "{}"}},
        {"type": "response.image_generation_call.partial_image", "partial_image_b64": "AAAA"},
    ],
)
def test_an_event_that_carries_a_part_of_a_response_has_content(document: dict[str, Any]) -> None:
    reader = response(document)
    assert (reader.has_content, reader.may_end) == (True, False)


@pytest.mark.parametrize(
    "kind",
    [
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.output_item.added",
        "keepalive",
    ],
)
def test_the_opening_of_a_response_has_no_content(kind: str) -> None:
    reader = response({"type": kind, "response": {"status": "in_progress", "error": None}})
    assert (reader.has_content, reader.may_end, reader.failure) == (False, False, None)


@pytest.mark.parametrize("kind", ["completed", "incomplete"])
def test_a_response_is_whole_after_its_last_event_which_has_the_usage(kind: str) -> None:
    used = {"input_tokens": 5, "output_tokens": 7, "output_tokens_details": {"reasoning_tokens": 3}}
    reader = response(ended(kind, usage=used))
    assert (reader.has_content, reader.may_end, reader.failure) == (True, True, None)
    assert not reader.is_complete, "a server may send its mark behind it"
    assert reader.usage == Usage(5, 7, None, None, 3)


@pytest.mark.parametrize(
    ("document", "judged"),
    [
        (
            ended("failed", error={"code": "server_error", "message": "m"}),
            Judged(Verdict.SERVER_ERROR, "server_error"),
        ),
        (
            ended("failed", error={"code": "rate_limit_exceeded", "message": "m"}),
            Judged(Verdict.RATE_LIMITED, "rate_limit_exceeded"),
        ),
        (
            {"type": "error", "code": "invalid_prompt", "message": "m"},
            Judged(Verdict.CALLER_ERROR, "invalid_prompt"),
        ),
        ({"type": "error", "error": {"code": 429}}, Judged(Verdict.RATE_LIMITED, "429")),
    ],
)
def test_a_response_that_fails_says_why(document: dict[str, Any], judged: Judged) -> None:
    reader = response(document)
    assert (reader.failure, reader.has_content) == (judged, False)


def test_a_response_without_a_type_has_the_name_of_its_event() -> None:
    assert read(
        OpenAI(), ("response.output_text.delta", {"delta": "a"}), operation=Operation.RESPONSES
    ).has_content


def test_the_mark_that_ends_chunks_ends_a_response_too() -> None:
    assert read(OpenAI(), ("", b"[DONE]"), operation=Operation.RESPONSES).is_complete
