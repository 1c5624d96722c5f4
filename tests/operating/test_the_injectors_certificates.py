"""The holder of the Lease gives the injector its certificate and the API server its trust, and touches nothing else."""

import base64
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tidegate_cluster.loopback import UNREACHABLE, free_port, request
from tidegate_cluster.process import ServerProcess
from tidegate_testing.operators import Cluster, OperatorProcess, injected_pod, policy, pool
from tidegate_testing.polling import PollingSidecar

from tidegate_operator.certificates.bundle import is_signed_by
from tidegate_operator.certificates.files import ServerFiles, authorities
from tidegate_operator.certificates.issue import alternative_names
from tidegate_operator.certificates.plan import Plan, next_step
from tidegate_operator.cluster.secrets import CERTIFICATES, INJECTOR_CERTIFICATES
from tidegate_operator.inject.configuration import NAME, Service, Url, own_names, webhook_configuration
from tidegate_operator.inject.names import CONTAINER, INJECT

Operators = Callable[..., OperatorProcess]

CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
OFTEN = {"TIDEGATE_CERTIFICATES_MS": "100"}


class Configuration:
    """The webhook configuration in the cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._server = cluster.control_plane
        self._path = f"{CONFIGURATIONS}/{NAME}"

    def install(self, document: dict[str, Any]) -> None:
        answer = self._server.request("POST", CONFIGURATIONS, body=document)
        assert answer.status == 201, answer.text

    def remove(self) -> None:
        self._server.request("DELETE", self._path)

    def get(self) -> dict[str, Any]:
        answer = self._server.request("GET", self._path)
        assert answer.status == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def put(self, document: dict[str, Any]) -> None:
        answer = self._server.request("PUT", self._path, body=document)
        assert answer.status == 200, answer.text

    def bundles(self) -> dict[str, str]:
        """Name of the entry to its `caBundle`."""
        return {
            it["name"]: base64.b64decode(it["clientConfig"].get("caBundle", "")).decode()
            for it in self.get()["webhooks"]
        }

    def ours(self) -> set[str]:
        """The bundles of our entries."""
        return {pem for name, pem in self.bundles().items() if name in own_names()}


@pytest.fixture
def configuration(cluster: Cluster) -> Iterator[Configuration]:
    """None is installed yet; afterwards there is none."""
    configuration = Configuration(cluster)
    yield configuration
    configuration.remove()


def asleep(client: Service | Url) -> dict[str, Any]:
    """A configuration that matches nothing: other tests of this API server make pods."""
    document = webhook_configuration(client)
    for webhook in document["webhooks"]:
        webhook["namespaceSelector"] = {"matchLabels": {"no": "namespace"}}
    return document


def secret(cluster: Cluster, home: str, name: str = INJECTOR_CERTIFICATES) -> dict[str, bytes]:
    """Its data; empty while there is none."""
    answer = cluster.control_plane.request("GET", f"/api/v1/namespaces/{home}/secrets/{name}")
    data = answer.json().get("data") or {} if answer.status == 200 else {}
    return {key: base64.b64decode(value) for key, value in data.items()}


def test_without_a_configuration_the_injector_gets_its_certificate(
    cluster: Cluster, operator: Operators, home: str
) -> None:
    replica = operator().wait_ready()
    replica.until(lambda: bool(secret(cluster, home)), "the Secret")
    data, own = secret(cluster, home), secret(cluster, home, CERTIFICATES)
    assert set(data) == {"tls.crt", "tls.key", "ca.crt"}
    assert data["ca.crt"] == own["ca.crt"]
    leaf = ServerFiles.from_data(data).leaf
    names, addresses = alternative_names(leaf)
    assert names >= {f"tidegate-injector.{home}.svc", f"tidegate-injector.{home}.svc.cluster.local"}
    assert addresses == {"127.0.0.1", "::1"}
    assert any(is_signed_by(leaf, it) for it in authorities(own["ca.crt"]))
    assert own["authority.key"] not in data.values()


@pytest.mark.parametrize("client", [Service(namespace="tidegate-system"), Url(base="https://127.0.0.1:1")])
def test_the_api_server_trusts_the_injector_and_others_keep_their_trust(
    cluster: Cluster, operator: Operators, configuration: Configuration, home: str, client: Service | Url
) -> None:
    document = asleep(client)
    foreign = {**document["webhooks"][0], "name": "pods.of.others.example"}
    document["webhooks"].append(foreign)
    del document["webhooks"][2]  # somebody has left one of ours out
    configuration.install(document)
    before = configuration.get()

    replica = operator(**OFTEN).wait_ready()
    replica.until(lambda: bool(secret(cluster, home)), "the Secret, once trust is there")

    trust = secret(cluster, home)["ca.crt"].decode()
    assert configuration.ours() == {trust}
    after = configuration.get()
    for webhook in after["webhooks"]:
        if webhook["name"] in own_names():
            del webhook["clientConfig"]["caBundle"]
    assert after["webhooks"] == before["webhooks"]


def test_what_somebody_changes_is_mended_and_what_is_right_is_left(
    cluster: Cluster, operator: Operators, configuration: Configuration, home: str
) -> None:
    replica = operator(**OFTEN).wait_ready()
    replica.until(lambda: bool(secret(cluster, home)), "the Secret")
    trust = secret(cluster, home)["ca.crt"].decode()
    # later than the operator: an absent configuration is looked for again
    configuration.install(asleep(Service(namespace=home)))
    replica.until(lambda: configuration.ours() == {trust}, "trust in a new configuration")

    document = configuration.get()
    del document["webhooks"][1]["clientConfig"]["caBundle"]
    configuration.put(document)
    replica.until(lambda: configuration.ours() == {trust}, "trust again")
    version = configuration.get()["metadata"]["resourceVersion"]

    leaf = secret(cluster, home)["tls.crt"]
    patch = json.dumps({"data": {"more": "bW9yZQ=="}})
    cluster.kubectl("patch", "secret", INJECTOR_CERTIFICATES, f"--namespace={home}", f"--patch={patch}")
    replica.until(lambda: set(secret(cluster, home)) == {"tls.crt", "tls.key", "ca.crt"}, "the Secret mended")
    assert secret(cluster, home)["tls.crt"] == leaf
    cluster.delete("secret", home, INJECTOR_CERTIFICATES)
    replica.until(lambda: bool(secret(cluster, home)), "the Secret again")
    assert configuration.get()["metadata"]["resourceVersion"] == version


def test_trust_that_somebody_takes_away_is_back_within_a_second(
    cluster: Cluster, operator: Operators, configuration: Configuration, home: str
) -> None:
    """The configuration is watched: between two looks that nothing asks for there would be an hour here."""
    configuration.install(asleep(Service(namespace=home)))
    replica = operator(TIDEGATE_CERTIFICATES_MS="3600000").wait_ready()
    replica.until(lambda: bool(secret(cluster, home)), "the Secret")
    trust = secret(cluster, home)["ca.crt"].decode()
    replica.until(lambda: configuration.ours() == {trust}, "trust")

    took_s = []
    for _ in range(3):
        document = configuration.get()
        for webhook in document["webhooks"]:
            webhook["clientConfig"].pop("caBundle", None)
        configuration.put(document)
        gone_s = time.monotonic()
        replica.until(lambda: configuration.ours() == {trust}, "trust again")
        took_s.append(time.monotonic() - gone_s)
    assert min(took_s) < 1, took_s


def test_a_certificate_that_cert_manager_has_left_behind_is_replaced(
    cluster: Cluster, operator: Operators, home: str
) -> None:
    """Its Secret is of a type of its own, which can never be changed."""
    theirs = next_step(None, Plan(names=(f"tidegate-injector.{home}.svc",)), int(time.time()))
    assert theirs is not None
    files = ServerFiles(leaf=theirs.leaf, trust=theirs.trust).to_data()
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": INJECTOR_CERTIFICATES, "namespace": home},
            "data": {key: base64.b64encode(value).decode() for key, value in files.items()},
        }
    )
    replica = operator(**OFTEN).wait_ready()
    replica.until(
        lambda: secret(cluster, home)["ca.crt"] == secret(cluster, home, CERTIFICATES).get("ca.crt"),
        "the operator's own authority in the injector's Secret",
    )


def test_a_configuration_that_is_not_to_be_touched_is_not(
    cluster: Cluster, operator: Operators, configuration: Configuration, home: str
) -> None:
    configuration.install(asleep(Service(namespace=home)))
    replica = operator(TIDEGATE_WEBHOOK_CONFIGURATION="none", **OFTEN).wait_ready()
    replica.until(lambda: bool(secret(cluster, home)), "the Secret")
    assert configuration.ours() == {""}


def test_the_injector_runs_on_what_the_operator_gives_it(
    cluster: Cluster,
    operator: Operators,
    configuration: Configuration,
    team: str,
    home: str,
    tmp_path: Path,
) -> None:
    """From nothing to a pod with a sidecar that trusts the operator."""
    port, health = free_port(), free_port()
    document = webhook_configuration(Url(base=f"https://127.0.0.1:{port}"))
    for webhook in document["webhooks"]:
        webhook["namespaceSelector"] = {"matchLabels": {"kubernetes.io/metadata.name": team}}
    configuration.install(document)
    replica = operator(**OFTEN).wait_ready()
    replica.until(lambda: bool(secret(cluster, home)), "the Secret")

    folder = tmp_path / "mounted"
    folder.mkdir()
    for name, content in secret(cluster, home).items():
        (folder / name).write_bytes(content)
    injector = ServerProcess(
        name="injector",
        command=[sys.executable, "-W", "error", "-m", "tidegate_operator.inject"],
        folder=tmp_path,
        environment={
            "PATH": "/usr/bin:/bin",
            "TIDEGATE_LISTEN": f"127.0.0.1:{port}",
            "TIDEGATE_HEALTH": f"127.0.0.1:{health}",
            "TIDEGATE_CERTIFICATES": str(folder),
            "TIDEGATE_SIDECAR_IMAGE": "registry.example/sidecar:1",
            "TIDEGATE_DRAIN_MS": "0",
        },
    )

    def is_ready() -> bool:
        try:
            return request(health, "GET", "/readyz", timeout_s=2).status == 200
        except UNREACHABLE:
            return False

    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "chat", "annotations": {INJECT: "enabled"}},
        "spec": {"containers": [{"name": "app", "image": "example.test/app"}]},
    }
    injector.start()
    try:
        injector.wait_until_ready(is_ready, within_s=120)
        path = f"/api/v1/namespaces/{team}/pods?dryRun=All"
        stored: dict[str, Any] = {}

        def is_injected() -> bool:
            """The API server follows its configuration within a moment."""
            stored.update(cluster.control_plane.request("POST", path, body=pod).json())
            return "initContainers" in stored.get("spec", {})

        replica.until(is_injected, "a sidecar")
    finally:
        injector.stop()
    (sidecar,) = (it for it in stored["spec"]["initContainers"] if it["name"] == CONTAINER)
    trust = secret(cluster, home, CERTIFICATES)["ca.crt"].decode()
    assert {"name": "TIDEGATE_OPERATOR_CA", "value": trust} in sidecar["env"]


def mount(folder: Path) -> str:
    """What cert-manager's Secret shows from now on; the authority's PEM."""
    bundle = next_step(None, Plan(names=("localhost",), addresses=("127.0.0.1",)), int(time.time()))
    assert bundle is not None
    for name, content in ServerFiles(leaf=bundle.leaf, trust=bundle.trust).to_data().items():
        new = folder / f"{name}.new"
        new.write_bytes(content)
        new.rename(folder / name)
    return bundle.trust


def test_certificates_of_somebody_else_are_served_and_followed(
    cluster: Cluster,
    operator: Operators,
    configuration: Configuration,
    team: str,
    home: str,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "mounted"
    folder.mkdir()
    configuration.install(asleep(Service(namespace=home)))
    replica = operator(TIDEGATE_CERTIFICATES=str(folder), **OFTEN)
    replica.until(lambda: "cannot be used" in replica.log, "it to say what is missing")
    first = mount(folder)
    replica.wait_ready()

    cluster.apply(pool(team), policy(team), injected_pod(team, "chat-0"))
    envelope = PollingSidecar(cluster, home, team, "chat-0", trust=first).has(replica)
    assert envelope.trust == first

    second = mount(folder)
    sidecar = PollingSidecar(cluster, home, team, "chat-0", trust=second)
    replica.until(lambda: sidecar.poll(replica), "the new certificate")
    assert secret(cluster, home) == {}
    assert secret(cluster, home, CERTIFICATES) == {}
    assert configuration.ours() == {""}
    assert "it is not for tidegate-operator" in replica.log
