"""Errors of ours in Anthropic's shape: Anthropic API reference, "Errors".

`type` is what the SDKs read; the code and what else is ours stand under `tidegate`.
"""

from __future__ import annotations

from typing import Final

from tidegate_sidecar.dialects.base import ErrorBody
from tidegate_sidecar.dialects.json_text import write_json

_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    415: "invalid_request_error",
    429: "rate_limit_error",
    500: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
}
_OTHER_TYPE: Final = "api_error"


def error(body: ErrorBody) -> bytes:
    """A whole answer."""
    return write_json(_document(body))


def stream_error(body: ErrorBody) -> bytes:
    """An `error` event, which the SDKs raise."""
    return b"event: error\ndata: " + write_json(_document(body)) + b"\n\n"


def _document(body: ErrorBody) -> dict[str, object]:
    return {
        "type": "error",
        "error": {
            "type": _TYPES.get(body.status, _OTHER_TYPE),
            "message": body.message,
            "tidegate": {"code": body.code, **body.details},
        },
        "request_id": body.request_id,
    }
