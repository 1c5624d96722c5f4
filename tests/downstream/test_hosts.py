"""A web page must not reach the sidecar, whatever it calls itself; programs of this machine may."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from tidegate_sidecar.downstream.hosts import REMEMBERED, HostProblem, HostRules


class Asking(NamedTuple):
    fields: CIMultiDict[str]
    target: str = "/openai/v1/chat/completions"
    authority: str = ""
    is_http10: bool = False


RULES = HostRules({"10.1.2.3", "tidegate.internal", "FD00::1", "0.0.0.0", "::"})


def problem(*headers: tuple[str, str], rules: HostRules = RULES, **more: object) -> HostProblem | None:
    asking = Asking(CIMultiDict(headers), **more)  # type: ignore[arg-type]
    found = rules.check(asking)
    assert rules.check(asking) == found, "what is remembered changes nothing"
    return found


def status(*headers: tuple[str, str], **more: object) -> int | None:
    found = problem(*headers, **more)  # type: ignore[arg-type]
    return found and found.status


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:19280",
        "localhost:",
        "127.0.0.1",
        "127.0.0.1:80",
        "127.255.0.9:1",
        "[::1]",
        "[::1]:19280",
        "[0:0::1]:9",
        "10.1.2.3",
        "10.1.2.3:19280",
        "tidegate.internal:443",
        "Tidegate.Internal",
        "[fd00::1]:1",
        "[FD00:0::1]",
    ],
)
def test_loopback_and_what_is_allowed_is_served_at_any_port(host: str) -> None:
    assert status(("host", host)) is None
    assert status(("host", "evil.test"), target=f"http://{host}/x", authority=host) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.test",
        "localhost.evil.test",
        "127.0.0.1.evil.test",
        "evil.localhost",
        "localhost.",
        "128.0.0.1",
        "10.1.2.4",
        "0.0.0.0",
        "0.0.0.0:19280",
        "[::]:19280",
        "[::2]",
        "[::ffff:10.0.0.1]",
        "0177.0.0.1",
        "2130706433",
        "127.1",
        "example.com:19280",
    ],
)
def test_any_other_host_may_be_a_web_page(host: str) -> None:
    assert status(("host", host)) == 403
    assert status(("host", "localhost"), target=f"http://{host}/x", authority=host) == 403, "RFC 9112, 3.2.2"


@pytest.mark.parametrize(
    "host",
    [
        "",
        " ",
        "a b",
        "localhost:x",
        "localhost:80:80",
        "@localhost",
        "a@localhost",
        "::1",
        "[::1",
        "[x]",
        "a/b",
    ],
)
def test_a_host_that_is_none_is_a_bad_request(host: str) -> None:
    assert status(("host", host)) == 400


def test_there_is_one_host() -> None:
    assert status(("host", "localhost"), ("HOST", "localhost")) == 400
    assert status(("x", "y")) == 400
    assert status(("x", "y"), is_http10=True) is None, "no browser speaks HTTP/1.0"
    assert status(("host", "evil.test"), is_http10=True) == 403


@pytest.mark.parametrize("target", ["*", "localhost:80", "localhost", "ftp://localhost/"])
def test_a_target_that_is_no_path_is_a_bad_request(target: str) -> None:
    assert status(("host", "localhost"), target=target) == 400


@pytest.mark.parametrize(
    ("site", "expected"),
    [
        ("cross-site", 403),
        (" cross-site ", 403),
        ("same-site", None),
        ("same-origin", None),
        ("none", None),
        ("new", None),
    ],
)
def test_a_page_of_another_site_is_told_by_what_its_browser_says(site: str, expected: int | None) -> None:
    assert status(("host", "localhost"), ("sec-fetch-site", site)) == expected
    assert status(("host", "localhost"), ("Sec-Fetch-Site", "none"), ("sec-fetch-site", site)) == expected


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://localhost", None),
        ("http://localhost:3000", None),
        ("https://127.0.0.1:3000", None),
        ("http://[::1]:3000", None),
        ("null", 403),
        ("", 403),
        ("http://evil.test", 403),
        ("http://localhost.evil.test", 403),
        ("http://evil.test/http://localhost", 403),
        ("http://evil@localhost", 403),
        ("http://tidegate.internal", 403),
        ("file://", 403),
        ("chrome-extension://abcdef", 403),
        ("http://localhost http://evil.test", 403),
        ("http://0.0.0.0", 403),
    ],
)
def test_a_page_with_an_origin_has_to_be_on_loopback(origin: str, expected: int | None) -> None:
    assert status(("host", "localhost"), ("origin", origin)) == expected
    assert status(("host", "localhost"), ("Origin", "http://localhost"), ("origin", origin)) == expected


def test_the_words_say_what_to_do() -> None:
    found = problem(("host", "my-name"))
    assert found is not None
    assert "--allow-host" in found.message
    assert "my-name" not in found.message


def test_what_is_remembered_is_bounded() -> None:
    rules = HostRules()
    for port in range(3 * REMEMBERED):
        assert problem(("host", f"localhost:{port}"), rules=rules) is None
    assert len(rules._known) == REMEMBERED


HOSTS = st.sampled_from(
    ["localhost", "localhost:1", "127.0.0.1", "[::1]:2", "evil.test", "a b", "", "10.1.2.3"]
)
OTHERS = st.lists(
    st.tuples(
        st.sampled_from(["origin", "sec-fetch-site", "host", "accept"]),
        HOSTS | st.sampled_from(["cross-site", "none", "http://localhost", "http://evil.test", "null"]),
    ),
    max_size=3,
)


@given(
    asked=st.lists(st.tuples(HOSTS, OTHERS, st.sampled_from(["/", "http://localhost/", "*"])), max_size=20)
)
def test_what_was_asked_before_changes_no_answer(asked: list[tuple[str, list[tuple[str, str]], str]]) -> None:
    rules = HostRules({"10.1.2.3"})
    for host, others, target in asked:
        asking = Asking(
            CIMultiDict([("host", host), *others]), target, "localhost" if target.startswith("http") else ""
        )
        assert rules.check(asking) == HostRules({"10.1.2.3"}).check(asking)
