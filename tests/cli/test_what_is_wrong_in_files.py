"""`file:line: kind/name: field.path: what is wrong, what would be right`, for everything at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tidegate_cli.__main__ import main
from tidegate_cli.documents import MAX_DEPTH, MAX_DOCUMENTS, MAX_VALUES
from tidegate_cli.files import MAX_FILE_BYTES

Write = Callable[[str, str], Path]


def validate(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["validate", *arguments])


def problems_of(result: Result) -> list[str]:
    """The lines before the summary, which ends every output."""
    return result.stdout.splitlines()[:-1]


END = "per: 1m}\n"
"""The end of the policy."""

BAD_OBJECTS = {
    "an unknown field": (
        END,
        END + "  rateLimit: []\n",
        "p.yaml:9: AIPolicy/chat: spec.rateLimit: unknown field; did you mean rateLimits?",
    ),
    "an unknown field deep inside": (
        "per: 1m",
        "per: 1m, bursts: 3",
        "p.yaml:8: AIPolicy/chat: spec.rateLimits[0].bursts: unknown field; did you mean burst?",
    ),
    "a duration in words": (
        "per: 1m",
        "per: 1 minute",
        (
            "p.yaml:8: AIPolicy/chat: spec.rateLimits[0].per: '1 minute' is not a duration; "
            "write positive numbers with their units, the largest first: 250ms, 30s, 1h30m, 90d; did you mean 1m?"
        ),
    ),
    "a duration without unit": (
        END,
        END + "  timeouts:\n    request: 30\n",
        (
            "p.yaml:10: AIPolicy/chat: spec.timeouts.request: "
            "expected a duration such as 30s, found the number 30; did you mean 30s?"
        ),
    ),
    "a word where a number belongs": (
        "requests: 5",
        'requests: "5"',
        "p.yaml:8: AIPolicy/chat: spec.rateLimits[0].requests: expected a whole number, found '5'; remove the quotes",
    ),
    "a field that is missing": (
        "  - {name: calls, requests: 5, per: 1m}",
        "  - name: calls\n    per: 1m",
        "p.yaml:8: AIPolicy/chat: spec.rateLimits[0].requests: missing; this field is required",
    ),
    "a kind that does not exist": (
        "kind: AIPolicy",
        "kind: AIPolicies",
        (
            "p.yaml:2: AIPolicies/chat: kind: expected one of AIPolicy, ClusterAIPolicy, ProviderCredential, "
            "ProviderPool, found 'AIPolicies'; did you mean AIPolicy?"
        ),
    ),
    "a key that stands twice": (
        "spec:\n",
        "spec:\n  mode: Enforce\n  mode: Shadow\n",
        "p.yaml:6: AIPolicy/chat: spec.mode: the key stands here a second time, first on line 5; keep one of them",
    ),
    "a key that is no word": (
        END,
        END + "  on: 1\n",
        "p.yaml:9: AIPolicy/chat: spec: the key on is read as true, not as a word; quote it: 'on'",
    ),
    "a tag that nobody understands": (
        "requests: 5",
        "requests: !five 5",
        "p.yaml:8: AIPolicy/chat: spec.rateLimits[0].requests: the tag !five is not understood; write the value alone",
    ),
}


@pytest.mark.parametrize("case", BAD_OBJECTS.values(), ids=BAD_OBJECTS)
def test_what_is_wrong_with_an_object_is_said_with_its_line(
    write: Write, pool: str, policy: str, case: tuple[str, str, str]
) -> None:
    old, new, expected = case
    assert old in policy
    write("p.yaml", policy.replace(old, new))
    write("pool.yaml", pool)
    result = validate("-f", ".")
    assert expected in problems_of(result)
    assert result.exit_code == 1


BAD_TEXTS = {
    "a bracket that is never closed": (
        "a: [1\nb: 2\n",
        "bad.yaml:2:2: not YAML: while parsing a flow sequence, expected ',' or ']', but got ':'",
    ),
    "a tab for indentation": (
        "a:\n\t- b\n",
        "bad.yaml:2:1: not YAML: while scanning for the next token, found character '\\t' that cannot start any token",
    ),
    "a control character": (
        "a:\n- \x01\n",
        "bad.yaml:2:3: not YAML: a control character, which no YAML text may hold; remove it or write it as an escape",
    ),
    "an alias of nothing": ("a: 1\nb: *c\n", "bad.yaml:2: not YAML: *c stands for nothing: no &c above"),
    "an alias of what it is in": ("a: &a [*a]\n", "bad.yaml:1: not YAML: *a stands for nothing: no &a above"),
    "a list as a key": (
        "? [a]\n: b\n",
        "bad.yaml:1: an object or a list cannot be a key; write a word before the colon",
    ),
    "a list of words": (
        "- a\n",
        "bad.yaml:1: a manifest is an object with apiVersion, kind, metadata and spec; this document is not",
    ),
    "nesting without end": (
        "[" * 10_000,
        f"bad.yaml:1: nested deeper than {MAX_DEPTH}; no object needs that",
    ),
    "aliases that stand for billions": (
        "a0: &a0 [x, x]\n" + "".join(f"a{at}: &a{at} [{f'*a{at - 1},' * 10}]\n" for at in range(1, 12)),
        f"bad.yaml:6: more than {MAX_VALUES} values in one document, aliases expanded; split it",
    ),
    "documents without end": (
        "---\na: 1\n" * (MAX_DOCUMENTS + 1),
        f"bad.yaml:{2 * MAX_DOCUMENTS + 1}: more than {MAX_DOCUMENTS} documents in one file; split it",
    ),
    "a file beyond all reason": ("#" * (MAX_FILE_BYTES + 1), "bad.yaml: larger than 4 MiB; split it"),
}


@pytest.mark.parametrize(("text", "expected"), BAD_TEXTS.values(), ids=BAD_TEXTS)
def test_what_cannot_be_read_is_said_with_its_place(write: Write, text: str, expected: str) -> None:
    write("bad.yaml", text)
    result = validate("-f", "bad.yaml")
    assert [line for line in problems_of(result) if ": warning: " not in line] == [expected]
    assert result.exit_code == 1


def test_text_that_is_not_utf8_is_said_with_its_line(write: Write) -> None:
    write("bad.yaml", "").write_bytes(b"a: b\nc: \xff\n")
    assert problems_of(validate("-f", "bad.yaml")) == [
        "bad.yaml:2: not UTF-8 text; save the file in that encoding"
    ]


DANGLING = {
    "to a pool": ("{name: models}]", "{name: modles}]", "p.yaml:6: AIPolicy/chat: spec.poolRefs[0]"),
    "to a credential": (
        "OpenAI}",
        "OpenAI, authentication: {type: Credentials, credentialRefs: [{name: key}]}}",
        "p.yaml:15: ProviderPool/models: spec.providers[0].authentication.credentialRefs[0]",
    ),
}


@pytest.mark.parametrize("case", DANGLING.values(), ids=DANGLING)
def test_a_dangling_reference_is_an_error_at_its_line(
    write: Write, pool: str, policy: str, case: tuple[str, str, str]
) -> None:
    old, new, place = case
    write("p.yaml", f"{policy}---\n{pool}".replace(old, new))
    result = validate("-f", ".")
    assert [line for line in problems_of(result) if line.startswith(place)]
    assert result.exit_code == 1


def test_two_documents_of_the_same_name_are_an_error_that_names_both_places(
    write: Write, pool: str, policy: str
) -> None:
    write("d/a.yaml", f"{pool}---\n{policy}")
    write("d/b.yaml", f"# the same again\n{policy}")
    result = validate("-f", "d")
    assert problems_of(result) == [
        (
            "d/b.yaml:4: AIPolicy/chat: metadata.name: AIPolicy default/chat is defined at d/a.yaml:8 already; keep one "
            "of them, or give this one another name"
        )
    ]
    assert result.exit_code == 1


def test_the_same_name_in_two_namespaces_is_fine(write: Write, pool: str, policy: str) -> None:
    write("a.yaml", f"{pool}---\n{policy}")
    write("b.yaml", f"{pool}---\n{policy}".replace("metadata: {", "metadata: {namespace: other, "))
    assert validate("-f", ".").output == "4 objects, 0 errors, 0 warnings\n"


def test_all_errors_of_all_files_come_at_once_in_the_order_of_the_files(
    write: Write, pool: str, policy: str
) -> None:
    write("d/a.yaml", policy.replace("per: 1m", "per: 1 minute") + "  extra: 1\n")
    write("d/b.yaml", "a: [\n")
    write("d/c/d.yaml", pool.replace("type: OpenAI", "type: OpenIA"))
    result = validate("-f", "d", "-f", "nowhere")
    places = [line.partition(": ")[0] for line in problems_of(result)]
    assert places == ["d/a.yaml:8", "d/a.yaml:9", "d/b.yaml:2:1", "d/c/d.yaml:6", "nowhere"]
    assert result.stdout.splitlines()[-1] == "2 objects, 5 errors, 0 warnings"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], "d: no manifest (*.yaml, *.yml, *.json) in this folder"),
        (["notes.txt"], "d: no manifest (*.yaml, *.yml, *.json) in this folder"),
        (
            ["empty.yaml"],
            "d: no object of the group tidegate.dev in these files: an AIPolicy and a ProviderPool are the least",
        ),
    ],
)
def test_a_folder_without_anything_to_check_is_an_error(
    write: Write, names: list[str], expected: str
) -> None:
    Path(write("d/x", "")).unlink()
    for name in names:
        write(f"d/{name}", "---\n# nothing\n---\n")
    result = validate("-f", "d")
    assert (problems_of(result), result.exit_code) == ([expected], 1)


def test_no_file_at_all_is_an_error_and_no_flag_at_all_a_wrong_call(write: Write) -> None:
    write("x", "")
    missing = validate("-f", "nowhere.yaml")
    assert problems_of(missing) == ["nowhere.yaml: there is no such file or folder"]
    assert missing.exit_code == 1
    assert validate().exit_code == 2
    assert CliRunner().invoke(main, ["valdiate"]).exit_code == 2


def test_problems_as_json_have_the_same_facts(write: Write, policy: str) -> None:
    write("p.yaml", policy.replace("per: 1m", "per: 1x"))
    result = validate("-f", "p.yaml", "-o", "json")
    document = json.loads(result.stdout)
    assert (document["objects"], document["errors"], document["warnings"]) == (1, 1, 0)
    (problem,) = document["problems"]
    assert {name: problem[name] for name in ("file", "line", "object", "path", "severity")} == {
        "file": "p.yaml",
        "line": 8,
        "object": "AIPolicy/chat",
        "path": "spec.rateLimits[0].per",
        "severity": "Error",
    }
    assert result.exit_code == 1


def test_warnings_are_said_and_do_not_fail(write: Write, pool: str, policy: str) -> None:
    write("p.yaml", f"{pool}---\n{policy}")
    write("values.yaml", "replicas: 2\n")
    result = validate("-f", ".")
    assert result.stdout.splitlines() == [
        "values.yaml:1: warning: no apiVersion and kind, so this is no Kubernetes object; it is left out",
        "2 objects, 0 errors, 1 warning",
    ]
    assert result.exit_code == 0


def test_a_value_that_may_be_a_key_is_not_repeated(write: Write, policy: str) -> None:
    credential = policy.partition("kind:")[0] + (
        "kind: ProviderCredential\nmetadata: {name: key}\n"
        "spec: {source: {type: Environment, environment: {variable: sk-placeholder-1234}}}\n"
    )
    write("p.yaml", credential)
    result = validate("-f", "p.yaml")
    assert result.exit_code == 1
    assert "sk-placeholder-1234" not in result.output
