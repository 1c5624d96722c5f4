"""What an AdmissionReview gets (PURE): the outcome as a value, and as the API server wants it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import orjson

from tidegate_operator.inject.patch import Operation
from tidegate_operator.inject.request import API_VERSION, KIND

MAX_WARNING: Final = 250
"""Characters; the API server cuts longer ones, and all of them when they are more than 4096 together."""
MAX_WARNINGS: Final = 12

_BAD_REQUEST: Final = 400
_INTERNAL_ERROR: Final = 500


class Result(StrEnum):
    """What was done: a label of the metric."""

    INJECTED = "injected"
    COPIED = "copied"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    WARNED = "warned"
    DENIED = "denied"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The answer to one review.

    Attributes:
        result: what was done.
        reason: a `SkipReason` or `DenyReason`, or `review.MENDED`; empty: there is nothing to say.
        patch: what changes.
        warnings: shown to whoever sent the object, and by most controllers to nobody.
        message: why it is refused.
    """

    result: Result
    reason: str = ""
    patch: tuple[Operation, ...] = ()
    warnings: tuple[str, ...] = ()
    message: str = ""

    @property
    def allowed(self) -> bool:
        """Whether the object may be stored."""
        return self.result not in (Result.DENIED, Result.FAILED)


def failed(error: str) -> Outcome:
    """Something of ours is broken: the pod is refused, since without its sidecar it would escape policy unnoticed."""
    message = f"Tidegate's injector failed: {error}; its log says more"
    return Outcome(result=Result.FAILED, message=message)


def write_response(uid: str, outcome: Outcome) -> bytes:
    """The AdmissionReview that answers the one with this uid."""
    response: dict[str, Any] = {"uid": uid, "allowed": outcome.allowed}
    if not outcome.allowed:
        # Not 422: GitOps tools take that for a field that cannot change, and delete and create the object instead.
        code = _INTERNAL_ERROR if outcome.result is Result.FAILED else _BAD_REQUEST
        reason = "InternalError" if outcome.result is Result.FAILED else "BadRequest"
        response["status"] = {
            "status": "Failure",
            "code": code,
            "reason": reason,
            "message": outcome.message,
        }
    elif outcome.patch:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(orjson.dumps(outcome.patch)).decode("ascii")
    if outcome.warnings:
        response["warnings"] = [_cut(f"tidegate: {warning}") for warning in outcome.warnings[:MAX_WARNINGS]]
    return orjson.dumps({"apiVersion": API_VERSION, "kind": KIND, "response": response})


def _cut(warning: str) -> str:
    return warning if len(warning) <= MAX_WARNING else f"{warning[: MAX_WARNING - 1]}…"
