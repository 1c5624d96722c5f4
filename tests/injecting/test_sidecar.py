"""The sidecar's container: what the process in it can use, what PodSecurity demands, and what the pod asks of it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from injecting_shapes.platform import PLATFORM, TEMPLATE, ask, injected
from injecting_shapes.pods import container, environment_of, pod

from tidegate_operator.certificates.plan import Plan, next_step
from tidegate_operator.inject.container import KEYS_FOLDER, template_hash
from tidegate_operator.inject.names import ADMIN_PORT, APP_PORT, CONTAINER
from tidegate_operator.inject.pod import Platform
from tidegate_operator.inject.status import read_status
from tidegate_operator.inject.template import Authorities, Family, Resources, Startup
from tidegate_policy.keys import PLACEHOLDER_KEY
from tidegate_sidecar.settings import STATE_DIR, TOKEN_FILE, read


def sidecar_of(document: dict[str, Any], platform: Platform = PLATFORM) -> dict[str, Any]:
    found = injected(document, platform=platform)["spec"]["initContainers"]
    sidecar: dict[str, Any] = next(it for it in found if it["name"] == CONTAINER)
    return sidecar


def test_the_sidecar_reads_what_the_injector_writes() -> None:
    """Two processes, one list of variables: the sidecar's own settings take it all without a complaint."""
    bundle = next_step(None, Plan(names=("tidegate-operator.tidegate-system.svc",)), 1_790_000_000)
    assert bundle is not None
    platform = Platform(
        template=replace(
            TEMPLATE, families=(Family.IPV4, Family.IPV6), audiences=("vault",), keys_secret="llm-keys"
        ),
        trust=bundle.trust,
    )
    settings = read(
        environment_of(injected(pod(terminationGracePeriodSeconds=60), platform=platform), CONTAINER)
    )
    assert settings.operator is not None
    assert (settings.operator.url, settings.operator.ca) == (TEMPLATE.operator_url, bundle.trust)
    assert bundle.authority.certificate.public_bytes(Encoding.PEM).decode() in settings.operator.ca
    assert (settings.operator.token_file, settings.operator.state_dir) == (Path(TOKEN_FILE), Path(STATE_DIR))
    assert [str(it) for it in settings.listen] == [f"127.0.0.1:{APP_PORT}", f"[::1]:{APP_PORT}"]
    assert [str(it) for it in settings.admin] == [f"0.0.0.0:{ADMIN_PORT}", f"[::]:{ADMIN_PORT}"]
    assert settings.grace_ms == 55_000
    assert (settings.keys_dir, settings.keys_secret) == (KEYS_FOLDER, "llm-keys")


@pytest.mark.parametrize(
    ("memory_limit", "held_mib"),
    [("256Mi", 48), ("1Gi", 240), ("100M", 7.841796875), ("65Mi", 1), ("16Mi", 1), ("", 256)],
)
def test_bodies_are_bounded_by_what_the_memory_is_good_for(memory_limit: str, held_mib: float) -> None:
    """64Mi and four times the bodies; a MiB at least, so that a call can be made at all; without a limit the process' default."""
    template = replace(TEMPLATE, resources=replace(TEMPLATE.resources, memory_limit=memory_limit))
    document = injected(pod(), platform=replace(PLATFORM, template=template))
    settings = read(environment_of(document, CONTAINER))
    assert settings.max_held_bytes == pytest.approx(held_mib * 2**20, abs=1024)


def test_a_pod_that_asks_for_more_memory_may_have_larger_bodies_in_flight() -> None:
    document = injected(pod(annotations={"tidegate.dev/memory-limit": "512Mi"}))
    assert read(environment_of(document, CONTAINER)).max_held_bytes == 112 * 2**20


def test_the_volumes_are_where_the_variables_say() -> None:
    document = injected(
        pod(), platform=replace(PLATFORM, template=replace(TEMPLATE, audiences=("https://vault",)))
    )
    found = document["spec"]["initContainers"][0]["volumeMounts"]
    mounts = {it["name"]: it["mountPath"] for it in found if "subPath" not in it}
    sources = document["spec"]["volumes"][0]["projected"]["sources"]
    files = {
        it["serviceAccountToken"][
            "audience"
        ]: f"{mounts['tidegate-token']}/{it['serviceAccountToken']['path']}"
        for it in sources
    }
    variables = environment_of(document, CONTAINER)
    assert files["tidegate.dev/config"] == variables["TIDEGATE_TOKEN_FILE"]
    assert files["https://vault"] == f"{variables['TIDEGATE_TOKENS_DIR']}/https%3A%2F%2Fvault"
    assert mounts["tidegate-state"] == variables["TIDEGATE_STATE_DIR"]
    assert mounts["tidegate-keys"] == variables["TIDEGATE_KEYS_DIR"]


def test_probes_ask_what_the_sidecar_answers() -> None:
    from tidegate_sidecar import admin  # noqa: PLC0415 - the paths are private, and only this test wants them

    for startup in Startup:
        sidecar = sidecar_of(pod(annotations={"tidegate.dev/startup": startup.value}))
        probes = [sidecar[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")]
        assert {probe["port"] for probe in probes} == {ADMIN_PORT}
        assert {probe["path"].partition("?")[0] for probe in probes} <= set(admin._PATHS)


def test_the_application_waits_for_a_configuration_only_where_that_is_wanted() -> None:
    paths = {
        startup: sidecar_of(pod(annotations={"tidegate.dev/startup": startup.value}))["startupProbe"][
            "httpGet"
        ]["path"]
        for startup in Startup
    }
    assert paths == {Startup.START: "/healthz", Startup.WAIT: "/readyz?wait=3s"}


def test_a_platform_that_waits_does_not_wait_beside_a_mesh_that_starts_later() -> None:
    platform = replace(PLATFORM, template=replace(TEMPLATE, startup=Startup.WAIT))
    assert sidecar_of(pod(), platform)["startupProbe"]["httpGet"]["path"] == "/readyz?wait=3s"
    beside = pod(container(), container("linkerd-proxy"))
    assert sidecar_of(beside, platform)["startupProbe"]["httpGet"]["path"] == "/healthz"


@pytest.mark.parametrize(
    ("grace_s", "drain_ms"),
    [(None, 25_000), (30, 25_000), (0, 0), (2, 1_000), (8, 4_000), (100_000, 3_600_000)],
)
def test_the_sidecar_ends_within_the_pods_grace_period(grace_s: int | None, drain_ms: int) -> None:
    spec = {} if grace_s is None else {"terminationGracePeriodSeconds": grace_s}
    variables = environment_of(injected(pod(**spec)), CONTAINER)
    assert int(variables["TIDEGATE_GRACE_MS"]) == drain_ms
    assert grace_s is None or drain_ms <= 1_000 * grace_s


BIG = {"cpu": "2", "memory": "2Gi"}


@pytest.mark.parametrize(
    ("annotations", "app", "requests", "limits"),
    [
        ({}, {}, ("50m", "64Mi"), ("1", "256Mi")),
        ({"cpu-request": "2"}, {}, ("2", "64Mi"), ("2", "256Mi")),
        ({"memory-limit": "48Mi"}, {}, ("50m", "48Mi"), ("1", "48Mi")),
        ({"cpu-request": "1", "cpu-limit": "2"}, {}, ("1", "64Mi"), ("2", "256Mi")),
        ({}, {"limits": BIG}, ("500m", "256Mi"), ("500m", "256Mi")),
        ({}, {"limits": BIG, "requests": BIG}, ("500m", "256Mi"), ("500m", "256Mi")),
        ({}, {"limits": BIG, "requests": BIG | {"cpu": "2000m"}}, ("500m", "256Mi"), ("500m", "256Mi")),
        ({}, {"limits": BIG, "requests": BIG | {"cpu": "1"}}, ("50m", "64Mi"), ("1", "256Mi")),
        ({}, {"limits": {"cpu": "2"}}, ("50m", "64Mi"), ("1", "256Mi")),
        ({"cpu-request": "100m"}, {"limits": BIG}, ("100m", "256Mi"), ("100m", "256Mi")),
        ({"cpu-request": "100m", "cpu-limit": "1"}, {"limits": BIG}, ("100m", "256Mi"), ("1", "256Mi")),
    ],
)
def test_resources(
    annotations: dict[str, str], app: dict[str, Any], requests: tuple[str, str], limits: tuple[str, str]
) -> None:
    """A request is never above its limit, and in a pod of class Guaranteed it is the limit."""
    document = pod(
        container(resources=app),
        annotations={f"tidegate.dev/{name}": value for name, value in annotations.items()},
    )
    found = sidecar_of(document)["resources"]
    assert found == {
        "requests": dict(zip(("cpu", "memory"), requests, strict=True)),
        "limits": dict(zip(("cpu", "memory"), limits, strict=True)),
    }


def test_a_platform_may_leave_limits_out() -> None:
    template = replace(TEMPLATE, resources=Resources(cpu_limit=""))
    found = sidecar_of(
        pod(annotations={"tidegate.dev/cpu-request": "3"}), replace(PLATFORM, template=template)
    )
    assert found["resources"] == {"requests": {"cpu": "3", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}


def test_the_hash_tells_sidecars_apart_and_nothing_else() -> None:
    """Neither the pod nor the authorities, of which sidecars hear from the operator."""
    assert template_hash(TEMPLATE) != template_hash(replace(TEMPLATE, image="registry.example/other:1"))
    assert template_hash(TEMPLATE) != template_hash(replace(TEMPLATE, audiences=("vault",)))
    assert template_hash(TEMPLATE) == template_hash(replace(TEMPLATE, version="9"))
    statuses = [
        read_status(injected(document, platform=replace(PLATFORM, trust=trust)))
        for document in (
            pod(),
            pod(annotations={"tidegate.dev/cpu-limit": "2"}, terminationGracePeriodSeconds=5),
        )
        for trust in ("one", "other")
    ]
    assert {status.template for status in statuses if status} == {template_hash(TEMPLATE)}


def test_the_placeholder_never_looks_like_a_key() -> None:
    """Scanners for leaked keys would find it in every pod."""
    assert not PLACEHOLDER_KEY.startswith("sk-")


def test_nothing_here_needs_a_cluster_client() -> None:
    """The injector answers within milliseconds of its start and stays small."""
    code = "import sys, tidegate_operator.inject.app; print([m for m in ('kopf', 'kubernetes', 'hvac') if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout.strip() == "[]"


def test_what_a_platform_adds_reaches_the_sidecar_and_nobody_else() -> None:
    template = replace(
        TEMPLATE,
        environment=(("TIDEGATE_ADMIN", "0.0.0.0:1"), ("TIDEGATE_LOG_LEVEL", "DEBUG")),
        authorities=Authorities(kind="configMap", name="corporate-ca", key="bundle.pem"),
        https_proxy="http://proxy.example:3128",
        no_proxy=".internal",
        resources=replace(TEMPLATE.resources, storage_request="32Mi", storage_limit="64Mi"),
    )
    stored = injected(pod(), platform=replace(PLATFORM, template=template))
    sidecar = stored["spec"]["initContainers"][0]
    variables = environment_of(stored, CONTAINER)
    assert variables["TIDEGATE_LOG_LEVEL"] == "DEBUG"
    assert variables["TIDEGATE_ADMIN"] == "0.0.0.0:19290"  # ours go before them
    assert (variables["HTTPS_PROXY"], variables["NO_PROXY"]) == ("http://proxy.example:3128", ".internal")
    (mount,) = (it for it in sidecar["volumeMounts"] if it["name"] == "tidegate-ca")
    assert variables["TIDEGATE_PROVIDER_CA_FILE"] == f"{mount['mountPath']}/ca.crt"
    (volume,) = (it for it in stored["spec"]["volumes"] if it["name"] == "tidegate-ca")
    items = [{"key": "bundle.pem", "path": "ca.crt"}]
    assert volume["configMap"] == {"name": "corporate-ca", "items": items}
    assert sidecar["resources"]["requests"]["ephemeral-storage"] == "32Mi"
    assert sidecar["resources"]["limits"]["ephemeral-storage"] == "64Mi"
    assert environment_of(stored).keys().isdisjoint({"HTTPS_PROXY", "TIDEGATE_LOG_LEVEL"})
    assert ask(stored, platform=replace(PLATFORM, template=template)).patch == ()
