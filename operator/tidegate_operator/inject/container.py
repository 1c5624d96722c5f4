"""The sidecar's container and its volumes (PURE): the one place that says what they look like."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from tidegate_operator.inject import names
from tidegate_operator.inject.overrides import Overrides
from tidegate_operator.inject.quantity import parse_quantity
from tidegate_operator.inject.template import Family, Startup, Template
from tidegate_policy.keys import KEYS_SECRET
from tidegate_policy.poll import AUDIENCE

TOKEN_FOLDER: Final = "/var/run/secrets/tidegate.dev"  # noqa: S105 - a path
STATE_FOLDER: Final = "/var/lib/tidegate"
KEYS_FOLDER: Final = "/var/run/secrets/tidegate-keys"
CA_FOLDER: Final = "/var/run/secrets/tidegate-ca"
TOKENS: Final = "tokens"
"""Folder below `TOKEN_FOLDER` with one file for each further audience; its name is the audience, percent-encoded."""

TOKEN_LIFE_S: Final = 3_600
"""The kubelet replaces a token when four fifths of its life are over."""
STATE_SIZE: Final = "16Mi"
NO_OVERRIDES: Final = Overrides(requests={}, limits={})

TRUST: Final = "TIDEGATE_OPERATOR_CA"
FROM_THE_POD: Final = ("TIDEGATE_GRACE_MS", "TIDEGATE_MAX_HELD_BYTES")
"""Variables that follow from what others may change of a pod later: its grace period and the sidecar's memory."""
_API_TOKEN_FOLDER: Final = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path
_MAX_GRACE_S: Final = 3_600
_RESERVED: Final = {"cpu": "500m"}
"""At most, in pods whose requests are limits: what is reserved is nobody else's, and a whole core would mostly idle."""
_PROCESS_BYTES: Final = 64 * 2**20
"""Memory of a sidecar that holds no body, with what a busy one has beside them."""
_MEMORY_PER_BYTE: Final = 4
"""What each byte of a body takes: as it came, as it was read, as it is sent, and what the allocator keeps; measured."""
_MIN_HELD_BYTES: Final = 2**20
_SPARE_S: Final = 5
"""What is left of a pod's grace period for the sidecar's own end."""
_START_S: Final = 120
"""Within this time the process has to listen, or it is started again."""
_WAIT_S: Final = 86_400
_READY: Final = "/readyz?wait=3s"
"""Answered as soon as there is a configuration: most often a moment after the sidecar listens, and before the next probe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFacts:
    """What the container depends on of the pod it is for."""

    guaranteed: bool = False
    """All its containers have limits and no smaller requests: the pod is evicted last, and is to stay so."""
    shared: frozenset[str] = frozenset()
    """Resources that the pod has as a whole, from which its containers take what they need."""
    grace_s: int = 30


def container(
    template: Template,
    trust: str,
    overrides: Overrides,
    facts: PodFacts,
    resources: Mapping[str, Mapping[str, str]] | None = None,
) -> dict[str, Any]:
    """The container, to stand among `initContainers`.

    Args:
        template: the platform's.
        trust: PEM of the authorities that may have signed the operator's certificate.
        overrides: what the pod asks for.
        facts: of the pod.
        resources: what the container has; None: what it gets when it is made.
    """
    if resources is None:
        resources = _resources(template, overrides, facts)
    variables = dict(template.environment)
    variables |= _variables(template, trust, facts) | _bounds(template, resources, facts)
    return {
        "name": names.CONTAINER,
        "image": overrides.image or template.image,
        "imagePullPolicy": template.pull_policy,
        "command": ["tidegate-sidecar"],
        # This makes it a sidecar: it starts before the containers after it, ends after them, and lets Jobs finish.
        "restartPolicy": "Always",
        "ports": [{"name": "tidegate-admin", "containerPort": names.ADMIN_PORT, "protocol": "TCP"}],
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "resources": resources,
        "volumeMounts": _mounts(template),
        **_probes(overrides.startup or template.startup),
        "securityContext": _security(template),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def volumes(template: Template) -> list[dict[str, Any]]:
    """The volumes, which this container alone mounts."""
    tokens = {"token": AUDIENCE} | {f"{TOKENS}/{quote(name, safe='')}": name for name in template.audiences}
    found: list[dict[str, Any]] = [
        {
            "name": names.TOKEN_VOLUME,
            "projected": {
                "sources": [
                    {
                        "serviceAccountToken": {
                            "audience": audience,
                            "expirationSeconds": TOKEN_LIFE_S,
                            "path": path,
                        }
                    }
                    for path, audience in tokens.items()
                ]
            },
        },
        {"name": names.STATE_VOLUME, "emptyDir": {"sizeLimit": STATE_SIZE}},
    ]
    if template.keys_secret:
        secret = {"secretName": template.keys_secret, "optional": True}
        found.append({"name": names.KEYS_VOLUME, "secret": secret})
    if ca := template.authorities:
        named = {"name" if ca.kind == "configMap" else "secretName": ca.name}
        source = named | {"items": [{"key": ca.key, "path": "ca.crt"}]}
        found.append({"name": names.CA_VOLUME, ca.kind: source})
    return found


@functools.lru_cache(maxsize=8)
def template_hash(template: Template) -> str:
    """Changes whenever pods made from now on get another sidecar than those before.

    The authorities do not count: a sidecar hears of new ones from the operator.
    """
    shape = [container(template, "", NO_OVERRIDES, PodFacts()), volumes(template), template.pull_secrets]
    canonical = json.dumps(shape, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def held_bytes(memory_bytes: int) -> int:
    """Bytes of bodies that a sidecar with this memory limit may hold."""
    return max((memory_bytes - _PROCESS_BYTES) // _MEMORY_PER_BYTE, _MIN_HELD_BYTES)


def _variables(template: Template, trust: str, facts: PodFacts) -> dict[str, str]:
    listen, admin = [f"127.0.0.1:{names.APP_PORT}"], []
    if Family.IPV4 in template.families:
        admin.append(f"0.0.0.0:{names.ADMIN_PORT}")
    if Family.IPV6 in template.families:
        listen.append(f"[::1]:{names.APP_PORT}")
        admin.append(f"[::]:{names.ADMIN_PORT}")
    found = {
        "TIDEGATE_OPERATOR_URL": template.operator_url,
        TRUST: trust,
        "TIDEGATE_TOKEN_FILE": f"{TOKEN_FOLDER}/token",
        "TIDEGATE_STATE_DIR": STATE_FOLDER,
        "TIDEGATE_LISTEN": ",".join(listen),
        "TIDEGATE_ADMIN": ",".join(admin),
        "TIDEGATE_GRACE_MS": str(1_000 * _drain_s(facts.grace_s)),
    }
    if template.audiences:
        found["TIDEGATE_TOKENS_DIR"] = f"{TOKEN_FOLDER}/{TOKENS}"
    if template.keys_secret:
        found["TIDEGATE_KEYS_DIR"] = KEYS_FOLDER
        if template.keys_secret != KEYS_SECRET:
            found["TIDEGATE_KEYS_SECRET"] = template.keys_secret  # what refusals call it
    if template.authorities:
        found["TIDEGATE_PROVIDER_CA_FILE"] = f"{CA_FOLDER}/ca.crt"
    if template.https_proxy:
        found["HTTPS_PROXY"] = template.https_proxy
    if template.no_proxy:
        found["NO_PROXY"] = template.no_proxy
    return found


def _bounds(
    template: Template, resources: Mapping[str, Mapping[str, str]], facts: PodFacts
) -> dict[str, str]:
    """How many bytes of bodies the memory is good for; nothing where neither the container nor the pod limits it."""
    own = str((resources.get("limits") or {}).get("memory", ""))
    # What a pod has as a whole is the application's first of all.
    limit = _number(own or (template.resources.memory_limit if "memory" in facts.shared else ""))
    return {"TIDEGATE_MAX_HELD_BYTES": str(held_bytes(int(limit)))} if limit else {}


def _drain_s(grace_s: int) -> int:
    return min(max(grace_s - _SPARE_S, grace_s // 2, 0), _MAX_GRACE_S)


def _mounts(template: Template) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": names.TOKEN_VOLUME, "mountPath": TOKEN_FOLDER, "readOnly": True},
        {"name": names.STATE_VOLUME, "mountPath": STATE_FOLDER},
        # An empty folder, where Kubernetes would else mount the application's token for the API server.
        {
            "name": names.STATE_VOLUME,
            "mountPath": _API_TOKEN_FOLDER,
            "subPath": "no-api-token",
            "readOnly": True,
        },
    ]
    if template.keys_secret:
        found.append({"name": names.KEYS_VOLUME, "mountPath": KEYS_FOLDER, "readOnly": True})
    if template.authorities:
        found.append({"name": names.CA_VOLUME, "mountPath": CA_FOLDER, "readOnly": True})
    return found


def _probes(startup: Startup) -> dict[str, Any]:
    # The containers after a sidecar start when its startup probe has succeeded.
    path, patience = ("/healthz", _START_S) if startup is Startup.START else (_READY, _WAIT_S)
    return {
        "startupProbe": _probe(path, period_s=1, failures=patience),
        "readinessProbe": _probe(_READY, period_s=5, failures=3),
        "livenessProbe": _probe("/healthz", period_s=10, failures=6),
    }


def _probe(path: str, *, period_s: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": names.ADMIN_PORT, "scheme": "HTTP"},
        "periodSeconds": period_s,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _security(template: Template) -> dict[str, Any]:
    """What PodSecurity's level `restricted` demands, and a file system that nobody writes to."""
    user = {} if template.user is None else {"runAsUser": template.user, "runAsGroup": template.user}
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        **user,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _resources(template: Template, overrides: Overrides, facts: PodFacts) -> dict[str, Mapping[str, str]]:
    defaults = template.resources
    found: dict[str, dict[str, str]] = {"requests": {}, "limits": {}}
    for what, request, limit in (
        ("cpu", defaults.cpu_request, defaults.cpu_limit),
        ("memory", defaults.memory_request, defaults.memory_limit),
    ):
        asked, capped = overrides.requests.get(what, ""), overrides.limits.get(what, "")
        if what in facts.shared:
            # Whatever it asked for would have to fit into what the pod has as a whole, which nobody planned for.
            pair = (asked, capped)
        elif facts.guaranteed:
            one = capped or asked or _lower(limit or request, _RESERVED.get(what, ""))
            pair = (asked or one, capped or one)
        else:
            pair = (asked or _lower(request, capped), capped or _higher(limit, asked))
        for kind, value in zip(found, pair, strict=True):
            if value:
                found[kind][what] = value
    for kind, value in (("requests", defaults.storage_request), ("limits", defaults.storage_limit)):
        if value:
            found[kind]["ephemeral-storage"] = value
    return {kind: values for kind, values in found.items() if values}


def _lower(default: str, bound: str) -> str:
    """The default, or the bound where that is less."""
    return bound if default and bound and _number(bound) < _number(default) else default


def _higher(default: str, bound: str) -> str:
    return bound if default and bound and _number(bound) > _number(default) else default


def _number(quantity: str) -> float:
    return float(parse_quantity(quantity) or 0)
