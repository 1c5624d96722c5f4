"""A sidecar's side of the long poll, by hand and in the test's own thread: what it gets, keeps and acknowledges."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Mapping
from contextlib import closing
from http.client import HTTPSConnection
from typing import Any

from tidegate_cluster.loopback import UNREACHABLE

from tidegate_operator.cluster.secrets import CERTIFICATES
from tidegate_policy.envelope import Envelope, Tag, decode_envelope
from tidegate_policy.model import SUPPORTED_SCHEMA_VERSIONS
from tidegate_policy.poll import (
    AS_OF,
    AUDIENCE,
    CONFIG_PATH,
    REFUSED,
    SCHEMA_VERSIONS,
    Nack,
    format_as_of,
    format_versions,
)
from tidegate_testing.operators import Cluster, OperatorProcess


class PollingSidecar:
    """Polls as the sidecar of a pod would, with a token that the API server made for that pod."""

    def __init__(
        self,
        cluster: Cluster,
        home: str,
        namespace: str,
        pod: str,
        account: str = "default",
        *,
        trust: str = "",
    ) -> None:
        """It trusts the operator's authorities as they are in the cluster, or those that `trust` (PEM) has."""
        self._token = cluster.control_plane.token(namespace, account, AUDIENCE, pod=pod)
        if not trust:
            secret = cluster.get("secret", home, CERTIFICATES)
            trust = base64.b64decode(secret["data"]["ca.crt"]).decode()
        self._tls = ssl.create_default_context(cadata=trust)
        self.envelope: Envelope | None = None
        self.tag = ""
        self.status = 0
        self.problem: dict[str, Any] = {}

    def refuse(self, replica: OperatorProcess, why: str) -> None:
        """Get what there is, and say that it cannot be used; what was in force stays."""
        envelope, tag = self.envelope, self.tag
        replica.until(lambda: self.poll(replica), "something to refuse")
        nack, self.envelope, self.tag = Nack(Tag.parse(self.tag), why), envelope, tag
        self.poll(replica, headers={REFUSED: str(nack)})

    def poll(
        self, replica: OperatorProcess, *, wait_s: int = 0, headers: Mapping[str, str] | None = None
    ) -> bool:
        """One poll, which also acknowledges what was got before; whether it brought a configuration."""
        sent = {
            "Authorization": f"Bearer {self._token}",
            "Prefer": f"wait={wait_s}",
            SCHEMA_VERSIONS: format_versions(SUPPORTED_SCHEMA_VERSIONS),
        }
        if self.envelope is not None:
            sent |= {"If-None-Match": self.tag, AS_OF: format_as_of(self.envelope.as_of)}
        connection = HTTPSConnection("127.0.0.1", replica.config_port, timeout=wait_s + 5, context=self._tls)
        with closing(connection):
            try:
                connection.request("GET", CONFIG_PATH, headers={**sent, **(headers or {})})
                response = connection.getresponse()
                body = response.read()
            except UNREACHABLE as error:
                self.status, self.problem = 0, {"code": "unreachable", "message": repr(error)}
                return False
        self.status = response.status
        self.problem = json.loads(body) if body and response.status not in (200, 304) else {}
        if response.status != 200:
            return False
        self.envelope, _ = decode_envelope(body)
        self.tag = response.headers["etag"]
        return True

    def has(
        self,
        replica: OperatorProcess,
        *,
        pools: list[str] | None = None,
        limits: Mapping[str, int] | None = None,
    ) -> Envelope:
        """Poll until there is a configuration, with these pools and rate limits.

        Objects that were applied together are seen one by one: what is compiled first may lack some of them.
        """

        def has_all() -> bool:
            self.poll(replica)
            return self.envelope is not None and pools in (None, self.pools) and limits in (None, self.limits)

        try:
            replica.until(has_all, "a first configuration")
        except AssertionError as error:
            raise AssertionError(f"the last answer was {self.status} {self.problem}; {error}") from error
        assert self.envelope is not None
        return self.envelope

    @property
    def pools(self) -> list[str]:
        assert self.envelope is not None
        return [pool.source.name for pool in self.envelope.config.pools]

    @property
    def limits(self) -> dict[str, int]:
        """Rate limits in force: name to count."""
        assert self.envelope is not None
        return {limit.name: limit.requests for limit in self.envelope.config.rate_limits}

    @property
    def denials(self) -> list[str]:
        assert self.envelope is not None
        return [denial.code.value for denial in self.envelope.config.denials]
