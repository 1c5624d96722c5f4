"""What a process is told by its environment about who may call it, and by which way it reaches providers."""

from __future__ import annotations

import pytest

from tidegate_sidecar import settings as process
from tidegate_sidecar.settings import Settings, SettingsError, parse_host


def test_an_empty_environment_has_the_documented_values() -> None:
    assert process.read({}) == Settings()
    settings = Settings()
    assert settings.allow_hosts == ()
    assert (settings.max_idle_app_connections, settings.head_read_ms) == (1_024, 10_000)
    assert (settings.provider_client_cert_file, settings.provider_client_key_file) == ("", "")
    assert (settings.https_proxy, settings.no_proxy) == ("", "")


def test_each_can_be_set() -> None:
    settings = process.read(
        {
            "TIDEGATE_ALLOW_HOSTS": "Gateway.internal, my_service,[FD00:0::1],10.1.2.3",
            "TIDEGATE_MAX_IDLE_APP_CONNECTIONS": "8",
            "TIDEGATE_HEAD_READ_MS": "500",
            "TIDEGATE_PROVIDER_CLIENT_CERT_FILE": "/tls/tls.crt",
            "TIDEGATE_PROVIDER_CLIENT_KEY_FILE": "/tls/tls.key",
        }
    )
    assert settings.allow_hosts == ("gateway.internal", "my_service", "fd00::1", "10.1.2.3")
    assert (settings.max_idle_app_connections, settings.head_read_ms) == (8, 500)
    assert (settings.provider_client_cert_file, settings.provider_client_key_file) == (
        "/tls/tls.crt",
        "/tls/tls.key",
    )


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({"HTTPS_PROXY": "http://proxy.internal:3128"}, "http://proxy.internal:3128"),
        ({"HTTPS_PROXY": " http://user:pass@[fd00::1]:3128/ "}, "http://user:pass@[fd00::1]:3128/"),
        ({"HTTPS_PROXY": "proxy.internal:3128"}, "proxy.internal:3128"),
        ({"https_proxy": "http://small:1", "HTTPS_PROXY": "http://large:1"}, "http://small:1"),
        ({"https_proxy": "", "HTTPS_PROXY": "http://large:1"}, "http://large:1"),
        ({"HTTP_PROXY": "http://proxy.internal:3128"}, ""),
    ],
)
def test_the_proxy_is_the_one_that_other_programs_use_for_https(
    environment: dict[str, str], proxy: str
) -> None:
    """A variable in lower case goes before, as curl and Python have it; HTTP_PROXY is not for https."""
    assert process.read(environment).https_proxy == proxy


def test_hosts_past_the_proxy_are_kept_as_they_are_written() -> None:
    assert (
        process.read({"NO_PROXY": ".svc,10.0.0.0/8, Internal.example"}).no_proxy
        == ".svc,10.0.0.0/8, Internal.example"
    )
    assert process.read({"no_proxy": "small", "NO_PROXY": "large"}).no_proxy == "small"


def test_a_proxys_password_is_not_shown() -> None:
    settings = process.read({"HTTPS_PROXY": "http://user:hush@proxy.internal:3128", "NO_PROXY": "quiet"})
    assert "hush" not in repr(settings)
    assert "quiet" not in repr(settings)


@pytest.mark.parametrize(
    "url",
    [
        "socks5://user:hush@proxy.internal:1080",
        "https://user:hush@proxy.internal:3128",
        "http://user:hush@proxy.internal:99999",
        "http://user:hush@proxy.internal:3128/path",
        "http://user:hush@[fd00::1:3128",
        "http://user:hush@",
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused_and_not_quoted(url: str) -> None:
    """Going past it instead would send calls by a way that somebody has closed."""
    with pytest.raises(SettingsError, match=r"^HTTPS_PROXY: the proxy's URL ") as caught:
        process.read({"HTTPS_PROXY": url})
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", " ", "host:80", "http://host", "*.internal", "a b", "-host", "host/", "[host]", "h\u00f6st"]
)
def test_a_host_that_is_none_is_refused_with_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="write its name or address alone"):
        parse_host(text)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        process.read(
            {
                "TIDEGATE_ALLOW_HOSTS": "good,http://bad",
                "TIDEGATE_MAX_IDLE_APP_CONNECTIONS": "0",
                "TIDEGATE_HEAD_READ_MS": "fast",
                "TIDEGATE_PROVIDER_CLIENT_KEY_FILE": "/tls/tls.key",
            }
        )
    assert str(caught.value).splitlines() == [
        "TIDEGATE_ALLOW_HOSTS: 'http://bad' is no host; write its name or address alone, e.g. gateway.internal",
        "TIDEGATE_HEAD_READ_MS='fast': expected an integer from 100 to 3600000",
        "TIDEGATE_MAX_IDLE_APP_CONNECTIONS='0': expected an integer from 1 to 100000",
        (
            "TIDEGATE_PROVIDER_CLIENT_KEY_FILE is set, and TIDEGATE_PROVIDER_CLIENT_CERT_FILE is not: "
            "give the file with the key's certificate too"
        ),
    ]
