"""Errors of ours in OpenAI's shape: OpenAI API reference, "Error codes".

`type` and `code` are where the SDKs look for them; what is ours beyond them stands under `tidegate`.
"""

from __future__ import annotations

from typing import Final

from tidegate_sidecar.dialects.base import ErrorBody
from tidegate_sidecar.dialects.json_text import write_json

_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "invalid_request_error",
    408: "timeout_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    429: "rate_limit_error",
    500: "server_error",
}
_OTHER_TYPE: Final = "server_error"


def error(body: ErrorBody) -> bytes:
    """A whole answer."""
    return write_json(_document(body))


def stream_error(body: ErrorBody) -> bytes:
    """A data event with an `error` member: the SDKs raise it as an API error."""
    return b"data: " + write_json(_document(body)) + b"\n\n"


def _document(body: ErrorBody) -> dict[str, object]:
    return {
        "error": {
            "message": body.message,
            "type": _TYPES.get(body.status, _OTHER_TYPE),
            "param": body.details.get("param"),
            "code": body.code,
            "tidegate": {**body.details, "request_id": body.request_id},
        }
    }
