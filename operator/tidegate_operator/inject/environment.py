"""Environment of the application's containers (PURE): where SDKs find the sidecar, never over what the user has set.

What SDKs do with these variables was tried with openai 3.52 (Python) and 6 (Node), anthropic 2.11, google-genai 3.4:

- Python's module client (`openai.chat...`) refuses to choose between OPENAI_API_KEY and AZURE_OPENAI_ENDPOINT unless
  OPENAI_API_TYPE says which.
- Node's AzureOpenAI prefers OPENAI_BASE_URL to AZURE_OPENAI_ENDPOINT, throws when an endpoint is given in code beside it,
  and throws when AZURE_OPENAI_API_KEY stands beside a token provider.
- LangChain and LlamaIndex refuse Azure while OPENAI_API_BASE is set; all of today's SDKs read OPENAI_BASE_URL.
- Without a key no client of OpenAI, Azure or Gemini is constructed, and Anthropic's fails at its first call.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from tidegate_operator.inject.document import Document, items
from tidegate_operator.inject.names import APP_PORT
from tidegate_policy.keys import PLACEHOLDER_KEY
from tidegate_policy.provider_types import OPENAI_SDK, PROVIDER_TYPES, Sdk

MAX_SOURCES: Final = 64
"""Sources of `envFrom` that are looked at, the last ones, which go before the others."""

ORIGIN: Final = f"http://127.0.0.1:{APP_PORT}"


GEMINI: Final = Sdk(
    url="GOOGLE_GEMINI_BASE_URL",
    path="/gemini",
    key="GEMINI_API_KEY",
    keyless=("GOOGLE_API_KEY",),
    absent=("GOOGLE_GENAI_USE_VERTEXAI",),
)
AZURE: Final = Sdk(
    url="AZURE_OPENAI_ENDPOINT",
    path="/azure",
    key="AZURE_OPENAI_API_KEY",
    aliases=("AZURE_API_BASE",),
    keyless=("AZURE_OPENAI_AD_TOKEN", "AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE"),
)
SERVED: Final = tuple(traits.sdk for traits in PROVIDER_TYPES.values() if traits.sdk is not None)
"""Those whose calls the sidecar takes. Others are left alone: led to it, an application that works would get 404."""
SDKS: Final = (*SERVED, GEMINI, AZURE)
"""All that are known. OpenAI's serve OpenAICompatible and GitHubModels as well."""

_API_TYPE: Final = "OPENAI_API_TYPE"
_AZURE_VERSION: Final = "OPENAI_API_VERSION"
_AZURE_SIGNS: Final = (AZURE.url, *AZURE.aliases, AZURE.key, "AZURE_OPENAI_AD_TOKEN", _AZURE_VERSION)
_PROXIES: Final = ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
_NO_PROXIES: Final = ("NO_PROXY", "no_proxy")
_OFF: Final = ("false", "0", "no")

OURS: Final[Mapping[str, str]] = {
    **{sdk.url: f"{ORIGIN}{sdk.path}" for sdk in SDKS},
    **{sdk.key: PLACEHOLDER_KEY for sdk in SDKS},
    _API_TYPE: "openai",
    **dict.fromkeys(_NO_PROXIES, "127.0.0.1,::1,localhost"),
}
"""Every variable that a container may be given, and its value. `exclude-env` may name any of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What one container gets.

    Attributes:
        env: its whole list, with what was there.
        is_changed: whether it is another list than before.
        added: names of the variables that are ours, sorted.
        kept: base URLs that the user has set, which stay.
        warnings: what a person should know.
    """

    env: list[Document]
    is_changed: bool
    added: tuple[str, ...]
    kept: tuple[str, ...]
    warnings: tuple[str, ...]


def environment(
    container: Document, exclude: Collection[str], before: Collection[str], sdks: Collection[Sdk]
) -> Environment:
    """What a container gets; the same when it is asked again with the result and `before` as `added` was.

    Args:
        container: as it is.
        exclude: names that the pod's author does not want.
        before: names that an earlier pass has added, as the pod's status says.
        sdks: are led to the sidecar.
    """
    present = _Present(container, before)
    wanted = [name for name in _wanted(present, exclude, sdks) if name not in exclude]
    ours = [entry for name in wanted for entry in present.entries(name)]
    env = [*items(container, "env")]
    is_changed = [entry for entry in env if present.is_ours(entry)] != ours
    if is_changed:
        env = [*(entry for entry in env if not present.is_ours(entry)), *ours]
    kept = tuple(name for sdk in SDKS for name in (sdk.url, *sdk.aliases) if present.leads_away(name))
    return Environment(
        env=env,
        is_changed=is_changed,
        added=tuple(sorted(wanted)),
        kept=kept,
        warnings=tuple(_warnings(present, container, kept)),
    )


def _wanted(present: _Present, exclude: Collection[str], sdks: Collection[Sdk]) -> Iterator[str]:
    """Names of the variables to add, in the order in which they are to stand."""
    is_azure = present.is_azure_alone
    for sdk in sdks:
        if sdk.url in exclude or present.has(sdk.url, *sdk.aliases) or present.is_on(*sdk.absent):
            continue
        if sdk is OPENAI_SDK and is_azure:
            continue
        yield sdk.url
        # Azure's key only where a client without it is likely: beside a token provider in code, Node's throws.
        if not present.has(sdk.key, *sdk.keyless) and (sdk is not AZURE or present.has(_AZURE_VERSION)):
            yield sdk.key
        if sdk is AZURE and not is_azure and OPENAI_SDK.url not in exclude and not present.has(_API_TYPE):
            yield _API_TYPE
    if present.has(*_PROXIES) and not present.has(*_NO_PROXIES):
        yield from _NO_PROXIES


def _warnings(present: _Present, container: Document, kept: tuple[str, ...]) -> Iterator[str]:
    name = container.get("name", "")
    if kept:
        yield f"container {name} sets {', '.join(kept)} itself: calls that go there do not pass the sidecar"
    if present.has(*_PROXIES) and present.has(*_NO_PROXIES) and not present.bypasses_proxy:
        yield (
            f"container {name} sends HTTP through a proxy, and its NO_PROXY does not name 127.0.0.1: calls will not "
            "reach the sidecar"
        )


class _Present:
    """The environment of a container as the user has written it."""

    def __init__(self, container: Document, before: Collection[str]) -> None:
        self._before = frozenset(before)
        self._sources = tuple(items(container, "envFrom"))[-MAX_SOURCES:]
        self._added: dict[str, frozenset[bytes]] = {}
        """What an earlier pass may have added for a name, as text: looked up for each entry of a list that may be long."""
        self._own = {
            str(entry["name"]): entry for entry in items(container, "env") if not self.is_ours(entry)
        }

    def has(self, *names: str) -> bool:
        """Whether one of them stands in `env`; what `envFrom` brings cannot be seen."""
        return any(name in self._own for name in names)

    def is_on(self, *names: str) -> bool:
        """Whether one of these switches is set, and not to something that means off."""
        return any(name in self._own and self._literal(name).lower() not in _OFF for name in names)

    @property
    def is_azure_alone(self) -> bool:
        """Whether OPENAI_BASE_URL would only be in Azure's way."""
        if self._literal(_API_TYPE).startswith("azure"):
            return True
        return self.has(*_AZURE_SIGNS) and not self.has(OPENAI_SDK.key)

    @property
    def bypasses_proxy(self) -> bool:
        """Whether loopback is reached directly, as far as can be seen."""
        found = [self._own[name] for name in _NO_PROXIES if name in self._own]
        return any("valueFrom" in entry or _names_loopback(self._literal(entry["name"])) for entry in found)

    def leads_away(self, name: str) -> bool:
        """Whether the user has set a base URL to something else than the sidecar."""
        return self.has(name) and f":{APP_PORT}" not in self._literal(name)

    def is_ours(self, entry: Document) -> bool:
        """Whether an earlier pass has added this entry."""
        if not self._before:
            return False
        name = entry.get("name")
        if name not in self._before:
            return False
        added = self._added.get(name)
        if added is None:
            added = self._added[name] = frozenset(_text_of(it) for it in self.entries(name))
        return _text_of(entry) in added

    def entries(self, name: str) -> list[dict[str, Any]]:
        """Our value, then for each source of `envFrom` a reference that takes effect if the source has the name.

        `env` goes before `envFrom`, so our value alone would hide the user's. Of entries with one name the last one that
        can be resolved counts, and an optional reference to a key that does not exist cannot be.
        """
        found: list[dict[str, Any]] = [{"name": name, "value": OURS[name]}]
        for source in self._sources:
            prefix = source.get("prefix") or ""
            for kind in ("configMap", "secret"):
                reference = source.get(f"{kind}Ref")
                if reference and name.startswith(prefix) and name != prefix:
                    key = {"name": reference.get("name", ""), "key": name[len(prefix) :], "optional": True}
                    found.append({"name": name, "valueFrom": {f"{kind}KeyRef": key}})
        return found

    def _literal(self, name: str) -> str:
        return str(self._own.get(name, {}).get("value") or "")


def _text_of(entry: Document) -> bytes:
    return orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)


def _names_loopback(no_proxy: str) -> bool:
    return any(part.strip() in ("127.0.0.1", "127.0.0.0/8", "*") for part in no_proxy.split(","))
