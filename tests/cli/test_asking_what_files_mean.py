"""`render` prints what a sidecar gets, `explain` what becomes of one call; both ask for the workload when it matters."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tidegate_cli.__main__ import main
from tidegate_policy import wire

Write = Callable[[str, str], Path]

DEPLOYMENT = "---\n{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: {0}}}, spec: {{}}}}\n"

FLOOR = """\
---
apiVersion: tidegate.dev/v1alpha1
kind: ClusterAIPolicy
metadata: {name: floor}
spec:
  namespaceSelector: {}
  allowModels: [gpt-*]
  retry: {maxAttempts: 1}
"""


def tidegate(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def rows(output: str, section: str) -> list[list[str]]:
    """The cells of a table."""
    lines = output.partition(f"{section}\n")[2].split("\n\n")[0].splitlines()[1:]
    return [re.split(r"\s{2,}", line) for line in lines]


def test_render_prints_the_configuration_and_its_digest_apart(write: Write, pool: str, policy: str) -> None:
    write("a.yaml", f"{pool}---\n{policy}")
    result = tidegate("render", "-f", "a.yaml")
    config = wire.decode_config(result.stdout.encode())
    assert config.rate_limits[0].requests == 5
    assert result.stderr == f"default/Deployment/chat: sha256 {wire.digest(config)}\n"


def test_render_compact_prints_the_bytes_that_the_digest_is_of(write: Write, pool: str, policy: str) -> None:
    write("a.yaml", f"{pool}---\n{policy}")
    output = tidegate("render", "-f", "a.yaml", "--compact").stdout.encode()
    assert output == wire.encode(wire.decode_config(output))


def test_render_all_prints_every_class_with_its_workloads(write: Write, pool: str, policy: str) -> None:
    deployments = "".join(DEPLOYMENT.format(name) for name in ("chat", "a", "b"))
    write("a.yaml", f"{pool}---\n{policy}{deployments}")
    classes = json.loads(tidegate("render", "-f", "a.yaml", "--all").stdout)
    assert sorted(it["workloads"] for it in classes) == [
        ["default/Deployment/a", "default/Deployment/b"],
        ["default/Deployment/chat"],
    ]
    for it in classes:
        assert it["digest"] == wire.digest(wire.decode_config(json.dumps(it["config"]).encode()))


def test_the_order_of_files_and_documents_changes_nothing(write: Write, pool: str, policy: str) -> None:
    write("one/a.yaml", f"{pool}---\n{policy}")
    write("two/a.yaml", policy)
    write("two/b.yaml", pool)
    assert tidegate("render", "-f", "one").stdout == tidegate("render", "-f", "two").stdout


@pytest.mark.parametrize("command", [("render",), ("explain", "--model", "gpt-4o"), ("run",)])
def test_files_that_apply_differently_ask_which_workload_is_meant(
    write: Write, pool: str, policy: str, command: tuple[str, ...]
) -> None:
    second = policy.replace("chat", "batch").replace("requests: 5", "requests: 6")
    write("a.yaml", f"{pool}---\n{policy}---\n{second}")
    result = tidegate(*command, "-f", "a.yaml")
    assert result.exit_code == 2
    assert result.stderr == (
        "The files apply differently to several workloads.\n"
        "Choose one:\n"
        "  --workload default/Deployment/batch\n"
        "  --workload default/Deployment/chat\n"
    )


def test_a_workload_is_chosen_by_name_whatever_the_case_of_its_kind(
    write: Write, pool: str, policy: str
) -> None:
    second = policy.replace("chat", "batch").replace("requests: 5", "requests: 6")
    write("a.yaml", f"{pool}---\n{policy}---\n{second}")
    result = tidegate("render", "-f", "a.yaml", "--workload", "default/deployment/batch")
    assert wire.decode_config(result.stdout.encode()).rate_limits[0].requests == 6


def test_a_workload_that_is_not_there_is_a_wrong_call_that_names_those_that_are(
    write: Write, pool: str, policy: str
) -> None:
    write("a.yaml", f"{pool}---\n{policy}")
    result = tidegate("render", "-f", "a.yaml", "--workload", "default/Deployment/chad")
    assert result.exit_code == 2
    assert "--workload default/Deployment/chad: there is no such workload in the files." in result.stderr
    assert "  --workload default/Deployment/chat" in result.stderr


def test_a_workload_without_policy_does_not_make_the_choice_unclear(
    write: Write, pool: str, policy: str
) -> None:
    write("a.yaml", f"{pool}---\n{policy}{DEPLOYMENT.format('aaa')}{DEPLOYMENT.format('chat')}")
    assert tidegate("render", "-f", "a.yaml").stderr.startswith("default/Deployment/chat: ")


@pytest.mark.parametrize("command", [("render",), ("explain", "--model", "gpt-4o"), ("run",)])
def test_errors_end_every_command_before_it_begins(
    write: Write, policy: str, command: tuple[str, ...]
) -> None:
    write("a.yaml", policy.replace("per: 1m", "per: 1x"))
    result = tidegate(*command, "-f", "a.yaml")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("a.yaml:8: AIPolicy/chat: spec.rateLimits[0].per: '1x' is not a duration")


def test_explain_says_where_each_rule_is_written(write: Write, pool: str, policy: str) -> None:
    write("pool.yaml", pool)
    write("policy.yaml", policy + "  identity: {consumer: {source: Header, header: {name: x-user-id}}}\n")
    output = tidegate("explain", "-f", ".", "--model", "gpt-4o", "--consumer", "alice").stdout
    assert output.splitlines()[:2] == [
        "default/Deployment/chat asks for gpt-4o in the OpenAI dialect, consumer alice:",
        "  goes to first, unless a limit is reached.",
    ]
    assert rows(output, "Policies that apply") == [["AIPolicy default/chat", "the workload", "policy.yaml:1"]]
    say = rows(output, "What has a say")
    values = {row[0]: row[1] for row in say}
    assert values["timeouts"] == "connect 5s, firstToken 2m, streamIdle 2m, request 10m, stream 1h"
    assert values["retry"].startswith("at most 3 attempts, after ")
    places = {row[0]: row[-1] for row in say}
    assert places == {
        "poolRefs": "policy.yaml:6",
        "timeouts": "pool.yaml:4",
        "retry": "pool.yaml:4",
        "identity": "policy.yaml:9",
        "rateLimits": "policy.yaml:8",
    }


def test_explain_says_which_provider_is_asked_when(write: Write, pool: str, policy: str) -> None:
    more = (
        "  - {name: second, type: OpenAI, weight: 3}\n"
        "  - {name: third, type: OpenAI, priority: 1, models: [{name: gpt-4o, upstreamName: other, aliases: [big]}]}\n"
        "  - {name: fourth, type: Anthropic}\n"
    )
    write("a.yaml", f"{pool}{more}---\n{policy}")
    output = tidegate("explain", "-f", ".", "--model", "big").stdout
    assert output.splitlines()[0] == (
        "default/Deployment/chat asks for big (an alias of gpt-4o) in the OpenAI dialect:"
    )
    assert (
        output.splitlines()[1]
        == "  goes to first or second, and when that is out to third, unless a limit is reached."
    )
    assert [row[:4] for row in rows(output, "Providers, in the order in which they are asked")] == [
        ["first", "0", "25 %", "gpt-4o"],
        ["second", "0", "75 %", "gpt-4o"],
        ["third", "1", "100 %", "other"],
    ]


def test_explain_says_which_object_refuses_a_call(write: Write, pool: str, policy: str) -> None:
    write("a.yaml", f"{pool}---\n{policy}{FLOOR}")
    result = tidegate("explain", "-f", ".", "--model", "o1")
    assert (
        "refused with 403 model_not_allowed: ClusterAIPolicy floor does not allow the model 'o1'."
        in result.stdout
    )
    assert ["allowModels", "gpt-* (Enforce)", "does not allow it", "a.yaml:22"] in rows(
        result.stdout, "What has a say"
    )
    assert result.exit_code == 0


def test_explain_says_what_is_written_and_does_not_hold(write: Write, pool: str, policy: str) -> None:
    write("a.yaml", f"{pool}---\n{policy}  retry: {{maxAttempts: 2}}\n{FLOOR}")
    output = tidegate("explain", "-f", ".", "--model", "gpt-4o").stdout
    (row,) = rows(output, "What is written and does not hold")
    assert (row[0], row[1], row[-1]) == ("retry", "maxAttempts 1", "a.yaml:24")
    places = {row[0]: row[-1] for row in rows(output, "What has a say")}
    assert places["retry"] == "a.yaml:16, a.yaml:4"


def test_explain_says_that_a_limit_counts_other_models_alone(write: Write, pool: str, policy: str) -> None:
    limits = '  - {name: other, requests: 1, per: 1s, models: ["o*"]}\n'
    write("a.yaml", f"{pool}---\n{policy}{limits}")
    output = tidegate("explain", "-f", ".", "--model", "gpt-4o").stdout
    effects = {
        row[1].partition(":")[0]: row[2] for row in rows(output, "What has a say") if row[0] == "rateLimits"
    }
    assert effects == {"calls": "counts it", "other": "does not count it: other models"}


def test_explain_says_under_what_each_limit_counts(write: Write, pool: str, policy: str) -> None:
    limits = (
        "  - {name: each, requests: 1, per: 1s, key: [{type: Consumer}]}\n"
        "  - {name: both, requests: 1, per: 1s, mode: Shadow, key: [{type: Consumer}, {type: Model}]}\n"
        "  - {name: upstream, requests: 1, per: 1s, key: [{type: Provider}]}\n"
    )
    identity = "  identity: {consumer: {source: Header, header: {name: x-user-id}}}\n"
    write("a.yaml", f"{pool}---\n{policy}{limits}{identity}")
    output = tidegate("explain", "-f", ".", "--model", "gpt-4o", "--consumer", "alice").stdout
    say = [row for row in rows(output, "What has a say") if row[0] in ("rateLimits", "identity")]
    effects = {row[1].partition(":")[0]: row[2] for row in say}
    assert effects.pop(next(name for name in effects if "x-user-id" in name)) == "the consumer is alice"
    assert effects == {
        "calls": "counts it",
        "each": "counts it under alice",
        "both": "counts it under alice and gpt-4o (Shadow: refuses nothing)",
        "upstream": "counts each attempt, by provider",
    }


def test_explain_says_that_a_call_without_a_consumer_is_refused_where_one_is_demanded(
    write: Write, pool: str, policy: str
) -> None:
    identity = "  identity: {consumer: {source: Header, header: {name: x-user-id, onMissing: Deny}}}\n"
    write("a.yaml", f"{pool}---\n{policy}{identity}")
    output = tidegate("explain", "-f", ".", "--model", "gpt-4o").stdout
    assert "refused with 400 invalid_request: The header x-user-id" in " ".join(output.split())
    assert "Providers, in the order" not in output


def test_explain_answers_in_the_dialect_that_has_the_model(write: Write, pool: str, policy: str) -> None:
    text = pool.replace("OpenAI}", "Anthropic, models: [{name: claude}]}")
    write("a.yaml", f"{text}---\n{policy}")
    first, *_ = tidegate("explain", "-f", ".", "--model", "claude").stdout.splitlines()
    assert first == "default/Deployment/chat asks for claude in the Anthropic dialect:"
    asked = tidegate("explain", "-f", ".", "--model", "claude", "--dialect", "openai").stdout
    assert "refused with 400 not_supported" in asked


@pytest.mark.parametrize("command", ["run", "validate", "render", "explain", "simulate", "demo"])
def test_every_command_explains_itself(command: str) -> None:
    result = tidegate(command, "-h")
    assert (result.exit_code, result.output.partition(":")[0]) == (0, "Usage")
