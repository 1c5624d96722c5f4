"""Refusals and faults as responses: the one place that gives them status, headers and shape (PURE)."""

from __future__ import annotations

from tidegate_sidecar.dialects.base import Dialect, ErrorBody
from tidegate_sidecar.proxy.answer import Answer
from tidegate_sidecar.routing.refusal import Refusal


def respond(refusal: Refusal, dialect: Dialect, request_id: str) -> Answer:
    """The refusal as `dialect` says it."""
    headers = [(b"content-type", b"application/json")]
    if refusal.retry_after_ms is not None:
        # Whole seconds, rounded up (RFC 9110 section 10.2.3): a client that waits so long must not be refused again.
        headers.append((b"retry-after", b"%d" % max(1, -(-refusal.retry_after_ms // 1_000))))
    if refusal.forbids_retry:
        # The SDKs of OpenAI and Anthropic repeat some statuses by themselves, unless they are told not to.
        headers.append((b"x-should-retry", b"false"))
    return Answer(refusal.case.status, headers, dialect.error(error_body(refusal, request_id)))


def error_body(refusal: Refusal, request_id: str) -> ErrorBody:
    """What a refusal says, without a shape."""
    details = dict(refusal.details)
    if refusal.source is not None:
        details["object"] = str(refusal.source)
    if refusal.rule:
        details["rule"] = refusal.rule
    if refusal.retry_after_ms is not None:
        details["retry_after_ms"] = refusal.retry_after_ms
    return ErrorBody(
        status=refusal.case.status,
        code=refusal.case.code,
        message=refusal.message,
        details=details,
        request_id=request_id,
    )
