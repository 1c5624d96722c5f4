"""ProviderCredential: samples that are accepted, and samples that are refused with what is said about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    "spec",
    [
        "{suspend: true, source: {type: Environment, environment: {variable: OPENAI_API_KEY}}}",
        "{source: {type: Secret, secret: {key: openai}}}",
        "{source: {type: Secret, secret: {key: .open_ai-1.KEY}}}",
    ],
)
def test_accepted(problems: Callable[[str, str], list[str]], spec: str) -> None:
    assert problems("ProviderCredential", spec) == []


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        pytest.param("{}", "spec.source: missing; this field is required", id="no source"),
        pytest.param(
            "{source: {type: Environment}}",
            "spec.source.environment: environment is required when type is Environment, and forbidden otherwise",
            id="source without its member",
        ),
        pytest.param(
            "{source: {type: Vault, vault: {path: ai/openai}}}",
            "spec.source.type: expected one of Environment, Secret, found 'Vault'",
            id="a source of a later release",
        ),
        pytest.param(
            "{source: {type: Environment, environment: {variable: ''}}}",
            "spec.source.environment.variable: expected the name of an environment variable such as OPENAI_API_KEY "
            "(never the key itself), found 0 characters",
            id="empty variable",
        ),
        pytest.param(
            "{source: {type: Secret, environment: {variable: KEY}}}",
            "spec.source.secret: secret is required when type is Secret, and forbidden otherwise",
            id="the member of another type",
        ),
        *(
            pytest.param(
                f"{{source: {{type: Secret, secret: {{key: '{key}'}}}}}}",
                "spec.source.secret.key: expected a key of a Secret such as openai: letters, digits, '-', '_' and '.', "
                f"not two dots at the start (never the provider's key itself), found {len(key)} characters",
                id=f"key {key!r}",
            )
            for key in ("", ".", "..", "..data", "../openai", "/etc/passwd", "a/b", "open ai")
        ),
    ],
)
def test_rejected(problems: Callable[[str, str], list[str]], spec: str, said: str) -> None:
    assert said in problems("ProviderCredential", spec)


def test_a_key_in_the_place_of_the_variable_is_not_repeated(
    problems: Callable[[str, str], list[str]],
) -> None:
    """Messages go to terminals, logs and conditions, where a key must not be."""
    spec = "{source: {type: Environment, environment: {variable: sk-proj-1234567890}}}"
    (said,) = problems("ProviderCredential", spec)
    assert "sk-proj" not in said
    assert "never the key itself" in said
