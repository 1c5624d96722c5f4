"""What the errors of OpenAI, and of those who speak its dialect, mean.

Sources: OpenAI, "Error codes" (platform.openai.com/docs/guides/error-codes); OpenRouter, "Errors and debugging"; DeepSeek,
Groq, Together AI and Mistral, "Error codes"; Azure OpenAI, "Content filtering"; Google, "Gemini API troubleshooting". They
share the shape and not the words, so a row that reads words holds for all of them.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from tidegate_sidecar.dialects.base import Judged, Verdict
from tidegate_sidecar.dialects.judging import UNSAID, Row, judge_answer, judge_error

_FLEX_CAPACITY: Final = 498
"""Groq: the flex tier has no capacity left."""

_SITE_OVERLOADED: Final = 529
_ORIGIN_TIMEOUTS: Final = (522, 524)
"""Cloudflare, in front of many providers: the provider did not accept a connection, did not answer."""

_ABOUT_MODELS: Final = (UNSAID, 400, 403, 404, 410, 422)
_ABOUT_KEYS: Final = (UNSAID, 400, 401, 403)

TABLE: Final = (
    # The account has nothing left. Every model of the key is meant, and a wait of seconds does not help.
    Row(
        Verdict.ACCOUNT_EXHAUSTED,
        words=frozenset(
            {
                "insufficient_quota",
                "billing_hard_limit_reached",
                "billing_not_active",
                "credit_balance_exhausted",
                "organization_spend_limit_exceeded",
                "organization_usage_limit_exceeded",
                "project_spend_limit_exceeded",
                "insufficient_balance",
                "arrearage",  # Alibaba
            }
        ),
        whole_account=True,
    ),
    Row(Verdict.ACCOUNT_EXHAUSTED, (HTTPStatus.PAYMENT_REQUIRED,), whole_account=True),
    # OpenRouter; xAI, which goes on "doesn't have any credits yet".
    Row(
        Verdict.ACCOUNT_EXHAUSTED,
        (HTTPStatus.FORBIDDEN,),
        begins=("key limit exceeded", "your newly created team"),
        whole_account=True,
    ),
    Row(
        Verdict.ACCOUNT_EXHAUSTED,
        (HTTPStatus.TOO_MANY_REQUESTS,),
        holds=("used all available credits",),  # xAI
        whole_account=True,
    ),
    # The call itself. Policies on content come as 400 (OpenAI, Azure) and 403 (OpenRouter), too long a prompt as 400,
    # 403 (Together) and 413: no key is refused by that, and the provider's words are what the caller needs.
    Row(
        Verdict.CALLER_ERROR,
        words=frozenset(
            {
                "content_filter",
                "content_policy_violation",
                "context_length_exceeded",
                "invalid_prompt",
                "moderation_blocked",
                "responsibleaipolicyviolation",
                "string_above_max_length",
                "tool_use_failed",  # Groq
            }
        ),
    ),
    Row(
        Verdict.CALLER_ERROR,
        (HTTPStatus.FORBIDDEN,),
        holds=("flagged", "moderation", "guardrail", "content policy", "context length", "token count"),
    ),
    # A 403 that is no error of the dialect comes from something on the way, which may look at the prompt (a web
    # application firewall) or at the address. It says nothing of the key, and only its words help the caller.
    Row(Verdict.CALLER_ERROR, (HTTPStatus.FORBIDDEN,), is_bare=True),
    # Another provider may have the model.
    Row(
        Verdict.MODEL_UNAVAILABLE,
        _ABOUT_MODELS,
        words=frozenset(
            {
                "deploymentnotfound",  # Azure
                "invalid_model",  # Mistral
                "model_decommissioned",  # Groq
                "model_not_available",  # Together
                "model_not_found",
                "unsupported_model",
            }
        ),
    ),
    Row(Verdict.MODEL_UNAVAILABLE, (UNSAID, 400, 422), begins=("invalid model", "model not exist")),
    Row(Verdict.MODEL_UNAVAILABLE, (UNSAID, 400), holds=("is not a valid model id",)),  # OpenRouter
    Row(
        Verdict.MODEL_UNAVAILABLE,
        (UNSAID, 403),
        holds=("not have access to model", "not have access to the model"),
    ),
    Row(
        Verdict.MODEL_UNAVAILABLE,
        (HTTPStatus.NOT_FOUND,),
        holds=("model", "deployment", "no endpoints found"),
    ),
    # The key, the account or the place that calls come from: every call with this key ends so. 401 always means that,
    # and a 403 in the dialect's shape that was none of the above does.
    Row(
        Verdict.KEY_REFUSED,
        words=frozenset(
            {
                "access_terminated",
                "account_deactivated",
                "authentication_error",
                "invalid_api_key",
                "invalid_authentication",
                "organization_restricted",  # Groq
                "unauthenticated",  # Google
                "unsupported_country_region_territory",
            }
        ),
    ),
    Row(
        Verdict.KEY_REFUSED,
        _ABOUT_KEYS,
        begins=(
            "api key expired",
            "api key not found",
            "api key not valid",
            "incorrect api key",
        ),  # Google, xAI
    ),
    Row(
        Verdict.KEY_REFUSED,
        (UNSAID,),
        words=frozenset({"permission_denied", "permission_error", "request_forbidden"}),
    ),
    Row(Verdict.KEY_REFUSED, (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)),
    # Groq calls a prompt that is larger than a minute's tokens `rate_limit_exceeded`, too; no wait helps it.
    Row(Verdict.CALLER_ERROR, (HTTPStatus.REQUEST_ENTITY_TOO_LARGE,)),
    # Limits of OpenAI hold for a model of an organization, so only that one is left alone. `slow_down` came as 503 and
    # comes as 429: it is about our rate, not about the provider's state.
    Row(
        Verdict.RATE_LIMITED,
        words=frozenset(
            {
                "rate_limit_error",
                "rate_limit_exceeded",
                "rate_limited",
                "resource_exhausted",
                "slow_down",
                "too_many_requests",
            }
        ),
    ),
    Row(
        Verdict.OVERLOADED,
        words=frozenset(
            {"engine_overloaded", "overloaded", "overloaded_error", "server_overloaded", "unavailable"}
        ),
    ),
    Row(Verdict.RATE_LIMITED, (HTTPStatus.TOO_MANY_REQUESTS,)),
    Row(
        Verdict.OVERLOADED,
        (UNSAID,),
        words=frozenset({"service_unavailable", "service_unavailable_error"}),
    ),
    Row(Verdict.OVERLOADED, (HTTPStatus.SERVICE_UNAVAILABLE, _SITE_OVERLOADED, _FLEX_CAPACITY)),
    Row(
        Verdict.TIMEOUT,
        (UNSAID,),
        words=frozenset(
            {"deadline_exceeded", "gateway_timeout", "request_timeout", "timeout", "timeout_error"}
        ),
    ),
    Row(Verdict.TIMEOUT, (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.GATEWAY_TIMEOUT, *_ORIGIN_TIMEOUTS)),
    # 409 is a lock that was not to be had in time: the SDK asks again. 425 asks for that by definition (RFC 8470).
    Row(Verdict.SERVER_ERROR, (HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY)),
    Row(
        Verdict.CALLER_ERROR,
        (UNSAID,),
        words=frozenset(
            {
                "bad_request",
                "badrequesterror",  # vLLM
                "invalid_argument",
                "invalid_request_error",
                "not_found_error",
                "validation",
            }
        ),
    ),
)


def judge(status: int, document: object) -> Judged:
    """What a whole answer says, by `TABLE`."""
    return judge_answer(TABLE, status, document)


def judge_event(document: object) -> Judged:
    """What an error inside a stream says, by `TABLE`."""
    return judge_error(TABLE, UNSAID, document)
