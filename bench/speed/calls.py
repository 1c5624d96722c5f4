"""Single calls of the bench's own: for checks, for counts and for the time until a stream's first event."""

from __future__ import annotations

import http.client
import json
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from speed.targets import Provider, Target
from speed.traffic import Row, Shape, model_name, request

PATH = "/v1/chat/completions"
TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Counts(NamedTuple):
    """What the provider stub has answered so far."""

    calls: int
    events: int


def ask(target: Target, row: Row) -> Answer:
    """One call as the row's load makes it."""
    return ask_for(target, row.model + target.model_suffix, row.shape, row.kib)


def ask_for(target: Target, model: str, shape: Shape = Shape.WHOLE, kib: int = 1) -> Answer:
    """One call for that model, whatever the target knows it as."""
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=TIMEOUT_S)
    try:
        connection.request("POST", PATH, request(shape, kib, model), headers(target))
        response = connection.getresponse()
        return Answer(response.status, dict(response.headers.items()), response.read())
    finally:
        connection.close()


def get(port: int, path: str) -> bytes:
    """What stands there."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()


def headers(target: Target) -> dict[str, str]:
    """What every call to the target carries."""
    return {"Content-Type": "application/json", **target.headers}


def counts(provider: Provider) -> Counts:
    """Asked on a connection of its own."""
    return Counts(**json.loads(get(provider.plain_port, "/counts")))


def first_event_ms(target: Target, times: int) -> float:
    """From sending a call until the first event of its stream is there; the median of so many calls on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=TIMEOUT_S)
    body = request(Shape.FIRST, 1, model_name(Shape.FIRST, 1) + target.model_suffix)
    found = []
    try:
        for _ in range(times):
            began_ns = time.perf_counter_ns()
            connection.request("POST", PATH, body, headers(target))
            response = connection.getresponse()
            response.readline()
            found.append((time.perf_counter_ns() - began_ns) / 1e6)
            response.read()
    finally:
        connection.close()
    return statistics.median(found)
