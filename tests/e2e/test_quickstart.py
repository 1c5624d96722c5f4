"""The quick start for a cluster, word by word: the commands of README, and what it and the example's own page promise."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from e2e_site.applications import ROOT

if TYPE_CHECKING:
    from tidegate_node.access import Cluster

EXAMPLE = ROOT / "examples" / "quickstart-cluster"
NAMESPACE = "tidegate-demo"
FEW = 3


def commands(page: Path) -> list[str]:
    """The lines of the block that makes the example's namespace."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    (found,) = (block for block in blocks if f"create namespace {NAMESPACE}" in block)
    return found.splitlines()


@pytest.fixture(scope="module")
def followed(installed: Cluster) -> Iterator[Cluster]:
    """A cluster in which somebody has followed the page."""
    environment = {
        "PATH": f"{installed.program.parent}:/usr/bin:/bin",
        "KUBECONFIG": str(installed.kubeconfig),
        "HOME": "/nonexistent",
    }
    try:
        for line in commands(ROOT / "README.md"):
            # The chart is installed, for this suite with an image more; a log that is followed never ends.
            if not line.startswith("helm install") and "--follow" not in line:
                done = subprocess.run(
                    shlex.split(line),
                    cwd=ROOT,
                    env=environment,
                    capture_output=True,
                    text=True,
                    timeout=180,
                    check=False,
                )
                assert done.returncode == 0, f"{line}: {done.stderr}\n{installed.events(NAMESPACE)}"
        yield installed
    finally:
        installed.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def said(cluster: Cluster) -> list[dict[str, Any]]:
    """What the application's pods have printed."""
    pods = cluster.pods(NAMESPACE, "app=chat,tidegate.dev/injected=true")
    logs = [cluster.logs(NAMESPACE, pod["metadata"]["name"], "chat") for pod in pods]
    return [json.loads(line) for log in logs for line in log.splitlines()]


def test_the_examples_own_page_says_the_same() -> None:
    assert commands(ROOT / "README.md")[1:] == commands(EXAMPLE / "README.md")


def test_one_annotation_is_all_that_an_application_team_does(followed: Cluster) -> None:
    followed.wait_until(
        lambda: any(it["status"] == 200 for it in said(followed)), namespace=NAMESPACE, what="an answer"
    )
    for pod in followed.pods(NAMESPACE, "app=chat"):
        (sidecar,) = pod["spec"]["initContainers"]
        assert (sidecar["name"], sidecar["restartPolicy"]) == ("tidegate-sidecar", "Always")
        assert pod["status"]["initContainerStatuses"][0]["ready"]


def test_the_key_is_in_the_sidecar_alone(followed: Cluster) -> None:
    for pod in followed.pods(NAMESPACE, "app=chat"):
        (container,) = pod["spec"]["containers"]
        assert "tidegate-keys" not in json.dumps(container)
        name = pod["metadata"]["name"]
        seen = followed.exec(NAMESPACE, name, "chat", "python3", "-c", "import os; print(dict(os.environ))")
        assert "any-key-will-do" not in seen
        assert "tidegate-placeholder" in seen
        config = followed.exec(
            NAMESPACE,
            name,
            "chat",
            "python3",
            "-c",
            "import urllib.request as u; print(u.urlopen('http://127.0.0.1:19290/config').read().decode())",
        )
        assert "all-calls" in config
        assert "any-key-will-do" not in config


def test_kubectl_tells_the_truth(followed: Cluster) -> None:
    def is_in_force() -> bool:
        status = followed.get("aipolicies.tidegate.dev", "chat", NAMESPACE).get("status", {})
        conditions = {it["type"]: it["status"] for it in status.get("conditions", [])}
        return conditions.get("Ready") == "True" and status["sidecars"]["programmed"] == 2

    followed.wait_until(is_in_force, namespace=NAMESPACE, what="Ready of the policy")
    table = followed.kubectl("get", "aipolicies", f"--namespace={NAMESPACE}")
    assert re.search(r"chat +True +2 +2 +Deployment/chat ", table), table


def test_an_edit_is_in_force_without_a_restart(followed: Cluster) -> None:
    """As the page says: three calls a minute, and refusals begin."""
    before = {pod["metadata"]["uid"] for pod in followed.pods(NAMESPACE, "app=chat")}
    text = (EXAMPLE / "policy.yaml").read_text(encoding="utf-8")
    assert "requests: 30" in text
    followed.kubectl("apply", "-f", "-", stdin=text.replace("requests: 30", f"requests: {FEW}"))
    followed.wait_until(
        lambda: any(it["status"] == 429 and "all-calls" in it["message"] for it in said(followed)),
        namespace=NAMESPACE,
        what="a refusal that names the rule",
    )
    assert {pod["metadata"]["uid"] for pod in followed.pods(NAMESPACE, "app=chat")} == before


def test_without_the_annotation_the_next_pods_have_no_sidecar(followed: Cluster) -> None:
    followed.kubectl("annotate", "deployment", "chat", f"--namespace={NAMESPACE}", "tidegate.dev/inject-")
    followed.wait_for_rollout(NAMESPACE, "deployment/chat")
    pods = followed.pods(NAMESPACE, "app=chat")
    assert pods
    assert all("initContainers" not in pod["spec"] for pod in pods)


def test_a_job_finishes(followed: Cluster) -> None:
    program = (
        "import openai; print(openai.OpenAI().chat.completions.create("
        "model='gpt-5.4-mini', messages=[{'role': 'user', 'content': 'hello'}]).choices[0].message.content)"
    )
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "once",
            "namespace": NAMESPACE,
            "annotations": {"tidegate.dev/inject": "enabled"},
        },
        "spec": {
            "backoffLimit": 0,
            "template": {
                "metadata": {"labels": {"app": "once"}},
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [
                        {
                            "name": "once",
                            "image": followed.get("deployment", "chat", NAMESPACE)["spec"]["template"][
                                "spec"
                            ]["containers"][0]["image"],
                            "command": ["python3", "-c", program],
                        }
                    ],
                },
            },
        },
    }
    policy = {
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "AIPolicy",
        "metadata": {"name": "once", "namespace": NAMESPACE},
        "spec": {"targetRefs": [{"kind": "Job", "name": "once"}], "poolRefs": [{"name": "models"}]},
    }
    followed.apply(policy, job)
    followed.kubectl(
        "wait",
        "job/once",
        f"--namespace={NAMESPACE}",
        "--for=condition=Complete",
        "--timeout=90s",
        timeout_s=95,
    )
    assert followed.kubectl("logs", "job/once", f"--namespace={NAMESPACE}", "--container=once").strip()
