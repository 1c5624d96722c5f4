"""Requests to the publisher as values, and problems as responses: everything between HTTP and the decisions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from aiohttp import web

from tidegate_operator.publish.answer import Ask
from tidegate_policy.envelope import Tag
from tidegate_policy.keys import KeyReport
from tidegate_policy.poll import (
    AS_OF,
    KEYS,
    REFUSED,
    SCHEMA_VERSIONS,
    Nack,
    parse_as_of,
    parse_keys,
    parse_versions,
    parse_wait,
)


class ProblemError(Exception):
    """A request that is answered with a problem; the message is shown to the caller.

    Attributes:
        status: of the response.
        code: one of a closed set, for programs and metrics.
        retry_s: not 0: over how many seconds to try again.
    """

    def __init__(self, status: int, code: str, message: str, *, retry_s: int = 0) -> None:
        """Say what is wrong in a way that a person can act on."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_s = retry_s


def problem(error: ProblemError) -> web.Response:
    """The response for a problem."""
    headers = {"retry-after": str(error.retry_s)} if error.retry_s else {}
    body = json.dumps({"code": error.code, "message": str(error)}).encode()
    return web.Response(status=error.status, body=body, headers=headers, content_type="application/json")


def bearer(headers: Mapping[str, str]) -> str:
    """The token in Authorization; empty when there is none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def read_ask(headers: Mapping[str, str], on_unknown: Callable[[str], None]) -> Ask:
    """What a poll says; `on_unknown` is told of each field that is passed over.

    Raises:
        DecodeError: a header is there and does not say what it should.
    """
    has, refused, as_of = headers.get("if-none-match"), headers.get(REFUSED), headers.get(AS_OF)
    keys = headers.get(KEYS)
    return Ask(
        versions=parse_versions(headers.get(SCHEMA_VERSIONS, "")),
        has=Tag.parse(has) if has else None,
        refused=Nack.parse(refused) if refused else None,
        as_of=parse_as_of(as_of, on_unknown) if as_of else None,
        keys=parse_keys(keys, on_unknown) if keys else KeyReport(),
        wait_s=parse_wait(headers.get("prefer", "")),
    )
