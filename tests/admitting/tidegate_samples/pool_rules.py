"""What breaks and what keeps the rules of pools and credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tidegate_samples.places import ABSENT
from tidegate_samples.sample import RuleSamples

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEY: Final = {"name": "key"}
_HTTP: Final = "http://llm.example.com/v1"
_ENVIRONMENT: Final = {
    "type": "Environment",
    "environment": {"variable": "OPENAI_API_KEY"},
    "secret": ABSENT,
}
_SECRET: Final = {"type": "Secret", "environment": ABSENT, "secret": {"key": "openai"}}
_HTTPS: Final = "https://llm.example.com/v1"

POOL_RULES: Final[Mapping[str, RuleSamples]] = {
    "selector is required when from is Selector, and forbidden otherwise": RuleSamples(
        broken={
            "from Selector without selector": {"from": "Selector", "selector": ABSENT},
            "from Same with selector": {"from": "Same", "selector": {}},
            "from All with selector": {"from": "All", "selector": {}},
            "the default of from with selector": {"from": ABSENT, "selector": {}},
        },
        kept={
            "from Selector with selector": {"from": "Selector", "selector": {}},
            "from Same without selector": {"from": "Same", "selector": ABSENT},
            "from All without selector": {"from": "All", "selector": ABSENT},
            "neither from nor selector": {"from": ABSENT, "selector": ABSENT},
        },
    ),
    "type OpenAICompatible has no default address: baseURL is required": RuleSamples(
        broken={"OpenAICompatible without baseURL": {"type": "OpenAICompatible", "baseURL": ABSENT}},
        kept={
            "OpenAICompatible with baseURL": {"type": "OpenAICompatible"},
            "OpenAI without baseURL": {"type": "OpenAI", "baseURL": ABSENT},
            "Anthropic without baseURL": {"type": "Anthropic", "baseURL": ABSENT},
        },
    ),
    "baseURL must begin with https://, unless allowInsecure is true": RuleSamples(
        broken={
            "http without allowInsecure": {"baseURL": _HTTP, "allowInsecure": ABSENT},
            "http with allowInsecure false": {"baseURL": _HTTP, "allowInsecure": False},
        },
        kept={
            "http with allowInsecure": {"baseURL": _HTTP, "allowInsecure": True},
            "https with allowInsecure": {"baseURL": _HTTPS, "allowInsecure": True},
            "https without allowInsecure": {"baseURL": _HTTPS, "allowInsecure": ABSENT},
            "no baseURL": {"baseURL": ABSENT, "allowInsecure": ABSENT},
        },
    ),
    "credentialRefs is required when type is Credentials, and forbidden otherwise": RuleSamples(
        broken={
            "type Credentials without credentialRefs": {"type": "Credentials", "credentialRefs": ABSENT},
            "type Credentials with an empty list": {"type": "Credentials", "credentialRefs": []},
            "type Caller with credentialRefs": {"type": "Caller", "credentialRefs": [_KEY]},
            "type None with credentialRefs": {"type": "None", "credentialRefs": [_KEY]},
        },
        kept={
            "type Credentials with credentialRefs": {"type": "Credentials", "credentialRefs": [_KEY]},
            "type Caller alone": {"type": "Caller", "credentialRefs": ABSENT},
            "type None with an empty list": {"type": "None", "credentialRefs": []},
        },
    ),
    (
        "headers that carry credentials, belong to the connection or begin with x-tidegate- cannot be constant; "
        "keys belong in authentication"
    ): RuleSamples(
        broken={
            "a header with a key": {"headers": {"X-A": "1", "Authorization": "2"}},
            "a header with a key, in small letters": {"headers": {"x-api-key": "2"}},
            "a header of the connection": {"headers": {"Transfer-Encoding": "chunked"}},
            "a header of ours": {"headers": {"X-Tidegate-Model": "2"}},
        },
        kept={
            "a header with another name": {"headers": {"X-Api-Keys": "1", "X-Tidegat": "2"}},
            "no headers": {"headers": ABSENT},
        },
        ours={
            "a header with a key": "'Authorization' carries credentials",
            "a header with a key, in small letters": "'x-api-key' carries credentials",
            "a header of the connection": "'Transfer-Encoding' belongs to the connection",
            "a header of ours": "'X-Tidegate-Model' is Tidegate's own",
        },
    ),
    "the keys of headers are names of HTTP headers such as x-user-id": RuleSamples(
        broken={"a colon": {"headers": {"X-A:": "1"}}},
        kept={"128 characters": {"headers": {"x" * 128: "1"}}},
        ours={"a colon": "expected the name of an HTTP header"},
    ),
    "no header may stand there twice; header names ignore case": RuleSamples(
        broken={"two spellings": {"headers": {"X-A": "1", "x-a": "2"}}},
        kept={"two headers": {"headers": {"X-A": "1", "X-B": "2"}}},
        ours={"two spellings": "is the same header as 'X-A'"},
    ),
    "environment is required when type is Environment, and forbidden otherwise": RuleSamples(
        broken={
            "type Environment without environment": _ENVIRONMENT | {"environment": ABSENT},
            "type Secret with environment": _SECRET | {"environment": {"variable": "OPENAI_API_KEY"}},
        },
        kept={"type Environment with environment": _ENVIRONMENT},
    ),
    "secret is required when type is Secret, and forbidden otherwise": RuleSamples(
        broken={
            "type Secret without secret": _SECRET | {"secret": ABSENT},
            "type Environment with secret": _ENVIRONMENT | {"secret": {"key": "openai"}},
        },
        kept={"type Secret with secret": _SECRET},
    ),
}
"""By message."""
