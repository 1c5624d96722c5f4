"""What a person does first, and what they then see."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tidegate_cluster.arguments import SERVICE_ACCOUNT_ISSUER
from tidegate_testing.operators import ROOT, Cluster, OperatorProcess, deployment, policy, pool

Operators = Callable[..., OperatorProcess]


def test_the_quickstart_has_conditions_that_are_true(cluster: Cluster, operator: Operators) -> None:
    replica = operator().wait_ready()

    cluster.kubectl("apply", "-f", str(ROOT / "examples" / "quickstart"))
    cluster.apply(deployment("default"))
    try:
        for kind, name in (("aipolicy", "chat"), ("providerpool", "models")):
            replica.until(
                lambda kind=kind, name=name: (
                    cluster.condition(kind, "default", name, "Ready") == "True/Ready"
                ),
                f"readiness of {kind} {name}",
            )
        printed = cluster.kubectl("get", "aipolicies", "-A")
        conditions = cluster.conditions("aipolicy", "default", "chat")
        status = cluster.get("aipolicy", "default", "chat")["status"]
    finally:
        cluster.kubectl("delete", "-f", str(ROOT / "examples" / "quickstart"))
        cluster.delete("deployment", "default", "chat")

    assert printed.splitlines()[0].split() == [
        "NAMESPACE",
        "NAME",
        "READY",
        "PROGRAMMED",
        "DESIRED",
        "TARGETS",
        "AGE",
    ]
    assert printed.splitlines()[1].split()[:6] == ["default", "chat", "True", "0", "0", "Deployment/chat"]
    assert {kind: (it["status"], it["reason"]) for kind, it in conditions.items()} == {
        "Accepted": ("True", "Accepted"),
        "ResolvedRefs": ("True", "ResolvedRefs"),
        "Programmed": ("True", "NoPods"),
        "Ready": ("True", "Ready"),
    }
    assert all(it["observedGeneration"] == 1 for it in conditions.values())
    assert status["targets"] == [{"group": "", "kind": "Deployment", "name": "chat", "pods": 0}]
    assert status["sidecars"] == {"desired": 0, "programmed": 0, "rejected": 0}


def test_a_dangling_pool_is_named_and_mending_it_is_told(
    cluster: Cluster, operator: Operators, team: str
) -> None:
    replica = operator().wait_ready()

    cluster.apply(policy(team, poolRefs=[{"name": "absent"}]))
    replica.until(
        lambda: cluster.condition("aipolicy", team, "chat", "ResolvedRefs") == "False/RefNotFound",
        "a condition about the pool",
    )
    resolved = cluster.conditions("aipolicy", team, "chat")["ResolvedRefs"]
    assert "there is no ProviderPool absent" in resolved["message"]
    assert "spec.poolRefs[0]" in resolved["message"]
    assert cluster.condition("aipolicy", team, "chat", "Ready") == "False/NotReady"

    cluster.apply(pool(team, "absent"))
    replica.until(
        lambda: cluster.condition("aipolicy", team, "chat", "Ready") == "True/Ready",
        "readiness of the policy",
    )
    # an event is posted after the status that it is about
    replica.until(lambda: len(cluster.events(team, "chat")) > 1, "the second event")
    assert cluster.events(team, "chat") == ["RefNotFound", "ResolvedRefs"]


def test_kinds_that_are_installed_later_are_waited_for(
    cluster: Cluster, operator: Operators, team: str
) -> None:
    cluster.kubectl("delete", "-f", str(ROOT / "crds"))
    try:
        replica = operator()
        replica.until(lambda: replica.get("/readyz") is not None, "its health port")
        replica.until(
            lambda: "aipolicies.tidegate.dev" in " ".join(replica.facts()["problems"]), "what it waits for"
        )
        assert replica.get("/healthz").status == 200  # type: ignore[union-attr]
    finally:
        cluster.install()

    replica.wait_ready()
    cluster.apply(pool(team), policy(team))
    replica.until(
        lambda: cluster.condition("aipolicy", team, "chat", "Ready") == "True/Ready",
        "readiness of the policy",
    )


def test_other_peoples_conditions_and_fields_are_left_alone(
    cluster: Cluster, operator: Operators, team: str
) -> None:
    cluster.apply(pool(team))
    # nobody has looked at it yet: whoever waits for it by its generation goes on waiting
    assert cluster.get("providerpool", team, "models")["status"] == {"observedGeneration": -1}
    foreign = {
        "type": "finance.example.com/Audited-2026.v1_a",
        "status": "True",
        "reason": "By_Finance:2026,v1",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00.5+02:00",
    }
    cluster.kubectl(
        "patch",
        "providerpool",
        "models",
        f"--namespace={team}",
        "--subresource=status",
        "--type=merge",
        "-p",
        json.dumps({"status": {"conditions": [foreign]}}),
    )
    replica = operator().wait_ready()

    replica.until(
        lambda: cluster.condition("providerpool", team, "models", "Ready") == "True/Ready",
        "readiness of the pool",
    )

    assert cluster.conditions("providerpool", team, "models")[foreign["type"]] == foreign
    metadata = cluster.get("providerpool", team, "models")["metadata"]
    # kubectl wrote the foreign condition; whatever else stands in the status is the operator's, and says so
    managers = {it["manager"] for it in metadata["managedFields"] if it.get("subresource") == "status"}
    assert managers == {"kubectl-patch", "tidegate-operator"}
    assert "finalizers" not in metadata
    assert "annotations" not in metadata


def test_a_status_that_somebody_changes_is_put_right(
    cluster: Cluster, operator: Operators, team: str
) -> None:
    replica = operator().wait_ready()
    cluster.apply(pool(team))
    replica.until(
        lambda: cluster.condition("providerpool", team, "models", "Ready") == "True/Ready",
        "readiness of the pool",
    )
    since = cluster.conditions("providerpool", team, "models")["Accepted"]["lastTransitionTime"]

    cluster.kubectl(
        "patch",
        "providerpool",
        "models",
        f"--namespace={team}",
        "--subresource=status",
        "--type=merge",
        "-p",
        '{"status": {"observedGeneration": 7, "sidecars": {"desired": 9, "programmed": 9, "rejected": 0}}}',
    )

    def is_right() -> bool:
        status = cluster.get("providerpool", team, "models")["status"]
        return status["observedGeneration"] == 1 and status["sidecars"]["desired"] == 0

    replica.until(is_right, "the status to be right again")
    assert cluster.conditions("providerpool", team, "models")["Accepted"]["lastTransitionTime"] == since


def test_a_token_is_as_good_as_a_certificate(
    cluster: Cluster, operator: Operators, team: str, home: str, account: Path, tmp_path: Path
) -> None:
    """As in a pod, where the token stands in a header of every request, kopf's included."""
    content = json.loads(account.read_text())
    token = cluster.control_plane.token(home, "tidegate-operator", SERVICE_ACCOUNT_ISSUER)
    content["users"][0]["user"] = {"token": token}
    kubeconfig = tmp_path / "token.kubeconfig"
    kubeconfig.write_text(json.dumps(content))

    replica = operator(kubeconfig=kubeconfig).wait_ready()
    cluster.apply(pool(team))

    replica.until(
        lambda: cluster.condition("providerpool", team, "models", "Ready") == "True/Ready",
        "readiness of the pool",
    )
    assert token not in replica.log


def test_without_an_api_server_to_reach_the_process_says_so_and_ends(
    operator: Operators, tmp_path: Path
) -> None:
    replica = operator(kubeconfig=tmp_path / "absent.kubeconfig")
    assert replica.wait() == 1
    assert "absent.kubeconfig cannot be used" in replica.log


def test_wrong_settings_are_told_before_anything_begins(operator: Operators) -> None:
    replica = operator(TIDEGATE_DEBOUNCE_MS="soon", TIDEGATE_LISTEN="x")
    assert replica.wait() == 2
    assert len(replica.log.splitlines()) == 2


def test_a_thread_of_the_watch_that_does_not_end_is_not_torn_down_under_its_loop() -> None:
    """That crashed the process now and then: it has to end with its own code, and without the interpreter's end."""
    program = """
import atexit, threading
from tidegate_operator.__main__ import _end
atexit.register(print, "torn down")
threading.Thread(target=threading.Event().wait, daemon=True).start()
_end(1)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (1, b"")


def test_a_port_that_is_taken_is_named(operator: Operators) -> None:
    first = operator().wait_ready()
    second = operator(TIDEGATE_HEALTH=f"127.0.0.1:{first.health_port}")
    assert second.wait() == 1
    assert f"{first.health_port}" in second.log
    assert "address already in use" in second.log.lower()
