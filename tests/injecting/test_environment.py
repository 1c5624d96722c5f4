"""What SDKs make of the variables: unmodified clients start and find the sidecar, and nobody's own setting is hidden.

Node's clients and google-genai are not installed here; `environment.py` says what they were seen to do.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from injecting_shapes.platform import PLATFORM, TEMPLATE, injected
from injecting_shapes.pods import container, environment_of, pod

from tidegate_operator.inject.environment import AZURE, GEMINI, ORIGIN, OURS, SDKS, SERVED
from tidegate_operator.inject.pod import Platform
from tidegate_policy.keys import PLACEHOLDER_KEY
from tidegate_policy.provider_types import Sdk
from tidegate_sidecar.dialects.registry import DEFAULT as DIALECTS

ALL = replace(PLATFORM, template=replace(TEMPLATE, sdks=SDKS))
"""Leads every SDK to the sidecar, also those whose calls it does not take yet: the traps are the same."""

MODULE_CLIENT = "import openai; print(openai.chat.completions._client.base_url)"
"""It reads variables when the module is imported, so it needs a process of its own; the other clients are in this one."""


def variables(*own: tuple[str, str], exclude: str = "", platform: Platform = ALL) -> dict[str, str]:
    """What a container's process sees."""
    annotations = {"tidegate.dev/exclude-env": exclude} if exclude else {}
    env = [{"name": name, "value": value} for name, value in own]
    return environment_of(injected(pod(container(env=env), annotations=annotations), platform=platform))


def openai_client() -> str:
    import openai  # noqa: PLC0415 - a second of every worker's time, for one of them

    with openai.OpenAI() as client:
        return str(client.base_url)


def azure_client() -> str:
    import openai  # noqa: PLC0415 - the same

    with openai.AzureOpenAI() as client:
        return str(client.base_url)


def anthropic_client() -> str:
    import anthropic  # noqa: PLC0415 - the same

    with anthropic.Anthropic() as client:
        return f"{client.base_url} {bool(client.auth_headers)}"


CLIENTS: dict[str, Callable[[], str]] = {
    "openai": openai_client,
    "azure": azure_client,
    "anthropic": anthropic_client,
}


def run(client: str, environment: dict[str, str]) -> str:
    if client in CLIENTS:
        with pytest.MonkeyPatch.context() as patch:
            for name in [*os.environ]:  # noqa: TID251 - the environment is what this is about
                patch.delenv(name)
            for name, value in environment.items():
                patch.setenv(name, value)
            return CLIENTS[client]()
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MODULE_CLIENT],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return result.stdout.strip() or result.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("client", "own", "found"),
    [
        ("openai", [], f"{ORIGIN}/openai/v1/"),
        ("openai module", [], f"{ORIGIN}/openai/v1/"),
        ("openai module", [("OPENAI_API_KEY", "own")], f"{ORIGIN}/openai/v1/"),
        ("anthropic", [], f"{ORIGIN}/anthropic/ True"),
        ("anthropic", [("ANTHROPIC_AUTH_TOKEN", "own")], f"{ORIGIN}/anthropic/ True"),
        ("azure", [("OPENAI_API_VERSION", "2025-04-01-preview")], f"{ORIGIN}/azure/openai/"),
        ("openai module", [("OPENAI_API_VERSION", "2025-04-01-preview")], f"{ORIGIN}/azure/openai/"),
        (
            "azure",
            [("OPENAI_API_VERSION", "2025-04-01-preview"), ("AZURE_OPENAI_AD_TOKEN", "own")],
            f"{ORIGIN}/azure/openai/",
        ),
        (
            "openai",
            [("OPENAI_BASE_URL", "http://vllm:8000/v1"), ("OPENAI_API_KEY", "own")],
            "http://vllm:8000/v1/",
        ),
        (
            "azure",
            [
                ("AZURE_OPENAI_ENDPOINT", "https://own.openai.azure.com"),
                ("AZURE_OPENAI_API_KEY", "own"),
                ("OPENAI_API_VERSION", "2025-04-01-preview"),
            ],
            "https://own.openai.azure.com/openai/",
        ),
    ],
)
def test_an_unmodified_client_starts_and_finds_the_sidecar(
    client: str, own: list[tuple[str, str]], found: str
) -> None:
    assert run(client, variables(*own)) == found


@pytest.mark.parametrize("sdk", SERVED)
def test_a_base_url_leads_to_what_the_sidecar_serves(sdk: Sdk) -> None:
    assert DIALECTS.mount(variables(platform=PLATFORM)[sdk.url].removeprefix(ORIGIN) + "/", ())


@pytest.mark.parametrize("sdk", [GEMINI, AZURE])
def test_an_application_whose_calls_the_sidecar_does_not_serve_is_left_as_it_is(sdk: Sdk) -> None:
    own = ((sdk.key, "own"), ("OPENAI_API_VERSION", "1"))
    found = variables(*own, platform=PLATFORM)
    assert found == dict(own) | {name: found[name] for name in found if name.startswith("ANTHROPIC_")}
    assert DIALECTS.mount(f"{sdk.path}/", ()) is None, "it is served, so it belongs to SERVED"


def test_without_the_type_the_module_client_would_not_start() -> None:
    """The trap that OPENAI_API_TYPE is there for: when this SDK changes, the variable can go."""
    assert "Ambiguous use of module client" in run("openai module", variables(exclude="OPENAI_API_TYPE"))


def test_a_placeholder_is_added_where_the_user_has_no_key() -> None:
    assert variables()["OPENAI_API_KEY"] == PLACEHOLDER_KEY
    assert variables(("OPENAI_API_KEY", ""))["OPENAI_API_KEY"] == ""


@pytest.mark.parametrize(
    ("own", "missing"),
    [
        (("OPENAI_BASE_URL", "http://vllm"), "OPENAI_API_KEY"),
        (("OPENAI_API_BASE", "http://vllm"), "OPENAI_BASE_URL"),
        (("AZURE_API_BASE", "http://azure"), "AZURE_OPENAI_ENDPOINT"),
        (("AZURE_OPENAI_ENDPOINT", "http://azure"), "OPENAI_BASE_URL"),
        (("AZURE_OPENAI_API_KEY", "own"), "OPENAI_BASE_URL"),
        (("OPENAI_API_VERSION", "1"), "OPENAI_BASE_URL"),
        (("OPENAI_API_TYPE", "azure_ad"), "OPENAI_BASE_URL"),
        (("ANTHROPIC_AUTH_TOKEN", "own"), "ANTHROPIC_API_KEY"),
        (("ANTHROPIC_PROFILE", "own"), "ANTHROPIC_API_KEY"),
        (("GOOGLE_API_KEY", "own"), "GEMINI_API_KEY"),
        (("GOOGLE_GENAI_USE_VERTEXAI", "1"), "GOOGLE_GEMINI_BASE_URL"),
        (("HOME", "/"), "AZURE_OPENAI_API_KEY"),
        (("HOME", "/"), "NO_PROXY"),
        (("HTTPS_PROXY", "http://proxy"), "NO_PROXY"),
    ],
)
def test_what_would_be_in_the_way_is_left_out(own: tuple[str, str], missing: str) -> None:
    found = variables(own)
    assert found[own[0]] == own[1]
    assert missing not in found


@pytest.mark.parametrize("url", [name for name, value in OURS.items() if value.startswith("http")])
def test_an_excluded_base_url_takes_its_key_along(url: str) -> None:
    found = variables(("OPENAI_API_VERSION", "1"), ("OPENAI_API_KEY", "own"), exclude=url)
    prefix = url.removesuffix("_BASE_URL").removesuffix("_ENDPOINT").removeprefix("GOOGLE_")
    assert not [name for name in found if name.startswith(f"{prefix}_") and found[name] == PLACEHOLDER_KEY]
    assert url not in found


def test_loopback_is_kept_from_a_proxy() -> None:
    found = variables(("http_proxy", "http://proxy.corp:3128"))
    assert found["NO_PROXY"] == found["no_proxy"] == "127.0.0.1,::1,localhost"


def resolved(env: list[dict[str, Any]], sources: dict[str, dict[str, str]]) -> dict[str, str]:
    """A container's environment as the kubelet makes it (pkg/kubelet, makeEnvironmentVariables): envFrom counts for
    nothing where env has the name, entries in order, a reference that is optional and leads nowhere is passed over."""
    found: dict[str, str] = {}
    for entry in env:
        if "value" in entry:
            found[entry["name"]] = entry["value"]
            continue
        ((kind, key),) = entry["valueFrom"].items()
        source = sources.get(f"{kind.removesuffix('KeyRef')}/{key['name']}", {})
        if key["key"] in source:
            found[entry["name"]] = source[key["key"]]
        else:
            assert key["optional"]
    return found


def test_what_env_from_brings_is_not_hidden() -> None:
    """Nobody but the kubelet can see it: our value is a default beneath a reference to the same name."""
    sources = [
        {"configMapRef": {"name": "settings"}},
        {"prefix": "OPENAI_", "secretRef": {"name": "keys"}},
        {"prefix": "GEMINI_API_KEY", "secretRef": {"name": "whole"}},
    ]
    found = injected(pod(container(envFrom=sources)), platform=ALL)["spec"]["containers"][0]["env"]
    nothing = resolved(found, {})
    assert nothing == environment_of(injected(pod(), platform=ALL))
    some = resolved(
        found,
        {
            "configMap/settings": {
                "OPENAI_BASE_URL": "http://settings",
                "ANTHROPIC_BASE_URL": "http://settings",
            },
            "secret/keys": {"BASE_URL": "http://keys", "API_KEY": "own"},
        },
    )
    changed = {name: value for name, value in some.items() if nothing[name] != value}
    # of two sources the later one counts, as with envFrom itself
    assert changed == {
        "OPENAI_BASE_URL": "http://keys",
        "OPENAI_API_KEY": "own",
        "ANTHROPIC_BASE_URL": "http://settings",
    }
    assert not [
        entry for entry in found if entry.get("valueFrom", {}).get("secretKeyRef", {}).get("name") == "whole"
    ]
