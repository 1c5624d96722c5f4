"""What workloads get to which no policy applies, where the platform lets their calls go out as they are.

Only the platform says so, by a setting of the operator: nothing that stands in an object leads here. A workload under any
policy is never let through, whatever is wrong with that policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from tidegate_operator.api.providerpool import AuthenticationType, ProviderPoolSpec
from tidegate_operator.compile.pools import pool_without_credentials
from tidegate_policy.model import CompiledConfig, ObjectRef, ProviderType
from tidegate_policy.provider_types import PROVIDER_TYPES

if TYPE_CHECKING:
    from collections.abc import Mapping

REFUSE: Final = "Refuse"
PASS_THROUGH: Final = "PassThrough"  # noqa: S105 - a word
UNMATCHED: Final = (REFUSE, PASS_THROUGH)
"""Words of `sidecar.unmatched`."""

SOURCE: Final = ObjectRef(kind="the platform's", namespace="", name="sidecar.unmatched")
"""What refusals, records and metrics name in the place of a pool."""


@dataclass(frozen=True, slots=True)
class PassThrough:
    """Calls under no policy go out as they are. `config` is what such a workload gets."""

    config: CompiledConfig


_PUBLIC: Final = {type_: traits.base_url for type_, traits in PROVIDER_TYPES.items() if traits.base_url}


def pass_through(base_urls: Mapping[ProviderType, str] = _PUBLIC) -> PassThrough:
    """Let calls go to these addresses; a dialect whose type has none goes to its provider's public one.

    Raises:
        ValueError: an address is none.
    """
    urls = _PUBLIC | dict(base_urls)
    providers = [
        {
            "name": kind.value.lower(),
            "type": kind,
            "baseURL": url,
            # the platform has written the address itself
            "allowInsecure": True,
            "allowPrivate": True,
            "authentication": {"type": AuthenticationType.CALLER},
        }
        for kind, url in urls.items()
    ]
    names = [kind.value for kind in urls]
    try:
        spec = ProviderPoolSpec.model_validate({"providers": tuple(providers), "retry": {"maxAttempts": 1}})
    except ValidationError as error:
        # not the address itself, in which somebody may have written a password
        wrong = ", ".join(sorted({names[int(it["loc"][1])] for it in error.errors()}))
        raise ValueError(f"{wrong}: expected a base URL such as https://api.openai.com/v1") from error
    return PassThrough(CompiledConfig(pools=(pool_without_credentials(SOURCE, spec),), pass_through=True))


def parse_base_urls(text: str) -> Mapping[ProviderType, str]:
    """``OpenAI=https://…,Anthropic=https://…``; nothing is the providers' own addresses.

    Raises:
        ValueError: with what would be right.
    """
    found = {}
    for part in filter(None, text.split(",")):
        kind, separator, url = part.strip().partition("=")
        if not separator or kind not in {it.value for it in _PUBLIC}:
            known = ", ".join(f"{it.value}=URL" for it in _PUBLIC)
            raise ValueError(f"expected some of {known}, separated by commas")
        found[ProviderType(kind)] = url
    return found
