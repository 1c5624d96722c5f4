"""Refusals and faults as responses: the one place that gives them status, headers and shape."""

from __future__ import annotations

from dataclasses import dataclass

from tidegate_sidecar.providers.base import DialectAdapter, ErrorBody
from tidegate_sidecar.routing.refusal import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeResponse:
    """A response that is all there."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def respond(refusal: Refusal, adapter: DialectAdapter, request_id: str) -> WholeResponse:
    """The refusal as `adapter`'s dialect says it."""
    headers = [("content-type", "application/json")]
    if refusal.retry_after_ms is not None:
        # Whole seconds, rounded up (RFC 9110 section 10.2.3): a client that waits so long must not be refused again.
        headers.append(("retry-after", str(max(1, -(-refusal.retry_after_ms // 1_000)))))
    return WholeResponse(
        status=refusal.case.status,
        headers=tuple(headers),
        body=adapter.error(error_body(refusal, request_id)),
    )


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
