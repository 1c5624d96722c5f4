"""Whatever stands in a file, it is read or its problem is said: no text ends the program."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tidegate_cli.compiling import compile_files
from tidegate_cli.documents import read_documents

PIECES = st.sampled_from(
    [
        *"abc019 \n\t:-?,[]{}#&*!|>'\"%@`~=<",
        "\n  ",
        "---\n",
        "...\n",
        "<<: ",
        "&a ",
        "*a",
        "!!str ",
        "!x ",
        "\\ud83d",
        "0x_",
        "9" * 30,
        "\N{GRINNING FACE}",
        "\x85",
        "\ufeff",
    ]
)
VALUES = st.sampled_from(
    [
        "",
        "[]",
        "{}",
        "null",
        "true",
        "-1",
        "1e9",
        "0x" + "f" * 5000,
        "x",
        "'*'",
        "[[]]",
        "[{}]",
        "[null]",
        "{a: 1}",
    ]
)
FIELDS = (
    "apiVersion: {}",
    "kind: {}",
    "metadata: {}",
    "metadata: {{name: {}, namespace: a}}",
    "spec: {}",
    "spec: {{targetRefs: {}, poolRefs: [{{name: a}}]}}",
    "spec: {{selector: {}, poolRefs: {}}}",
    "spec: {{selector: {{}}, rateLimits: {}, allowModels: {}, identity: {}}}",
    "spec: {{providers: {}, circuitBreaker: {}, retry: {}}}",
    "spec: {{providers: [{{name: a, type: OpenAI, baseURL: {}, headers: {}, models: {}}}]}}",
    "spec: {{source: {}}}",
    "spec: {{template: {}}}",
    "items: {}",
)
KINDS = (
    "AIPolicy",
    "ClusterAIPolicy",
    "ProviderPool",
    "ProviderCredential",
    "Deployment",
    "Namespace",
    "List",
)


@given(st.lists(PIECES, max_size=40).map("".join) | st.text(max_size=60))
@example("*\U00018d09")
@example("a: !<\U00018d09> b")
@settings(max_examples=400, deadline=None)
def test_any_text_is_documents_or_flaws(text: str) -> None:
    for document in read_documents(text):
        assert document.root is not None or document.flaws
        for flaw in document.flaws:
            assert flaw.line >= 1
            assert flaw.message.isprintable()


@st.composite
def manifests(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(KINDS))
    version = (
        "apps/v1"
        if kind == "Deployment"
        else "v1"
        if kind in {"Namespace", "List"}
        else "tidegate.dev/v1alpha1"
    )
    lines = {
        "apiVersion": f"apiVersion: {version}",
        "kind": f"kind: {kind}",
        "metadata": "metadata: {name: a}",
    }
    for field in draw(st.lists(st.sampled_from(FIELDS), max_size=3)):
        values = [draw(VALUES) for _ in range(field.count("{}"))]
        lines[field.partition(":")[0]] = field.format(*values)
    return "\n".join(lines.values()) + "\n"


@given(st.lists(manifests(), min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
def test_any_objects_compile_or_say_why_not(texts: list[str]) -> None:
    with TemporaryDirectory() as folder:
        Path(folder, "a.yaml").write_text("---\n".join(texts), encoding="utf-8")
        compiled = compile_files([Path(folder)])
    for problem in compiled.problems:
        assert "\n" not in str(problem)
        assert problem.file == str(Path(folder, "a.yaml")) or problem.file == folder
        assert problem.message
