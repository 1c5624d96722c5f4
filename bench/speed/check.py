"""Before anything is measured: each proxy answers as the provider does, and does what it is measured for."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from speed.calls import Answer, ask, ask_for, get
from speed.programs import BenchError
from speed.targets import ENVOY, POLICIES, RELAY, Target
from speed.traffic import EVENTS, FEW_EVENTS, Row, Shape, events, whole_answer

OK: Final = 200
REFUSED: Final = (403, 404)
LIMITED: Final = 429


def check(target: Target, rows: Sequence[Row]) -> None:
    """Ask once for each kind of answer; `BenchError` says what is wrong with which."""
    kinds = {(row.shape, row.kib): row for row in rows}
    for row in kinds.values():
        answer = ask(target, row)
        if answer.status != OK:
            raise BenchError(
                f"{target.name} answers {answer.status} to a call for a {row}: {answer.body[:500]!r}"
            )
        if _text(answer, row.shape) != _expected(row):
            raise BenchError(f"{target.name} gives another answer than the provider to a call for a {row}")
    if target.name in (RELAY, POLICIES):
        _check_record(target, len(kinds))
    if target.name == POLICIES:
        _check_policies(target)
    if target.name == ENVOY and not re.search(
        rb"http_local_rate_limit\.ok: [1-9]", get(target.admin_port, "/stats?filter=local_rate_limit")
    ):
        raise BenchError("Envoy's local rate limit does not count")


def _text(answer: Answer, shape: Shape) -> str:
    """What the model says, which every proxy has to pass on."""
    try:
        if not shape.is_stream:
            document = json.loads(answer.body)
            return str(document["choices"][0]["message"]["content"])
        return _text_of_events(answer.body)
    except (ValueError, LookupError, TypeError) as error:
        return f"unreadable: {error!r}"


def _text_of_events(stream: bytes) -> str:
    data = re.findall(rb"^data: ?(.*?)\r?$", stream, re.MULTILINE)
    if not data or data[-1].strip() != b"[DONE]":
        return "no [DONE]"
    documents: list[dict[str, Any]] = [json.loads(line) for line in data[:-1]]
    choices = [choice for document in documents for choice in document["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def _expected(row: Row) -> str:
    if row.shape is Shape.WHOLE:
        return _text(Answer(OK, {}, whole_answer(row.kib)), row.shape)
    return _text_of_events(b"".join(events(FEW_EVENTS if row.shape is Shape.FIRST else EVENTS)))


def _check_record(target: Target, calls: int) -> None:
    """There is a record of each call, and metrics count it."""
    records = target.records
    if records is None or not records.wait_for(calls):
        raise BenchError(f"{target.name} wrote no record of each of {calls} calls")
    record = json.loads(records.last)
    if record.get("status") != OK or not record.get("provider"):
        raise BenchError(f"{target.name} wrote a record that is none of a call that was served: {record}")
    metrics = get(target.admin_port, "/metrics").decode()
    counted = sum(map(float, re.findall(r"^ai_requests_total\{.*\} (\S+)$", metrics, re.MULTILINE)))
    if counted < calls:
        raise BenchError(f"{target.name} counts {counted:g} of {calls} calls in its metrics")


def _check_policies(target: Target) -> None:
    """Limits and the list of models are in force."""
    asked = [ask_for(target, model).status for model in ("once-a-day", "once-a-day", "unknown")]
    if asked[:2] != [OK, LIMITED] or asked[2] not in REFUSED:
        raise BenchError(
            f"{target.name} does not enforce its policy: {asked} came for two calls of which one is allowed, "
            "and one for an unknown model"
        )
