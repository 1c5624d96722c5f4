"""`tidegate demo`: the tour, without a terminal, as `make run` and CI see it."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tidegate_cli.compiling import choose, compile_files
from tidegate_cli.demo import redirect
from tidegate_policy.model import CompiledConfig

Start = Callable[..., Any]

EXAMPLES = Path(__file__).parents[2] / "examples"

FREE = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")


def rows(lines: list[str]) -> list[list[str]]:
    """call, consumer, model, provider, status, ms, why."""
    return [re.split(r"\s{2,}", line) for line in lines if re.match(r"[0-9]+ {2,}", line)]


def test_the_tour_shows_limits_failover_breaker_and_recovery_and_ends_well(start: Start) -> None:
    program = start("demo", "--once", *FREE)
    assert program.wait() == 0, program.everything
    assert "nothing leaves this machine" in program.out[0]
    table = rows(program.out)
    assert [row[0] for row in table] == [str(number) for number in range(1, len(table) + 1)]
    outcomes = [(row[1], row[3], row[4]) for row in table]
    served = ("openai-us", "200")
    assert outcomes == [
        ("alice", *served),
        ("bob", *served),
        ("alice", "anthropic", "200"),
        ("alice", *served),
        ("bob", "-", "403"),
        *[("carol", *served)] * 6,
        *[("carol", "-", "429")] * 2,
        *[("dave", "openai-eu", "200")] * 6,
        *[("erin", *served)] * 2,
    ]
    why = [row[6] for row in table]
    assert "stream, first token after" in why[3]
    assert why[4].startswith(
        "model_not_allowed: AIPolicy default/chat does not allow the model 'gpt-6-astra'."
    )
    assert why[11].startswith(
        "rate_limit_exceeded: The limit 'per-consumer' of AIPolicy default/chat is reached"
    )
    assert why[13].startswith("openai-us failed (ServerError 500); openai-eu took over")
    assert why[18].startswith(
        "openai-us left alone: its circuit breaker is open (5 failures in a row); openai-eu took over"
    )
    changes = [line.strip() for line in program.out if line.strip().startswith("the breaker")]
    assert changes == [
        "the breaker of openai-us for gpt-5.4-mini has opened (5 failures in a row): it is left alone for 5s",
        "the breaker of openai-us for gpt-5.4-mini has closed: the probe succeeded",
    ]
    assert program.out[-1] == "21 calls: 18 served, 3 refused; 5 of them were answered by another provider."
    assert "\x1b" not in program.everything


def test_it_goes_on_serving_after_the_tour_and_prints_calls_of_others(serve: Start) -> None:
    serving = serve("demo")
    assert serving.app in serving.program.line(r"^  curl ")
    assert serving.app in serving.program.line(r"OpenAI\(base_url=")
    assert serving.chat("gpt-5.4-mini", x_user_id="somebody")[0] == 200
    serving.program.line(r"^22 +somebody +gpt-5.4-mini +openai-us +200 ")
    assert serving.program.stop() == 0


def test_it_can_be_stopped_at_any_time(start: Start) -> None:
    program = start("demo", *FREE)
    program.line("^1 ")
    assert program.stop(signal.SIGINT) == 0


REAL = {
    "openai": ("OPENAI_API_KEY", "https://api.openai.com/v1"),
    "anthropic": ("ANTHROPIC_API_KEY", "https://api.anthropic.com/v1"),
}


@pytest.mark.parametrize("provider", REAL)
def test_a_real_provider_is_announced_as_billed_before_anything_else(
    serve: Start, start: Start, monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    variable, address = REAL[provider]
    announcement = f"Calls go to the real provider ({address}) and are billed to the key in {variable}."
    monkeypatch.delenv(variable, raising=False)
    without = start("demo", "--provider", provider, *FREE)
    assert without.wait() == 1
    assert without.out == [announcement]
    assert without.err[0] == f"{variable} is not set. Set it (export {variable}=...) and start again,"
    monkeypatch.setenv(variable, "placeholder-key-51cd")
    serving = serve("demo", "--provider", provider)
    assert serving.program.out[0] == announcement
    assert serving.program.stop() == 0
    assert rows(serving.program.out) == []
    assert "placeholder-key-51cd" not in serving.program.everything


def test_the_end_of_the_tour_is_only_for_the_tour(start: Start) -> None:
    assert start("demo", "--once", "--provider", "openai").wait() == 2


@pytest.mark.parametrize("name", ["quickstart", "openai", "anthropic"])
def test_every_example_is_valid_and_has_a_readme(name: str) -> None:
    compiled = compile_files([EXAMPLES / name])
    assert compiled.problems == ()
    assert (EXAMPLES / name / "README.md").is_file()


def config_of(folder: Path) -> CompiledConfig:
    compiled = compile_files([folder])
    return compiled.compilation.configs[compiled.compilation.workloads[choose(compiled, None)]]


@pytest.mark.parametrize("name", ["quickstart", "openai", "anthropic"])
def test_simulated_providers_get_every_call_and_no_key(name: str) -> None:
    config = redirect(config_of(EXAMPLES / name), "http://127.0.0.1:1")
    for pool in config.pools:
        for provider in pool.providers:
            assert provider.base_url == f"http://127.0.0.1:1/providers/{provider.name}/v1"
            assert provider.credentials == ()
            assert not provider.caller_credential


def test_simulating_changes_nothing_but_addresses_and_keys(tmp_path: Path) -> None:
    folder = shutil.copytree(EXAMPLES / "quickstart", tmp_path / "copy")
    config = config_of(folder)
    simulated = redirect(config, "http://127.0.0.1:1")
    assert [provider.name for provider in simulated.pools[0].providers] == [
        provider.name for provider in config.pools[0].providers
    ]
    assert [provider.models for provider in simulated.pools[0].providers] == [
        provider.models for provider in config.pools[0].providers
    ]
    for part in ("sources", "denials", "allow_models", "rate_limits", "consumer"):
        assert getattr(simulated, part) == getattr(config, part)
