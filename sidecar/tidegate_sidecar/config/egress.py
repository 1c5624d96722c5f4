"""How this process reaches providers: authorities, a client certificate, a proxy."""

from __future__ import annotations

from dataclasses import dataclass, field

from tidegate_sidecar.settings import Settings
from tidegate_sidecar.upstream.connector import OriginKey
from tidegate_sidecar.upstream.http_proxy import proxy_for
from tidegate_sidecar.upstream.tls import TlsSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Egress:
    """Settings of the process that every provider's connections are made by.

    Attributes:
        tls: authorities beside the system's, and the certificate that is shown.
        https_proxy: URL, which may hold a password; empty: providers are connected to directly.
        no_proxy: hosts that are connected to directly, as curl reads NO_PROXY.
    """

    tls: TlsSettings = field(default_factory=TlsSettings)
    https_proxy: str = field(default="", repr=False)
    no_proxy: str = ""

    @classmethod
    def of(cls, settings: Settings) -> Egress:
        """What the process was told."""
        return cls(
            tls=TlsSettings(
                ca_file=settings.provider_ca_file,
                cert_file=settings.provider_client_cert_file,
                key_file=settings.provider_client_key_file,
            ),
            https_proxy=settings.https_proxy,
            no_proxy=",".join(settings.no_proxy),
        )

    def key(self, scheme: str, host: str, port: int, *, public_only: bool) -> OriginKey:
        """The pool of connections to one place."""
        proxy = proxy_for(scheme, host, port, https_proxy=self.https_proxy, no_proxy=self.no_proxy)
        return OriginKey(
            scheme,
            host,
            port,
            public_only,
            self.tls if scheme == "https" else None,
            proxy if self.https_proxy else "",
        )
