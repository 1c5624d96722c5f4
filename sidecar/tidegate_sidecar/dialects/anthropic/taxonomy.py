"""What the errors of Anthropic, and of those who speak its dialect, mean.

Sources: Anthropic, "Errors" (platform.claude.com/docs/en/api/errors), its section on errors in streams, and the error codes
(`error.details.error_code`) that its SDKs name.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from tidegate_sidecar.dialects.base import Judged, Verdict
from tidegate_sidecar.dialects.judging import UNSAID, Row, judge_answer, judge_error

_OVERLOADED: Final = 529
_ORIGIN_TIMEOUTS: Final = (522, 524)
"""Cloudflare, which is in front: Anthropic did not accept a connection, did not answer."""

TABLE: Final = (
    # The user profile that the call itself names cannot pay: the key is as good as before.
    Row(
        Verdict.CALLER_ERROR,
        words=frozenset(
            {"linked_organization_billing_unavailable", "linked_organization_spend_limit_reached"}
        ),
    ),
    # The account has nothing left. Limits that somebody set for an organization or workspace come as 400
    # `invalid_request_error`, so only the message tells them from a fault of the call.
    Row(
        Verdict.ACCOUNT_EXHAUSTED,
        words=frozenset(
            {
                "billing_error",
                "contract_spend_limit_reached",
                "credit_balance_too_low",
                "enforced_spend_limit_reached",
            }
        ),
        whole_account=True,
    ),
    Row(Verdict.ACCOUNT_EXHAUSTED, (HTTPStatus.PAYMENT_REQUIRED,), whole_account=True),
    Row(
        Verdict.ACCOUNT_EXHAUSTED,
        (UNSAID, 400, 403, 429),
        begins=(
            "your credit balance is too low",
            "you have reached your specified api usage limits",
            "you have reached your specified workspace api usage limits",
        ),
        whole_account=True,
    ),
    # A 403 that is no error of the dialect comes from something on the way, which may look at the prompt (a web
    # application firewall) or at the address. It says nothing of the key, and only its words help the caller.
    # Anthropic's own policies on content are 400 or a `stop_reason`, never 403.
    Row(Verdict.CALLER_ERROR, (HTTPStatus.FORBIDDEN,), is_bare=True),
    # "model: claude-x" is all that a 404 says of a model that does not exist or is not for this organization.
    Row(Verdict.MODEL_UNAVAILABLE, (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND), holds=("model",)),
    Row(Verdict.MODEL_UNAVAILABLE, (UNSAID,), words=frozenset({"not_found_error"}), holds=("model",)),
    # The key, its owner, or the encryption key of its workspace: every call with this key ends so.
    Row(
        Verdict.KEY_REFUSED,
        words=frozenset(
            {
                "authentication_error",
                "claude_code_key_creator_not_member",
                "cmek_key_disabled",
                "cmek_key_network_blocked",
                "organization_on_hold",
            }
        ),
    ),
    Row(
        Verdict.KEY_REFUSED,
        (UNSAID, 400),
        begins=("this organization has been disabled", "your organization has been disabled"),
    ),
    Row(Verdict.KEY_REFUSED, (UNSAID,), words=frozenset({"permission_error"})),
    Row(Verdict.KEY_REFUSED, (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)),
    # Limits hold for a model of an organization, so only that one is left alone.
    Row(Verdict.RATE_LIMITED, words=frozenset({"ramp_limit_exceeded", "rate_limit_error"})),
    Row(Verdict.OVERLOADED, words=frozenset({"overloaded_error"})),
    Row(Verdict.RATE_LIMITED, (HTTPStatus.TOO_MANY_REQUESTS,)),
    Row(Verdict.OVERLOADED, (HTTPStatus.SERVICE_UNAVAILABLE, _OVERLOADED)),
    Row(Verdict.TIMEOUT, (UNSAID,), words=frozenset({"timeout_error"})),
    Row(Verdict.TIMEOUT, (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.GATEWAY_TIMEOUT, *_ORIGIN_TIMEOUTS)),
    # 409 is a conflict that passes: the SDK asks again. 425 asks for that by definition (RFC 8470).
    Row(Verdict.SERVER_ERROR, (HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY)),
    Row(
        Verdict.CALLER_ERROR,
        (UNSAID,),
        words=frozenset({"invalid_request_error", "not_found_error", "request_too_large"}),
    ),
)


def judge(status: int, document: object) -> Judged:
    """What a whole answer says, by `TABLE`."""
    return judge_answer(TABLE, status, document)


def judge_event(document: object) -> Judged:
    """What an error inside a stream says, by `TABLE`."""
    return judge_error(TABLE, UNSAID, document)
