"""ProviderCredential: where a provider's key is found. The key itself never stands in an object."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar, Final

from tidegate_operator.api.conditions import ConditionType, Polarity
from tidegate_operator.api.fields import EnvironmentVariable, SecretKey
from tidegate_operator.api.kind import ACCEPTED, AGE, READY, REASON, SUSPENDED, Column, Kind, Scope
from tidegate_operator.api.section import Rule, Section
from tidegate_operator.api.status import ProviderCredentialStatus


class SourceType(StrEnum):
    """Kinds of places that keys come from."""

    ENVIRONMENT = "Environment"
    SECRET = "Secret"  # noqa: S105 - a word of the API


class EnvironmentSource(Section):
    """A key in the environment of the process; for `tidegate run`, not for clusters."""

    variable: EnvironmentVariable
    """Name of the environment variable that has the key."""


class SecretSource(Section):
    """A key of the Secret `tidegate-keys` in the namespace of the pod that makes the call."""

    key: SecretKey
    """Which key of the Secret has the provider's key, e.g. openai."""


class CredentialSource(Section):
    """Where the key is found: `type` names it, and the member of the same name says the details."""

    type: SourceType
    """Secret: a key of the Secret `tidegate-keys` of the pod's own namespace; `tidegate run` reads the file of that name
    in the folder that --keys names. Environment: a variable of the process that runs `tidegate run`, not for clusters."""
    environment: EnvironmentSource | None = None
    """Which variable; exactly when `type` is Environment."""
    secret: SecretSource | None = None
    """Which key of the Secret; exactly when `type` is Secret."""

    rules: ClassVar[tuple[Rule[CredentialSource], ...]] = (
        Rule(
            holds=lambda self: (self.type is SourceType.ENVIRONMENT) == (self.environment is not None),
            cel="(self.type == 'Environment') == has(self.environment)",
            message="environment is required when type is Environment, and forbidden otherwise",
            field="environment",
        ),
        Rule(
            holds=lambda self: (self.type is SourceType.SECRET) == (self.secret is not None),
            cel="(self.type == 'Secret') == has(self.secret)",
            message="secret is required when type is Secret, and forbidden otherwise",
            field="secret",
        ),
    )


class ProviderCredentialSpec(Section):
    """A key of a provider."""

    suspend: bool = False
    """The kill switch: the key is not used. Default false."""
    source: CredentialSource
    """Where the key is found."""


_SOURCE_COLUMN: Final = Column(
    name="Source", path=".spec.source.type", description="Where the key comes from."
)
PROVIDER_CREDENTIAL: Final = Kind(
    name="ProviderCredential",
    plural="providercredentials",
    short_name="pcred",
    scope=Scope.NAMESPACED,
    description="Where the key of a provider is found. The key itself never stands in an object.",
    spec=ProviderCredentialSpec,
    status=ProviderCredentialStatus,
    conditions=MappingProxyType(
        {
            ConditionType.ACCEPTED: Polarity.POSITIVE,
            ConditionType.RESOLVED_REFS: Polarity.POSITIVE,
            ConditionType.PROGRAMMED: Polarity.POSITIVE,
            ConditionType.READY: Polarity.POSITIVE,
        }
    ),
    columns=(READY, _SOURCE_COLUMN, AGE, REASON, SUSPENDED, ACCEPTED),
    when_suspended="its key is not used",
)
