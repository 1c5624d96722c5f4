"""A record is one line of JSON: every field that says something, in one order, readable whatever is in it."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tidegate_sidecar.telemetry.cells import CellTable
from tidegate_sidecar.telemetry.records import (
    MAX_TEXT,
    AttemptRecord,
    CallRecord,
    Ending,
    ShadowRefusal,
    UsageState,
)
from tidegate_sidecar.telemetry.rendering import Renderer

NOT_WRITTEN = {"started_wall_ns", "model_label", "cells"}
CUT = {"consumer", "requested_model", "model"}
ANY = st.characters(exclude_categories=())
"""Lone surrogates too: JSON of a caller may have them, and bytes of headers become them."""


def attempt(**values: Any) -> AttemptRecord:
    return filled(AttemptRecord(), values)


def record(**values: Any) -> CallRecord:
    return filled(CallRecord(), values)


def filled(made: Any, values: dict[str, Any]) -> Any:
    for name, value in values.items():
        assert hasattr(made, name)
        setattr(made, name, value)
    return made


text = st.one_of(
    st.just(""), st.text(ANY, max_size=20), st.text("ab\u20ac\U0001f600", min_size=250, max_size=300)
)
tokens = st.one_of(st.none(), st.integers(0, 2**53))
attempts = st.builds(
    attempt,
    provider=text,
    result=text,
    status=st.integers(0, 599),
    reason=text,
    duration_ms=st.integers(0, 10**7),
    sent=st.booleans(),
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "started_wall_ns": st.integers(0, 253_402_300_799_999_999_999),
    "stream": st.booleans(),
    "status": st.integers(0, 599),
    "ending": st.sampled_from(Ending),
    "would_refuse": st.lists(st.builds(ShadowRefusal, text, text, text), max_size=2).map(tuple),
    "attempts": st.lists(attempts, max_size=3).map(tuple),
    "input_tokens": tokens,
    "output_tokens": tokens,
    "cached_input_tokens": tokens,
    "cache_write_tokens": tokens,
    "reasoning_tokens": tokens,
    "usage": st.sampled_from(UsageState),
    "first_token_ms": st.one_of(st.none(), st.integers(0, 10**7)),
    "duration_ms": st.integers(0, 10**7),
    "pass_through": st.sampled_from([None, True]),
    "cells": st.none(),
}
records = st.fixed_dictionaries(
    {}, optional={it.name: VALUES.get(it.name, text) for it in fields(CallRecord)}
).map(lambda values: record(**values))


def plainly(call: CallRecord) -> bytes:
    """The same by the fields' own names and order, as slow and simple as can be."""
    began = datetime.fromtimestamp(call.started_wall_ns // 10**9, UTC)
    ms = call.started_wall_ns // 10**6 % 1_000
    document: dict[str, Any] = {"time": f"{began:%Y-%m-%dT%H:%M:%S}.{ms:03}Z"}
    for name in (it.name for it in fields(CallRecord)):
        value = getattr(call, name)
        if name in NOT_WRITTEN or value in ("", (), None):
            continue
        if name in CUT:
            value = value[:MAX_TEXT]
        elif name == "would_refuse":
            value = [asdict(it) for it in value]
        elif name == "attempts":
            value = [
                {key: item for key, item in asdict(it).items() if key != "sent" or not item} for it in value
            ]
        document[name] = value
    return orjson.dumps(without_surrogates(document)) + b"\n"


def without_surrogates(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_surrogates(member) for name, member in value.items()}
    if isinstance(value, list):
        return [without_surrogates(member) for member in value]
    if isinstance(value, str):
        joined = re.sub("[\ud800-\udbff][\udc00-\udfff]", lambda it: json.loads(json.dumps(it[0])), value)
        return re.sub("[\ud800-\udfff]", "\ufffd", joined)
    return value


@given(st.lists(records, max_size=3))
@example([record()])
def test_a_line_says_what_the_record_says(calls: list[CallRecord]) -> None:
    """Whatever was rendered before."""
    render = Renderer().render
    for call in calls:
        assert render(call) == plainly(call)


@given(records)
def test_a_record_is_one_line_whatever_is_in_it(call: CallRecord) -> None:
    line = Renderer().render(call)
    assert line.endswith(b"}\n")
    assert not re.search(rb"[\x00-\x1f]", line[:-1])
    line.decode()


def test_a_served_call_looks_like_this() -> None:
    """People and programs read it: names and order are a promise."""
    call = record(
        request_id="tg-1",
        started_wall_ns=1_790_000_000_007_999_999,
        dialect="OpenAI",
        operation="Chat",
        stream=True,
        consumer="alice",
        requested_model="small",
        model="gpt-test",
        model_label="gpt-test",
        pool="team-a/main",
        provider="second",
        status=200,
        ending=Ending.SERVED,
        would_refuse=(ShadowRefusal("AIPolicy team-a/chat", "shadow", "rate_limit_exceeded"),),
        attempts=(
            attempt(provider="first", result="ConnectFailure", reason="connection refused", sent=False),
            attempt(provider="second", result="ok", status=200, duration_ms=12),
        ),
        input_tokens=10,
        output_tokens=0,
        cached_input_tokens=8,
        usage=UsageState.REPORTED,
        first_token_ms=7,
        duration_ms=13,
        config="0123456789ab",
        namespace="team-a",
        workload="chat",
    )
    assert Renderer().render(call).decode() == (
        '{"time":"2026-09-21T14:13:20.007Z","request_id":"tg-1","dialect":"OpenAI","operation":"Chat","stream":true,'
        '"consumer":"alice","requested_model":"small","model":"gpt-test","pool":"team-a/main","provider":"second",'
        '"status":200,"ending":"served",'
        '"would_refuse":[{"object":"AIPolicy team-a/chat","rule":"shadow","code":"rate_limit_exceeded"}],'
        '"attempts":[{"provider":"first","result":"ConnectFailure","status":0,"reason":"connection refused",'
        '"duration_ms":0,"sent":false},'
        '{"provider":"second","result":"ok","status":200,"reason":"","duration_ms":12}],'
        '"input_tokens":10,"output_tokens":0,"cached_input_tokens":8,"usage":"reported","first_token_ms":7,'
        '"duration_ms":13,"config":"0123456789ab","namespace":"team-a","workload":"chat"}\n'
    )


def test_a_call_that_never_became_one_has_a_line_too() -> None:
    assert json.loads(Renderer().render(CallRecord())) == {
        "time": "1970-01-01T00:00:00.000Z",
        "stream": False,
        "status": 0,
        "ending": "internal_error",
        "usage": "none",
        "duration_ms": 0,
    }


@pytest.mark.parametrize(
    ("named", "written"),
    [
        ("gpt\ud800", "gpt\ufffd"),
        ("\ud83d\ude00", "\U0001f600"),
        ("\udcff\udcfe", "\ufffd\ufffd"),
        ("\ufeffx\ud800", "\ufeffx\ufffd"),
    ],
    ids=["lone", "two halves", "bytes of a header", "byte order mark"],
)
def test_what_is_no_text_is_written_so_that_it_can_be_read(named: str, written: str) -> None:
    """A call is not lost because of the name it asks for."""
    assert json.loads(Renderer().render(record(requested_model=named)))["requested_model"] == written


def test_a_number_that_is_too_large_is_written_as_the_largest() -> None:
    line = Renderer().render(record(input_tokens=10**400, output_tokens=3))
    assert json.loads(line)["input_tokens"] == 2**63 - 1
    assert json.loads(line)["output_tokens"] == 3


def test_what_only_metrics_need_is_not_written() -> None:
    cells = CellTable().cells("team-a/main", "only", "other", "Chat")
    line = Renderer().render(record(model_label="other", cells=cells))
    assert not {"model_label", "cells", "started_wall_ns"} & set(json.loads(line))


def test_records_do_not_share_what_is_added_to_one() -> None:
    """Their defaults stand on the class."""
    one, other = CallRecord(), CallRecord()
    one.attempts += (AttemptRecord(),)
    one.would_refuse += (ShadowRefusal("a", "b", "c"),)
    assert (len(one.attempts), len(one.would_refuse)) == (1, 1)
    assert (other.attempts, other.would_refuse) == ((), ())


def test_a_record_shows_what_it_holds() -> None:
    assert "request_id='tg-1'" in repr(record(request_id="tg-1"))
