"""`tidegate run`: the files of a folder, enforced on a real socket by the real program."""

from __future__ import annotations

import json
import re
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Write = Callable[[str, str], Path]
Start = Callable[..., Any]

KEY = "placeholder-key-7f3a"
PROMPT = "a prompt that nobody else may see"

CREDENTIAL = """\
---
apiVersion: tidegate.dev/v1alpha1
kind: ProviderCredential
metadata: {name: key}
spec: {source: {type: Environment, environment: {variable: CLI_TEST_KEY}}}
"""


@pytest.fixture
def folder(write: Write, pool: str, policy: str) -> str:
    write("d/pool.yaml", pool)
    write("d/policy.yaml", policy)
    return "d"


@pytest.fixture
def folder_with_key(write: Write, pool: str, policy: str) -> Callable[[str], str]:
    """Writes a folder whose provider takes its key from CLI_TEST_KEY, with further fields of the provider."""

    def write_folder(fields: str = "") -> str:
        provider = f"OpenAI, authentication: {{type: Credentials, credentialRefs: [{{name: key}}]}}{fields}}}"
        write("d/all.yaml", f"{pool.replace('OpenAI}', provider)}---\n{policy}{CREDENTIAL}")
        return "d"

    return write_folder


@pytest.fixture
def taken() -> Iterator[str]:
    """An address that somebody else listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def records_of(serving: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in serving.program.out]


def test_calls_are_enforced_and_each_leaves_one_record_on_standard_output(serve: Start, folder: str) -> None:
    serving = serve("run", "-f", folder, "--demo")
    statuses = [serving.chat()[0] for _ in range(6)]
    assert statuses == [200] * 5 + [429]
    assert serving.program.stop() == 0
    records = records_of(serving)
    assert [record["ending"] for record in records] == ["served"] * 5 + ["refused"]
    assert (records[5]["object"], records[5]["rule"]) == ("AIPolicy default/chat", "calls")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_a_clean_end(serve: Start, folder: str, number: signal.Signals) -> None:
    serving = serve("run", "-f", folder, "--demo")
    assert serving.program.stop(number) == 0
    assert serving.program.out == []


def test_a_demonstration_says_that_nothing_is_real(serve: Start, folder: str) -> None:
    serving = serve("run", "-f", folder, "--demo")
    serving.program.line("^Every provider is replaced by a simulated one and no key is used")


def test_a_broken_edit_leaves_the_old_configuration_in_force_and_is_said_in_log_and_health(
    serve: Start, folder: str, write: Write, policy: str
) -> None:
    serving = serve("run", "-f", folder, "--demo")
    digest = serving.wait_for_health(state="applied")["digest"]
    write("d/policy.yaml", policy.replace("per: 1m", "per: soon"))
    health = serving.wait_for_health(state="refused")
    assert health["problem"].startswith(
        "d/policy.yaml:8: AIPolicy/chat: spec.rateLimits[0].per: 'soon' is not"
    )
    assert health["digest"] == digest
    assert serving.chat()[0] == 200
    write("d/policy.yaml", policy.replace("requests: 5", "requests: 1"))
    assert serving.wait_for_health(state="applied")["digest"] != digest
    assert serving.program.stop() == 0
    log = "\n".join(serving.program.err)
    assert log.count("d/policy.yaml:8: AIPolicy/chat: spec.rateLimits[0].per") == 1


def test_keys_of_a_secret_come_from_a_folder_and_change_while_it_serves(
    start: Start, serve: Start, write: Write, folder_with_key: Callable[[str], str]
) -> None:
    simulator = start("simulate", "--listen", "127.0.0.1:0", "--require-key")
    url = re.findall(r"http://\S+/v1", simulator.line("^OpenAI SDKs"))[0]
    folder = folder_with_key(f", baseURL: '{url}', allowInsecure: true, allowPrivate: true")
    manifests = Path("d/all.yaml").read_text(encoding="utf-8")
    environment = "{type: Environment, environment: {variable: CLI_TEST_KEY}}"
    write("d/all.yaml", manifests.replace(environment, "{type: Secret, secret: {key: openai}}"))
    write("keys/other", "not this one")
    serving = serve("run", "-f", folder, "--keys", "keys")
    serving.program.line(
        r"^warning: ProviderCredential default/key: the key 'openai' of the Secret tidegate-keys is missing "
        r"\(in keys, which has other\) \(provider .*: calls through it are refused\)"
    )
    assert serving.chat()[0] == 503
    write("keys/openai", f"{KEY}\n")
    serving.program.line("keys read from keys: openai, other")
    assert serving.chat()[0] == 200
    assert serving.program.stop() == 0
    assert KEY not in "\n".join([*serving.program.err, *serving.program.out])


def test_without_a_folder_a_key_of_a_secret_is_said_to_need_one(
    serve: Start, write: Write, folder_with_key: Callable[[str], str]
) -> None:
    folder = folder_with_key("")
    manifests = Path("d/all.yaml").read_text(encoding="utf-8")
    environment = "{type: Environment, environment: {variable: CLI_TEST_KEY}}"
    write("d/all.yaml", manifests.replace(environment, "{type: Secret, secret: {key: openai}}"))
    serving = serve("run", "-f", folder)
    said = serving.program.line(
        "^warning: ProviderCredential default/key: the key 'openai' of the Secret tidegate-keys"
    )
    assert "TIDEGATE_KEYS_DIR names it, or `tidegate run --keys`" in said


def test_keys_come_from_the_environment_and_neither_they_nor_prompts_are_printed(
    start: Start, serve: Start, folder_with_key: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = start("simulate", "--listen", "127.0.0.1:0", "--require-key")
    url = re.findall(r"http://\S+/v1", simulator.line("^OpenAI SDKs"))[0]
    monkeypatch.setenv("CLI_TEST_KEY", KEY)
    folder = folder_with_key(f", baseURL: '{url}', allowInsecure: true, allowPrivate: true")
    serving = serve("run", "-f", folder)
    assert serving.chat(prompt=PROMPT)[0] == 200
    assert serving.chat(prompt=PROMPT, authorization="Bearer caller")[0] == 200
    assert serving.program.stop() == 0
    assert len(records_of(serving)) == 2
    assert KEY not in serving.program.everything
    assert PROMPT not in serving.program.everything
    assert simulator.stop() == 0


def test_a_variable_that_is_not_set_is_warned_of_at_the_start_and_its_calls_are_refused(
    serve: Start, folder_with_key: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLI_TEST_KEY", raising=False)
    serving = serve("run", "-f", folder_with_key())
    serving.program.line(
        r"^warning: ProviderCredential default/key: the variable CLI_TEST_KEY is not set "
        r"\(provider first of ProviderPool default/models: calls through it are refused\)$"
    )
    status, body = serving.chat()
    assert (status, body["error"]["code"]) == (503, "provider_unavailable")
    assert serving.program.stop() == 0


@pytest.mark.parametrize("flag", ["--listen", "--admin"])
@pytest.mark.parametrize("command", ["run", "demo"])
def test_a_port_that_is_taken_is_named_with_the_flag_that_changes_it(
    start: Start, folder: str, taken: str, command: str, flag: str
) -> None:
    other = "--admin" if flag == "--listen" else "--listen"
    arguments = ["run", "-f", folder, "--demo"] if command == "run" else ["demo"]
    program = start(*arguments, flag, taken, other, "127.0.0.1:0")
    assert program.wait() == 1
    assert program.err == [
        f"{taken} is already in use by another process; choose another with {flag} HOST:PORT."
    ]


def test_a_port_that_the_simulator_cannot_have_is_named(start: Start, taken: str) -> None:
    program = start("simulate", "--listen", taken)
    assert program.wait() == 1
    assert program.err == [
        f"{taken} is already in use by another process; choose another with --listen HOST:PORT."
    ]


@pytest.mark.parametrize("address", ["19280", "127.0.0.1", "127.0.0.1:port", "127.0.0.1:70000"])
def test_an_address_that_is_none_is_a_wrong_call(start: Start, folder: str, address: str) -> None:
    program = start("run", "-f", folder, "--listen", address)
    assert program.wait() == 2
    assert any("write HOST:PORT" in line for line in program.err)


def test_applications_may_call_by_the_names_that_were_given(serve: Start, folder: str) -> None:
    """Whoever calls by another name may be a web page that has the name resolve to this machine."""
    serving = serve("run", "-f", folder, "--demo", "--allow-host", "Gateway.internal", "--allow-host", "llm")
    statuses = [serving.chat(host=host)[0] for host in ("gateway.internal:8080", "llm", "evil.example")]
    assert statuses == [200, 200, 403]


def test_a_host_that_is_none_is_a_wrong_call(start: Start, folder: str) -> None:
    program = start("run", "-f", folder, "--allow-host", "gateway.internal:80")
    assert program.wait() == 2
    assert any("write its name or address alone" in line for line in program.err)


def test_a_setting_in_the_environment_that_is_wrong_is_a_wrong_call(
    start: Start, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEGATE_GRACE_MS", "long")
    program = start("run", "-f", folder)
    assert program.wait() == 2
    assert program.err == ["TIDEGATE_GRACE_MS='long': expected an integer from 0 to 3600000"]


def test_a_flag_that_the_simulator_does_not_understand_says_what_may_be_written(start: Start) -> None:
    program = start("simulate", "--status", "700")
    assert program.wait() == 2
    assert (
        program.err[-1]
        == "Error: --status: '700' is not allowed; write 200 or an error status from 400 to 599"
    )
