"""What we show people is accepted by a server as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ruamel.yaml import YAML
from tidegate_samples.places import changed

from tidegate_operator.api.kinds import KINDS, Scope
from tidegate_operator.api.parse import is_ours, parse_object

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate_cluster.controlplane import ControlPlane
    from tidegate_samples.server import Server

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]


def shown() -> Iterator[tuple[str, dict[str, Any]]]:
    """Where a manifest of ours stands, and the manifest."""
    texts = [(path, path.read_text()) for path in sorted((ROOT / "examples").rglob("*.yaml"))]
    for page in PAGES:
        blocks = re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
        texts += [(page, block) for block in blocks if "\nkind:" in block]
    for path, text in texts:
        for document in YAML(typ="safe", pure=True).load_all(text):
            if isinstance(document, dict) and is_ours(document):
                name = document.get("metadata", {}).get("name")
                yield f"{path.relative_to(ROOT)} {document.get('kind')} {name}", document


SHOWN = list(shown())


@pytest.mark.parametrize("manifest", [it for _, it in SHOWN], ids=[name for name, _ in SHOWN])
def test_a_manifest_that_we_show_is_accepted(server: Server, manifest: dict[str, Any]) -> None:
    kind = KINDS[manifest["kind"]]
    if kind.scope is Scope.NAMESPACED:
        manifest = changed(manifest, ("metadata", "namespace"), "default")
    assert parse_object(manifest).problems == ()
    reply = server.try_out(kind, manifest)
    assert reply.complaints == []
    assert reply.warnings == []


def test_there_are_manifests_in_readme_and_in_each_example() -> None:
    """The test above must not run out of cases unseen."""
    places = {name.split()[0] for name, _ in SHOWN}
    folders = {path for path in (ROOT / "examples").iterdir() if path.is_dir()}
    assert "README.md" in places
    assert {Path(place).parent.name for place in places} >= {folder.name for folder in folders}


@pytest.mark.usefixtures("installation")
def test_kubectl_applies_the_examples(control_plane: ControlPlane) -> None:
    """As a reader would, who makes the namespaces first."""
    in_files = [(name, it) for name, it in SHOWN if name.startswith("examples/") and ".yaml " in name]
    for namespace in {it["metadata"]["namespace"] for _, it in in_files} - {"default"}:
        control_plane.kubectl("create", "namespace", namespace)
    flags = ("--server-side", "--dry-run=server", "--warnings-as-errors", "--recursive")
    printed = control_plane.kubectl("apply", *flags, f"--filename={ROOT / 'examples'}")
    ours = [line for line in printed.splitlines() if ".tidegate.dev/" in line]
    assert len(ours) == len(in_files)
    assert all(line.endswith("serverside-applied (server dry run)") for line in printed.splitlines())
