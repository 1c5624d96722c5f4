"""docs/privacy.md has the table of headers that the sidecar has."""

from __future__ import annotations

import re
from pathlib import Path

from tidegate_sidecar.proxy import headers

PAGE = Path(__file__).resolve().parents[2] / "docs/privacy.md"


def section(title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None, title
    return found[1]


def names_in(text: str) -> set[bytes]:
    return {name.encode() for name in re.findall(r"`([a-z0-9*-]+)`", text)}


def listed() -> set[bytes]:
    """The first cells of the table of headers that are not sent."""
    cells = re.findall(r"^\| (`.*?) \|", section("Headers that are not sent"), re.MULTILINE)
    return names_in(" ".join(cells))


def test_the_headers_that_are_not_sent_are_those_of_the_page() -> None:
    table = headers.NOT_SENT | headers.CREDENTIALS | headers.HOP_BY_HOP | headers.FRAMING
    assert listed() == table | {prefix + b"*" for prefix in headers.NOT_SENT_PREFIXES}


def test_the_headers_that_the_page_says_are_sent_are_sent() -> None:
    names = names_in(section("Headers that are sent")) - {b"connection"}
    assert len(names) > 10
    sent = headers.request_names((), (), is_callers_credential=False)
    for name in names:
        assert sent.lines([(name.replace(b"*", b"lang"), b"1")]), name


def test_the_headers_that_do_not_come_back_are_those_of_the_page() -> None:
    text = section("What comes back")
    named = names_in(text.partition("Tidegate adds")[0])
    assert named == (headers.NOT_RETURNED - {b"content-length"}) | {b"x-tidegate-*"}
