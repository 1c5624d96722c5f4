"""The last word on a pod that opted in (PURE): whether its sidecar is still what the injector made it.

The injector is asked again once at most when others have changed a pod. What a webhook does after that is only seen here.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from tidegate_operator.index.pods import INJECTED_LABEL
from tidegate_operator.inject import names
from tidegate_operator.inject.container import TRUST, template_hash, volumes
from tidegate_operator.inject.decide import Decision, Deny, DenyReason, Inject, decide, sidecar_of
from tidegate_operator.inject.document import Document, items, labels_of, part
from tidegate_operator.inject.enforcing import compare, compare_volumes, shares_authority, tolerated
from tidegate_operator.inject.overrides import Overrides
from tidegate_operator.inject.pod import Platform, wanted_sidecar
from tidegate_operator.inject.sealing import ports_of, seal
from tidegate_operator.inject.status import Status, read_status

_ADVICE: Final = (
    "a webhook that is called after Tidegate's did this: let it leave that container alone, or give its configuration a "
    "name that sorts before Tidegate's"
)


def verify(pod: Document, platform: Platform, *, by_namespace: bool) -> Decision:
    """What becomes of a pod that is about to be stored: `Inject` when it has the sidecar that it is to have.

    Args:
        pod: after all webhooks that change it.
        platform: of this replica.
        by_namespace: whether its namespace asks for sidecars.
    """
    # Between the injector's answer and this one the authorities may have been made new, and replicas see that one by one.
    platform = replace(platform, trust=platform.trust + platform.former_trust)
    decision = decide(pod, platform.template, by_namespace=by_namespace)
    if not isinstance(decision, Inject):
        return decision
    status, found = read_status(pod), sidecar_of(pod)
    if found is None or status is None:
        return Deny(DenyReason.SIDECAR_MISSING, _missing(status))
    if status.template == template_hash(platform.template):
        problems = tuple(_problems(pod, found, platform, decision.overrides))
    else:
        problems = tuple(_of_another_release(pod, found, status, platform, decision.overrides))
    if labels_of(pod).get(INJECTED_LABEL) != "true":
        problems += (f"has lost the pod's label {INJECTED_LABEL}, by which the operator finds it",)
    if problems:
        return Deny(DenyReason.SIDECAR_CHANGED, f"{names.CONTAINER} {'; it '.join(problems)}; {_ADVICE}")
    return decision


def _missing(status: Status | None) -> str:
    if status is not None:
        return f"the container {names.CONTAINER} was taken away; {_ADVICE}"
    return (
        f"the pod is to have a sidecar and has none: when Tidegate's injector could be asked it had not opted in, or the "
        f"injector did not answer; a webhook that sets {names.INJECT} needs a configuration whose name sorts before "
        "Tidegate's"
    )


def _problems(pod: Document, found: Document, platform: Platform, overrides: Overrides) -> Iterator[str]:
    wanted = tolerated(wanted_sidecar(pod, platform, overrides, found), found)
    yield from compare(found, wanted, platform.template).problems
    yield from compare_volumes(items(part(pod, "spec"), "volumes"), volumes(platform.template)).problems


def _of_another_release(
    pod: Document, found: Document, status: Status, platform: Platform, overrides: Overrides
) -> Iterator[str]:
    """While replicas are replaced, the one that injects may be of another release than the one that verifies."""
    given = status.given
    sealed = seal(platform.key, status.image, found, items(part(pod, "spec"), "volumes"), given)
    if not hmac.compare_digest(sealed.encode(), status.seal.encode()):
        yield "is not what the injector has put there: its command, ports, variables, mounts or volumes are others"
        return
    yield from _shared_volumes(pod, status)
    variables = given.variables_of(found)
    trust = next((str(it.get("value", "")) for it in variables if it["name"] == TRUST), "")
    if not shares_authority(trust, platform.trust):
        yield f"has another {TRUST} than Tidegate has given it"
    wanted = wanted_sidecar(pod, platform, overrides, found)
    security = {
        name: value
        for name, value in part(wanted, "securityContext").items()
        if name not in ("runAsUser", "runAsGroup")
    }
    as_sealed = {
        "image": status.image,
        "command": found.get("command"),
        "ports": ports_of(found),
        "env": variables,
        "volumeMounts": given.mounts_of(found),
    }
    yield from compare(
        found, {**wanted, **as_sealed, "securityContext": security}, platform.template
    ).problems


def _shared_volumes(pod: Document, status: Status) -> Iterator[str]:
    """Volumes that only the other release knows as the sidecar's; of its own ones `decide` has told."""
    spec = part(pod, "spec")
    for container in (*items(spec, "initContainers"), *items(spec, "containers")):
        shared = [it["name"] for it in status.given.mounts_of(container)]
        if shared and container.get("name") != names.CONTAINER:
            yield f"shares its volume {shared[0]} with container {container.get('name')}"
