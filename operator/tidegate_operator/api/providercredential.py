"""ProviderCredential: where a provider's key is found. The key itself never stands in an object."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from tidegate_operator.api.fields import EnvironmentVariable
from tidegate_operator.api.section import Rule, Section


class SourceType(StrEnum):
    """Kinds of places that keys come from."""

    ENVIRONMENT = "Environment"


class EnvironmentSource(Section):
    """A key in the environment of the process; for `tidegate run`, not for clusters."""

    variable: EnvironmentVariable
    """Name of the environment variable that has the key."""


class CredentialSource(Section):
    """Where the key is found: `type` names it, and the member of the same name says the details."""

    type: SourceType
    """Environment: a variable of the process that runs `tidegate run`."""
    environment: EnvironmentSource | None = None
    """Which variable; exactly when `type` is Environment."""

    rules: ClassVar[tuple[Rule[CredentialSource], ...]] = (
        Rule(
            holds=lambda self: (self.type is SourceType.ENVIRONMENT) == (self.environment is not None),
            cel="(self.type == 'Environment') == has(self.environment)",
            message="environment is required when type is Environment, and forbidden otherwise",
            field="environment",
        ),
    )


class ProviderCredentialSpec(Section):
    """A key of a provider."""

    suspend: bool = False
    """The kill switch: the key is not used. Default false."""
    source: CredentialSource
    """Where the key is found."""
