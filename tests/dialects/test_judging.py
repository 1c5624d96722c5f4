"""What a provider's answer says: each dialect's table over status and body."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_sidecar.dialects import anthropic, openai
from tidegate_sidecar.dialects.anthropic import taxonomy as anthropic_taxonomy
from tidegate_sidecar.dialects.base import SERVED, Dialect, Judged, Verdict
from tidegate_sidecar.dialects.judging import ANY, Row
from tidegate_sidecar.dialects.openai import taxonomy as openai_taxonomy
from tidegate_sidecar.dialects.registry import DEFAULT

OPENAI, ANTHROPIC = openai.OpenAI(), anthropic.Anthropic()
V = Verdict


def error(message: str = "m", **members: object) -> dict[str, object]:
    return {"error": {"message": message, **members}}


@pytest.mark.parametrize("dialect", DEFAULT.all, ids=lambda it: it.name)
@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (400, V.CALLER_ERROR),
        (401, V.KEY_REFUSED),
        (402, V.ACCOUNT_EXHAUSTED),
        (403, V.KEY_REFUSED),
        (404, V.CALLER_ERROR),
        (405, V.CALLER_ERROR),
        (408, V.TIMEOUT),
        (409, V.SERVER_ERROR),
        (413, V.CALLER_ERROR),
        (415, V.CALLER_ERROR),
        (422, V.CALLER_ERROR),
        (425, V.SERVER_ERROR),
        (429, V.RATE_LIMITED),
        (500, V.SERVER_ERROR),
        (502, V.SERVER_ERROR),
        (503, V.OVERLOADED),
        (504, V.TIMEOUT),
        (520, V.SERVER_ERROR),
        (524, V.TIMEOUT),
        (529, V.OVERLOADED),
        (600, V.SERVER_ERROR),
    ],
)
def test_a_status_decides_where_the_words_say_nothing_more(
    dialect: Dialect, status: int, verdict: Verdict
) -> None:
    """The type that OpenAI and Anthropic use for most errors says nothing more."""
    for document in (error(), error(type="invalid_request_error", code=None)):
        assert dialect.judge(status, document).verdict is verdict


@pytest.mark.parametrize("dialect", DEFAULT.all, ids=lambda it: it.name)
@pytest.mark.parametrize("document", [None, "Forbidden", [], {}, [1], {"detail": ""}])
def test_a_403_that_is_no_error_of_the_dialect_is_of_something_on_the_way(
    dialect: Dialect, document: object
) -> None:
    """It is relayed: a firewall's page helps whoever wrote the prompt, and says nothing of the key."""
    assert dialect.judge(403, document) == Judged(V.CALLER_ERROR)


@pytest.mark.parametrize("dialect", DEFAULT.all, ids=lambda it: it.name)
@pytest.mark.parametrize("status", [200, 201, 299])
@pytest.mark.parametrize(
    "document", [None, {}, {"error": None}, {"error": {}}, [error()], {"choices": []}, "x"]
)
def test_a_success_without_an_error_in_it_is_served(dialect: Dialect, status: int, document: object) -> None:
    assert dialect.judge(status, document) == SERVED


@pytest.mark.parametrize(
    ("status", "document", "judged"),
    [
        # OpenAI
        (429, error(type="insufficient_quota", code="insufficient_quota"), (V.ACCOUNT_EXHAUSTED, "insufficient_quota")),
        (429, error(type="insufficient_quota", code="project_spend_limit_exceeded"), (V.ACCOUNT_EXHAUSTED, "project_spend_limit_exceeded")),
        (400, error(code="billing_hard_limit_reached"), (V.ACCOUNT_EXHAUSTED, "billing_hard_limit_reached")),
        (429, error(type="requests", code="rate_limit_exceeded"), (V.RATE_LIMITED, "rate_limit_exceeded")),
        (503, error(code="slow_down"), (V.RATE_LIMITED, "slow_down")),
        (401, error(type="invalid_request_error", code="invalid_api_key"), (V.KEY_REFUSED, "invalid_api_key")),
        (403, error(type="request_forbidden", code="unsupported_country_region_territory"), (V.KEY_REFUSED, "unsupported_country_region_territory")),
        (403, error("Project `p` does not have access to model `gpt-5`", code="model_not_found"), (V.MODEL_UNAVAILABLE, "model_not_found")),
        (403, error("Project `p` does not have access to model `gpt-5`"), (V.MODEL_UNAVAILABLE, "")),
        (403, error("You have insufficient permissions for this operation. Missing scopes: model.request"), (V.KEY_REFUSED, "")),
        (404, error("The model `x` does not exist", type="invalid_request_error", code="model_not_found"), (V.MODEL_UNAVAILABLE, "model_not_found")),
        (404, error("Invalid URL (POST /v1/chat)", type="invalid_request_error"), (V.CALLER_ERROR, "invalid_request_error")),
        (400, error(code="context_length_exceeded"), (V.CALLER_ERROR, "context_length_exceeded")),
        (400, error(code="content_policy_violation"), (V.CALLER_ERROR, "content_policy_violation")),
        (500, error(type="server_error"), (V.SERVER_ERROR, "server_error")),
        # Azure
        (404, error("The API deployment for this resource does not exist.", code="DeploymentNotFound"), (V.MODEL_UNAVAILABLE, "DeploymentNotFound")),
        (400, error(code="content_filter", status=400), (V.CALLER_ERROR, "content_filter")),
        (429, error(code="429"), (V.RATE_LIMITED, "429")),
        # OpenRouter
        (402, error(code=402), (V.ACCOUNT_EXHAUSTED, "402")),
        (403, error("Your input was flagged", code=403, metadata={"reasons": ["x"]}), (V.CALLER_ERROR, "403")),
        (403, error("Key limit exceeded (total limit)", code=403), (V.ACCOUNT_EXHAUSTED, "403")),
        (400, error("nobody/model is not a valid model ID", code=400), (V.MODEL_UNAVAILABLE, "400")),
        (404, error("No endpoints found that support tool use.", code=404), (V.MODEL_UNAVAILABLE, "404")),
        # Groq, Together, DeepSeek, Alibaba
        (498, error(type="capacity_exceeded"), (V.OVERLOADED, "capacity_exceeded")),
        (413, error("Request too large", type="tokens", code="rate_limit_exceeded"), (V.CALLER_ERROR, "rate_limit_exceeded")),
        (400, error(code="model_decommissioned"), (V.MODEL_UNAVAILABLE, "model_decommissioned")),
        (403, error("Input token count + max_tokens must be less than the context length"), (V.CALLER_ERROR, "")),
        (400, error("Model Not Exist", type="invalid_request_error"), (V.MODEL_UNAVAILABLE, "invalid_request_error")),
        (400, error("Access denied", code="Arrearage"), (V.ACCOUNT_EXHAUSTED, "Arrearage")),
        # Google's OpenAI endpoint answers with an array
        (400, [error("API key not valid. Please pass a valid API key.", code=400, status="INVALID_ARGUMENT")], (V.KEY_REFUSED, "INVALID_ARGUMENT")),
        (429, [error("You exceeded your current quota", code=429, status="RESOURCE_EXHAUSTED")], (V.RATE_LIMITED, "RESOURCE_EXHAUSTED")),
        # xAI: the error is a text
        (400, {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: xa***"}, (V.KEY_REFUSED, "Client specified an invalid argument")),
        (429, {"code": "Some resource has been exhausted", "error": "Your team t has either used all available credits or reached its monthly spending limit."}, (V.ACCOUNT_EXHAUSTED, "Some resource has been exhausted")),
        # Mistral, vLLM, Ollama, FastAPI: without `error`, or with little in it
        (429, {"object": "error", "message": "Rate limit exceeded", "type": "rate_limited", "code": "1300"}, (V.RATE_LIMITED, "rate_limited")),
        (404, {"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError", "code": 404}, (V.MODEL_UNAVAILABLE, "NotFoundError")),
        (404, error('model "x" not found, try pulling it first', type="api_error"), (V.MODEL_UNAVAILABLE, "api_error")),
        (404, {"error": "model 'x' not found"}, (V.MODEL_UNAVAILABLE, "")),
        (404, {"detail": "Not Found"}, (V.CALLER_ERROR, "")),
        (429, {"error": "Model is overloaded", "error_type": "overloaded"}, (V.OVERLOADED, "overloaded")),
        (404, "404 page not found", (V.CALLER_ERROR, "")),
        (503, None, (V.OVERLOADED, "")),
        # An error inside a success
        (200, error(code=502), (V.SERVER_ERROR, "502")),
        (200, error(code=429), (V.RATE_LIMITED, "429")),
        (200, error(code="401"), (V.KEY_REFUSED, "401")),
        (200, error(code=400), (V.CALLER_ERROR, "400")),
        (200, error(code=1300), (V.SERVER_ERROR, "1300")),
        (200, error(type="invalid_request_error"), (V.CALLER_ERROR, "invalid_request_error")),
        (200, error(type="timeout"), (V.TIMEOUT, "timeout")),
        (200, error(type="permission_error"), (V.KEY_REFUSED, "permission_error")),
        (200, error(type="something_new"), (V.SERVER_ERROR, "something_new")),
        (200, {"error": "upstream failed"}, (V.SERVER_ERROR, "")),
        (200, {"object": "error", "message": "m", "type": "BadRequestError", "code": 400}, (V.CALLER_ERROR, "BadRequestError")),
    ],
)  # fmt: skip
def test_what_openai_and_those_who_speak_its_dialect_say(
    status: int, document: object, judged: tuple[Verdict, str]
) -> None:
    found = OPENAI.judge(status, document)
    assert (found.verdict, found.word) == judged
    assert found.whole_account is (found.verdict is V.ACCOUNT_EXHAUSTED)


@pytest.mark.parametrize(
    ("status", "kind", "message", "verdict"),
    [
        (400, "invalid_request_error", "messages: at least one message is required", V.CALLER_ERROR),
        (400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API.", V.ACCOUNT_EXHAUSTED),
        (400, "invalid_request_error", "You have reached your specified API usage limits. You will regain access on", V.ACCOUNT_EXHAUSTED),
        (400, "invalid_request_error", "You have reached your specified workspace API usage limits.", V.ACCOUNT_EXHAUSTED),
        (400, "invalid_request_error", "This organization has been disabled.", V.KEY_REFUSED),
        (400, "invalid_request_error", "Output blocked by content filtering policy", V.CALLER_ERROR),
        (401, "authentication_error", "invalid x-api-key", V.KEY_REFUSED),
        (402, "billing_error", "", V.ACCOUNT_EXHAUSTED),
        (403, "permission_error", "Your API key does not have permission to use the specified resource", V.KEY_REFUSED),
        (403, "permission_error", "This organization has no access to the model claude-x", V.MODEL_UNAVAILABLE),
        (403, "forbidden", "Request not allowed", V.KEY_REFUSED),
        (404, "not_found_error", "model: claude-x", V.MODEL_UNAVAILABLE),
        (404, "not_found_error", "Not found", V.CALLER_ERROR),
        (413, "request_too_large", "Request exceeds the maximum size", V.CALLER_ERROR),
        (429, "rate_limit_error", "This request would exceed your organization's rate limit", V.RATE_LIMITED),
        (500, "api_error", "Internal server error", V.SERVER_ERROR),
        (504, "timeout_error", "", V.TIMEOUT),
        (529, "overloaded_error", "Overloaded", V.OVERLOADED),
        (500, "overloaded_error", "Overloaded", V.OVERLOADED),
        (200, "overloaded_error", "Overloaded", V.OVERLOADED),
        (200, "rate_limit_error", "", V.RATE_LIMITED),
        (200, "authentication_error", "", V.KEY_REFUSED),
        (200, "permission_error", "", V.KEY_REFUSED),
        (200, "not_found_error", "model: claude-x", V.MODEL_UNAVAILABLE),
        (200, "not_found_error", "", V.CALLER_ERROR),
        (200, "invalid_request_error", "", V.CALLER_ERROR),
        (200, "timeout_error", "", V.TIMEOUT),
        (200, "api_error", "", V.SERVER_ERROR),
    ],
)  # fmt: skip
def test_what_anthropic_says(status: int, kind: str, message: str, verdict: Verdict) -> None:
    found = ANTHROPIC.judge(status, {"type": "error", **error(message, type=kind)})
    assert found == Judged(verdict, kind, whole_account=verdict is V.ACCOUNT_EXHAUSTED)


@pytest.mark.parametrize(
    ("status", "code", "verdict"),
    [
        (429, "enforced_spend_limit_reached", V.ACCOUNT_EXHAUSTED),
        (429, "ramp_limit_exceeded", V.RATE_LIMITED),
        (400, "organization_on_hold", V.KEY_REFUSED),
        (402, "linked_organization_spend_limit_reached", V.CALLER_ERROR),
        (503, "cmek_key_unreachable", V.OVERLOADED),
    ],
)
def test_the_finer_word_of_anthropic_comes_first(status: int, code: str, verdict: Verdict) -> None:
    found = ANTHROPIC.judge(status, error(type="invalid_request_error", details={"error_code": code}))
    assert (found.verdict, found.word) == (verdict, code)


@pytest.mark.parametrize(
    "quoted",
    [
        "Invalid value: 'your credit balance is too low'",
        "Invalid value: 'you have reached your specified api usage limits'",
        "Invalid value: 'api key not valid'",
        "Invalid value: 'incorrect api key'",
        "Invalid value: 'this organization has been disabled'",
        "Invalid value: 'key limit exceeded'",
    ],
)
@pytest.mark.parametrize("dialect", DEFAULT.all, ids=lambda it: it.name)
def test_nobody_gets_a_key_put_aside_by_what_he_writes(dialect: Dialect, quoted: str) -> None:
    """Validation messages quote the caller."""
    assert dialect.judge(400, error(quoted)).verdict is V.CALLER_ERROR


@pytest.mark.parametrize("dialect", DEFAULT.all, ids=lambda it: it.name)
def test_a_word_is_short_and_printable(dialect: Dialect) -> None:
    assert dialect.judge(500, error(code="x" * 200)).word == "x" * 80
    assert dialect.judge(500, error(code="a\nb\x00\ud800c")).word == "a?b??c"
    assert dialect.judge(500, error(code="9" * 200)).word == "9" * 80
    assert dialect.judge(500, error(code=10**5_000, status=-(10**5_000))).word == ""


@pytest.mark.parametrize(
    "table", [openai_taxonomy.TABLE, anthropic_taxonomy.TABLE], ids=["OpenAI", "Anthropic"]
)
def test_no_row_is_hidden_by_how_it_is_written(table: tuple[Row, ...]) -> None:
    """Words and messages are compared in lower case, and a row without any condition would end the table."""
    for row in table:
        told = (*row.words, *row.begins, *row.holds)
        assert all(word == word.lower() for word in told)
        assert told or row.statuses is not ANY


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "code", "type", "status", "message", "details", "error_code", "object"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=10,
)


@pytest.mark.parametrize("dialect", DEFAULT.all, ids=lambda it: it.name)
@given(status=st.integers(200, 700), document=ANYTHING)
def test_every_answer_is_judged(dialect: Dialect, status: int, document: object) -> None:
    """Whatever stands in it; and only a success is served."""
    judged = dialect.judge(status, document)
    assert len(judged.word) <= 80
    assert judged.word.isprintable()
    assert judged.verdict is not V.SERVED or status in range(200, 300)
    json.dumps(judged.word).encode()
