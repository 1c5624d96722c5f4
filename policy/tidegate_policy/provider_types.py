"""The types of providers: one table, which everything that depends on a provider's type is made from."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from tidegate_policy.model import Dialect, ProviderType

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Sdk:
    """The environment variables of one family of SDKs.

    Attributes:
        url: the variable of the base URL.
        path: what follows the sidecar's address.
        aliases: other names for the same; where the user has set one, `url` is theirs to set too.
        key: the variable of the key.
        keyless: variables of other ways to sign in; beside one of them a placeholder would be taken for the key.
        absent: variables that show that the application talks to something else by the same SDK.
    """

    url: str
    path: str
    key: str
    aliases: tuple[str, ...] = ()
    keyless: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderTraits:
    """What is true of all providers of one type.

    Attributes:
        dialect: that they speak.
        base_url: the public one; empty where there is none.
        version_segment: what the path of a base URL ends with; empty where that is not known.
        sdk: of the applications whose calls they serve; None where it is another type's.
    """

    dialect: Dialect
    base_url: str = ""
    version_segment: str = ""
    sdk: Sdk | None = None


OPENAI_SDK: Final = Sdk(
    url="OPENAI_BASE_URL", path="/openai/v1", key="OPENAI_API_KEY", aliases=("OPENAI_API_BASE",)
)

PROVIDER_TYPES: Final[Mapping[ProviderType, ProviderTraits]] = MappingProxyType(
    {
        ProviderType.OPENAI: ProviderTraits(
            dialect=Dialect.OPENAI,
            base_url="https://api.openai.com/v1",
            version_segment="v1",
            sdk=OPENAI_SDK,
        ),
        ProviderType.ANTHROPIC: ProviderTraits(
            dialect=Dialect.ANTHROPIC,
            base_url="https://api.anthropic.com/v1",
            version_segment="v1",
            sdk=Sdk(
                url="ANTHROPIC_BASE_URL",
                path="/anthropic",
                key="ANTHROPIC_API_KEY",
                keyless=(
                    "ANTHROPIC_AUTH_TOKEN",
                    "ANTHROPIC_PROFILE",
                    "ANTHROPIC_IDENTITY_TOKEN",
                    "ANTHROPIC_IDENTITY_TOKEN_FILE",
                ),
            ),
        ),
        ProviderType.OPENAI_COMPATIBLE: ProviderTraits(dialect=Dialect.OPENAI),
    }
)
