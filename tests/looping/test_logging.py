"""A line of a log is one line and begins with our own words, whatever somebody else had a say in."""

from __future__ import annotations

import io
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_runtime.logs import FORMAT, OneLine, escaped

FORGED = "x\n2026-11-30 00:00:00,000 CRITICAL tidegate_operator the Lease is lost"


def logged(*arguments: object, error: Exception | None = None) -> list[str]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(OneLine(FORMAT))
    record = logging.LogRecord("tidegate", logging.WARNING, "", 0, "refused %s", arguments, None)
    if error is not None:
        record.exc_info = (type(error), error, error.__traceback__)
    handler.emit(record)
    return stream.getvalue().split("\n")[:-1]


@pytest.mark.parametrize(
    "said", [FORGED, "a\rb", "a\x1b[31mred", "a\u2028b", "a\u202egnp.exe", "a\x85b", "a\x00b"]
)
def test_what_somebody_else_wrote_begins_no_line_and_moves_no_terminal(said: str) -> None:
    (line,) = logged(said)
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line
    assert "\u202e" not in line


def test_names_in_any_script_are_readable() -> None:
    (line,) = logged("Überprüfung 鍵")
    assert line.endswith("refused Überprüfung 鍵")


def test_a_traceback_stands_behind_its_line_and_its_message_forges_none() -> None:
    with pytest.raises(ValueError, match="is lost") as raised:
        int(FORGED)
    lines = logged("it", error=raised.value)
    assert lines[1:]
    assert all(line.startswith("    ") for line in lines[1:])
    assert any("Traceback" in line for line in lines)


@given(st.text())
def test_every_text_becomes_one_line(text: str) -> None:
    assert len(escaped(text).splitlines()) <= 1
