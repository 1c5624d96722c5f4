"""`--unmatched PassThrough`: what a workload under no policy would get where the platform lets its calls go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tidegate_cli.__main__ import main
from tidegate_policy import wire

Write = Callable[[str, str], Path]
Start = Callable[..., Any]

STRAY = "---\n{apiVersion: apps/v1, kind: Deployment, metadata: {name: stray}, spec: {}}\n"
CHAT = "---\n{apiVersion: apps/v1, kind: Deployment, metadata: {name: chat}, spec: {}}\n"
FOR_STRAY = ("--workload", "default/Deployment/stray")
LET = ("--unmatched", "PassThrough")


@pytest.fixture
def files(write: Write, pool: str, policy: str) -> str:
    write("d/all.yaml", f"{pool}---\n{policy}{CHAT}{STRAY}")
    return "d"


def tidegate(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_render_shows_what_it_gets(files: str) -> None:
    denied = wire.decode_config(tidegate("render", "-f", files, *FOR_STRAY).stdout.encode())
    assert [it.code for it in denied.denials] == ["no_policy"]
    let = wire.decode_config(tidegate("render", "-f", files, *FOR_STRAY, *LET).stdout.encode())
    assert (let.pass_through, let.denials) == (True, ())


def test_a_workload_under_a_policy_gets_the_same(files: str) -> None:
    chat = ("--workload", "default/Deployment/chat", "--compact")
    assert (
        tidegate("render", "-f", files, *chat).stdout == tidegate("render", "-f", files, *chat, *LET).stdout
    )


def test_explain_says_where_a_call_goes(files: str) -> None:
    for model, options, address in (
        ("gpt-x", (), "https://api.openai.com/v1"),
        ("claude-x", ("--dialect", "anthropic"), "https://api.anthropic.com/v1"),
    ):
        output = tidegate("explain", "-f", files, *FOR_STRAY, *LET, "--model", model, *options).stdout
        said = " ".join(output.split())
        assert f"no policy applies: goes out as it is, with the application's own key, to {address}." in said
    assert (
        "refused with 403 no_policy"
        in tidegate("explain", "-f", files, *FOR_STRAY, "--model", "gpt-x").stdout
    )


def test_any_other_word_is_a_wrong_call(files: str) -> None:
    result = tidegate("render", "-f", files, "--unmatched", "Allow")
    assert result.exit_code == 2
    assert "'Refuse', 'PassThrough'" in result.stderr


def test_run_lets_calls_through_and_a_policy_that_is_written_ends_it(
    serve: Start, files: str, write: Write, pool: str, policy: str
) -> None:
    serving = serve("run", "-f", files, *FOR_STRAY, *LET, "--demo")
    serving.program.line("^No policy applies: calls go out as they are, with the application's own key.$")
    digest = serving.wait_for_health(state="applied")["digest"]
    assert serving.chat("any-model-at-all")[0] == 200
    write("d/all.yaml", f"{pool}---\n{policy.replace('name: chat}]', 'name: stray}]')}{CHAT}{STRAY}")
    serving.program.line("is in force", after=1)
    assert serving.wait_for_health(state="applied")["digest"] != digest
    assert [serving.chat()[0] for _ in range(6)][-1] == 429
    assert serving.program.stop() == 0
