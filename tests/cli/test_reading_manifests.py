"""Files become the same view that the operator has of a cluster."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tidegate_cli.documents import read_documents
from tidegate_cli.files import MAX_FILES
from tidegate_cli.manifests import load
from tidegate_operator.api.aipolicy import AI_POLICY
from tidegate_operator.index.snapshot import Namespace, Workload
from tidegate_policy.model import ObjectRef

Write = Callable[[str, str], Path]

WORKLOADS = {
    "Deployment": ("apps/v1", "template"),
    "StatefulSet": ("apps/v1", "template"),
    "DaemonSet": ("apps/v1", "template"),
    "Job": ("batch/v1", "template"),
    "CronJob": ("batch/v1", "jobTemplate.spec.template"),
}


@pytest.mark.parametrize("kind", WORKLOADS)
def test_a_workload_is_its_pods_labels_and_service_account(write: Write, kind: str) -> None:
    version, path = WORKLOADS[kind]
    template: dict[str, object] = {
        "metadata": {"labels": {"app": "chat"}},
        "spec": {"serviceAccountName": "bot"},
    }
    for key in reversed(path.split(".")):
        template = {key: template}
    document = {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": "x", "namespace": "a"},
        "spec": template,
    }
    write("w.json", json.dumps(document, indent="\t"))
    assert load([Path("w.json")]).snapshot.workloads == (
        Workload(namespace="a", kind=kind, name="x", labels={"app": "chat"}, service_account="bot"),
    )


def test_a_pod_has_its_own_labels_and_default_namespace_and_account(write: Write) -> None:
    write(
        "w.yaml",
        "{apiVersion: v1, kind: Pod, metadata: {name: x, labels: {app: chat}}, spec: {containers: []}}",
    )
    assert load([Path()]).snapshot.workloads == (
        Workload(
            namespace="default", kind="Pod", name="x", labels={"app": "chat"}, service_account="default"
        ),
    )


def test_a_namespace_has_its_labels(write: Write) -> None:
    write("n.yaml", '{apiVersion: v1, kind: Namespace, metadata: {name: a, labels: {ai: "on"}}}')
    assert load([Path()]).snapshot.namespaces == (Namespace(name="a", labels={"ai": "on"}),)


def test_other_kinds_are_left_out_with_a_note(write: Write, pool: str) -> None:
    write(
        "a.yaml",
        f"{pool}---\napiVersion: volcano.sh/v1\nkind: Job\nmetadata: {{name: x}}\ndata: {{1: a, 1: b}}\n",
    )
    manifests = load([Path()])
    assert manifests.left_out == ("a.yaml:8: Job/x: not a kind that policies look at, left out",)
    assert manifests.problems == ()
    assert manifests.snapshot.workloads == ()


def test_lists_are_read_item_by_item_each_with_its_own_lines(write: Write, policy: str) -> None:
    texts = [policy.replace("chat", name) for name in ("one", "two")]
    items = "".join("- " + text.replace("\n", "\n  ").strip() + "\n" for text in texts)
    write("list.yaml", f"apiVersion: v1\nkind: List\nitems:\n{items}")
    manifests = load([Path()])
    assert {str(ref): str(place) for ref, place in manifests.places.items()} == {
        "AIPolicy default/one": "list.yaml:4",
        "AIPolicy default/two": "list.yaml:12",
    }
    second = manifests.places[ObjectRef(kind="AIPolicy", namespace="default", name="two")]
    assert second.line(("spec", "rateLimits", 0, "per")) == 19
    assert second.line(("spec", "nothing", "here")) == 15


def test_folders_are_read_at_any_depth_and_hidden_ones_not(write: Write, pool: str) -> None:
    for name in ("a.yaml", "b/c.yml", "b/c/d.json", ".git/e.yaml", "b/.hidden.yaml", "f.txt"):
        namespace = name.strip(".").split(".")[0].replace("/", "-")
        text = pool.replace("{name: models}", f"{{name: models, namespace: {namespace}}}")
        write(name, "{}" if name.endswith(".json") else text)
    assert [str(place) for place in load([Path()]).places.values()] == ["a.yaml:1", "b/c.yml:1"]


def test_a_file_named_twice_is_read_once(write: Write, pool: str) -> None:
    write("a.yaml", pool)
    manifests = load([Path("a.yaml"), Path(), Path("a.yaml")])
    assert (manifests.objects, manifests.problems) == (1, ())


def test_a_folder_that_contains_itself_is_read_once(write: Write, pool: str) -> None:
    write("d/a.yaml", pool)
    Path("d/again").symlink_to(Path.cwd() / "d", target_is_directory=True)
    manifests = load([Path("d")])
    assert (manifests.objects, manifests.problems) == (1, ())


def test_a_link_to_nothing_is_an_error_and_a_pipe_is_left_alone(write: Write, pool: str) -> None:
    write("d/a.yaml", pool)
    Path("d/b.yaml").symlink_to("nowhere.yaml")
    os.mkfifo("d/c.yaml")
    assert [str(it) for it in load([Path("d")]).problems] == [
        "d/b.yaml: cannot be read: No such file or directory"
    ]


def test_a_pipe_that_is_named_is_read(write: Write, pool: str) -> None:
    """As in `tidegate validate -f <(helm template ...)`."""
    write("x", "")
    os.mkfifo("pipe")
    writer = threading.Thread(target=Path("pipe").write_text, args=(pool,), daemon=True)
    writer.start()
    assert load([Path("pipe")]).objects == 1
    writer.join()


def test_a_folder_with_more_files_than_anyone_writes_is_refused(write: Write) -> None:
    for number in range(MAX_FILES + 1):
        write(f"d/{number}.yaml", "")
    (problem, *_) = load([Path("d")]).problems
    assert str(problem) == f"d: more than {MAX_FILES} manifests in all; name the folder that has the policies"


def test_the_time_of_creation_is_read(write: Write, policy: str) -> None:
    write("a.yaml", policy.replace("{name: chat}", "{name: chat, creationTimestamp: 2026-01-02T03:04:05Z}"))
    assert load([Path()]).snapshot.of(AI_POLICY)[0].created == "2026-01-02T03:04:05Z"


SCALARS = {
    "on": True,
    "No": False,
    "~": None,
    "12": 12,
    "-0x1F": -31,
    "0o17": 15,
    "017": 15,
    "1_000": 1000,
    "08": 8.0,
    "1.5": 1.5,
    "1e3": 1000.0,
    "1.2.3": "1.2.3",
    "2026-01-02": "2026-01-02",
    "12:30": "12:30",
    ".inf": ".inf",
    "0b_": "0b_",
    "y": True,
    "'on'": "on",
    '"12"': "12",
    "!!str 12": "12",
    '"\\ud83d\\ude00"': "\N{GRINNING FACE}",
}


@pytest.mark.parametrize("text", SCALARS)
def test_words_mean_what_they_mean_to_kubectl(text: str) -> None:
    (document,) = read_documents(f"a: {text}\n")
    assert document.root is not None
    assert repr(document.root.value) == repr({"a": SCALARS[text]})


def test_merged_maps_give_way_to_keys_of_their_own() -> None:
    (document,) = read_documents("one: &one {a: 1, b: 2}\ntwo:\n  b: 3\n  <<: *one\n")
    assert document.root is not None
    assert document.root.value["two"] == {"b": 3, "a": 1}
    assert document.root.line_of(("two", "a")) == 1
