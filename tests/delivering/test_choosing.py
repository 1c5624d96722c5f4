"""Which source a process follows, and what it says when something is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tidegate_sidecar import settings as process
from tidegate_sidecar.settings import OperatorSettings, SettingsError

OPERATOR = {"TIDEGATE_OPERATOR_URL": "https://operator.test:8443/", "TIDEGATE_OPERATOR_CA": "/ca.crt"}


def test_a_pod_needs_two_variables() -> None:
    settings = process.read(OPERATOR)
    assert settings.operator == OperatorSettings(
        url="https://operator.test:8443",
        ca="/ca.crt",
        token_file=Path("/var/run/secrets/tidegate.dev/token"),
        state_dir=Path("/var/lib/tidegate"),
    )
    assert "/ca.crt" not in repr(settings)


def test_each_period_and_path_can_be_set() -> None:
    settings = process.read(
        {
            **OPERATOR,
            "TIDEGATE_TOKEN_FILE": "/token",
            "TIDEGATE_STATE_DIR": "/state",
            "TIDEGATE_POLL_WAIT_MS": "2000",
            "TIDEGATE_ANSWER_MS": "1000",
            "TIDEGATE_RECONNECT_MS": "10",
            "TIDEGATE_RECONNECT_MAX_MS": "20",
        }
    ).operator
    assert settings is not None
    assert (settings.token_file, settings.state_dir) == (Path("/token"), Path("/state"))
    assert (settings.poll_wait_ms, settings.answer_ms) == (2_000, 1_000)
    assert (settings.reconnect_ms, settings.reconnect_max_ms) == (10, 20)


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({"TIDEGATE_OPERATOR_URL": "https://operator.test"}, "TIDEGATE_OPERATOR_CA is not set"),
        ({**OPERATOR, "TIDEGATE_CONFIG_FILE": "x.json"}, "are both set: take one away"),
        ({**OPERATOR, "TIDEGATE_OPERATOR_URL": "http://operator.test"}, "expected https://HOST:PORT"),
        ({**OPERATOR, "TIDEGATE_OPERATOR_URL": "https://operator.test/v1"}, "expected https://HOST:PORT"),
        ({**OPERATOR, "TIDEGATE_OPERATOR_URL": "https://[::1"}, "expected https://HOST:PORT"),
        ({**OPERATOR, "TIDEGATE_OPERATOR_URL": "https://operator.test:99999"}, "expected https://HOST:PORT"),
        ({**OPERATOR, "TIDEGATE_POLL_WAIT_MS": "90000"}, "TIDEGATE_POLL_WAIT_MS='90000'"),
    ],
)
def test_what_is_wrong_is_named(environment: dict[str, str], problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        process.read(environment)
    assert problem in str(caught.value)


def test_a_process_without_a_source_says_what_to_set() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tidegate_sidecar"],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert "set TIDEGATE_OPERATOR_URL and TIDEGATE_OPERATOR_CA" in ended.stderr
    assert "TIDEGATE_CONFIG_FILE" in ended.stderr
