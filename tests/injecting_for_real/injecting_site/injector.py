"""The injector's process, its certificates, and its configuration in the cluster."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import Any

from tidegate_cluster.controlplane import ControlPlane
from tidegate_cluster.loopback import ADDRESS, UNREACHABLE, free_port, request
from tidegate_cluster.process import ServerProcess
from tidegate_cluster.waiting import wait_until

from tidegate_operator.certificates.bundle import Bundle
from tidegate_operator.certificates.plan import Plan, next_step
from tidegate_operator.inject.configuration import (
    NAME,
    Url,
    own_names,
    trust_patch,
    verifying_configuration,
    webhook_configuration,
)
from tidegate_operator.inject.names import INJECT

IMAGE = "registry.example/tidegate/sidecar:0.1.0"
DAY_S = 86_400
CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
VERIFYING = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
_WITHIN_S = 120


def plan(*names: str) -> Plan:
    """Certificates for this machine; an authority lives 700 days, so that a test can stand in each part of its life."""
    return Plan(
        names=("localhost", *names),
        addresses=(ADDRESS,),
        authority_life_s=700 * DAY_S,
        leaf_life_s=400 * DAY_S,
    )


def next_bundle(before: Bundle | None, *, days_ago: int, names: tuple[str, ...] = ()) -> Bundle:
    """The step that was due so many days ago."""
    after = next_step(before, plan(*names), int(time.time()) - days_ago * DAY_S)
    assert after is not None
    return after


class InjectorProcess:
    """One replica."""

    def __init__(self, folder: Path, bundle: Bundle, **settings: str) -> None:
        """Write the certificates; nothing runs yet. Settings are variables without their prefix."""
        self.certificates = folder / "certificates"
        self.port, self._health = free_port(), free_port()
        self.write(bundle)
        environment = {
            "PATH": "/usr/bin:/bin",
            "TIDEGATE_LISTEN": f"{ADDRESS}:{self.port}",
            "TIDEGATE_HEALTH": f"{ADDRESS}:{self._health}",
            "TIDEGATE_CERTIFICATES": str(self.certificates),
            "TIDEGATE_RELOAD_MS": "20",
            "TIDEGATE_DRAIN_MS": "0",
            "TIDEGATE_SIDECAR_IMAGE": IMAGE,
            "TIDEGATE_SIDECAR_IMAGES": "mirror.example/*",
        } | {f"TIDEGATE_{name}": value for name, value in settings.items()}
        self._process = ServerProcess(
            name=f"tidegate-injector-{self.port}",
            command=[sys.executable, "-W", "error", "-m", "tidegate_operator.inject"],
            folder=folder,
            environment=environment,
        )

    def write(self, bundle: Bundle) -> None:
        """What the mounted Secret shows from now on."""
        self.bundle = bundle
        self.certificates.mkdir(exist_ok=True)
        for name in ("ca.crt", "tls.crt", "tls.key"):
            (self.certificates / name).write_bytes(bundle.to_data()[name])

    def start(self) -> None:
        self._process.start()
        self._process.wait_until_ready(self.is_ready, within_s=_WITHIN_S)

    def stop(self) -> None:
        """SIGTERM, and the end: nobody listens any more."""
        self._process.stop()

    @property
    def runs(self) -> bool:
        return self._process.pid is not None

    @property
    def log(self) -> str:
        return self._process.log.read_text(encoding="utf-8", errors="replace")

    def is_ready(self) -> bool:
        try:
            return request(self._health, "GET", "/readyz", timeout_s=2).status == 200
        except UNREACHABLE:
            return False

    def admissions(self) -> dict[tuple[str, str, str], int]:
        """Reviews by entry, decision and reason."""
        text = request(self._health, "GET", "/metrics", timeout_s=30).text
        found = re.findall(
            r'^tidegate_admissions_total\{decision="(\w+)",entry="([\w-]+)",reason="(\w*)"\} (.+)$',
            text,
            re.MULTILINE,
        )
        return {(entry, decision, reason): int(float(count)) for decision, entry, reason, count in found}

    def asked(self, entry: str) -> int:
        """How often an entry was called so far."""
        return sum(count for (name, _, _), count in self.admissions().items() if name == entry)


def install(control_plane: ControlPlane, injector: InjectorProcess) -> None:
    """Install the configuration, and wait until the API server heeds it."""
    for path, document in configurations(injector).items():
        answer = control_plane.request("POST", path, body=document)
        assert answer.status == 201, answer.text
    wait_until(lambda: is_injecting(control_plane), within_s=_WITHIN_S, what="the first injection")


def configurations(injector: InjectorProcess) -> dict[str, dict[str, Any]]:
    """Both, by the path of their collection."""
    client, trust = Url(base=f"https://{ADDRESS}:{injector.port}"), injector.bundle.trust
    return {
        VERIFYING: verifying_configuration(client, trust=trust),
        CONFIGURATIONS: webhook_configuration(client, trust=trust),
    }


def uninstall(control_plane: ControlPlane) -> None:
    for path in (VERIFYING, CONFIGURATIONS):
        control_plane.request("DELETE", f"{path}/{NAME}")


def patch_trust(control_plane: ControlPlane, trust: str) -> None:
    """What the operator's leader does."""
    for kind, is_verifying in (("mutating", False), ("validating", True)):
        names = [it for it in own_names() if it.startswith("verified-") is is_verifying]
        patch = _json(trust_patch(trust, names))
        control_plane.kubectl(
            "patch", f"{kind}webhookconfiguration", NAME, "--type=strategic", f"--patch={patch}"
        )


def is_injecting(control_plane: ControlPlane) -> bool:
    """Whether a pod that asks for it would get a sidecar; it is not stored."""
    document = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "annotations": {INJECT: "enabled"}},
        "spec": {"containers": [{"name": "app", "image": "a"}]},
    }
    path = "/api/v1/namespaces/default/pods?dryRun=All"
    answer = control_plane.request("POST", path, body=document)
    return answer.status == 201 and "initContainers" in answer.json()["spec"]


def _json(document: dict[str, Any]) -> str:
    import json  # noqa: PLC0415 - for this alone

    return json.dumps(document)
