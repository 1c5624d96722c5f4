"""Settings: every variable has a default, a wrong one is told with all others that are wrong, and what a pod knows is used."""

from pathlib import Path

import pytest

from tidegate_operator.settings import Address, SettingsError, parse_address, read, variables


def test_an_empty_environment_is_enough(tmp_path: Path) -> None:
    settings = read({}, folder=tmp_path)
    assert settings.listen == Address(host="127.0.0.1", port=8443)
    assert settings.health == Address(host="127.0.0.1", port=8080)
    assert settings.namespace == "default"
    assert settings.kubeconfig.endswith(".kube/config")
    assert not settings.in_cluster


def test_in_a_pod_all_addresses_are_listened_on(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("x")
    (tmp_path / "namespace").write_text("tidegate-system")
    settings = read({"KUBECONFIG": "/ignored"}, folder=tmp_path)
    assert settings.listen == Address(host="0.0.0.0", port=8443)
    assert (settings.namespace, settings.kubeconfig, settings.in_cluster) == ("tidegate-system", "", True)


def test_every_period_has_a_variable(tmp_path: Path) -> None:
    periods = {name: item for name, (_, item) in variables().items() if name.endswith("_MS")}
    assert len(periods) > 15
    environment = {name: str(item.default) for name, item in periods.items()}
    assert read(environment, folder=tmp_path) == read({}, folder=tmp_path)
    shorter = read({"TIDEGATE_DEBOUNCE_MS": "7", "TIDEGATE_STATUS_BURST": "9"}, folder=tmp_path)
    assert (shorter.compile.debounce_ms, shorter.status.burst) == (7, 9)


def test_what_has_been_set_so_far_is_read_from_the_same_variables() -> None:
    """Groups are for the code: nobody who has set one of these has to change anything."""
    known = """
        TIDEGATE_ACKS_MS TIDEGATE_CERTIFICATES TIDEGATE_CERTIFICATES_MS TIDEGATE_COVERAGE_MS TIDEGATE_DEBOUNCE_MAX_MS
        TIDEGATE_EXCLUDED_NAMESPACES TIDEGATE_GRACE_MS TIDEGATE_HEARING_MS TIDEGATE_INJECTOR_SERVICE TIDEGATE_LAST_GOOD_MS
        TIDEGATE_LEASE_DURATION_MS TIDEGATE_OWNERS_MS TIDEGATE_PEER_TOKEN_FILE TIDEGATE_RELIST_MS TIDEGATE_REQUEST_MS
        TIDEGATE_REQUESTS_AT_ONCE TIDEGATE_STATUS_RETRY_MS TIDEGATE_UNMATCHED TIDEGATE_WATCH_SILENT_MS
        TIDEGATE_WEBHOOK_CONFIGURATION
    """
    assert set(known.split()) <= variables().keys()


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    environment = {
        "TIDEGATE_DEBOUNCE_MS": "soon",
        "TIDEGATE_LISTEN": "everywhere",
        "TIDEGATE_LEASE_RENEW_MS": "20000",
        "TIDEGATE_WATCH_SILENT_MS": "1000",
        "TIDEGATE_LOG_LEVEL": "LOUD",
        "TIDEGATE_EXCLUDED_NAMESPACES": "monitoring,Team A",
        "TIDEGATE_UNMATCHED": "Allow",
        "TIDEGATE_PASS_THROUGH_URLS": "OpenAI=nowhere",
    }
    with pytest.raises(SettingsError) as caught:
        read(environment, folder=tmp_path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 8
    for name in environment:
        assert any(line.startswith(name) for line in lines), name


def test_calls_under_no_policy_are_denied_unless_the_platform_says_otherwise(tmp_path: Path) -> None:
    assert read({}, folder=tmp_path).compile.pass_through is None
    urls = {"TIDEGATE_PASS_THROUGH_URLS": "OpenAI=https://egress.example/v1"}
    assert read({**urls, "TIDEGATE_UNMATCHED": "Refuse"}, folder=tmp_path).compile.pass_through is None
    found = read({**urls, "TIDEGATE_UNMATCHED": "PassThrough"}, folder=tmp_path).compile.pass_through
    assert found is not None
    (pool,) = found.config.pools
    assert {it.base_url for it in pool.providers} == {
        "https://egress.example/v1",
        "https://api.anthropic.com/v1",
    }


@pytest.mark.parametrize("text", ["", "8443", ":8443", "host:", "host:x", "host:70000"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        parse_address(text)


def test_an_address_of_ipv6_is_written_in_brackets() -> None:
    assert str(parse_address("[::1]:8443")) == "[::1]:8443"


def test_whose_certificates_are_served_is_a_matter_of_one_variable(tmp_path: Path) -> None:
    settings = read({}, folder=tmp_path)
    assert (settings.certificates.folder, settings.injector.service) == ("", "tidegate-injector")
    assert settings.injector.webhook_configuration == "ai-tidegate-injector"
    theirs = read(
        {"TIDEGATE_CERTIFICATES": "/certificates", "TIDEGATE_WEBHOOK_CONFIGURATION": "none"}, folder=tmp_path
    )
    assert (theirs.certificates.folder, theirs.injector.webhook_configuration) == ("/certificates", "")
