"""What takes part: the provider, the proxies by their names, and what each is started with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from speed import installs
from speed.machine import Cores
from speed.programs import Program, Records

NOTHING: Final = "nothing"
RELAY: Final = "Tidegate, relay alone"
POLICIES: Final = "Tidegate, policies"
ENVOY: Final = "Envoy"
BARE: Final = "bare aiohttp"
LITELLM: Final = "LiteLLM"
PORTKEY: Final = "Portkey"
PEERS: Final = (LITELLM, PORTKEY)
"""Products that are measured as far as they go: what they fail at is told, and is no fault of the bench."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """The provider stub, and how proxies reach it."""

    program: Program
    plain_port: int
    tls_port: int
    ca_file: Path
    tls: bool = False

    @property
    def port(self) -> int:
        """Where proxies connect to."""
        return self.tls_port if self.tls else self.plain_port

    @property
    def url(self) -> str:
        """Its base URL for SDKs and proxies."""
        return f"https://localhost:{self.port}/v1" if self.tls else f"http://127.0.0.1:{self.port}/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What the load is sent to."""

    name: str
    port: int
    program: Program | None = None
    """The proxy; None where the load goes straight to the provider."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """What the application sends beside `content-type`."""
    model_suffix: str = ""
    """Behind the model's name, where the application asks for it by an alias."""
    records: Records | None = None
    """A line for each call, where the proxy writes one."""
    admin_port: int = 0
    """Where metrics are; 0: nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounds:
    """What all proxies are started with."""

    folder: Path
    """For logs and rendered configurations."""
    cores: Cores
    tidegate: installs.Tidegate
    envoy: Path
