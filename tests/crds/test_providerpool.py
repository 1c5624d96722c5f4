"""ProviderPool: samples that are accepted, and samples that are refused with what is said about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tidegate_operator.api.providerpool import NamespacesFrom, ProviderPoolSpec
from tidegate_policy.model import ProviderType, RetryOn

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate_operator.api.parse import Parsed

MANY = ", ".join(f"{{name: p{number}, type: OpenAI}}" for number in range(33))

FULL = """
suspend: false
allowedNamespaces: {from: Selector, selector: {matchLabels: {ai: "on"}}}
providers:
- name: openai
  type: OpenAI
  baseURL: https://api.openai.com/v1
  headers: {OpenAI-Organization: org-1}
  authentication: {type: Credentials, credentialRefs: [{name: openai-prod}, {name: openai.spare}]}
  priority: 0
  weight: 3
  models:
  - {name: gpt-4o-mini, upstreamName: gpt-4o-mini-2024-07-18, aliases: [small]}
- {name: anthropic, type: Anthropic, authentication: {type: Caller}, priority: 1}
- {name: local, type: OpenAICompatible, baseURL: "http://ollama.ai.svc:11434/v1", allowInsecure: true, allowPrivate: true}
circuitBreaker: {consecutiveFailures: 4, failureRatePercent: 50, slowCallPercent: 80, slowFirstToken: 30s,
                 minimumRequests: 20, window: 10s, openFor: 60s, maxOpenFor: 5m}
retry: {maxAttempts: 2, retryOn: [RateLimited, Timeout], backoff: {base: 500ms, max: 60s}, budgetPercent: 0}
timeouts: {connect: 5s, firstToken: 60s, streamIdle: 60s, request: 10m, stream: 30m}
policyMaximum: {timeouts: {request: 60m, stream: 2h}, retry: {maxAttempts: 6}}
"""


@pytest.mark.parametrize(
    "spec",
    [
        FULL,
        "{providers: [{name: openai, type: OpenAI}]}",
        "{allowedNamespaces: {from: All}, providers: [{name: a, type: OpenAI}]}",
        "{providers: [{name: a, type: OpenAI, authentication: {type: None}}]}",
        "{providers: [{name: a, type: OpenAICompatible, baseURL: 'https://llm.example.com:8443/api/v1/'}]}",
        "{providers: [{name: a, type: OpenAI, models: [{name: accounts/x/models/y#z}, {name: 'ft:gpt-4o:org::id'}]}]}",
    ],
)
def test_accepted(problems: Callable[[str, str], list[str]], spec: str) -> None:
    assert problems("ProviderPool", spec) == []


def test_what_is_not_written_has_the_documented_value(parse: Callable[[str, str], Parsed]) -> None:
    stored = parse("ProviderPool", "{providers: [{name: openai, type: OpenAI}]}").stored
    assert stored is not None
    spec = stored.spec
    assert isinstance(spec, ProviderPoolSpec)
    assert spec.allowed_namespaces.from_ is NamespacesFrom.SAME
    provider = spec.providers[0]
    assert (provider.type, provider.address) == (ProviderType.OPENAI, "https://api.openai.com/v1")
    assert (provider.priority, provider.weight, provider.models, provider.authentication.credential_refs) == (
        0,
        1,
        None,
        (),
    )
    assert spec.circuit_breaker.model_dump(mode="json", by_alias=True) == {
        "consecutiveFailures": 5,
        "failureRatePercent": 50,
        "slowCallPercent": 80,
        "slowFirstToken": "30s",
        "minimumRequests": 20,
        "window": "10s",
        "openFor": "1m",
        "maxOpenFor": "5m",
    }
    assert (spec.retry.max_attempts, spec.retry.retry_on) == (3, tuple(RetryOn))
    assert (str(spec.retry.backoff.base), str(spec.retry.backoff.max)) == ("1s", "1m")
    assert spec.retry.budget_percent == 20
    assert spec.timeouts.model_dump(mode="json", by_alias=True) == {
        "connect": "5s",
        "firstToken": "2m",
        "streamIdle": "2m",
        "request": "10m",
        "stream": "1h",
    }


def provider(rest: str) -> str:
    return f"{{providers: [{{name: a, type: OpenAI, {rest}}}]}}"


def compatible(url: str, rest: str = "") -> str:
    return f"{{providers: [{{name: a, type: OpenAICompatible, baseURL: '{url}' {rest}}}]}}"


PRIVATE = (
    "spec.providers[0].baseURL: the host is private or inside the cluster; providers are on the public internet "
    "unless allowPrivate is true"
)
URL_SHAPE = (
    "spec.providers[0].baseURL: expected a URL such as https://api.openai.com/v1: http or https, a host and a path, "
    "without user name, password, query or fragment"
)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        pytest.param("{}", "spec.providers: missing; this field is required", id="no providers"),
        pytest.param(
            "{providers: []}",
            "spec.providers: expected at least 1 item, found none; remove the field if it is not meant",
            id="empty providers",
        ),
        pytest.param(
            f"{{providers: [{MANY}]}}",
            "spec.providers: expected at most 32 items, found 33",
            id="33 providers",
        ),
        pytest.param(
            "{providers: [{name: a, type: OpenAI}, {name: b, type: OpenAI}, {name: a, type: Anthropic}]}",
            "spec.providers[2].name: name 'a' stands in the list already, as item 0",
            id="two providers of one name",
        ),
        pytest.param(
            "{providers: [{name: a, type: openai}]}",
            "spec.providers[0].type: expected one of OpenAI, Anthropic, OpenAICompatible, found 'openai'; "
            "did you mean OpenAI?",
            id="type in lower case",
        ),
        pytest.param(
            "{providers: [{name: Open_AI, type: OpenAI}]}",
            "spec.providers[0].name: expected a name of lower-case letters, digits and '-', at most 63 characters, "
            "found 'Open_AI'",
            id="name with capitals",
        ),
        pytest.param(
            "{providers: [{name: a, type: OpenAICompatible}]}",
            "spec.providers[0].baseURL: type OpenAICompatible has no default address: baseURL is required",
            id="compatible without address",
        ),
        pytest.param(
            compatible("http://llm.example.com/v1"),
            "spec.providers[0].baseURL: baseURL must begin with https://, unless allowInsecure is true",
            id="http",
        ),
        pytest.param(
            provider("authentication: {type: Caller, credentialRefs: [{name: k}]}"),
            "spec.providers[0].authentication.credentialRefs: credentialRefs is required when type is Credentials, "
            "and forbidden otherwise",
            id="two keys for one request",
        ),
        pytest.param(
            provider("authentication: {type: Credentials, credentialRefs: [{name: k}, {name: k}]}"),
            "spec.providers[0].authentication.credentialRefs[1].name: name 'k' stands in the list already, as item 0",
            id="the same credential twice",
        ),
        pytest.param(
            provider("headers: {Authorization: Bearer x}"),
            "spec.providers[0].headers.Authorization: 'Authorization' carries credentials; name a "
            "ProviderCredential in authentication instead",
            id="a key as constant header",
        ),
        pytest.param(
            provider("headers: {Transfer-Encoding: chunked}"),
            "spec.providers[0].headers.Transfer-Encoding: 'Transfer-Encoding' belongs to the connection and is "
            "written by the sidecar; remove it",
            id="a hop-by-hop header",
        ),
        pytest.param(
            provider("headers: {X-Tidegate-Model: m}"),
            "spec.providers[0].headers.X-Tidegate-Model: 'X-Tidegate-Model' is Tidegate's own (x-tidegate-…); "
            "choose another name",
            id="our own header",
        ),
        pytest.param(
            provider("headers: {X-A: '1', x-a: '2'}"),
            "spec.providers[0].headers.x-a: is the same header as 'X-A'; header names ignore case",
            id="one header in two spellings",
        ),
        pytest.param(
            provider('headers: {X-A: "a\\r\\nX-B: b"}'),
            "spec.providers[0].headers.X-A: expected a header value of visible ASCII characters, with single "
            "spaces inside, found 9 characters",
            id="header injection",
        ),
        pytest.param(
            provider("headers: {X-A: 1}"),
            'spec.providers[0].headers.X-A: expected a string, found the number 1; put it in quotes: "1"',
            id="number as header value",
        ),
        pytest.param(
            provider("models: [{name: a, aliases: [b]}, {name: b}]"),
            "spec.providers[0].models[0].aliases[0]: 'b' is the name of a model of this provider already; a name "
            "stands for one model",
            id="alias that is a model",
        ),
        pytest.param(
            provider("models: [{name: a, aliases: [x]}, {name: b, aliases: [x]}]"),
            "spec.providers[0].models[1].aliases[0]: 'x' is an alias of a of this provider already; a name stands "
            "for one model",
            id="alias of two models",
        ),
        pytest.param(
            provider("models: [{name: 'gpt-*'}]"),
            "spec.providers[0].models[0].name: expected a model name such as gpt-4o-mini, without spaces, quotes "
            "or '*', found 'gpt-*'",
            id="pattern as model name",
        ),
        pytest.param(
            provider("models: []"),
            "spec.providers[0].models: expected at least 1 item, found none; remove the field if it is not meant",
            id="empty models",
        ),
        pytest.param(
            provider("weight: 0"),
            "spec.providers[0].weight: expected a number from 1 to 1000, found 0",
            id="weight zero",
        ),
        pytest.param(
            provider("priority: 1.5"),
            "spec.providers[0].priority: expected a whole number, found the number 1.5",
            id="half a priority",
        ),
        pytest.param(
            provider("baseUrl: https://x.example"),
            "spec.providers[0].baseUrl: unknown field; did you mean baseURL?",
            id="baseUrl",
        ),
        pytest.param(
            "{allowedNamespaces: {from: Selector}, providers: [{name: a, type: OpenAI}]}",
            "spec.allowedNamespaces.selector: selector is required when from is Selector, and forbidden otherwise",
            id="Selector without selector",
        ),
        pytest.param(
            "{allowedNamespaces: {from: All, selector: {}}, providers: [{name: a, type: OpenAI}]}",
            "spec.allowedNamespaces.selector: selector is required when from is Selector, and forbidden otherwise",
            id="selector without Selector",
        ),
        pytest.param(
            "{circuitBreaker: {openFor: 10m}, providers: [{name: a, type: OpenAI}]}",
            "spec.circuitBreaker.maxOpenFor: maxOpenFor 5m is shorter than openFor 10m; it must be as long or longer",
            id="maxOpenFor below openFor",
        ),
        pytest.param(
            "{retry: {backoff: {base: 2m}}, providers: [{name: a, type: OpenAI}]}",
            "spec.retry.backoff.max: max 1m is shorter than base 2m; it must be as long or longer",
            id="backoff upside down",
        ),
        pytest.param(
            "{retry: {retryOn: [Timeout, Timeout]}, providers: [{name: a, type: OpenAI}]}",
            "spec.retry.retryOn[1]: this item stands in the list already, as item 0",
            id="the same failure twice",
        ),
        pytest.param(
            "{timeouts: {request: 10 minutes}, providers: [{name: a, type: OpenAI}]}",
            "spec.timeouts.request: '10 minutes' is not a duration; write positive numbers with their units, "
            "the largest first: 250ms, 30s, 1h30m, 90d; did you mean 10m?",
            id="duration in words",
        ),
        pytest.param(
            "{timeouts: {request: 600}, providers: [{name: a, type: OpenAI}]}",
            "spec.timeouts.request: expected a duration such as 30s, found the number 600; did you mean 10m?",
            id="duration without unit",
        ),
        pytest.param(
            "{policyMaximum: {timeouts: {request: 5m}}, providers: [{name: a, type: OpenAI}]}",
            "spec.policyMaximum.timeouts.request: 5m is below the pool's own 10m; a maximum is as long or longer",
            id="maximum below the pool's own",
        ),
        pytest.param(
            "{policyMaximum: {timeouts: {stream: 59m}}, providers: [{name: a, type: OpenAI}]}",
            "spec.policyMaximum.timeouts.stream: 59m is below the pool's own 1h; a maximum is as long or longer",
            id="maximum for streams below the pool's own",
        ),
        pytest.param(
            "{policyMaximum: {retry: {maxAttempts: 2}}, providers: [{name: a, type: OpenAI}]}",
            "spec.policyMaximum.retry.maxAttempts: 2 is below the pool's own 3; a maximum is as high or higher",
            id="fewer attempts than the pool's own",
        ),
        pytest.param(
            "{budgets: [{name: all-ai}], providers: [{name: a, type: OpenAI}]}",
            "spec.budgets: unknown field; the fields here are allowedNamespaces, circuitBreaker, policyMaximum, "
            "providers, retry, suspend, timeouts",
            id="a field of a later release",
        ),
    ],
)
def test_rejected(problems: Callable[[str, str], list[str]], spec: str, said: str) -> None:
    assert problems("ProviderPool", spec) == [said]


@pytest.mark.parametrize(
    "url",
    [
        "https://user:secret@llm.example.com/v1",
        "https://llm.example.com/v1?key=secret",
        "https://llm.example.com/v1#secret",
        "ftp://llm.example.com/v1",
        "HTTPS://llm.example.com/v1",
        "https://",
        "https:///v1",
        "https://llm.example.com /v1",
        "https://llm.example.com\\\\@evil.example/v1",
        "llm.example.com/v1",
    ],
)
def test_an_address_of_another_shape_is_refused_without_being_repeated(
    problems: Callable[[str, str], list[str]], url: str
) -> None:
    """A password in a URL must not end up in a log."""
    (said,) = problems("ProviderPool", compatible(url))
    assert said.startswith(URL_SHAPE)
    assert "secret" not in said


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST.",
        "app.localhost",
        "127.0.0.1",
        "127.8.8.8:8080",
        "[::1]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "[fe80::1]",
        "[fd00::1]",
        "[::ffff:10.0.0.1]",
        "[64:ff9b::a00:1]",
        "[2002:7f00:1::]",
        "ollama",
        "ollama.ai.svc",
        "ollama.ai.svc.cluster.local",
        "printer.local",
        "metadata.google.internal",
    ],
)
def test_a_private_host_is_refused_unless_it_is_allowed(
    problems: Callable[[str, str], list[str]], host: str
) -> None:
    assert problems("ProviderPool", compatible(f"https://{host}/v1")) == [PRIVATE]
    assert problems("ProviderPool", compatible(f"https://{host}/v1", ", allowPrivate: true")) == []


@pytest.mark.parametrize(
    "host", ["api.openai.com", "8.8.8.8", "[2001:4860:4860::8888]", "a.b-c.example:65535"]
)
def test_a_public_host_is_accepted(problems: Callable[[str, str], list[str]], host: str) -> None:
    assert problems("ProviderPool", compatible(f"https://{host}/v1")) == []


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "127.1",
        "0177.0.0.1",
        "a..example",
        "a.example:0",
        "a.example:99999",
        "[::1",
    ],
)
def test_a_host_that_readers_may_understand_differently_is_refused(
    problems: Callable[[str, str], list[str]], host: str
) -> None:
    (said,) = problems("ProviderPool", compatible(f"https://{host}/v1", ", allowPrivate: true"))
    assert said.startswith("spec.providers[0].baseURL: ")


@pytest.mark.parametrize(
    ("type_and_url", "address"),
    [
        ("OpenAI, baseURL: 'https://us.api.openai.com'", "https://us.api.openai.com/v1"),
        ("OpenAI, baseURL: 'https://us.api.openai.com/v1/'", "https://us.api.openai.com/v1"),
        ("OpenAI, baseURL: 'https://gateway.example/openai/v2beta'", "https://gateway.example/openai/v2beta"),
        ("Anthropic, baseURL: 'https://gateway.example/anthropic/'", "https://gateway.example/anthropic/v1"),
        ("OpenAICompatible, baseURL: 'https://llm.example.com/api'", "https://llm.example.com/api"),
    ],
)
def test_a_base_url_may_leave_out_the_version_where_the_type_has_one(
    parse: Callable[[str, str], Parsed], type_and_url: str, address: str
) -> None:
    stored = parse("ProviderPool", f"{{providers: [{{name: a, type: {type_and_url}}}]}}").stored
    assert stored is not None
    assert isinstance(stored.spec, ProviderPoolSpec)
    assert stored.spec.providers[0].address == address
